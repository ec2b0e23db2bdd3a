"""Judge the way of data to a server and back."""

from __future__ import annotations

import hashlib
import secrets
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from pytest_bdd import given, parsers, then
from redis.exceptions import ConnectionError as RedisConnectionError

from fixtures.reporting.measurements import Bound
from fixtures.run.own_time import Moment, Stopwatch, first_certain, moment_of
from fixtures.stacks.protocols import Broker, Cache, Cluster
from steps.common.vocabulary import TYPES, Duration

KEEP = 60
"""Seconds after which nothing that a scenario wrote is left, whatever becomes of it."""

BATCH = 200
"""Commands a pipeline."""

PATIENCE = 5.0
"""Seconds to wait beyond a bound, so that a failure says what was seen."""


@dataclass
class Way:
    """One writer and one reader of a deployment, each with connections of its own, and a prefix for their keys."""

    writer: Any
    reader: Any
    prefix: str
    connect: Callable[..., Any]
    """Opens one more client, options as redis-py names them."""

    def connected(self) -> None:
        """Have both clients connected before a clock starts."""
        self.writer.ping()
        self.reader.ping()

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
    way.connected()
    way.writer.set(way.prefix, "x", px=round(ttl.seconds() * 1000))
    left = way.reader.pttl(way.prefix) / 1000
    way.writer.delete(way.prefix)
    measure("ttl that is reported at once", unit="%", bound=bound, seen=round(100 * left / ttl.seconds(), 1))


@then(parsers.cfparse("a key with a ttl of {ttl:Duration} is gone {bound:Bound}", extra_types=TYPES))
def check_expiry(way: Way, ttl: Duration, bound: Bound, measure: Callable[..., None]) -> None:
    """Set a ttl and look until the key is gone; a look that is late makes nothing of its life certain."""
    way.connected()

    def life() -> Moment:
        """Set it once."""
        begun = time.monotonic()
        way.writer.set(way.prefix, "x", px=round(ttl.seconds() * 1000))
        done = time.monotonic()
        return moment_of(lambda: way.reader.get(way.prefix) is None, ttl.seconds() + 5, begun, done)

    seen = round(first_certain(life, bound), 3)
    measure(f"life of a key with a ttl of {ttl.seconds():g} s", unit="s", bound=bound, seen=seen)


@then(parsers.cfparse("a published message reaches its subscriber {bound:Bound}", extra_types=TYPES))
def check_publish(way: Way, bound: Bound, measure: Callable[..., None]) -> None:
    """Subscribe with one client and publish with the other."""
    way.connected()
    listener = way.reader.pubsub(ignore_subscribe_messages=False)
    try:
        listener.subscribe(way.prefix)
        assert listener.get_message(timeout=PATIENCE), f"the subscription was not confirmed within {PATIENCE:g} s"
        way.writer.publish(way.prefix, "hello")
        watch = Stopwatch()
        message = listener.get_message(timeout=PATIENCE)
        took = watch.seconds()
        assert message, f"a message that was published reached nobody within {PATIENCE:g} s"
        assert message["data"] == "hello", f"another message came: {message['data']!r}"
    finally:
        listener.close()
    measure("way of a message to its subscriber", unit="s", bound=bound, seen=round(took, 3))


@then(parsers.cfparse("half of {count:Count} answers come {bound:Bound}", extra_types=TYPES))
def check_latency(way: Way, count: int, bound: Bound, measure: Callable[..., None]) -> None:
    """Time single reads one after another, and hold their median against the bound."""
    seen = statistics.median(_round_trips(way, count))
    measure("median of a read's round trip", unit="s", bound=bound, seen=round(seen, 5))


def _round_trips(way: Way, count: int) -> list[float]:
    """Return the seconds that single reads took, from the shortest to the longest, without the judge's own."""
    way.connected()
    seen = []
    for _ in range(count):
        watch = Stopwatch()
        way.reader.get(way.prefix)
        seen.append(watch.seconds())
    return sorted(seen)


@then("a value that holds every byte comes back as it was")
def check_bytes(way: Way, request: pytest.FixtureRequest) -> None:
    """Write all 256 bytes and read them with a client that decodes nothing."""
    value = bytes(range(256))
    way.writer.set(way.prefix, value, ex=KEEP)
    seen = way.raw(request).get(way.prefix)
    way.writer.delete(way.prefix)
    assert seen == value, f"256 different bytes were written, and {len(set(seen or b''))} came back"


@then(parsers.cfparse("{bound:Bound} of {count:Count} keys are there right after they were deleted", extra_types=TYPES))
def check_deleted(way: Way, bound: Bound, count: int, measure: Callable[..., None]) -> None:
    """Write and delete keys one by one, and look each time with the other client."""
    left = 0
    for key in way.keys(count):
        way.writer.set(key, "x", ex=KEEP)
        way.writer.delete(key)
        left += way.reader.exists(key)
    measure(f"keys that outlived their deletion, of {count}", unit="keys", bound=bound, seen=left)


@then(parsers.cfparse("of {count:Count} clients that want a lock {bound:Bound} gets it", extra_types=TYPES))
def check_lock(way: Way, bound: Bound, count: int, measure: Callable[..., None]) -> None:
    """Set one key only if it is not there (``SET NX``), all at once."""
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda number: way.writer.set(way.prefix, number, nx=True, ex=KEEP), range(count)))
    way.writer.delete(way.prefix)
    measure(f"holders of one lock, of {count}", unit="", bound=bound, seen=sum(map(bool, got)))


@then(parsers.cfparse("of {count:Count} increments by two clients {bound:Bound} are lost", extra_types=TYPES))
def check_increments(way: Way, bound: Bound, count: int, measure: Callable[..., None]) -> None:
    """Count one key up by turns, and read it once at the end."""
    way.writer.set(way.prefix, 0, ex=KEEP)
    for number in range(count):
        (way.reader if number % 2 else way.writer).incr(way.prefix)
    seen = int(way.reader.get(way.prefix))
    way.writer.delete(way.prefix)
    measure(f"increments lost, of {count}", unit="", bound=bound, seen=count - seen)


@then(
    parsers.cfparse(
        "of {count:Count} items in a list {bound:Bound} are lost, doubled or out of order", extra_types=TYPES
    )
)
def check_list(way: Way, bound: Bound, count: int, measure: Callable[..., None]) -> None:
    """Push items on one side, and take them from the other with the other client, as a worker does."""
    pushed = [str(number) for number in range(count)]
    list(way.batches(way.writer, [("LPUSH", way.prefix, item) for item in pushed]))
    way.writer.expire(way.prefix, KEEP)
    taken = list(way.batches(way.reader, [("RPOP", way.prefix)] * count))
    way.writer.delete(way.prefix)
    wrong = sum(one != other for one, other in zip(pushed, taken, strict=True))
    measure(f"items wrong, of {count}", unit="items", bound=bound, seen=wrong)


@then(parsers.cfparse("waiting for an item lasts {duration:Duration} if none comes", extra_types=TYPES))
def check_wait(way: Way, duration: Duration) -> None:
    """Wait as a worker does (``BRPOP``); a balancer that cuts idle connections off ends the wait."""
    # The client's own time-out, which the URL may set, is no promise of the broker.
    way.reader.connection_pool.connection_kwargs["socket_timeout"] = duration.seconds() + PATIENCE
    way.connected()
    begun = time.monotonic()
    try:
        item = way.reader.brpop([way.prefix], timeout=duration.seconds())
    except RedisConnectionError as error:
        raise AssertionError(f"the wait was cut off after {time.monotonic() - begun:.1f} s: {error}") from error
    waited = time.monotonic() - begun
    # The server looks ten times a second whose time is up.
    assert item is None, f"an item came that nobody sent: {item}"
    assert waited >= duration.seconds() - 0.01, f"the wait was cut off after {waited:.1f} s"


@then("a transaction is answered as one")
def check_transaction(way: Way) -> None:
    """Write and read in one ``MULTI``, as Celery does for every task."""
    key, value = way.prefix, secrets.token_hex(8)
    answer = way.writer.pipeline(transaction=True).set(key, value, ex=KEEP).get(key).delete(key).execute()
    assert answer == [True, value, 1], f"it is answered with {answer}"


@then(parsers.cfparse("{count:Count} connections at once are served", extra_types=TYPES))
def check_connections(way: Way, count: int) -> None:
    """Open connections until there are so many, and ask something on each."""
    with ExitStack() as ending:
        served = 0
        try:
            for _ in range(count):
                client: Any = ending.enter_context(way.connect())
                client.get(way.prefix)
                served += 1
        except (RedisConnectionError, OSError) as error:
            raise AssertionError(f"of {count} connections at once {served} were served: {error}") from error


@then(parsers.cfparse("its clock differs from this machine's by {bound:Bound}", extra_types=TYPES))
def check_clock(way: Way, bound: Bound, measure: Callable[..., None]) -> None:
    """Compare the clocks; the server's answer lies between the moments at which it was asked for and came."""
    way.connected()

    def apart() -> Moment:
        """Ask once."""
        asked = time.time()
        seconds, microseconds = way.reader.time()
        came, said = time.time(), seconds + microseconds / 1e6
        return Moment(max(asked - said, said - came, 0.0), max(came - said, said - asked))

    measure("difference of the clocks", unit="s", bound=bound, seen=round(first_certain(apart, bound), 2))


@then(parsers.cfparse("{share:Count} % of {count:Count} answers come {bound:Bound}", extra_types=TYPES))
def check_slowest(way: Way, share: int, count: int, bound: Bound, measure: Callable[..., None]) -> None:
    """Time single reads one after another; all but the slowest are held against the bound."""
    worst = _round_trips(way, count)[count * share // 100 - 1]
    measure(f"slowest of {share} % of the round trips", unit="s", bound=bound, seen=round(worst, 4))
