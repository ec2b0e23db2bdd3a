"""The sentences about the way of data to a server and back, the same for a cache, a broker and a cluster."""

from __future__ import annotations

import hashlib
import secrets
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from pytest_bdd import given, parsers, then

from fixtures.reporting.measurements import Bound
from redis_practices.polling import seconds_until
from steps.common.vocabulary import TYPES, Duration

if TYPE_CHECKING:
    from fixtures.stacks.protocols import Broker, Cache, Cluster

KEEP = 60
"""Seconds after which nothing that a scenario wrote is left, whatever becomes of it."""

BATCH = 200
"""Commands a pipeline."""


@dataclass
class Way:
    """One writer and one reader of a deployment, each with connections of its own, and a prefix for their keys."""

    writer: Any
    reader: Any
    prefix: str
    connect: Callable[..., Any]
    """Opens one more client, options as redis-py names them."""

    def raw(self, request: pytest.FixtureRequest) -> Any:
        """Return a client that decodes nothing; it ends with the scenario."""
        client = self.connect(decode_responses=False)
        request.addfinalizer(client.close)
        return client

    def keys(self, count: int) -> list[str]:
        """Return `count` keys of this scenario."""
        return [f"{self.prefix}{number}" for number in range(count)]

    def batches(self, client: Any, commands: list[tuple[Any, ...]]) -> Iterator[Any]:
        """Run commands in pipelines and yield their answers in order."""
        for first in range(0, len(commands), BATCH):
            pipeline = client.pipeline(transaction=False)
            for command in commands[first : first + BATCH]:
                pipeline.execute_command(*command)
            yield from pipeline.execute()


@given(parsers.parse("a writer and a reader of the {role:w}"), target_fixture="way")
def have_way(role: str, key_prefix: str, request: pytest.FixtureRequest) -> Way:
    """Have two clients of a role: cache, broker or cluster; what they write is gone when the scenario ends."""
    deployment: Cache | Broker | Cluster = request.getfixturevalue(role)
    way = Way(deployment.client(), deployment.client(), key_prefix, deployment.client)
    request.addfinalizer(way.writer.close)
    request.addfinalizer(way.reader.close)
    return way


@then(parsers.cfparse("of {count:Count} acknowledged writes {bound:Bound} are lost", extra_types=TYPES))
def check_writes(way: Way, count: int, bound: Bound, measure: Callable[..., None]) -> None:
    """Write keys with different values, read each back with the other client, and count what differs."""
    keys = way.keys(count)
    answers = list(way.batches(way.writer, [("SET", key, key[::-1], "EX", KEEP) for key in keys]))
    refused = [answer for answer in answers if answer not in (True, "OK", b"OK")]
    assert not refused, f"{len(refused)} of {count} writes were not acknowledged: {refused[0]!r}"
    read = list(way.batches(way.reader, [("GET", key) for key in keys]))
    list(way.batches(way.writer, [("DEL", key) for key in keys]))
    lost = sum(value != key[::-1] for key, value in zip(keys, read, strict=True))
    measure(f"acknowledged writes lost, of {count}", unit="keys", bound=bound, seen=lost)


@then(parsers.parse("a value of {count:d} bytes comes back as it was"))
def check_value(way: Way, count: int) -> None:
    """Write random text of a size and compare what is read by its digest."""
    value = secrets.token_hex((count + 1) // 2)[:count]
    way.writer.set(way.prefix, value, ex=KEEP)
    seen = way.reader.get(way.prefix) or ""
    way.writer.delete(way.prefix)
    assert hashlib.sha256(seen.encode()).digest() == hashlib.sha256(value.encode()).digest(), (
        f"{count} bytes were written, and {len(seen)} bytes came back{' changed' if len(seen) == count else ''}"
    )


@then(parsers.cfparse("{bound:Bound} of {count:Count} reads right after a write is stale", extra_types=TYPES))
def check_fresh(way: Way, bound: Bound, count: int, measure: Callable[..., None]) -> None:
    """Change one key again and again and read it each time with the other client."""
    stale = 0
    for number in range(count):
        way.writer.set(way.prefix, number, ex=KEEP)
        stale += way.reader.get(way.prefix) != str(number)
    way.writer.delete(way.prefix)
    measure(f"stale reads, of {count}", unit="", bound=bound, seen=stale)


@then(parsers.cfparse("a ttl of {ttl:Duration} is reported to {bound:Bound}", extra_types=TYPES))
def check_ttl(way: Way, ttl: Duration, bound: Bound, measure: Callable[..., None]) -> None:
    """Set a ttl and ask at once for it; the bound is the share of it that is left."""
    way.writer.set(way.prefix, "x", px=round(ttl.seconds() * 1000))
    left = way.reader.pttl(way.prefix) / 1000
    way.writer.delete(way.prefix)
    measure("ttl that is reported at once", unit="%", bound=bound, seen=round(100 * left / ttl.seconds(), 1))


@then(parsers.cfparse("a key with a ttl of {ttl:Duration} is gone {bound:Bound}", extra_types=TYPES))
def check_expiry(way: Way, ttl: Duration, bound: Bound, measure: Callable[..., None]) -> None:
    """Set a ttl and watch the key until it is gone."""
    begun = time.monotonic()
    way.writer.set(way.prefix, "x", px=round(ttl.seconds() * 1000))
    lived = seconds_until(lambda: way.reader.get(way.prefix) is None, give_up=ttl.seconds() + 5, since=begun)
    measure(f"life of a key with a ttl of {ttl.seconds():g} s", unit="s", bound=bound, seen=round(lived, 3))


@then("a published message reaches its subscriber within 1 second")
def check_publish(way: Way) -> None:
    """Subscribe with one client and publish with the other."""
    listener = way.reader.pubsub(ignore_subscribe_messages=False)
    try:
        listener.subscribe(way.prefix)
        assert listener.get_message(timeout=1.0), "the subscription was not confirmed within 1 s"
        way.writer.publish(way.prefix, "hello")
        message = listener.get_message(timeout=1.0)
        assert message, "a message that was published reached nobody"
        assert message["data"] == "hello", f"another message came: {message['data']!r}"
    finally:
        listener.close()


@then(parsers.cfparse("half of {count:Count} answers come {bound:Bound}", extra_types=TYPES))
def check_latency(way: Way, count: int, bound: Bound, measure: Callable[..., None]) -> None:
    """Time single reads one after another, and hold their median against the bound."""
    seen = []
    for _ in range(count):
        begun = time.perf_counter()
        way.reader.get(way.prefix)
        seen.append(time.perf_counter() - begun)
    measure("median of a read's round trip", unit="s", bound=bound, seen=round(statistics.median(seen), 5))
