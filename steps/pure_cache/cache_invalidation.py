"""The sentences about a change of the origin while others read."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import given as given_any
from hypothesis import strategies as st
from pytest_bdd import given, parsers, then, when

from fixtures.pure_cache.origin import World
from fixtures.reporting.measurements import Bound
from redis_practices.pure_cache.cache_aside import SCRIPT
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from steps.pure_cache.cache_aside import Front


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
