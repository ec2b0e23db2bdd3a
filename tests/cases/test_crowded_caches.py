"""Test single flight with more callers than connections in the pool: the origin is asked once."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from redis.asyncio import Redis as AsyncRedis

from fixtures.run.processes import ForkingGroup
from redis_practices.clients import redis_client
from redis_practices.pure_cache.cache_aside import AsyncCacheAside, CacheAside
from redis_practices.servers.server import CACHE, Server, start_server

ORIGIN_SECONDS = 0.2
"""Seconds of the origin: longer than all callers need to start."""


def connections(number: int | None) -> dict[str, Any]:
    """Return the option that limits a pool to `number` connections; None for redis-py's default."""
    return {"max_connections": number} if number else {}


@pytest.mark.parametrize(("limit", "threads"), [(150, 100), (16, 100), (None, 300), (16, 300)])
def test_threads_that_miss_at_once(cache_server: Server, limit: int | None, threads: int) -> None:
    """Threads with a simultaneous miss ask the origin once, with any number of connections."""
    client = redis_client(cache_server.url, **connections(limit))
    cache = CacheAside(client, ttl=60)
    calls: list[int] = []
    got: list[object] = []
    together = threading.Barrier(threads)

    def origin() -> str:
        calls.append(1)
        time.sleep(ORIGIN_SECONDS)
        return "value"

    def read() -> None:
        together.wait()
        got.append(cache.get_or_compute("key", origin))

    readers = [threading.Thread(target=read) for _ in range(threads)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    client.close()
    assert got == ["value"] * threads
    assert len(calls) == 1


@pytest.mark.parametrize(("limit", "tasks"), [(None, 50), (None, 1000), (16, 1000)])
def test_coroutines_that_miss_at_once(group: ForkingGroup, limit: int | None, tasks: int) -> None:
    """Coroutines with a simultaneous miss ask the origin once, with any number of connections."""
    server = start_server(group, {**CACHE, "maxclients": 5000})
    calls: list[int] = []

    async def origin() -> str:
        calls.append(1)
        await asyncio.sleep(ORIGIN_SECONDS)
        return "value"

    async def read_all() -> list[object]:
        async with AsyncRedis.from_url(server.url, socket_timeout=5, **connections(limit)) as client:
            cache = AsyncCacheAside(client, ttl=60)
            return list(await asyncio.gather(*(cache.get_or_compute("key", origin) for _ in range(tasks))))

    assert asyncio.run(read_all()) == ["value"] * tasks
    assert len(calls) == 1
