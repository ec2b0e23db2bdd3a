"""The sentences about when values end, and about what does not exist."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, then, when

from fixtures.pure_cache.origin import at_once
from fixtures.reporting.measurements import Bound
from redis_practices.polling import eventually
from redis_practices.pure_cache.cache_aside import LEASE, decoded
from redis_practices.pure_cache.expiry import is_due
from steps.common.vocabulary import TYPES, Duration, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from steps.pure_cache.cache_aside import Front


@given(parsers.parse("its ttls are up to {percent:d} % shorter"))
def have_jitter(front: Front, percent: int) -> None:
    """Spread the ttls, by a seeded generator."""
    front.with_rules(spread=percent / 100, draw=random.Random(7).random)


@given("it refreshes values before they expire")
def have_refresh(front: Front) -> None:
    """Refresh early, as is the default."""
    front.with_rules(beta=1.0)


@given(parsers.cfparse("it remembers for {ttl:Duration} what does not exist", extra_types=TYPES))
def have_absent_ttl(front: Front, ttl: Duration) -> None:
    """Cache that the origin has nothing."""
    front.with_rules(absent_ttl=ttl.seconds())


@given(parsers.parse('the value of "{key}" is due'))
def make_due(front: Front, key: str) -> None:
    """Let the next reader be the one that refreshes: the value is as it was, and its end is near."""
    client, name = front.cache.client(), front.prefix + key
    cached = client.get(name)
    assert isinstance(cached, str), f"{name} is not cached"
    entry = decoded(cached.encode())
    assert entry, f"{name} holds no entry"
    client.set(name, entry.fresh_until(time.time() - 0.001).encoded(), keepttl=True)


@when(parsers.parse("{number:d} keys are cached at once"), target_fixture="batch")
def cache_batch(front: Front, number: int) -> dict[str, tuple[float, float]]:
    """Read that many keys through the cache, and return between which moments each was cached."""
    cached = {}
    for index in range(number):
        key, begun = f"batch:{index}", time.monotonic()
        front.origin.values[key] = index
        front.read(key)
        cached[key] = begun, time.monotonic()
    return cached


@then(parsers.parse("each of them has {low:d} to {high:d} seconds to live"), target_fixture="window")
def check_window(
    front: Front, batch: dict[str, tuple[float, float]], low: int, high: int
) -> tuple[int, int, list[float]]:
    """Read what is left to each key of the batch; return the window and the shortest life that each may have got."""
    with front.cache.client() as client, client.pipeline(transaction=False) as ask:
        for key in batch:
            ask.pttl(front.prefix + key)
        asked = time.monotonic()
        left = [ttl / 1000 for ttl in ask.execute()]
        answered = time.monotonic()
    lives = [
        (ttl + asked - end, ttl + answered - begun) for ttl, (begun, end) in zip(left, batch.values(), strict=True)
    ]
    outside = [life for life in lives if life[1] < low or life[0] > high]
    assert not outside, f"{len(outside)} of {len(lives)} lives lie outside, like {outside[0][0]:.1f} s"
    return low, high, [shortest for shortest, _ in lives]


@then(parsers.cfparse("{bound:Bound} of them expire in the same tenth of that window", extra_types=TYPES))
def check_fullest(window: tuple[int, int, list[float]], bound: Bound, measure: Callable[..., None]) -> None:
    """Count the ttls by tenths of the window; evenly spread there are 10 % in each."""
    low, high, ttls = window
    tenths = [min(9, max(0, int(10 * (ttl - low) / (high - low)))) for ttl in ttls]
    fullest = max(tenths.count(tenth) for tenth in range(10))
    measure("keys in the fullest tenth", unit="%", bound=bound, seen=round(100 * fullest / len(ttls), 1))


@then(parsers.parse("of {number:d} reads this share would refresh the value"))
def check_shares(number: int, datatable: Sequence[Sequence[str]], measure: Callable[..., None]) -> None:
    """Draw from a seeded generator; a table's range is in per cent."""
    draw = random.Random(7).random
    for row in rows(datatable, ("COSTS LEFT", "SHARE")):
        share = 100 * sum(is_due(1.0, float(row["COSTS LEFT"]), draw=draw) for _ in range(number)) / number
        low, high = map(float, row["SHARE"].split(" to "))
        measure(f"refresh, {row['COSTS LEFT']} costs left", unit="%", bound=Bound.between(low, high, "%"), seen=share)


@when(
    parsers.cfparse('{number:Count} readers ask for "{key}" all the time for {duration:Duration}', extra_types=TYPES),
    target_fixture="holes",
)
def ask_all_the_time(front: Front, number: int, key: str, duration: Duration) -> list[str]:
    """Read in threads without end, and meanwhile look into the key; return when it held no value."""
    front.read(key)
    until, holes, ended = time.monotonic() + duration.seconds(), list[str](), threading.Event()

    def watch() -> None:
        """Look into the key every 2 ms; a miss would leave a lease there for as long as the origin takes."""
        with front.cache.client(decode_responses=False) as client:
            while not ended.wait(0.002):
                raw = client.get(front.prefix + key)
                if raw is None or raw.startswith(LEASE):
                    holes.append(str(raw))

    def read() -> list[object]:
        """Read every 5 ms."""
        got = []
        while time.monotonic() < until:
            got.append(front.read(key))
            time.sleep(0.005)
        return got

    watcher = threading.Thread(target=watch)
    watcher.start()
    front.got = [value for part in at_once(number, read) for value in part]
    ended.set()
    watcher.join()
    return holes


@then(parsers.parse('"{key}" was there all the time'))
def check_holes(holes: list[str], key: str) -> None:
    """Require that nobody ever saw the key without a value."""
    assert not holes, f"{key} held no value {len(holes)} times, but {set(holes)}"


@then("they all got nothing")
def check_nothing(front: Front) -> None:
    """Require that every reader learned that there is nothing."""
    assert set(front.got) == {None}, f"the readers got {set(front.got)}, though the origin has nothing"


@then(parsers.cfparse('a reader of "{key}" gets "{value}" within {limit:Duration}', extra_types=TYPES))
def check_soon(front: Front, key: str, value: str, limit: Duration) -> None:
    """Read until the value is there."""
    eventually(lambda: front.read(key) == value, within=limit.seconds(), every=0.02)
