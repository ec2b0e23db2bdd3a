"""The sentences about writing through a cache and behind it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from pytest_bdd import given, parsers, then, when
from redis.exceptions import LockError

from fixtures.pure_cache.origin import at_once
from fixtures.stacks.protocols import Cache, Private
from redis_practices.pure_cache.write_through import WriteBehind, WriteThrough
from redis_practices.servers.server import BROKER, CACHE, Server
from steps.common.vocabulary import rows

TTL = 60
"""Seconds that a record stays in the cache."""


@dataclass
class Records:
    """An origin of records with versions, and the cache that is written through."""

    through: WriteThrough
    client: Any
    prefix: str
    server: Server | None = None
    saved: list[Any] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def save(self, value: Any) -> int:
        """Save a value as the newest and return its version."""
        with self.lock:
            self.saved.append(value)
            return len(self.saved)


@given("records that have a version", target_fixture="records")
def have_records(cache: Cache, key_prefix: str) -> Records:
    """Have an origin whose records are written through the cache of this process."""
    client = cache.client()
    return Records(WriteThrough(client, ttl=TTL), client, key_prefix)


@given("records that have a version, on a server of their own", target_fixture="records")
def have_own_records(private: Private) -> Records:
    """Have an origin whose records are written through a cache that may be killed."""
    server = private.server(CACHE)
    records = Records(WriteThrough(server.client(), ttl=TTL), server.client(), "", server)
    records.through.write("user:1", "before", records.save)
    return records


@when("their server is killed")
def kill_server(records: Records) -> None:
    """End the server at once."""
    assert records.server, "these records have no server of their own"
    records.server.kill()


@when("the records are put into the cache in this order")
def put_records(records: Records, datatable: Sequence[Sequence[str]]) -> None:
    """Put values as writers do that reach the cache in this order."""
    for row in rows(datatable, ("KEY", "VALUE", "VERSION")):
        records.through.put(records.prefix + row["KEY"], row["VALUE"], int(row["VERSION"]))


@when(parsers.parse('{writers:d} writers change the record "{key}" {times:d} times each'))
def write_at_once(records: Records, writers: int, key: str, times: int) -> None:
    """Write in threads."""
    numbers = itertools.count(1)

    def write() -> None:
        """Write again and again."""
        for _ in range(times):
            records.through.write(records.prefix + key, next(numbers), records.save)

    at_once(writers, write)


@then(parsers.parse('the record "{key}" reads "{value}"'))
def check_record(records: Records, key: str, value: str) -> None:
    """Read the record from the cache alone."""
    seen = records.through.get(records.prefix + key)
    assert seen == value, f"{key} reads {seen!r}"


@then(parsers.parse('the record "{key}" has a ttl'))
def check_record_ttl(records: Records, key: str) -> None:
    """Require a ttl of at most what was asked for."""
    ttl = records.client.pttl(records.prefix + key)
    assert 0 < ttl <= 1000 * TTL, f"{key} has the ttl {ttl} ms"


@then(parsers.parse('the record "{key}" reads what the origin holds'))
def check_newest(records: Records, key: str) -> None:
    """Require that the cache holds the value that was saved last."""
    seen = records.through.get(records.prefix + key)
    assert seen == records.saved[-1], f"{key} reads {seen}, the origin holds {records.saved[-1]}"


@then(parsers.parse('a write of "{key}" that the origin refuses leaves "{value}" in the cache'))
def check_refused(records: Records, key: str, value: str) -> None:
    """Let the origin refuse, and read the cache."""

    def refuse(_: Any) -> int:
        """Refuse."""
        raise PermissionError("refused")

    with pytest.raises(PermissionError):
        records.through.write(records.prefix + key, "wrong", refuse)
    check_record(records, key, value)


@then(parsers.parse('a write of "{key}" reaches the origin and says that it is not cached'))
def check_without_cache(records: Records, key: str) -> None:
    """Write while the cache is down."""
    cached = records.through.write(key, "after", records.save)
    assert records.saved[-1] == "after", f"the origin holds {records.saved[-1]!r}"
    assert cached is False, "a cache that is down is said to hold the value"


@given("a queue of writes on a server that keeps what it is told", target_fixture="server")
def have_queue(private: Private) -> Server:
    """Start a server that evicts nothing and keeps a log, flushed before each answer."""
    return private.server({**BROKER, "appendfsync": "always"})


@given("a queue of writes on a server that is a pure cache", target_fixture="server")
def have_cache_queue(private: Private) -> Server:
    """Start a server that keeps nothing on disk."""
    return private.server(CACHE)


@when(parsers.parse("{number:d} writes are made"))
def make_writes(server: Server, writes: list[int], number: int) -> None:
    """Queue writes, all of one record, so that their order matters."""
    with server.client() as client:
        behind = WriteBehind(client, "writes")
        for index in range(number):
            behind.write("user:1", index)
            writes.append(index)
        assert behind.waiting() == number, f"{behind.waiting()} of {number} writes wait"


@when(parsers.parse("the origin refuses the write {refused:d} once"), target_fixture="begun")
def refuse_once(server: Server, refused: int) -> list[int]:
    """Save until the origin refuses one write, and return what it had saved by then."""
    saved: list[int] = []

    def save(_: str, value: int) -> None:
        """Refuse one value."""
        if value == refused:
            raise PermissionError("refused")
        saved.append(value)

    with server.client() as client, pytest.raises(PermissionError):
        WriteBehind(client, "writes").drain(save, batch=3)
    return saved


@then("they reach the origin in their order, and none is left")
def check_order(server: Server, writes: list[int], request: pytest.FixtureRequest) -> None:
    """Save what waits, after what had been saved before."""
    saved = list(request.getfixturevalue("begun")) if "begun" in request.fixturenames else []
    with server.client() as client:
        behind = WriteBehind(client, "writes")
        behind.drain(lambda _, value: saved.append(value))
        assert behind.waiting() == 0, f"{behind.waiting()} writes are left"
    assert saved == writes, f"the origin got {saved}, not {writes}"


@then("a second one that saves meanwhile is refused")
def check_second(server: Server, writes: list[int]) -> None:
    """Try to save from within a save: the one that has the lock goes on, the other is told."""
    saved: list[int] = []
    refused = 0
    with server.client() as client:
        behind, other = WriteBehind(client, "writes"), WriteBehind(client, "writes")

        def save(_: str, value: int) -> None:
            """Save, and let the other one try too."""
            nonlocal refused
            with pytest.raises(LockError):
                other.drain(lambda _, value: saved.append(value))
            refused += 1
            saved.append(value)

        behind.drain(save)
    assert saved == writes, f"the origin got {saved}, not {writes}"
    assert refused == len(writes), f"the other one was refused {refused} times"


@then("nothing is left of them")
def check_lost(server: Server) -> None:
    """Require an empty queue: when a cache keeps it one day, the sentence is to be changed."""
    with server.client() as client:
        assert WriteBehind(client, "writes").waiting() == 0, "a pure cache kept the queue through a crash"
