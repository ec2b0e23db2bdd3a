"""Test single flight with more callers than connections in the pool: the origin is asked once."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from redis.asyncio import Redis as AsyncRedis

from fixtures.proxies.streams import TlsProxy
from fixtures.run.processes import ForkingGroup
from redis_practices.clients import async_client, redis_client
from redis_practices.polling import join, poll
from redis_practices.pure_cache import cache_aside
from redis_practices.pure_cache.cache_aside import AsyncCacheAside, CacheAside
from redis_practices.servers.server import CACHE, Server, start_server

ORIGIN_SECONDS = 0.2
"""Seconds of the origin: longer than all callers need to start."""


def connections(number: int | None) -> dict[str, Any]:
    """Return the option that limits a pool to `number` connections; None for redis-py's default."""
    return {"max_connections": number} if number else {}


@pytest.fixture(params=["plain", pytest.param("TLS", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, group: ForkingGroup, ending: ExitStack, tmp_path: Path) -> str:
    """Give the URL of a cache; with TLS each connection costs the client 22 ms of processor time."""
    server = start_server(group, {**CACHE, "maxclients": 5000})
    if request.param == "plain":
        return server.url
    proxy = ending.enter_context(closing(TlsProxy(tmp_path)))
    return f"rediss://{proxy.before(server.port)}/0?ssl_ca_certs={proxy.ca_file}"


@pytest.mark.parametrize(("limit", "threads"), [(150, 100), (16, 100), (None, 300), (16, 300)])
def test_threads_that_miss_at_once(url: str, limit: int | None, threads: int) -> None:
    """Threads with a simultaneous miss ask the origin once, with any number of connections."""
    client = redis_client(url, **connections(limit))
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
def test_coroutines_that_miss_at_once(url: str, limit: int | None, tasks: int) -> None:
    """Coroutines with a simultaneous miss ask the origin once, with any number of connections."""
    calls: list[int] = []

    async def origin() -> str:
        calls.append(1)
        await asyncio.sleep(ORIGIN_SECONDS)
        return "value"

    async def read_all() -> list[object]:
        async with AsyncRedis.from_url(url, socket_timeout=5, **connections(limit)) as client:
            cache = AsyncCacheAside(client, ttl=60)
            return list(await asyncio.gather(*(cache.get_or_compute("key", origin) for _ in range(tasks))))

    assert asyncio.run(read_all()) == ["value"] * tasks
    assert len(calls) == 1


@dataclass
class Crowd:
    """Readers of one key in threads, and what they got."""

    cache: CacheAside
    got: list[Any] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def read(self, origin: Callable[[], Any], number: int = 1) -> None:
        """Start readers."""

        def go() -> None:
            try:
                self.got.append(self.cache.get_or_compute("key", origin))
            except BaseException as error:  # noqa: BLE001 - an interrupt is an outcome
                self.got.append(type(error))

        for _ in range(number):
            self.threads.append(threading.Thread(target=go))
            self.threads[-1].start()

    def end(self) -> list[Any]:
        """Wait for all readers."""
        for thread in self.threads:
            join(thread)
        return self.got


def test_threads_during_an_outage(cache_server: Server) -> None:
    """While the cache is away, the readers of one key ask the origin one after another, and share its values."""
    calls: list[int] = []

    def origin() -> dict[str, str]:
        calls.append(1)
        time.sleep(0.05)
        return {"name": "Ann"}

    crowd = Crowd(CacheAside(redis_client(cache_server.url, timeout=0.5), ttl=60))
    cache_server.kill()
    crowd.read(origin, 50)
    got = crowd.end()
    assert got == [{"name": "Ann"}] * 50
    assert len(calls) <= 5, "50 readers asked the origin at once"
    assert len({id(value) for value in got}) == 50, "two readers share an object that one may change"


def test_reader_after_an_invalidation(cache_server: Server) -> None:
    """A reader that comes after an invalidation does not share the value of a computation that began before it."""
    computing, may_end = threading.Event(), threading.Event()

    def old() -> str:
        computing.set()
        may_end.wait(10)
        return "old"

    with redis_client(cache_server.url) as client:
        crowd = Crowd(CacheAside(client, ttl=60))
        crowd.read(old)
        assert computing.wait(5)
        crowd.cache.invalidate("key")
        crowd.read(lambda: "new", 5)
        time.sleep(0.1)
        may_end.set()
        assert sorted(crowd.end()) == ["new"] * 5 + ["old"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_readers_behind_one_that_fails(cache_server: Server, error: type[BaseException]) -> None:
    """The error of one reader, or of its origin, is not that of the readers that wait for it."""
    computing = threading.Event()

    def failing() -> str:
        computing.set()
        time.sleep(ORIGIN_SECONDS)
        raise error

    with redis_client(cache_server.url) as client:
        crowd = Crowd(CacheAside(client, ttl=60))
        crowd.read(failing)
        assert computing.wait(5)
        crowd.read(lambda: "value", 20)
        got = crowd.end()
    assert (got.count(error), got.count("value")) == (1, 20)


def test_readers_beside_a_refresh(cache_server: Server) -> None:
    """Readers get the old value at once while another reader of the process refreshes it."""
    with redis_client(cache_server.url) as client:
        crowd = Crowd(CacheAside(client, ttl=60, beta=1e9))  # each read is due to refresh

        def first() -> str:
            time.sleep(0.01)
            return "old"

        crowd.cache.get_or_compute("key", first)
        refreshing, may_end = threading.Event(), threading.Event()

        def new() -> str:
            refreshing.set()
            may_end.wait(10)
            return "new"

        crowd.read(new)
        assert refreshing.wait(5)
        reader = CacheAside(client, ttl=60, beta=0.0)
        crowd.cache.protocol = reader.protocol
        begun = time.monotonic()
        assert crowd.cache.get_or_compute("key", lambda: "computed again") == "old"
        assert time.monotonic() - begun < 1
        may_end.set()
        assert crowd.end() == ["new"]


ROW = {"name": "Ann"}


def test_threads_that_change_their_value(cache_server: Server) -> None:
    """Each thread gets the value of the origin, although each changes its own value at once."""
    seen: list[Any] = []

    def origin() -> dict[str, str]:
        time.sleep(0.02)
        return dict(ROW)

    def read(key: str) -> None:
        value = cache.get_or_compute(key, origin)
        seen.append(dict(value))
        value.clear()

    with redis_client(cache_server.url) as client:
        cache = CacheAside(client, ttl=60)
        for turn in range(10):
            readers = [threading.Thread(target=read, args=(f"key{turn}",)) for _ in range(6)]
            for reader in readers:
                reader.start()
            for reader in readers:
                join(reader)
    assert seen == [ROW] * 60


def test_coroutines_that_change_their_value(cache_server: Server) -> None:
    """Each coroutine gets the value of the origin, although each changes its own value at once."""

    async def origin() -> dict[str, str]:
        await asyncio.sleep(0.02)
        return dict(ROW)

    async def read(cache: AsyncCacheAside) -> dict[str, str]:
        value = await cache.get_or_compute("key", origin)
        seen = dict(value)
        value.clear()
        return seen

    async def read_all() -> list[object]:
        async with async_client(cache_server.url) as client:
            cache = AsyncCacheAside(client, ttl=60)
            return list(await asyncio.gather(*(read(cache) for _ in range(6))))

    assert asyncio.run(read_all()) == [ROW] * 6


@dataclass
class FailingOrigin:
    """An origin that fails, and the number of its calls."""

    now: int = 0
    most: int = 0
    calls: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def called(self) -> Iterator[None]:
        """Count a call as long as the block runs, then fail."""
        with self.lock:
            self.calls, self.now = self.calls + 1, self.now + 1
            self.most = max(self.most, self.now)
        yield
        with self.lock:
            self.now -= 1
        raise ValueError


def test_threads_while_cache_and_origin_fail(cache_server: Server) -> None:
    """While the cache is away, threads call a failing origin one after another, and each gets its own error."""
    origin = FailingOrigin()

    def compute() -> None:
        with origin.called():
            time.sleep(0.02)

    crowd = Crowd(CacheAside(redis_client(cache_server.url, timeout=0.5), ttl=60))
    cache_server.kill()
    crowd.read(compute, 10)
    assert crowd.end() == [ValueError] * 10
    assert (origin.calls, origin.most) == (10, 1)


def test_coroutines_while_cache_and_origin_fail(cache_server: Server) -> None:
    """While the cache is away, coroutines call a failing origin one after another, and each gets its own error."""
    origin = FailingOrigin()

    async def compute() -> None:
        with origin.called():
            await asyncio.sleep(0.02)

    async def read_all() -> list[object]:
        async with async_client(cache_server.url, timeout=0.5) as client:
            cache = AsyncCacheAside(client, ttl=60)
            reads = (cache.get_or_compute("key", compute) for _ in range(10))
            return list(await asyncio.gather(*reads, return_exceptions=True))

    cache_server.kill()
    assert [type(error) for error in asyncio.run(read_all())] == [ValueError] * 10
    assert (origin.calls, origin.most) == (10, 1)


def test_patience_counts_once(cache_server: Server) -> None:
    """A reader asks the origin after its patience, although it has waited for two other readers."""
    asked: list[float] = []
    may_end = threading.Event()

    def origin() -> None:
        asked.append(time.monotonic())
        if len(asked) == 1:
            time.sleep(0.9)  # None is not cached, so the next reader computes
        elif len(asked) == 2:
            may_end.wait(10)

    with redis_client(cache_server.url) as client:
        crowd = Crowd(CacheAside(client, ttl=60, patience=1.0))
        begun = time.monotonic()
        crowd.read(origin, 3)
        try:
            assert poll(lambda: len(asked) == 3, 5, every=0.01)
        finally:
            may_end.set()
            crowd.end()
    assert 1.0 <= asked[2] - begun < 1.8, "a second patience ends 1.9 s after the begin"


def test_reader_behind_a_kept_interrupt(cache_server: Server) -> None:
    """An interrupted reader holds up no other reader, even if its exception is kept with its frames."""
    kept: list[BaseException] = []

    def interrupt(frame: FrameType, event: str, _: object) -> None:
        if frame.f_globals["__name__"] == cache_aside.__name__ and frame.f_code.co_name == "_share":
            sys.settrace(None)
            raise KeyboardInterrupt(event)

    with redis_client(cache_server.url) as client:
        crowd = Crowd(CacheAside(client, ttl=60))
        before = sys.gettrace()
        sys.settrace(interrupt)
        try:
            crowd.cache.get_or_compute("key", lambda: "value")
        except KeyboardInterrupt as error:
            kept.append(error)
        finally:
            sys.settrace(before)
        begun = time.monotonic()
        crowd.read(lambda: "value")
        assert crowd.end() == ["value"]
        assert time.monotonic() - begun < crowd.cache.rules.patience / 2
    assert kept
