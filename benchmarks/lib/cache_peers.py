"""Set up the project's cache-aside, a bare GET, and three popular packages by their documentation."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from lib.cache_ways import TTL, Counter, Read, TaskWay, ThreadWay, Way

from redis_practices.clients import async_client, redis_client
from redis_practices.pure_cache.cache_aside import AsyncCacheAside, CacheAside
from redis_practices.servers.server import Server

INSTALL = "pip install cashews aiocache dogpile.cache   (or: pip install --group benchmarks)"


def ours(server: Server, counter: Counter) -> Read:
    """Return `CacheAside`."""
    aside = CacheAside(redis_client(server.url), ttl=TTL)
    return lambda name, delay: aside.get_or_compute(f"ours:{name}", lambda: counter.compute(delay))


def bare(server: Server, counter: Counter) -> Read:
    """Return GET and SET with JSON, without stampede protection."""
    client = redis_client(server.url)

    def read(name: str, delay: float) -> Any:
        """Get, else compute and set."""
        raw = client.get(f"bare:{name}")
        if raw is not None:
            return json.loads(raw)
        value = counter.compute(delay)
        client.set(f"bare:{name}", json.dumps(value), ex=TTL)
        return value

    return read


def dogpile(server: Server, counter: Counter) -> Read:
    """Return a region of dogpile.cache with its distributed lock."""
    from dogpile.cache import make_region  # noqa: PLC0415 - a benchmark without it says what to install

    arguments = {"url": server.url, "distributed_lock": True, "thread_local_lock": False, "lock_timeout": 10}
    region = make_region().configure("dogpile.cache.redis", expiration_time=TTL, arguments=arguments)
    return lambda name, delay: region.get_or_create(f"dogpile:{name}", lambda: counter.compute(delay))


async def ours_async(server: Server, counter: Counter) -> Read:
    """Return `AsyncCacheAside`."""
    aside = AsyncCacheAside(async_client(server.url), ttl=TTL)
    return lambda name, delay: aside.get_or_compute(f"ours-a:{name}", lambda: counter.compute_async(delay))


async def bare_async(server: Server, counter: Counter) -> Read:
    """Return GET and SET with JSON, without stampede protection."""
    client = async_client(server.url)

    async def read(name: str, delay: float) -> Any:
        """Get, else compute and set."""
        raw = await client.get(f"bare-a:{name}")
        if raw is not None:
            return json.loads(raw)
        value = await counter.compute_async(delay)
        await client.set(f"bare-a:{name}", json.dumps(value), ex=TTL)
        return value

    return read


async def cashews(server: Server, counter: Counter, *, lock: bool = True) -> Read:
    """Return a function decorated by cashews, which takes its lock before each read of the cache."""
    from cashews import Cache  # noqa: PLC0415 - as above

    cache = Cache()
    cache.setup(server.url)

    @cache(ttl=TTL, key=f"cashews-{lock}:{{name}}", lock=lock)
    async def read(name: str, delay: float) -> Any:  # noqa: ARG001 - the decorator makes the key of it
        """Compute."""
        return await counter.compute_async(delay)

    decorated: Read = read
    return decorated


async def aiocache(server: Server, counter: Counter) -> Read:
    """Return a function decorated by aiocache's cached_stampede, values as JSON."""
    from aiocache import Cache, cached_stampede  # noqa: PLC0415 - as above
    from aiocache.serializers import JsonSerializer  # noqa: PLC0415 - as above

    @cached_stampede(
        lease=10,
        ttl=TTL,
        cache=Cache.REDIS,
        endpoint="127.0.0.1",
        port=server.port,
        serializer=JsonSerializer(),
        key_builder=lambda _, name, __: f"aiocache:{name}",
    )
    async def read(name: str, delay: float) -> Any:  # noqa: ARG001 - the decorator makes the key of it
        """Compute."""
        return await counter.compute_async(delay)

    decorated: Read = read
    return decorated


def ways(server: Server, runner: asyncio.Runner) -> dict[str, dict[str, Way]]:
    """Return every way for threads and for asyncio, each after its bare GET; missing packages are left out."""
    threads: dict[str, Callable[[Server, Counter], Read]] = {
        "bare GET": bare,
        "cache_aside": ours,
        "dogpile.cache": dogpile,
    }
    tasks: dict[str, Callable[[Server, Counter], Coroutine[Any, Any, Read]]] = {
        "bare GET": bare_async,
        "cache_aside": ours_async,
        "cashews": cashews,
        "aiocache": aiocache,
        "cashews, no lock": partial(cashews, lock=False),
    }
    found: dict[str, dict[str, Way]] = {"threads": {}, "asyncio": {}}
    for name, make in threads.items():
        with left_out(name):
            found["threads"][name] = ThreadWay(partial(make, server))
    for name, start in tasks.items():
        with left_out(name):
            found["asyncio"][name] = TaskWay(runner, partial(start, server))
    return found


@contextmanager
def left_out(name: str) -> Iterator[None]:
    """Leave out a package that is not installed, and say so."""
    try:
        yield
    except ImportError:
        print(f"{name} is not installed, and left out: {INSTALL}", file=sys.stderr)
