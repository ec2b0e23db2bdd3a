"""The sentences about chains, groups and chords."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from celery import chain, chord, group
from pytest_bdd import parsers, then, when

from redis_practices.celery_worker.sending import value_of
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery.canvas import Signature

    from fixtures.celery_worker.client import Sent
    from fixtures.reporting.measurements import Bound


def task(sent: Sent, name: str, *arguments: Any) -> Signature:
    """Return a call of a task that is part of something larger."""
    return sent.app.signature(f"worker.{name}", args=arguments)


def total(number: int) -> int:
    """Return the sum of what the members of a group or chord return: ``add(i, i)`` for each i below `number`."""
    return number * (number - 1)


@when("the chain add(1, 2), add(10), add(100) is sent")
def send_chain(sent: Sent) -> None:
    """Send three tasks, each of which gets the result of the one before."""
    whole = chain(task(sent, "add", 1, 2), task(sent, "add", 10), task(sent, "add", 100))
    sent.results.append(whole.apply_async())


@when(parsers.cfparse("a group of {number:Count} tasks is sent", extra_types=TYPES))
def send_group(sent: Sent, number: int) -> None:
    """Send tasks that are waited for together."""
    sent.results.extend(group(task(sent, "add", i, i) for i in range(number)).apply_async().results)


@when(parsers.cfparse("a chord of {number:Count} members is sent", extra_types=TYPES))
def send_chord(sent: Sent, number: int) -> None:
    """Send tasks, and one more that gets all their results."""
    members = [task(sent, "add", i, i) for i in range(number)]
    sent.results.append(chord(members, task(sent, "total")).apply_async())


@when("a chord with a failing member is sent")
def send_failing_chord(sent: Sent) -> None:
    """Send a chord of three, of which the second fails."""
    members = [task(sent, "add", 1, 1), task(sent, "fail", "member"), task(sent, "add", 2, 2)]
    sent.results.append(chord(members, task(sent, "total")).apply_async())


@then(parsers.cfparse("the results of its {number:Count} members come back in order {bound:Bound}", extra_types=TYPES))
def check_group(sent: Sent, number: int, bound: Bound, measure: Callable[..., None]) -> None:
    """Wait for the members of a group."""
    begun = time.monotonic()
    sent.wait(60.0)
    assert sent.values == [i + i for i in range(number)], f"the members returned {sent.values}"
    measure("all members", unit="s", bound=bound, seen=round(time.monotonic() - begun, 3))


@then(parsers.cfparse("the sum of its {number:Count} members comes back {bound:Bound}", extra_types=TYPES))
def check_chord(sent: Sent, number: int, bound: Bound, measure: Callable[..., None]) -> None:
    """Wait for the task that gets the results of all members, and forget those of the members too."""
    begun = time.monotonic()
    seen = value_of(sent.results[-1], 120.0)
    assert seen == total(number), f"the sum is {seen}, not {total(number)}"
    measure("end of the chord", unit="s", bound=bound, seen=round(time.monotonic() - begun, 3))
    sent.results.extend(sent.results[-1].parent.results)
