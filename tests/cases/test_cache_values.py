"""What a cache gives back is what was put in, and the newest version of a record wins."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

import pytest
from redis.exceptions import LockError

from redis_practices.clients import redis_client
from redis_practices.pure_cache.cache_aside import CacheAside
from redis_practices.pure_cache.write_through import WriteBehind, WriteThrough
from redis_practices.servers.server import Server

KEPT: list[Any] = [{"name": "Ann"}, ["a", 1], 1.5, 2**70, "\ud800", True, 0, ""]
CHANGED: list[Any] = [{1: "a"}, (1, 2), {"t": (1,)}, {True: 1}]


def differs(value: object) -> Any:
    """Return a value whose hit differs from its miss today, as a parameter."""
    seen = pytest.mark.xfail(strict=True, raises=AssertionError, reason="the hit differs from the miss")
    return pytest.param(value, marks=seen, id=repr(value))


@pytest.mark.parametrize("value", [*(pytest.param(value, id=ascii(value)) for value in KEPT), *map(differs, CHANGED)])
def test_cache_hit_equals_the_miss(cache_server: Server, value: object) -> None:
    """A hit gives what the miss gave, or the miss says that JSON cannot hold the value."""
    with redis_client(cache_server.url) as client:
        cache = CacheAside(client, ttl=60)
        try:
            miss = cache.get_or_compute("key", lambda: value)
        except TypeError:
            return
        hit = cache.get_or_compute("key", lambda: "computed again")
    assert repr(hit) == repr(miss)


def test_cache_refuses_infinity(cache_server: Server) -> None:
    """A value that JSON cannot hold is refused, and the next reader computes at once."""
    with redis_client(cache_server.url) as client:
        cache = CacheAside(client, ttl=60)
        with pytest.raises(ValueError, match="JSON"):
            cache.get_or_compute("key", lambda: [float("inf")])
        assert cache.get_or_compute("key", lambda: "value") == "value"


def test_cache_key_of_another_type(cache_server: Server) -> None:
    """A key that holds a hash costs the reader no time: the origin is asked at once."""
    with redis_client(cache_server.url) as client:
        client.hset("key", "field", "1")
        begun = time.monotonic()
        assert CacheAside(client, ttl=60).get_or_compute("key", lambda: "value") == "value"
    assert time.monotonic() - begun < 1


LARGE = "a version above 2**53 is taken for one that is not newer"


@pytest.mark.parametrize(
    "version",
    [
        2**53 - 2,
        pytest.param(2**53, marks=pytest.mark.xfail(strict=True, raises=AssertionError, reason=LARGE)),
        pytest.param(
            1_764_414_000_000_000_000, marks=pytest.mark.xfail(strict=True, raises=AssertionError, reason=LARGE)
        ),
        pytest.param(2**63 - 10, marks=pytest.mark.xfail(strict=True, raises=AssertionError, reason=LARGE)),
    ],
)
def test_write_through_newer_version_wins(cache_server: Server, version: int) -> None:
    """The next version of a record replaces the one before it, and an older one does not."""
    with redis_client(cache_server.url) as client:
        records = WriteThrough(client, ttl=60)
        assert records.put("user:1", "old", version)
        assert records.put("user:1", "new", version + 1)
        assert not records.put("user:1", "old", version)
        assert records.get("user:1") == "new"


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="steps of 100 ns are lost: newer ones are refused")
def test_write_through_takes_nanoseconds(cache_server: Server) -> None:
    """Versions that are times in nanoseconds, 100 ns apart, each replace the one before."""
    first = 1_764_414_000_000_000_000
    with redis_client(cache_server.url) as client:
        records = WriteThrough(client, ttl=60)
        assert [records.put("user:1", step, first + 100 * step) for step in range(6)] == [True] * 6


@pytest.mark.slow
@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="the lock of 30 s ends in the batch: entries are saved twice"
)
def test_write_behind_saves_slow_entries_once(cache_server: Server) -> None:
    """Entries are saved once each and in order, even if a batch takes longer than the drainer's lock."""
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
