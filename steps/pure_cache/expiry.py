"""The sentences about ttl, expiry and early refresh."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from pytest_bdd import given, parsers, then, when
from redis.exceptions import ResponseError

from cache_example import recall, remember
from fixtures.pure_cache.origin import at_once, connect
from fixtures.reporting.measurements import MOST_POINTS, Bound
from fixtures.run.keys import StackError
from fixtures.run.own_time import moment_of
from fixtures.stacks.protocols import Cache, Private, need_command, need_options
from redis_practices.polling import eventually, join
from redis_practices.pure_cache.cache_aside import LEASE, decoded
from redis_practices.pure_cache.expiry import is_due
from redis_practices.servers.server import CACHE, Server
from steps.common.vocabulary import TYPES, Duration, rows
from steps.pure_cache.cache_aside import Front


@given(parsers.cfparse('"{key}" is cached as "{value}" for {ttl:Duration}', extra_types=TYPES))
def cache_a_value(cache: Cache, key_prefix: str, key: str, value: str, ttl: Duration) -> None:
    """Cache a value with a ttl."""
    remember(cache.client(), key_prefix + key, value, ttl.seconds())


@then(parsers.cfparse('"{key}" reads "{value}"', extra_types=TYPES))
def read_the_value(cache: Cache, key_prefix: str, key: str, value: str) -> None:
    """Require that a read gives the value."""
    seen = recall(cache.client(), key_prefix + key)
    assert seen == value, f"{key} reads {seen!r}, expected {value!r}"


@then(parsers.cfparse('"{key}" is not in the cache', extra_types=TYPES))
def miss_the_value(cache: Cache, key_prefix: str, key: str) -> None:
    """Require that a read misses."""
    seen = recall(cache.client(), key_prefix + key)
    assert seen is None, f"{key} still reads {seen!r}"


TTL = 0.3
"""Seconds: long enough to be told from none at all, short enough not to be waited for."""


@then(parsers.parse('a ttl that is set with "{option}" ends at most {milliseconds:d} milliseconds late'))
def check_lateness(cache: Cache, key_prefix: str, option: str, milliseconds: int, measure: Callable[..., None]) -> None:
    """Read a key without pause until it is gone; it may not be gone too early either."""
    with cache.client() as client:
        asked, earliest, latest = _set(client, key_prefix, option)
        seen = begun = time.time()
        while client.get(key_prefix) is not None:
            # When it was asked, not when the answer was read: this process may have had to wait in between.
            seen, begun = begun, time.time()
        gone = time.time()
    assert gone >= earliest - 0.002, f"the key was gone {earliest - gone:.3f} s before its time ({asked})"
    late = max(0.0, seen - latest)
    measure(f"lateness, {option}", unit="s", bound=Bound.at_most(milliseconds / 1000, "s"), seen=round(late, 4))


def _set(client: Any, key: str, option: str) -> tuple[str, float, float]:
    """Set a key with one of the four options; return the command, and between which moments its time is over."""
    client.ping()
    before = time.time()
    server, micros = client.time()
    after, said = time.time(), server + micros / 1e6
    # The server's clock is another one: ahead of this machine's by as much as one of these.
    most, least = said - before, said - after
    whole, exact = int(before + most) + 1, round((before + most + TTL) * 1000)
    command = {"EX": 1, "PX": round(TTL * 1000), "EXAT": whole, "PXAT": exact}
    begun = time.time()
    client.execute_command("SET", key, "x", option, command[option])
    done = time.time()
    earliest = {"EX": begun + 1, "PX": begun + TTL, "EXAT": whole - most, "PXAT": exact / 1000 - most}[option]
    latest = {"EX": done + 1, "PX": done + TTL, "EXAT": whole - least, "PXAT": exact / 1000 - least}[option]
    return f"SET {option} {command[option]}", earliest, latest


@given("a replica of it", target_fixture="replica")
def have_replica(private: Private, server: Server) -> Server:
    """Start a replica and wait until its first copy is done."""
    host, port = server.address.split(":")
    with server.client() as primary:
        # By default it waits 5 s for further replicas before it makes the copy.
        primary.config_set("repl-diskless-sync-delay", 0)
    replica = private.server({**CACHE, "replicaof": [host, port]})
    with replica.client() as client, server.client() as primary:
        eventually(lambda: client.info("replication")["master_link_status"] == "up", within=10)
        # Redis 7.0 holds writes back until the replica's first acknowledgement, which it sends once a second.
        primary.set("first", "write")
        assert primary.wait(1, 10_000) == 1, "the replica does not acknowledge a write within 10 s"
    return replica


@then(parsers.cfparse("a key that expired is gone on the replica too {bound:Bound}", extra_types=TYPES))
def check_replica(server: Server, replica: Server, bound: Bound, measure: Callable[..., None]) -> None:
    """Read a key with a ttl on the replica until it is gone there; the primary, left unread, need not have noticed."""
    with server.client() as writer, replica.client() as reader:
        writer.set("username", "qiross")
        eventually(lambda: reader.get("username") == "qiross", within=10, every=0.001)
        writer.pexpire("username", round(TTL * 1000))
        seen = begun = deadline = time.time() + TTL
        while reader.get("username") is not None:
            # When it was asked, as above.
            seen, begun = begun, time.time()
            assert seen < deadline + 10, "10 s after its time it is still there"
    measure("lateness on a replica", unit="s", bound=bound, seen=round(max(0.0, seen - deadline), 4))


@then(parsers.cfparse("{count:Count} expired keys that nobody reads are gone {bound:Bound}", extra_types=TYPES))
def check_active_expiry(server: Server, count: int, bound: Bound, measure: Callable[..., None]) -> None:
    """Let keys expire and ask only how many there are."""
    with server.client() as client:
        pipeline = client.pipeline(transaction=False)
        for number in range(count):
            pipeline.set(f"session:{number}", "x" * 100, px=100)
        pipeline.execute()
        begun = time.monotonic()
        eventually(lambda: client.dbsize() == 0, within=30, every=0.02)
        measure("expired keys freed unread", unit="s", bound=bound, seen=round(time.monotonic() - begun - 0.1, 3))


@then(
    parsers.cfparse(
        "of {due:Count} expired events {bound:Bound} come within {limit:Duration} while {rest:Count} other keys wait",
        extra_types=TYPES,
    )
)
def check_events(  # noqa: PLR0913, PLR0917 - the words of the sentence
    server: Server,
    due: int,
    bound: Bound,
    limit: Duration,
    rest: int,
    measure: Callable[..., None],
    chart: Callable[..., None],
) -> None:
    """Let keys with one deadline expire among others, read none, and count the events that say so in time."""
    with server.client() as client, client.pubsub(ignore_subscribe_messages=True) as events:
        client.config_set("notify-keyspace-events", "Ex")
        pipeline = client.pipeline(transaction=False)
        for number in range(rest):
            pipeline.set(f"other:{number}", "x", ex=3600)
        events.subscribe("__keyevent@0__:expired")
        for number in range(due):
            pipeline.set(f"due:{number}", "x", px=300)
        pipeline.execute()
        gone = time.monotonic() + 0.3
        late = []
        while (left := gone + limit.seconds() - time.monotonic()) > 0:
            if events.get_message(timeout=left):
                late.append(1000 * (time.monotonic() - gone))
    if late:
        chart("how late keys expire", unit="ms", kind="spread", points=late[:MOST_POINTS])
    measure(f"expired events in time, of {due}", unit="events", bound=bound, seen=len(late))


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
    entry = decoded(cached.encode(), name)
    assert entry, f"{name} holds no entry"
    client.set(name, entry.fresh_until(time.time() - 0.001).encoded(name), keepttl=True)


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
    target_fixture="watched",
)
def ask_all_the_time(front: Front, number: int, key: str, duration: Duration) -> Watched:
    """Read in threads without end, and meanwhile look into the key; return when it held no value."""
    connect(front.client, number)
    front.read(key)
    until, watched, ended = time.monotonic() + duration.seconds(), Watched(), threading.Event()

    def watch() -> None:
        """Look into the key every 2 ms; a miss would leave a lease there for as long as the origin takes."""
        with front.cache.client(decode_responses=False) as client:
            while not ended.wait(0.002):
                raw = client.get(front.prefix + key)
                if raw is None or raw.startswith(LEASE):
                    watched.holes.append(str(raw))

    def read() -> list[object]:
        """Read every 5 ms."""
        got = []
        while time.monotonic() < until:
            watched.reads.append(time.monotonic())
            got.append(front.read(key))
            time.sleep(0.005)
        return got

    watcher = threading.Thread(target=watch)
    watcher.start()
    front.got = [value for part in at_once(number, read) for value in part]
    ended.set()
    join(watcher)
    return watched


@dataclass
class Watched:
    """What a key that is read all the time held instead of a value, and when it was read."""

    holes: list[str] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)

    def longest_pause(self) -> float:
        """Return the longest time in which no reader began to read, in seconds."""
        moments = sorted(self.reads)
        return max(later - earlier for earlier, later in pairwise(moments))


ALL_THE_TIME = 0.1
"""Seconds without a read after which a key is not read all the time: then nobody is there to refresh it."""


@then(parsers.parse('"{key}" was there all the time'))
def check_holes(watched: Watched, key: str, measure: Callable[..., None]) -> None:
    """Require that no look saw the key without a value."""
    pause = watched.longest_pause()
    measure("longest pause of the readers", unit="s", seen=round(pause, 3))
    if watched.holes and pause > ALL_THE_TIME:
        raise StackError(f"for {pause:.2f} s no reader came to read {key}: the judge's own processor is too busy")
    assert not watched.holes, f"{key} held no value {len(watched.holes)} times, but {set(watched.holes)}"


@then("they all got nothing")
def check_nothing(front: Front) -> None:
    """Require that every reader learned that there is nothing."""
    assert set(front.got) == {None}, f"the readers got {set(front.got)}, though the origin has nothing"


@then(parsers.cfparse('a reader of "{key}" gets "{value}" within {limit:Duration}', extra_types=TYPES))
def check_soon(front: Front, key: str, value: str, limit: Duration, measure: Callable[..., None]) -> None:
    """Read until the value is there."""
    seen = moment_of(lambda: front.read(key) == value, limit.seconds() + 5)
    bound = Bound.at_most(limit.seconds(), "s")
    measure("the value is read", unit="s", bound=bound, seen=round(seen.within(bound), 3))


@given(parsers.parse('an engine with "{command}", which came with {since}'))
def have_command(cache: Cache, command: str, since: str) -> None:
    """Ask the server whether it has a command."""
    need_command(cache, command, f"{since}: {command}")


@given(parsers.parse('an engine with options of "{command}", which came with {since}'))
def have_options(cache: Cache, command: str, since: str) -> None:
    """Ask the server whether a command takes more than it must."""
    need_options(cache, command, f"{since}: options of {command}")


@then("these commands answer, one after another")
def check_answers(cache: Cache, key_prefix: str, datatable: Sequence[Sequence[str]]) -> None:
    """Run each command, with KEY for a key of this scenario, and compare what it answers; "1 to 9" is a range."""
    with cache.client() as client:
        for row in rows(datatable, ("COMMAND", "ANSWER")):
            seen = _answer(client, [word.replace("KEY", f"{key_prefix}key") for word in row["COMMAND"].split()])
            assert _fits(seen, row["ANSWER"]), f"{row['COMMAND']} answers {seen}, not {row['ANSWER']}"
        client.delete(f"{key_prefix}key")


def _answer(client: Any, words: list[str]) -> str:
    """Return the answer of a command as text; an error is its message."""
    try:
        # Joined, redis-py would parse some answers into shapes of its own.
        seen = client.execute_command(*words)
    except ResponseError as error:
        return f"error: {error}"
    if isinstance(seen, list):
        return " ".join("nil" if part is None else str(part) for part in seen)
    return {None: "nil", True: "OK" if words[0].upper() == "SET" else "1", False: "0"}.get(seen, str(seen))


def _fits(seen: str, expected: str) -> bool:
    """Tell whether an answer is the expected one, or in the expected range."""
    if limits := re.fullmatch(r"(\d+) to (\d+)", expected):
        return seen.isdigit() and int(limits[1]) <= int(seen) <= int(limits[2])
    return seen == expected
