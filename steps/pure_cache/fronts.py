"""The sentences about near caches, and about writing through a cache and behind it."""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from pytest_bdd import parsers, when
from redis import Redis
from redis.exceptions import LockError, MaxConnectionsError, RedisError

from fixtures.bdd.vocabulary import records, register
from fixtures.context import Context, Plan
from fixtures.pure_cache.origin import Origin, at_once
from fixtures.run.keys import Unsupported
from fixtures.stacks.protocols import need_right
from redis_practices.polling import eventually
from redis_practices.pure_cache.near_cache import NearCache
from redis_practices.pure_cache.write_through import WriteBehind, WriteThrough
from steps.common.vocabulary import TYPES, Table, rows
from steps.pure_cache.cache_aside import KINDS

HEARTBEAT, SOON = 2.0, 0.4
"""Seconds of silence after which a near cache asks for the server: as usual, and on an isolated server.

On a busy machine the judge would take its own silence for the server's.
"""

ENOUGH = 20
"""Reads that ask the server, after which no more are made."""

PUSHES = 3
"""The version of the protocol in which a server pushes messages (RESP3)."""


@dataclass
class Near:
    """A near cache under test, with another client of its server."""

    cache: NearCache
    client: Any
    """The client of the near cache."""
    other: Any
    prefix: str

    def read(self, key: str) -> Any:
        """Read through the near cache; None while the server does not answer."""
        with suppress(RedisError):
            return self.cache.get(self.prefix + key)
        return None

    def hold(self, key: str, value: str) -> None:
        """Write a value, and read it until a copy is kept."""

        def kept() -> bool:
            if self.cache.get(self.prefix + key) is None:
                self.other.set(self.prefix + key, value, px=60_000)
                self._hear()
                self.cache.get(self.prefix + key)
            return self.cache.holds(self.prefix + key)

        eventually(kept, within=5, every=0.01, also=(RedisError,))

    def _hear(self) -> None:
        """Wait until the near cache has heard of all writes so far.

        Notices come in the order of the writes.
        """
        last = f"{self.prefix}last"
        self.other.set(last, "old")
        self.cache.get(last)
        self.other.set(last, "new")
        eventually(lambda: self.cache.get(last) == "new", within=5, every=0.001)
        self.other.delete(last)

    def disconnect(self) -> None:
        """Cut all connections to the server but this one."""
        self.other.client_kill_filter(_type="normal", skipme=True)

    def is_ready(self) -> bool:
        """Tell whether it hears of changes, and keeps a copy again."""
        if self.cache.listening:
            self.hold("ready", "again")
        return self.cache.listening

    def asked(self, key: str, times: int) -> int:
        """Return how many of some reads ask the server.

        All connections of its client are taken, so that a read that asks gets none. Reads of further clients do not
        count. Each read must give the same value.
        """
        pool, taken, got, asked = self.client.connection_pool, list[Any](), set[Any](), 0
        pool.max_connections = 2  # one is for notices
        with suppress(MaxConnectionsError):
            while True:
                taken.append(pool.get_connection())
        for _ in range(times):
            try:
                got.add(self.cache.get(self.prefix + key))
            except MaxConnectionsError:
                asked += 1
                if asked == ENOUGH:  # each refusal takes 0.1 s
                    break
        for connection in taken:
            pool.release(connection)
        assert len(got) <= 1, f"the reads gave {got}"
        return asked


def near(context: Context, rules: dict[str, Any]) -> Near:
    """Start a near cache, and wait until it hears of changes."""
    limits = {"socket_timeout": 0.2} if "cache" in context.own else {}
    client, other = context.cache.client(protocol=3, **limits), context.cache.client()
    if int(client.connection_pool.get_protocol() or 3) < PUSHES:
        raise Unsupported("needs RESP3, in which a server pushes messages: the URL says protocol=2")
    other.execute_command("CLIENT TRACKING", "OFF")  # where it is refused, that is the reason of a skip
    heartbeat = SOON if "cache" in context.own else HEARTBEAT
    cache = context.ending.enter_context(NearCache(client, context.key_prefix, heartbeat=heartbeat, **rules))
    eventually(lambda: cache.listening, within=10)
    for connected in (client, other):  # before a clock starts
        connected.get(context.key("user:1"))
    return Near(cache, client, other, context.key_prefix)


KINDS["near"] = near


@register("setting", "active expiry", "whether the server looks for expired keys that no client reads")
def set_active_expiry(plan: Plan, value: str) -> None:
    """Set it with DEBUG SET-ACTIVE-EXPIRE, once the server has started."""
    plan.config["enable-debug-command"] = "local"
    flag = "1" if value == "yes" else "0"
    plan.after.append(lambda _, made: made.client().execute_command("DEBUG", "SET-ACTIVE-EXPIRE", flag))


register("measurement", "copies", "values that a near cache keeps, and drops while it hears nothing", unit="values")(
    lambda _, near: len(near.cache)
)


@register("property", "a copy costs the server no command", "reads of a copy are answered from memory")
def check_free(context: Context, count: int) -> None:
    """Read a copy again and again."""
    asked = context.named["the near cache"].asked("user:1", count)
    assert not asked, f"{asked} of {count} reads asked the server, or more"


register("setting", "writes before", "how many writes the origin saves before it stops")(Origin.stop)


@dataclass
class Through:
    """A write-through cache under test."""

    context: Context
    records: WriteThrough
    origin: Origin

    def read(self, key: str) -> Any:
        """Read a record from the cache alone."""
        return self.records.get(self.context.key_prefix + key)

    def hold(self, key: str, value: str) -> None:
        """Save a record, and put it into the cache."""
        assert self.write(key, value), f"{key} is not cached"

    def write(self, key: str, value: Any) -> bool:
        """Save a record, and tell whether the cache holds it."""
        return self.records.write(self.context.key_prefix + key, value, lambda new: self.origin.save(key, new))


def write_through(context: Context, rules: dict[str, Any]) -> Through:
    """Put a write-through cache in front of the origin.

    Its writes are scripts. A user without that right is the reason of a skip, as the cache itself reports no error.
    """
    need_right(context.stack.lacks.get("cache", {}), "EVAL")
    made = WriteThrough(context.cache.client(), **{"ttl": 60.0} | rules)
    return Through(context, made, context.part(Origin))


@dataclass
class Behind:
    """A write-behind cache under test, and the writes that it took."""

    context: Context
    client: Redis
    queue: WriteBehind
    written: list[Any] = field(default_factory=list)

    def drain(self) -> None:
        """Save the writes that wait, in batches of 3."""
        origin = self.context.part(Origin)

        def save(key: str, value: Any) -> None:
            origin.save(key, value)

        with self.context.attempt("drain", RuntimeError):
            self.queue.drain(save, batch=3)
        pairs = zip(origin.saved, self.written, strict=False)
        in_order = len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))
        self.context.record("writes saved in order", in_order)


def write_behind(context: Context, rules: dict[str, Any]) -> Behind:
    """Put a write-behind cache in front of the origin."""
    deployment = context.broker if context.role == "broker" else context.cache
    client = deployment.client()
    return Behind(context, client, WriteBehind(client, f"{context.key_prefix}writes", **rules))


KINDS.update({"write-through": write_through, "write-behind": write_behind})

register("measurement", "writes saved in order", "writes that the origin has, up to the first in another order")(
    Behind.drain
)


register("measurement", "unsaved writes", "queued writes that the origin does not have yet", unit="writes")(
    lambda _, behind: behind.queue.waiting()
)


@when("these records are written")
@records("writes not cached", "writes that the origin saved, and the cache does not hold", unit="writes")
def write_records(context: Context, datatable: Table) -> None:
    """Write records through the write-through cache, in this order.

    A record with a VERSION is put into the cache alone, as by a writer that has saved it already.
    Writers that overtake each other reach the cache in an order that is not the order of their versions.

    Example: a table of KEY, VALUE and VERSION
    """
    cache: Through = context.named["the write-through cache"]
    missing = 0
    for row in rows(datatable, ("KEY", "VALUE"), ("VERSION",)):
        if version := row.get("VERSION"):
            cache.records.put(context.key_prefix + row["KEY"], row["VALUE"], int(version))
            continue
        with context.attempt("write", RuntimeError):
            missing += not cache.write(row["KEY"], row["VALUE"])
    context.record("writes not cached", missing)


@when(parsers.parse("{count:Count} writes are queued", extra_types=TYPES))
def queue_writes(context: Context, count: int) -> None:
    """Write one record again and again through the write-behind cache.

    Example: ``When 20 writes are queued``
    """
    cache: Behind = context.named["the write-behind cache"]
    for number in range(count):
        cache.queue.write(f"{context.key_prefix}user:1", number)
        cache.written.append(number)
    assert cache.queue.waiting() == count, f"{cache.queue.waiting()} of {count} writes wait"


@register("property", "the cache holds the newest version", "after writes at the same time, cache and origin agree")
def check_newest(context: Context, count: int) -> None:
    """Write each record in 8 threads at once, and compare."""
    cache: Through = context.named["the write-through cache"]
    numbers = itertools.count(1)
    for record in range(count // 8):
        key = f"user:{record}"
        at_once(8, lambda: cache.write(key, next(numbers)))  # noqa: B023 - called at once
        seen, newest = cache.read(key), cache.origin.read(key)
        assert seen == newest, f"{key}: the cache holds {seen}, the origin {newest}"
    assert len(cache.origin.saved) == count, f"{len(cache.origin.saved)} of {count} writes were saved"


@register("property", "one process drains the queue at a time", "a second drainer is refused during each save")
def check_one_drainer(context: Context, count: int) -> None:
    """Try to drain from within each save."""
    cache: Behind = context.named["the write-behind cache"]
    other, saved = WriteBehind(cache.client, f"{context.key_prefix}writes"), list[Any]()

    def save(_: str, value: Any) -> None:
        with pytest.raises(LockError):
            other.drain(lambda _, value: saved.append(value))
        saved.append(value)

    cache.queue.drain(save)
    assert saved == cache.written == list(range(count)), f"the origin got {saved}, not {cache.written}"
