"""Test that a cache returns the stored value, and that the newest version of a record wins."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import pytest
from redis.exceptions import LockError

from redis_practices.clients import async_client, redis_client
from redis_practices.polling import eventually
from redis_practices.pure_cache.cache_aside import AsyncCacheAside, CacheAside
from redis_practices.pure_cache.key_audit import sample
from redis_practices.pure_cache.write_through import WriteBehind, WriteThrough
from redis_practices.servers.server import Server

KEPT: list[Any] = [{"name": "Ann"}, ["a", 1], 1.5, 2**70, "\ud800", True, 0, ""]
CHANGED: list[Any] = [
    {1: "a"}, (1, 2), {"t": (1,)}, {True: 1}, {None: 1}, {1, 2}, float("nan"), [float("-inf")], b"bytes", HTTPStatus.OK,
    OrderedDict(a=1), "\ud83d\ude00", {"\ud83d\ude00": 1},
]  # fmt: skip


@pytest.mark.parametrize("value", KEPT, ids=ascii)
def test_cache_hit_equals_the_miss(cache_server: Server, value: object) -> None:
    """A hit returns the same value as the miss."""
    with redis_client(cache_server.url) as client:
        cache = CacheAside(client, ttl=60)
        miss = cache.get_or_compute("key", lambda: value)
        hit = cache.get_or_compute("key", lambda: "computed again")
    assert repr(hit) == repr(miss) == repr(value)


@pytest.mark.parametrize("value", CHANGED, ids=repr)
def test_cache_refuses_what_json_changes(cache_server: Server, value: object) -> None:
    """A value that JSON would change is a TypeError at once, and the next reader computes at once."""
    with redis_client(cache_server.url) as client:
        for ask in (
            lambda: CacheAside(client, ttl=60).get_or_compute("key", lambda: value),
            lambda: WriteThrough(client, ttl=60).put("record", value, 1),
            lambda: WriteBehind(client, "queue").write("queued", value),
        ):
            with pytest.raises(TypeError, match="JSON cannot hold"):
                ask()
        assert client.dbsize() == 0
        assert CacheAside(client, ttl=60).get_or_compute("key", lambda: "value") == "value"


def test_cache_entry_of_another_key(cache_server: Server) -> None:
    """An entry of another key, or in the old format without a key, is a miss."""
    with redis_client(cache_server.url) as client:
        cache = CacheAside(client, ttl=60)
        cache.get_or_compute("invoice:Ann", lambda: "invoice of Ann")
        client.copy("invoice:Ann", "invoice:Bob")
        assert cache.get_or_compute("invoice:Bob", lambda: "invoice of Bob") == "invoice of Bob"
        client.set("invoice:Eve", json.dumps(["of an earlier release", 0.1, time.time() + 60]))
        assert cache.get_or_compute("invoice:Eve", lambda: "invoice of Eve") == "invoice of Eve"


def test_cache_key_of_another_type(cache_server: Server) -> None:
    """A key that holds a hash causes no delay: the origin is asked at once."""
    with redis_client(cache_server.url) as client:
        client.hset("key", "field", "1")
        begun = time.monotonic()
        assert CacheAside(client, ttl=60).get_or_compute("key", lambda: "value") == "value"
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize("raw", ["[" * 100_000, f'[1, {10**400}, 1, "key"]'], ids=["too deep", "too large a number"])
def test_cache_entry_that_python_cannot_read(cache_server: Server, raw: str) -> None:
    """An entry whose JSON is beyond Python's limits is a miss."""
    with redis_client(cache_server.url) as client:
        client.set("key", raw)
        assert CacheAside(client, ttl=60).get_or_compute("key", lambda: "value") == "value"


class EmptyError(Exception):
    """An error that is false, such as one with a list of faults that is empty."""

    def __bool__(self) -> bool:
        """Return False."""
        return False


def test_cache_passes_the_error_of_the_origin(cache_server: Server) -> None:
    """The caller gets the error that the origin raised, although the error is false, and nothing is cached."""

    def fail() -> None:
        raise EmptyError

    with redis_client(cache_server.url) as client:
        with pytest.raises(EmptyError):
            CacheAside(client, ttl=60, absent_ttl=30).get_or_compute("key", fail)
        assert client.dbsize() == 0


def test_asyncio_cache_passes_the_error_of_the_origin(cache_server: Server) -> None:
    """The coroutine gets the error that the origin raised, although the error is false."""

    async def fail() -> None:
        raise EmptyError

    async def read() -> None:
        async with async_client(cache_server.url) as client:
            await AsyncCacheAside(client, ttl=60, absent_ttl=30).get_or_compute("key", fail)

    with pytest.raises(EmptyError):
        asyncio.run(read())


def test_invalidation_of_no_key(cache_server: Server) -> None:
    """An invalidation of no key sends no command, and is no error."""
    with redis_client(cache_server.url) as client:
        CacheAside(client, ttl=60).invalidate()


@pytest.mark.parametrize(
    "version", [-(2**63), -101, -1, 9, 99, 2**53 - 2, 2**53, 1_764_414_000_000_000_000, 2**63 - 10]
)
def test_write_through_newer_version_wins(cache_server: Server, version: int) -> None:
    """A newer version replaces an older one, and an older one does not replace it."""
    with redis_client(cache_server.url) as client:
        records = WriteThrough(client, ttl=60)
        assert records.put("user:1", "old", version)
        assert records.put("user:1", "new", version + 1)
        assert not records.put("user:1", "old", version)
        assert records.get("user:1") == "new"


@pytest.mark.parametrize("decodes", [True, False])
@pytest.mark.parametrize("value", ['{"a": ', b"\xff\xfe", ""])
def test_write_through_of_another_form(cache_server: Server, value: str | bytes, *, decodes: bool) -> None:
    """A record whose value is no JSON is a miss, and a newer version replaces it."""
    with redis_client(cache_server.url, decode_responses=decodes) as client:
        client.hset("user:1", mapping={"key": "user:1", "value": value, "version": 1})
        records = WriteThrough(client, ttl=60)
        assert records.get("user:1") is None
        assert records.put("user:1", "new", 2)
        assert records.get("user:1") == "new"


def test_write_through_takes_nanoseconds(cache_server: Server) -> None:
    """Versions in nanoseconds, 100 ns apart, each replace the version before."""
    first = 1_764_414_000_000_000_000
    with redis_client(cache_server.url) as client:
        records = WriteThrough(client, ttl=60)
        assert [records.put("user:1", step, first + 100 * step) for step in range(6)] == [True] * 6


@pytest.mark.slow
def test_write_behind_saves_slow_entries_once(cache_server: Server) -> None:
    """Entries are saved once and in order, even if a batch takes longer than the drainer's lock."""
    saved: list[int] = []

    def save(_: str, value: int) -> None:
        time.sleep(0.5)
        saved.append(value)

    with redis_client(cache_server.url) as client:
        queue = WriteBehind(client, "queue")
        for number in range(70):
            queue.write("key", number)

        def drain() -> None:
            with suppress(LockError):
                queue.drain(save)

        first = threading.Thread(target=drain)
        first.start()
        time.sleep(31)  # longer than the lock
        drain()
        first.join()
    assert saved == list(range(70))


def test_looking_for_bad_keys_changes_nothing(cache_server: Server) -> None:
    """The look runs only SCAN, TTL and MEMORY USAGE, and makes no key more recent for the eviction."""
    with cache_server.client() as client, redis_client(cache_server.url) as other:
        for number in range(500):
            client.set(f"user:{number}", "x", ex=60)
        other.ping()
        # The clock of the idle time ticks in seconds.
        eventually(lambda: client.object("idletime", "user:1") >= 1, within=5)
        client.config_resetstat()
        assert len([*sample(other, 10_000)]) == client.dbsize() >= 500
        used = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
        assert client.object("idletime", "user:1") >= 1
    # Before Redis 7.0 a server did not count subcommands apart.
    memory = "memory" if "memory" in used else "memory|usage"
    assert used - {"config", "config|resetstat", "dbsize", "info"} == {"scan", "ttl", memory}
