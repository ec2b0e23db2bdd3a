"""Test the table of versions with a known defect, and how a version is compared with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from typing import Any

import pytest

from fixtures import PROJECT
from fixtures.bdd.vocabulary import definitions_of
from fixtures.run.practices_file import changeables
from redis_practices.celery_worker import fleet_audit as fleets
from redis_practices.celery_worker import queue_audit as queues
from redis_practices.celery_worker import worker_audit as workers
from redis_practices.celery_worker.control import Answers, Mailbox
from redis_practices.celery_worker.queue_age import Message, QueueSeen
from redis_practices.celery_worker.running import Fleet, Held, RunningWorker, read_workers
from redis_practices.celery_worker.worker_audit import Finding, Unknown
from redis_practices.server_info import version_of
from steps.common.vocabulary import most


def fleet_of(*seen: RunningWorker, waiting: Sequence[QueueSeen] = ()) -> Fleet:
    """Return a fleet of workers with queues, at second 1000."""
    nothing: dict[str, Any] = {field.name: {} for field in fields(Fleet)}
    found = {"workers": list(seen), "mailboxes": [*{one.mailbox for one in seen}], "queues": list(waiting)}
    return Fleet(**nothing | found | {"now": 1000.0, "silent": 0})


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
    assert fleets.is_affected(version_of(version), defect) == affected


def test_each_defect_can_be_checked() -> None:
    """Each defect has a source, an end, and a package whose newest compared version is named."""
    table = fleets.defects_table()
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
    fleet = fleet_of(replace(worker, versions={**ORDINARY, **changed}))
    try:
        found.extend(str(one["WHY"]) for one in fleets.known_defects(fleet))
    except Unknown as advice:
        told = str(advice)
    assert [refused in why for why in found] == [True] * bool(refused)
    assert advised in told
    assert bool(told) == bool(advised)


def worker_of(**changes: Any) -> RunningWorker:
    """Return a worker of two processes that has answered every question."""
    pool = {"implementation": "celery.concurrency.prefork:TaskPool", "max-concurrency": 2}
    stats = {"pool": pool, "prefetch_count": 8, "uptime": 60}
    said = {"stats": stats, "active_queues": [{"name": "celery"}], "registered": ["shop.add [acks_late=False]"]}
    [worker] = read_workers(Mailbox(), Answers({"w1@h": said}, {"w1@h": 1}))
    return replace(worker, **changes)


def held(name: str, started: float | None, *, eta: float | None = None) -> Held:
    """Return a task that a worker holds, acknowledged."""
    return Held(name, "1", "celery", started, acknowledged=True, redelivered=False, eta=eta)


def queue_of(**changes: Any) -> QueueSeen:
    """Return a queue with 8 tasks of 500 bytes each, untouched for 300 s."""
    sent = [Message("shop.add", "1", "application/json", "7@h", None, None, None)]
    return replace(QueueSeen("celery", "", {0: 8}, {0: 300.0}, sent, 0, 500.0), **changes)


def limit_cases() -> dict[str, tuple[Callable[[Fleet], Iterable[Finding]], Fleet, float]]:
    """Return by limit its detector, a fleet that the default allows, and a bound that does not."""
    running = worker_of(running=[held("shop.add", 970.0)])
    full = worker_of(running=[held("shop.add", 995.0)] * 2, waiting=[held("shop.add", None)])
    idle = worker_of(node="w2@h", name="w2@h")
    newer = worker_of(node="w2@h", name="w2@h", uptime=700.0, versions={"kombu": "5.7.0"})
    later = worker_of(later=[held("shop.add", None)] * 20)
    beat = worker_of(schedule={"each minute": "shop.add"})
    older = worker_of(uptime=900.0, versions={"kombu": "5.6.2"})
    return {
        "long-task": (workers.early_and_long, fleet_of(running), 20.0),
        "reserved-task": (workers.held_back, fleet_of(full, idle), 3.0),
        "deployment": (fleets.mixed, fleet_of(older, newer), 800.0),
        "clock-drift": (fleets.wrong_clocks, fleet_of(worker_of(clock=5.0)), 2.0),
        "held-countdowns": (workers.countdowns, fleet_of(later), 10.0),
        "message-size": (queues.huge_messages, fleet_of(idle, waiting=[queue_of()]), 400.0),
        "oldest-message": (queues.overaged, fleet_of(idle, waiting=[queue_of()]), 200.0),
        "periodic-tasks": (queues.piled, fleet_of(beat, waiting=[queue_of()]), 5.0),
    }


def judged(detect: Callable[[Fleet], Iterable[Finding]], fleet: Fleet) -> str:
    """Return what a detector finds, or advises."""
    try:
        return "; ".join(", ".join(map(str, one.values())) for one in detect(fleet))
    except Unknown as advice:
        return str(advice)


@pytest.mark.parametrize("name", limit_cases())
def test_limit_is_in_force(name: str) -> None:
    """A limit of practices.toml changes what its detector says."""
    detect, fleet, least = limit_cases()[name]
    assert judged(detect, fleet) != judged(detect, replace(fleet, limits={name: least}))


def test_each_limit_has_a_case(pytestconfig: pytest.Config) -> None:
    """Each limit in the features of workers is tested here, or with a real broker in the catalogue."""
    limits = {one.name for one in changeables(PROJECT, definitions_of(pytestconfig)) if one.reads is most}
    assert limits == {*limit_cases(), "abandoned-answers"}
