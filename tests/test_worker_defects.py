"""Test the table of versions with a known defect, and how a version is compared with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import pytest

from redis_practices.celery_worker.control import Answers, Mailbox
from redis_practices.celery_worker.running import Fleet, RunningWorker, read_workers
from redis_practices.celery_worker.worker_audit import Unknown, defects_table, is_affected, known_defects
from redis_practices.server_info import version_of


def fleet_of(workers: Sequence[RunningWorker]) -> Fleet:
    """Return a fleet of workers at a broker without queues."""
    nothing: dict[str, Any] = {field.name: {} for field in fields(Fleet)}
    return Fleet(**nothing | {"workers": list(workers), "mailboxes": [*{one.mailbox for one in workers}]})


@pytest.mark.parametrize(
    ("version", "defect", "affected"),
    [
        ("5.3.1", {"since": "5.2.3", "mended": "5.4.0"}, True),
        ("5.2.2", {"since": "5.2.3", "mended": "5.4.0"}, False),
        ("5.4.0", {"since": "5.2.3", "mended": "5.4.0"}, False),
        ("5.10.0", {"mended": "5.7.0"}, False),
        ("5.7.0", {"since": "5.7.0", "last": "5.7.0"}, True),
        ("5.7.1", {"since": "5.7.0", "last": "5.7.0"}, False),
    ],
)
def test_affected_version(version: str, defect: dict[str, str], *, affected: bool) -> None:
    """A version is affected from `since` until before `mended`, or until `last`."""
    assert is_affected(version_of(version), defect) == affected


def test_each_defect_can_be_checked() -> None:
    """Each defect has a source, an end, and a package whose newest compared version is named."""
    table = defects_table()
    for one in table["defects"]:
        assert one["source"].startswith("https://"), one
        assert one["package"] in table["known"], one
        assert ("mended" in one) != ("last" in one), one
        assert one["grade"] in {"refused", "advice"}, one
        assert version_of(one.get("mended") or one["last"]) <= version_of(table["known"][one["package"]]), one


ORDINARY = {"celery": "5.6.3", "kombu": "5.6.2", "redis": "6.4.0"}


@pytest.mark.parametrize(
    ("changed", "refused", "advised"),
    [
        ({}, "", "kombu 5.6.2 takes no task for ever"),
        ({"kombu": "5.7.0", "redis": "8.1.0"}, "", ""),
        ({"redis": "8.1.0"}, "takes redis-py before 6.5, not 8.1.0", "kombu 5.6.2 takes no task for ever"),
        ({"celery": "5.5.3", "kombu": "5.5.4", "redis": "5.2.1"}, "", "kombu 5.5.4 takes no task for ever"),
        ({"kombu": "5.3.4", "redis": "5.0.1"}, "kombu 5.3.4 takes no task after", "kombu 5.3.4 takes no task for ever"),
        ({"celery": "5.7.0", "kombu": "5.7.0"}, "celery 5.7.0 ends when the broker restarts", ""),
        ({"kombu": "5.8.0"}, "", "does not know it: w1@h has kombu 5.8.0"),
    ],
)
def test_grade_of_a_defect(changed: dict[str, str], refused: str, advised: str) -> None:
    """A defect that stops a worker in ordinary operation is a finding; another one is advice."""
    stats = {"pool": {"implementation": "celery.concurrency.prefork:TaskPool"}}
    [worker] = read_workers(Mailbox(), Answers({"w1@h": {"stats": stats}}, {"w1@h": 1}))
    found, told = list[str](), ""
    fleet = fleet_of([replace(worker, versions={**ORDINARY, **changed})])
    try:
        found.extend(str(one["WHY"]) for one in known_defects(fleet))
    except Unknown as advice:
        told = str(advice)
    assert [refused in why for why in found] == [True] * bool(refused)
    assert advised in told
    assert bool(told) == bool(advised)
