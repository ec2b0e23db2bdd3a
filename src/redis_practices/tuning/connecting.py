"""Connections are kept: connecting costs a round trip, and redis-py introduces itself by further commands.

A client is a pool: make one a process, share it between threads, and give the pool as many connections as threads talk
at once. More of them buy nothing; each costs the server memory and a file descriptor.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from redis import BlockingConnectionPool, Redis
from redis.cluster import RedisCluster


def address(server: Redis) -> dict[str, Any]:
    """Return host, port, user and password of a client's server: what a further client of it needs."""
    options = server.get_connection_kwargs()
    return {name: options.get(name) for name in ("host", "port", "username", "password", "db", "decode_responses")}


def connect_each_time(server: Redis, keys: Sequence[str]) -> list[Any]:
    """Naive: a new client, thus a new connection, for every read."""
    values: list[Any] = []
    for key in keys:
        with Redis(**address(server)) as client:
            values.append(client.get(key))
    return values


def cluster_each_time(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Naive: a new client of the cluster for every read; it asks for all slots before its first command."""
    node = cluster.get_default_node()
    options = cluster.get_connection_kwargs()
    values: list[Any] = []
    for key in keys:
        login = {name: options.get(name) for name in ("username", "password", "decode_responses")}
        with RedisCluster(host=node.host, port=node.port, **login) as client:
            values.append(client.get(key))
    return values


def pool_of(server: Redis, keys: Sequence[str], connections: int = 4, threads: int = 16) -> list[Any]:
    """Tuned: `threads` share a pool of `connections`; who finds none free waits for one instead of connecting."""
    pool = BlockingConnectionPool(max_connections=connections, timeout=5, **address(server))
    with Redis(connection_pool=pool) as client, ThreadPoolExecutor(threads) as workers:
        values: list[Any] = list(workers.map(client.get, keys))
    pool.disconnect()
    return values
