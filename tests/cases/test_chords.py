"""Test that a chord ends, whether its members succeed, fail or are revoked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from celery import Signature, chord

from tests.cases.bench import ENDED, Bench, detached
from tests.cases.preparing import prepared

ADDED = ("add", [1, 1])
"""A member that ends at once."""


@dataclass(frozen=True)
class Chord:
    """A sent chord: the ids of its members and of its body."""

    members: Sequence[str]
    body: str


def sent(bench: Bench, members: Sequence[Signature]) -> Chord:
    """Send a chord whose body returns the results of its members."""
    result = chord(members, bench.signature("echo")).apply_async()
    return Chord([detached(member) for member in result.parent.results], detached(result))


def nothing(bench: Bench, made: Chord) -> None:
    """Do nothing to the members."""


def revoke_second(bench: Bench, made: Chord) -> None:
    """Revoke the second member while it waits in the queue or in the worker."""
    prepared(lambda: bench.runs(made.members[0]) == 1 or bench.state(made.members[0]) in ENDED)
    bench.sender().control.revoke(made.members[1])


def end_first(bench: Bench, made: Chord) -> None:
    """Revoke the first member while it runs."""
    bench.await_run(made.members[0])
    bench.sender().control.revoke(made.members[0], terminate=True)


Act = Callable[[Bench, Chord], None]
Made = tuple[str, list[Any], dict[str, Any]]

CASES: dict[str, tuple[list[Made], Act, str]] = {
    "all end": ([(*ADDED, {}), ("add", [2, 2], {})], nothing, "SUCCESS"),
    "one expires": ([("stamp", [1], {}), ("add", [2, 2], {"expires": 0.2})], nothing, "FAILURE"),
    "one is revoked in the queue": ([("stamp", [1], {}), (*ADDED, {})], revoke_second, "FAILURE"),
    "one is revoked while it runs": ([("stamp", [30], {}), (*ADDED, {})], end_first, "FAILURE"),
    "one is revoked in the worker": ([(*ADDED, {}), ("add", [1, 2], {"countdown": 2})], revoke_second, "FAILURE"),
    "one drops its message": ([(*ADDED, {}), ("refuse", [-1], {})], nothing, "FAILURE"),
    "one is unknown": ([(*ADDED, {}), ("nosuch", [], {})], nothing, "FAILURE"),
    "one hits its hard time limit": (
        [(*ADDED, {}), ("tidy", [30, 30], {"soft_time_limit": 0.3, "time_limit": 0.6})],
        nothing,
        "FAILURE",
    ),
    "the process of one dies": ([(*ADDED, {}), ("crash", [], {})], nothing, "FAILURE"),
}
"""Members, an action on them, and the expected end of the chord."""


MARKS: dict[str, list[pytest.MarkDecorator]] = {
    "one expires": [pytest.mark.slow],
    "one hits its hard time limit": [pytest.mark.slow],
    "one is revoked while it runs": [pytest.mark.slow],
    "one is revoked in the worker": [pytest.mark.slow],
    "one drops its message": [pytest.mark.slow],
    "one is unknown": [pytest.mark.slow],
    "the process of one dies": [pytest.mark.slow],
}


@pytest.mark.parametrize("case", [pytest.param(case, marks=MARKS.get(case, [])) for case in CASES])
def test_chord_ends(bench: Bench, case: str) -> None:
    """A chord ends after all its members: with success, or as a failure if one member failed."""
    members, act, state = CASES[case]
    bench.worker()
    if act is not nothing:
        bench.await_hearing()
    made = sent(bench, [bench.signature(name, arguments, **options) for name, arguments, options in members])
    act(bench, made)
    assert bench.ended(made.body, within=8) == state


@pytest.mark.parametrize("apart", [0.2, pytest.param(3, marks=[pytest.mark.slow])])
def test_chord_with_members_far_apart(bench: Bench, apart: float) -> None:
    """A chord ends, even if its members end further apart than results are kept."""
    bench.worker(RESULT_EXPIRES="1", WORKER_POOL="threads", WORKER_CONCURRENCY="4")
    made = sent(bench, [bench.signature(*ADDED), bench.signature("sleep", [apart])])
    assert bench.ended(made.body, within=apart + 5) == "SUCCESS"
