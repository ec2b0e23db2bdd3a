"""The sentences about readers of a cache in front of an origin."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as given_any
from hypothesis import strategies as st
from pytest_bdd import given, parsers, then, when
from redis import Redis
from redis.exceptions import ResponseError

from fixtures.pure_cache.origin import Origin, World, at_once, connect, processes_at_once, tasks_at_once
from fixtures.reporting.measurements import Bound
from fixtures.run.own_time import Stopwatch
from fixtures.stacks.protocols import Cache
from redis_practices.pure_cache.cache_aside import NATIVE, SCRIPT, CacheAside, new_lease
from steps.common.vocabulary import TYPES, Duration


@dataclass
class Front:
    """A cache in front of an origin, and what its readers got."""

    cache: Cache
    prefix: str
    origin: Origin
    aside: CacheAside
    client: Any = None
    """That of `aside`, whose connections are made before readers begin; None where a connection is what fails."""
    got: list[Any] = field(default_factory=list)
    slowest: float = 0.0

    def read(self, key: str) -> Any:
        """Read through the cache, and take note of how long that took without the reader's own time."""
        watch = Stopwatch()
        value = self.aside.get_or_compute(self.prefix + key, lambda: self.origin.load(key))
        self.slowest = max(self.slowest, watch.seconds())
        return value

    def with_rules(self, **rules: Any) -> None:
        """Change some rules of the cache."""
        self.aside.rules = self.aside.flows.rules = replace(self.aside.rules, **rules)


@given(parsers.cfparse("an origin that takes {delay:Duration}", extra_types=TYPES), target_fixture="origin")
def have_origin(delay: Duration) -> Origin:
    """Have an origin that counts its calls."""
    return Origin(delay.seconds())


@given(parsers.parse('it holds "{value}" as "{key}"'))
@when(parsers.parse('the origin gets "{value}" as "{key}"'))
def hold_value(origin: Origin, value: str, key: str) -> None:
    """Let the origin hold a value."""
    origin.values[key] = value


@given(
    parsers.cfparse("a cache in front of it that keeps values for {ttl:Duration}", extra_types=TYPES),
    target_fixture="front",
)
def have_front(cache: Cache, key_prefix: str, origin: Origin, ttl: Duration) -> Front:
    """Put the cache of this process in front of the origin; early refreshes are a matter of other scenarios."""
    client = cache.client()
    _require_compare_and_set(client)
    return Front(cache, key_prefix, origin, CacheAside(client, ttl=ttl.seconds(), beta=0, spread=0), client)


def _require_compare_and_set(client: Redis) -> None:
    """Run a script where the engine has no compare-and-set of its own: a refusal is the reason of a skip.

    `CacheAside` itself goes on without it, and calls the origin each time.
    """
    with suppress(ResponseError):
        told = client.execute_command("COMMAND INFO", *NATIVE)
        if any(told.values() if isinstance(told, dict) else told):
            return
    client.eval("return 1", 0)


@given(parsers.cfparse("a cache in front of it that waits at most {patience:Duration} for others", extra_types=TYPES))
def have_patience(front: Front, patience: Duration) -> None:
    """Limit how long a reader waits for the one that computes."""
    front.with_rules(patience=patience.seconds())


@given(parsers.cfparse('somebody takes the lease of "{key}" for {lease:Duration} and dies', extra_types=TYPES))
def take_lease(front: Front, key: str, lease: Duration) -> None:
    """Leave in the key what a reader leaves there that was killed while it computed."""
    front.cache.client().set(front.prefix + key, new_lease(), px=round(lease.seconds() * 1000))


@given(parsers.parse('"{key}" holds the bytes {text}'))
def hold_bytes(front: Front, key: str, text: str) -> None:
    """Write what is no entry of ours."""
    raw = b"" if text == "(none)" else text.encode().decode("unicode_escape").encode("latin-1")
    front.cache.client().set(front.prefix + key, raw, ex=60)


@given("the origin fails")
def break_origin(origin: Origin) -> None:
    """Let every call of the origin fail."""
    origin.failing = True


@when("the origin works again")
def mend_origin(origin: Origin) -> None:
    """Let the origin answer again."""
    origin.failing = False


@then(parsers.parse('they all got "{value}"'))
def check_got(front: Front, value: str) -> None:
    """Require that every reader got the value."""
    assert set(front.got) == {value}, f"the readers got {set(front.got)}, not only {value!r}"


@then(parsers.cfparse("the origin was asked {bound:Bound} times", extra_types=TYPES))
def check_calls(origin: Origin, bound: Bound, measure: Callable[..., None]) -> None:
    """Count the calls of the origin since the scenario began."""
    measure("origin calls", unit="calls", bound=bound, seen=origin.calls)


@then(parsers.cfparse("the slowest of them waited {bound:Bound}", extra_types=TYPES))
def check_slowest(front: Front, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the longest wait of a reader against the bound."""
    measure("slowest reader", unit="s", bound=bound, seen=round(front.slowest, 3))


@then(parsers.parse('a reader of "{key}" gets the origin\'s error'))
def check_error(front: Front, key: str) -> None:
    """Require that the error reaches the reader."""
    with pytest.raises(RuntimeError, match="the origin fails"):
        front.read(key)


@then(parsers.parse('"{key}" can be read without the origin'))
def check_hit(front: Front, key: str) -> None:
    """Require a hit."""
    before = front.origin.calls
    value = front.read(key)
    assert front.origin.calls == before, f"{key} was computed again: it is not in the cache"
    assert value == front.origin.values[key], f"{key} reads {value!r}"


@when(parsers.parse('a reader asks for "{key}"'))
def ask_once(front: Front, key: str) -> None:
    """Read once."""
    front.got = [front.read(key)]


@when(parsers.cfparse('{number:Count} readers in {where} ask for "{key}" at once', extra_types=TYPES))
def ask_at_once(front: Front, number: int, where: str, key: str) -> None:
    """Ask in real threads, tasks or processes, none of which begins before all are there."""
    if where == "threads":
        if front.client:
            connect(front.client, number)
        front.got = at_once(number, lambda: front.read(key))
    elif where == "tasks":
        name, connected = front.prefix + key, front.client is not None
        front.got = tasks_at_once(front.cache.url, number, front.origin, name, key, connected=connected)
    else:
        processes = int(where.removesuffix(" processes"))
        each = number // processes
        front.got = processes_at_once(front.cache.url, processes, each, front.origin, front.prefix + key, key)
    assert len(front.got) == number, f"{len(front.got)} of {number} readers came back"


@when(parsers.parse('a reader asks for "{key}" {times:d} times, one after another'), target_fixture="waits")
def ask_in_turn(front: Front, key: str, times: int) -> list[float]:
    """Read again and again, and return how long each read took in seconds."""
    front.got, waits = [], []
    for _ in range(times):
        begun = time.monotonic()
        front.got.append(front.read(key))
        waits.append(time.monotonic() - begun)
    return waits


@dataclass
class LateReader:
    """A reader that stops after it has asked the origin, and goes on when it is told to."""

    front: Front
    key: str
    asked: threading.Event = field(default_factory=threading.Event)
    may_go: threading.Event = field(default_factory=threading.Event)
    got: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin, and return when the origin has answered."""
        self.thread = threading.Thread(target=self._read)
        self.thread.start()
        assert self.asked.wait(10), "the late reader never asked the origin: it found something in the cache"

    def _read(self) -> None:
        """Read through the cache."""
        self.got.append(self.front.aside.get_or_compute(self.front.prefix + self.key, self._load))

    def _load(self) -> Any:
        """Ask the origin and keep the answer until told to go on."""
        value = self.front.origin.load(self.key)
        self.asked.set()
        assert self.may_go.wait(30), "nobody let the late reader go on"
        return value


@given(parsers.parse("it compares and sets with {spelling}"))
def choose_spelling(front: Front, spelling: str) -> None:
    """Use what the engine offers, or a script as if it offered nothing."""
    front.aside.flows.known_dialect = SCRIPT if spelling == "a script" else ""


@given(
    parsers.parse('a reader of "{key}" has asked the origin and not stored the answer yet'),
    target_fixture="late_reader",
)
def have_late_reader(front: Front, key: str) -> LateReader:
    """Start a reader in a thread that stops between the origin and the cache."""
    return LateReader(front, key)


@when(parsers.parse('"{key}" is invalidated'))
def invalidate(front: Front, key: str) -> None:
    """Tell the cache that the origin has changed."""
    front.aside.invalidate(front.prefix + key)


@when("that reader goes on")
def go_on(late_reader: LateReader) -> None:
    """Let the late reader store what it has, and wait until it has ended."""
    late_reader.may_go.set()
    late_reader.thread.join(30)


@then(parsers.parse('it got "{value}"'))
def check_late(late_reader: LateReader, value: str) -> None:
    """Require what the late reader returned."""
    assert late_reader.got == [value], f"the late reader got {late_reader.got}"


@then(parsers.parse("in {number:d} orders of steps no reader gets a stale value"))
def check_orders(front: Front, number: int) -> None:
    """Let Hypothesis choose who takes each step."""
    with front.cache.client() as client:

        @settings(max_examples=number, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given_any(turns=st.lists(st.integers(0, 4), min_size=20, max_size=80))
        def run(turns: list[int]) -> None:
            """Take the steps in that order."""
            front.with_rules(patience=0.0 if turns[0] == 0 else 60.0)
            world = World(client, front.aside, front.prefix + "race")
            for turn in turns:
                world.steps[turn]()

        run()


@then(
    parsers.cfparse(
        "of {changes:Count} changes {bound:Bound} are seen late by {threads:Count} threads that read all the time",
        extra_types=TYPES,
    )
)
def check_threads(front: Front, changes: int, bound: Bound, threads: int, measure: Callable[..., None]) -> None:
    """Change and invalidate while threads read; none that begins afterwards may get an older number."""
    settled, ended, late = [0], threading.Event(), set[int]()
    front.origin.values["number"] = 0

    def read() -> None:
        """Read until the end, and take note of what was older than what was settled before."""
        while not ended.is_set():
            oldest = settled[0]
            if front.read("number") < oldest:
                late.add(oldest)

    readers = [threading.Thread(target=read) for _ in range(threads)]
    for reader in readers:
        reader.start()
    for number in range(1, changes + 1):
        front.origin.values["number"] = number
        front.aside.invalidate(front.prefix + "number")
        settled[0] = number
        ended.wait(0.005)
    ended.set()
    for reader in readers:
        reader.join(30)
    measure(f"changes seen late, of {changes}", unit="changes", bound=bound, seen=len(late))
