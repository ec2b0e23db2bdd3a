"""Many keys of a cluster at once: a pipeline sends each command to the node that owns its key's slot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

from redis.cluster import RedisCluster
from redis.exceptions import AskError, MovedError, ResponseError

from redis_practices.redis_cluster.key_slots import SlotRange, slot_ranges

BATCH = 5000
"""Commands that a pipeline takes at once, which bounds the memory that their answers need."""

T = TypeVar("T")


def batches(items: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    """Yield `items` in lists of at most `size`."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def write(cluster: RedisCluster, values: Mapping[str, str], ttl: int) -> None:
    """Write `values` to expire after `ttl` seconds (``SET key value EX ttl``).

    Raises:
        redis.exceptions.RedisError: a node does not answer or refuses a write.
    """
    for batch in batches(values.items()):
        with cluster.pipeline() as pipe:
            for key, value in batch:
                pipe.set(key, value, ex=ttl)
            pipe.execute()


def read(cluster: RedisCluster, keys: Iterable[str]) -> list[Any]:
    """Return the values of `keys` in their order, None where there is none (``GET``).

    Raises:
        redis.exceptions.RedisError: a node does not answer or refuses a read.
    """
    values: list[Any] = []
    for batch in batches(keys):
        with cluster.pipeline() as pipe:
            for key in batch:
                pipe.get(key)
            values += pipe.execute()
    return values


def remove(cluster: RedisCluster, keys: Iterable[str]) -> None:
    """Remove `keys` (``UNLINK``: the memory is freed in the background).

    Raises:
        redis.exceptions.RedisError: a node does not answer or refuses it.
    """
    for batch in batches(keys):
        with cluster.pipeline() as pipe:
            for key in batch:
                pipe.unlink(key)
            pipe.execute()


def slot_map(cluster: RedisCluster) -> list[SlotRange]:
    """Return who holds which slots now, as one node says (``CLUSTER SLOTS``), and let the client know it too.

    Raises:
        redis.exceptions.RedisError: no node answers.
    """
    cluster.nodes_manager.initialize()
    return slot_ranges(cluster.get_redis_connection(cluster.get_default_node()))


def answer_of(cluster: RedisCluster, address: str, key: str) -> str:
    """Return what the server at `address` answers to a ``GET key``, word for word when it is an error.

    Raises:
        redis.exceptions.RedisError: it does not answer.
    """
    try:
        return repr(cluster.get_redis_connection(cluster.get_node(node_name=address)).get(key))
    except (MovedError, AskError) as error:
        # redis-py keeps the first word of these as the class alone.
        return f"{'MOVED' if isinstance(error, MovedError) else 'ASK'} {error}"
    except ResponseError as error:
        return str(error)
