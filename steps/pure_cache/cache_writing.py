"""The sentences about writing through a cache and behind it."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from pytest_bdd import given, parsers, then, when

from fixtures.pure_cache.origin import at_once
from redis_practices.pure_cache.write_through import WriteThrough
from redis_practices.servers.server import CACHE
from steps.common.vocabulary import rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fixtures.stacks.protocols import Cache, Private
    from redis_practices.servers.server import Server

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
