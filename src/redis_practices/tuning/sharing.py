"""A cluster's nodes share the work only if keys and reads are spread so that they can."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.cluster import LoadBalancingStrategy, RedisCluster

from redis_practices.tuning.bulk import read_bulk


def read_fields_apart(cluster: RedisCluster, fields: Sequence[str]) -> list[Any]:
    """Naive: the values of one user lie in different slots; the client needs a command for each slot."""
    return list(cluster.mget_nonatomic([f"user:42:{field}" for field in fields]))


def read_fields_together(cluster: RedisCluster, fields: Sequence[str]) -> list[Any]:
    """Tuned: a hash tag puts what belongs together into one slot, where one command reads it (``MGET``).

    Not for all of your keys: what shares a tag shares one node, its memory and its processor.
    """
    answer: Any = cluster.mget([f"{{user:42}}:{field}" for field in fields])
    return list(answer)


def read_each(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Naive: read key after key, from the primaries."""
    return [cluster.get(key) for key in keys]


def read_by_pipeline(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Better: redis-py's own cluster pipeline, one trip a node."""
    with cluster.pipeline() as pipe:
        for key in keys:
            pipe.get(key)
        return list(pipe.execute())


def read_tagged_by_pipeline(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Send a pipeline of keys with one tag: to one node what others send to all of them.

    It saves no round trip, since redis-py writes to all nodes before it reads from any; it saves the client the writes
    and reads of the further nodes, which was a tenth of its time for 30 commands, and nothing to be seen for 300. And
    one server does the work of all.
    """
    with cluster.pipeline() as pipe:
        for key in keys:
            pipe.get(f"{{tag}}{key}")
        return list(pipe.execute())


def read_by_node(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Tuned: one packed pipeline a node, all nodes at the same time; see `redis_practices.tuning.bulk`."""
    return read_bulk(cluster, keys)


def read_from_all(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Tuned: primaries and replicas take turns (``READONLY``); a replica may be behind what you just wrote."""
    return _balanced(cluster, keys, LoadBalancingStrategy.ROUND_ROBIN)


def read_from_replicas(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Tuned: replicas alone answer, and the primaries are left to writes."""
    return _balanced(cluster, keys, LoadBalancingStrategy.ROUND_ROBIN_REPLICAS)


def _balanced(cluster: RedisCluster, keys: Sequence[str], strategy: LoadBalancingStrategy) -> list[Any]:
    """Read key after key with a client of that strategy."""
    node = cluster.get_default_node()
    options = {"decode_responses": True, "password": cluster.get_connection_kwargs().get("password")}
    with RedisCluster(host=node.host, port=node.port, load_balancing_strategy=strategy, **options) as client:
        return [client.get(key) for key in keys]


COPIES = 16


def read_hot_key(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Naive: everybody reads the same key, so one node answers everybody."""
    return [cluster.get("hot") for _ in keys]


def read_hot_copies(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Tuned: copies on all nodes, read in turn; a write must go to all of them, so only for what seldom changes."""
    return [cluster.get(f"hot:{number % COPIES}") for number in range(len(keys))]
