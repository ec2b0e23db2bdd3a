"""Test the polling of a check: its end, its value and the message of its failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from operator import not_
from typing import Any

import pytest

from redis_practices import polling
from redis_practices.polling import Flag, eventually, poll, seconds_until


class Clock:
    """A clock that replaces the module `time`; it moves when a test sleeps or polls."""

    def __init__(self) -> None:
        self.now = 0.0
        self.looks: list[float] = []
        """The begin of each poll."""

    def monotonic(self) -> float:
        """Return the seconds of the clock."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Advance the clock."""
        self.now += seconds

    def check(self, true_from: float, takes: float = 0.0, otherwise: Exception | None = None) -> Callable[[], bool]:
        """Return a check that fails until `true_from`, by False or by `otherwise`; a poll takes `takes` seconds."""

        def look() -> bool:
            self.looks.append(self.now)
            self.sleep(takes)
            if otherwise and self.looks[-1] < true_from:
                raise otherwise
            return self.looks[-1] >= true_from

        return look


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Make the polling use the clock of the test."""
    clock = Clock()
    monkeypatch.setattr(polling, "time", clock)
    return clock


NEVER = float("inf")


@pytest.mark.parametrize("wait", [poll, eventually])
@pytest.mark.parametrize(
    ("true_from", "looks"), [(0.0, [0.0]), (0.4, [0.0, 0.25, 0.5]), (1.0, [0, 0.25, 0.5, 0.75, 1])]
)
def test_waiting_ends_with_first_look_that_holds(
    clock: Clock, wait: Callable[..., bool], true_from: float, looks: list[float]
) -> None:
    """Polling ends with the first success, also at the end of its time."""
    assert wait(clock.check(true_from), within=1, every=0.25) is True
    assert clock.looks == looks


def test_poll_returns_what_it_saw_last(clock: Clock) -> None:
    """`poll` returns the first accepted value, or else the last value."""
    assert poll(lambda: "found" * (clock.now > 0), within=1, every=0.25) == "found"
    assert poll(lambda: "a reason" * (clock.now < 1), within=1, every=0.25, until=not_) == ""
    assert poll(lambda: f"reason {clock.now:g}", within=1, every=0.25, until=not_) == "reason 2.25"


def test_poll_keeps_its_bound(clock: Clock) -> None:
    """`poll` makes one call after the time is up, also for a negative time."""
    assert poll(clock.check(NEVER), within=1.1, every=0.25) is False
    assert clock.looks == [0, 0.25, 0.5, 0.75, 1, 1.25]
    clock.looks.clear()
    assert poll(clock.check(0), within=-1) is True
    assert poll(clock.check(NEVER), within=-1) is False
    assert clock.looks == [1.25, 1.25]


def test_eventually_keeps_its_bound(clock: Clock) -> None:
    """`eventually` starts no late call, and its failure has the time and the number of calls."""
    with pytest.raises(
        AssertionError, match=r"^not within 1\.1 s \(waited 1\.00 s, looked 5 times\): it was False every"
    ):
        eventually(clock.check(NEVER), within=1.1, every=0.25)
    assert clock.looks == [0, 0.25, 0.5, 0.75, 1]
    with pytest.raises(AssertionError, match=r"^not within 0\.1 s \(waited 0\.00 s, looked 1 times\): it was False$"):
        eventually(clock.check(NEVER), within=0.1, every=0.25)


def test_eventually_refuses_what_holds_too_late(clock: Clock) -> None:
    """`eventually` refuses a success that comes too late; `poll` leaves that to its caller."""
    with pytest.raises(AssertionError, match=r"^it held only after 1\.25 s, not within 1 s \(looked 2 times\)$"):
        eventually(clock.check(0.5, takes=0.5), within=1, every=0.25)
    assert poll(clock.check(0, takes=2), within=1, every=0.25) is True


def test_eventually_takes_all_but_false(clock: Clock) -> None:
    """A function that asserts and returns None is a check."""
    assert eventually(lambda: None, within=1) is None
    assert eventually(list[int], within=1) == []
    assert clock.now == 0


def test_eventually_tells_last_reason(clock: Clock) -> None:
    """The failure has the reason of the last call, as text and as cause."""

    def fail() -> None:
        raise AssertionError(f"it is {clock.now:g}")

    with pytest.raises(AssertionError, match=r"looked 5 times\): it is 1$") as caught:
        eventually(fail, within=1, every=0.25)
    assert str(caught.value.__cause__) == "it is 1"


def test_eventually_forgets_reason_that_is_gone(clock: Clock) -> None:
    """A check whose last call returned False has no reason in the failure."""

    def fail_once() -> bool:
        assert clock.now, "the first reason"
        return False

    with pytest.raises(AssertionError, match=r"it was False every time$"):
        eventually(fail_once, within=1, every=0.25)


@pytest.mark.parametrize(("wait", "options"), [(poll, {}), (eventually, {"also": (OSError,)}), (seconds_until, {})])
def test_other_exceptions_pass_through(clock: Clock, wait: Callable[..., object], options: dict[str, Any]) -> None:
    """Other exceptions end the polling at the first call."""
    with pytest.raises(KeyError, match=r"^'it'$"):
        wait(clock.check(NEVER, otherwise=KeyError("it")), 1.0, **options)
    assert clock.looks == [0]


@pytest.mark.parametrize("wait", [eventually, seconds_until])
def test_exceptions_in_also_are_waited_out(clock: Clock, wait: Callable[..., object]) -> None:
    """Exceptions in `also` count as not yet, and the failure shows the last one."""
    with pytest.raises(AssertionError, match=r"KeyError: 'it'$"):
        wait(clock.check(0.5, otherwise=KeyError("it")), 0.25, also=(KeyError,))
    wait(clock.check(0.5, otherwise=KeyError("it")), 1.0, also=(KeyError,))


def test_seconds_until_counts_from_a_moment(clock: Clock) -> None:
    """`seconds_until` counts from now or from a given moment, within 10 milliseconds."""
    assert seconds_until(clock.check(0.5), give_up=1) == pytest.approx(0.5, abs=0.01)
    assert clock.looks[1] == pytest.approx(0.01)
    assert seconds_until(clock.check(1), give_up=1, since=0.25) == pytest.approx(0.75, abs=0.01)
    with pytest.raises(AssertionError, match=r"^not within 1 s"):
        seconds_until(clock.check(NEVER), give_up=1)


class Gate:
    """The gate of a flag, which is set while its first waiter sleeps; then something happens behind `acquire`."""

    def __init__(self, flag: Any, happens: Callable[[], None]) -> None:
        self.lock, self._flag, self._happens = threading.Lock(), flag, [happens]
        self.lock.acquire()
        self.release = self.lock.release
        flag._gate = self  # noqa: SLF001 - nothing public comes between `acquire` and what follows it

    def acquire(self, *, blocking: bool = True, timeout: float = -1) -> bool:
        """Acquire it."""
        if not blocking or not self._happens:
            return self.lock.acquire(blocking, timeout)
        happens = self._happens.pop()
        self._flag.set()
        assert self.lock.acquire(blocking, timeout)
        happens()
        return True


def test_flag_that_is_cleared_behind_a_waiter() -> None:
    """A flag that is cleared before its waiter has gone on makes the next waiters wait."""
    flag = Flag()
    Gate(flag, flag.clear)
    assert not flag.wait(0.1)
    begun = time.monotonic()
    assert not flag.wait(0.1)
    assert time.monotonic() - begun > 0.05
    flag.set()
    assert flag.wait(0)


def test_flag_whose_waiter_is_interrupted() -> None:
    """A waiter that an exception interrupts behind `acquire` leaves the gate to the other waiters."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    flag = Flag()
    gate = Gate(flag, interrupt)
    with pytest.raises(KeyboardInterrupt):
        flag.wait(5)
    assert flag.is_set()
    assert not gate.lock.locked()
