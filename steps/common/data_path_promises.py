"""The sentences about what several clients of one server are promised: deletes, locks, counters, lists, time."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from pytest_bdd import parsers, then
from redis.exceptions import ConnectionError as RedisConnectionError

from steps.common.data_path import KEEP, Way
from steps.common.vocabulary import TYPES, Duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.reporting.measurements import Bound


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
    """Wait as a worker does (``BRPOP``); who cuts idle connections off ends the wait."""
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
    """Compare the clocks; the server's answer is as old as half a round trip."""
    seconds, microseconds = way.reader.time()
    apart = abs(seconds + microseconds / 1e6 - time.time())
    measure("difference of the clocks", unit="s", bound=bound, seen=round(apart, 2))


@then(parsers.cfparse("{share:Count} % of {count:Count} answers come {bound:Bound}", extra_types=TYPES))
def check_slowest(way: Way, share: int, count: int, bound: Bound, measure: Callable[..., None]) -> None:
    """Time single reads one after another; all but the slowest are held against the bound."""
    seen = []
    for _ in range(count):
        begun = time.perf_counter()
        way.reader.get(way.prefix)
        seen.append(time.perf_counter() - begun)
    worst = sorted(seen)[count * share // 100 - 1]
    measure(f"slowest of {share} % of the round trips", unit="s", bound=bound, seen=round(worst, 4))
