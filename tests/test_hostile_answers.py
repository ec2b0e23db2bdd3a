"""A client that may publish can answer anything under a worker's name; no judgement fails of it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest

from fixtures.gate.worker_scenes import Case, Program, staged
from fixtures.reporting.report import workers_seen
from fixtures.run.processes import ForkingGroup
from redis_practices.celery_worker import fleet_audit, queue_audit, worker_audit
from redis_practices.celery_worker.control import Answers, Mailbox, Requester, named
from redis_practices.celery_worker.running import QUESTIONS, SETTINGS, Fleet, look, read_workers
from redis_practices.celery_worker.worker_audit import Unknown
from redis_practices.polling import eventually
from redis_practices.servers.server import BROKER, start_server

BUSY = Program(
    {
        "beat_schedule": {"nightly": {"task": "shop.add", "schedule": 3600.0, "options": {"queue": "celery"}}},
        "task_routes": {"shop.add": {"queue": "celery"}, "shop.sleep": "celery"},
        "worker_prefetch_multiplier": 2,
    },
    {"priority_steps": [0, 5]},
)
"""A worker whose answers have each of the forms that are read."""

FURTHER = ("broker_transport_options", "beat_schedule", "task_routes", "result_backend", "task_queues")
"""Settings that are read for their parts."""

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Told:
    """What a real worker has answered, and the look at it."""

    fleet: Fleet
    said: Mapping[str, Any]
    """By question."""
    paths: list[Path]
    """Where each value stands in `said`; of a list, the first element's."""


def paths_in(value: object, before: Path = ()) -> Iterator[Path]:
    """Yield the places of a value and of all in it."""
    yield before
    inner = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for name, one in inner:
        yield from paths_in(one, (*before, name))


def changed(value: Any, path: Path, odd: object) -> Any:
    """Return a copy of a value with another one at a place."""
    if not path:
        return odd
    copy = value.copy()
    copy[path[0]] = changed(copy[path[0]], path[1:], odd)
    return copy


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    """Give the answers of a worker that runs a task, holds another one and waits with a third."""

    def send(at: Any) -> None:
        at.send("add", 1, countdown=600)
        at.held(1)
        at.send("sleep", 60, times=2)
        at.held(3)

    with ForkingGroup() as group:
        broker = start_server(group, BROKER)
        with staged(Case("", (BUSY,), after=send), broker.url) as scene:
            with Requester(scene.client, [Mailbox()]) as requester:
                [said] = requester.ask(QUESTIONS)[Mailbox()].by_node.values()
            said["conf"] = named(said["conf"], [*SETTINGS, *FURTHER])
            paths = [path for path in paths_in(said) if path]
            yield Told(look(scene.client, listen=0), said, paths)


ODD: list[Any] = [
    *(None, True, -1, 1e300, float("nan"), 10**400, "", "\x1b[2J", "9" * 5000, "2030-13-45"),
    *([], [[]], [None], ["x", 7], {}, {"name": []}),
]
"""Values that a worker gives at no place, or not at each."""

Detector = Callable[[Fleet], Iterator[object]]


def detectors() -> Iterator[Detector]:
    """Yield the functions that find something in a fleet."""
    for module in (worker_audit, fleet_audit, queue_audit):
        for function in vars(module).values():
            if inspect.isfunction(function) and function.__module__ == module.__name__:
                signature = inspect.signature(function)
                if [*signature.parameters][:1] == ["fleet"] and signature.return_annotation == "Iterator[Finding]":
                    yield function


def judged(fleet: Fleet) -> None:
    """Ask each detector, and write the report."""
    for detect in detectors():
        with suppress(Unknown):
            list(detect(fleet))
    json.dumps(workers_seen(fleet), allow_nan=False)


def answered(said: Mapping[str, Any]) -> Answers:
    """Return the answers of one worker."""
    return Answers({"shop0@h": dict(said)}, {"shop0@h": 1}, receivers=1)


@pytest.mark.slow
@pytest.mark.parametrize("odd", ODD, ids=lambda odd: str(odd)[:9].encode("unicode_escape").decode())
def test_odd_value_fails_no_judgement(told: Told, odd: object) -> None:
    """Any value at any place of an answer is read, or ignored with the worker that gave it."""
    for path in told.paths:
        workers = list(read_workers(Mailbox(), answered(changed(told.said, path, odd))))
        judged(replace(told.fleet, workers=workers))


def test_there_are_many_judgements(told: Told) -> None:
    """The judgements are found, and the worker's answers have what they read."""
    assert len(list(detectors())) > 25
    [worker] = read_workers(Mailbox(), answered(told.said))
    assert (len(worker.running), len(worker.waiting), len(worker.later)) == (1, 1, 1)
    judged(told.fleet)


def test_worker_that_cannot_write_its_statistics_is_told_with_the_cause() -> None:
    """Kombu cannot write `range(10)` as JSON, so that `stats` has no answer."""
    with ForkingGroup() as group:
        broker = start_server(group, BROKER)
        with staged(Case("", (Program(transport={"priority_steps": range(10)}),)), broker.url) as scene:
            seen: list[Fleet] = []

            def is_late() -> bool:
                seen.append(look(scene.client, listen=0))
                return bool(seen[-1].late)

            eventually(is_late, within=20)  # a worker on a busy machine may not hear the first question
    fleet = seen[-1]
    assert (len(fleet.late), fleet.workers) == (1, [])
    assert "`priority_steps=range(10)` must be a list" in queue_audit.doubt(fleet)


def test_long_answer_is_not_read() -> None:
    """An answer of 50 MB is named, and not parsed."""
    answers = Answers()
    answers.keep(b"{" * 50_000_000, "ping")
    assert dict(answers.unreadable) == {"more than 16 MB": 0}
