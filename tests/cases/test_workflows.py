"""Test that a workflow ends, for each way in which a member of it can end."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from celery import Signature, chain, chord, group
from celery.app.task import Context
from celery.exceptions import ChordError
from celery.result import AsyncResult, GroupResult
from celery.signals import before_task_publish

from fixtures.run.own_time import WorkersClock
from redis_practices.celery_worker.sending import value_of
from redis_practices.servers.celery import WorkerProcess
from tests.cases.bench import ENDED, Bench, detached
from tests.cases.preparing import prepared

TASKS = "fixtures.celery_worker.tasks tests.workflow_tasks"
"""The modules of the tasks of these workflows."""

WITHIN = 15.0
"""Seconds on the worker's clock for a workflow to end; it takes up to 3 on 2 idle cores."""

Make = Callable[[Bench, Signature], Signature]

SHAPES: dict[str, Make] = {
    "chord": lambda bench, member: chord([one(bench), member], bench.signature("echo")),
    "chain": lambda bench, member: chain(member, bench.signature("echo")),
    "long chain": lambda bench, member: chain(one(bench), member, bench.signature("echo"), bench.signature("echo")),
    "chain before a chord": lambda bench, member: chain(member, pair(bench), bench.signature("echo")),
    "chain in a chord": lambda bench, member: chord(
        [chain(member, bench.signature("echo")), one(bench)], bench.signature("echo")
    ),
    "chord in a chord": lambda bench, member: chord(
        [chord([member, one(bench)], bench.signature("echo")), one(bench)], bench.signature("echo")
    ),
    "group in a chord": lambda bench, member: chord([group(member, one(bench)), one(bench)], bench.signature("echo")),
    "chain to a group in a chord": lambda bench, member: chord(
        [chain(member, pair(bench)), one(bench)], bench.signature("echo")
    ),
}
"""Workflows by name: each holds the member once, and its result is that of its last task."""


def one(bench: Bench) -> Signature:
    """Return a task that succeeds."""
    return bench.signature("add", [1, 1], immutable=True)


def pair(bench: Bench) -> Signature:
    """Return a group of two tasks that succeed."""
    return group(one(bench), one(bench))


Member = tuple[str, list[Any], dict[str, Any], str]

MEMBERS: dict[str, Member] = {
    "returns": ("add", [1, 2], {}, "SUCCESS"),
    "fails": ("fail", ["member"], {}, "FAILURE"),
    "is retried": ("flaky", [1, 0.01], {}, "SUCCESS"),
    "fails in each retry": ("flaky", [99, 0.01], {}, "FAILURE"),
    "is unknown": ("nosuch", [], {}, "FAILURE"),
    "is called wrongly": ("ignore", ["x"], {}, "FAILURE"),
    "is dropped": ("refuse", [-1], {}, "FAILURE"),
    "returns to the queue": ("refuse", [1], {}, "SUCCESS"),
    "is ignored": ("ignore", [], {}, "FAILURE"),
    "is replaced": ("replace", [5], {}, "SUCCESS"),
    "hits its hard limit": ("tidy", [30, 30], {"soft_time_limit": 0.3, "time_limit": 0.6}, "FAILURE"),
    "kills its process": ("crash", [], {}, "FAILURE"),
    "expires": ("add", [1, 2], {"expires": 0.001}, "FAILURE"),
}
"""Members by the way in which they end: task, arguments, options, and the end of their workflow."""


def start(bench: Bench, **environment: str) -> WorkerProcess:
    """Start a worker with the tasks of these tests."""
    return bench.worker(**{"WORKER_INCLUDES": TASKS, "WORKER_CONCURRENCY": "2", **environment})


def detach(result: AsyncResult | GroupResult | None) -> None:
    """End the subscriptions of a result and of all results that it waits for."""
    if result is None:
        return
    detach(result.parent)
    for member in result.results if isinstance(result, GroupResult) else ():
        detach(member)
    if isinstance(result, AsyncResult):
        detached(result)


def send(workflow: Signature) -> str:
    """Send a workflow and return the id of its last task."""
    result = workflow.apply_async()
    detach(result)
    return str(result.id)


def ended(bench: Bench, task_ids: dict[str, str]) -> dict[str, str]:
    """Return the final states of these tasks; one that does not end is PENDING."""
    clock = WorkersClock()

    def states() -> dict[str, str]:
        return {name: bench.state(task_id) for name, task_id in task_ids.items()}

    with suppress(AssertionError):
        clock.eventually(lambda: all(state in ENDED for state in states().values()), within=WITHIN)
    return states()


@pytest.mark.slow
@pytest.mark.parametrize("case", MEMBERS)
def test_workflows_end(bench: Bench, case: str) -> None:
    """Each workflow ends: with success, or as a failure if its member fails."""
    name, arguments, options, end = MEMBERS[case]
    start(bench)
    sent = {}
    for shape, make in SHAPES.items():
        member = bench.signature(name, arguments, immutable=True, **options)
        sent[shape] = send(make(bench, member))
    right = {shape: {end, "REVOKED"} if end == "FAILURE" else {end} for shape in SHAPES}
    assert {shape: state for shape, state in ended(bench, sent).items() if state not in right[shape]} == {}


REVOCATIONS: dict[str, tuple[list[Any], dict[str, Any], bool]] = {
    "in the queue": ([0.0], {}, False),
    "in the worker": ([0.0], {"countdown": 3}, False),
    "while it runs": ([30.0], {}, True),
}
"""Arguments and options of a member that is revoked, and whether it runs then."""


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("when", REVOCATIONS)
def test_workflows_of_a_revoked_member_end(bench: Bench, when: str, shape: str) -> None:
    """A workflow ends as a failure if its member is revoked in any state."""
    arguments, options, runs = REVOCATIONS[when]
    start(bench, WORKER_CONCURRENCY="1")
    bench.await_hearing()
    blocker = bench.send("stamp", [30.0]) if when == "in the queue" else None
    if blocker:
        bench.await_run(blocker)
    member = bench.signature("stamp", arguments, immutable=True, **options)
    member_id = member.freeze().id
    workflow = SHAPES[shape](bench, member)
    result = workflow.apply_async()
    if runs:
        bench.await_run(member_id)
    elif when == "in the worker":
        prepared(lambda: bench.client.hlen("unacked") > 0)
    assert bench.sender().control.revoke(member_id, terminate=runs, reply=True, timeout=10, limit=1)
    if blocker:
        bench.sender().control.revoke(blocker, terminate=True)
    detach(result)
    assert ended(bench, {shape: str(result.id)})[shape] in {"FAILURE", "REVOKED"}


@pytest.mark.slow
def test_members_further_apart_than_results_are_kept(bench: Bench) -> None:
    """A workflow ends, in each shape, if its members end further apart than results are kept."""
    start(bench, WORKER_POOL="threads", WORKER_CONCURRENCY="16", RESULT_EXPIRES="1")
    sent = {}
    for shape, make in SHAPES.items():
        sent[shape] = send(make(bench, bench.signature("tidy", [3.0], immutable=True)))
    assert returned(bench, sent) == {
        "chord": [2, "done"],
        "chain": "done",
        "long chain": "done",
        "chain before a chord": [2, 2],
        "chain in a chord": ["done", 2],
        "chord in a chord": [["done", 2], 2],
        "group in a chord": [2, "done", 2],  # Celery takes the inner group apart, from its end
        "chain to a group in a chord": [[2, 2], 2],
    }


def returned(bench: Bench, task_ids: dict[str, str]) -> dict[str, Any]:
    """Return what these tasks returned or raised, seen before it expires; None of a task that does not end."""
    seen: dict[str, Any] = {}

    def all_ended() -> bool:
        for name, task_id in task_ids.items():
            stored = json.loads(bench.client.get(f"celery-task-meta-{task_id}") or "{}")
            if stored.get("status") in ENDED:
                seen[name] = stored["result"]
        return len(seen) == len(task_ids)

    with suppress(AssertionError):
        WorkersClock().eventually(all_ended, within=WITHIN, every=0.05)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_members_that_end_without_a_broker(bench: Bench, pool: str) -> None:
    """A workflow ends, in each shape, if its member ends while the broker is away for 3 s."""
    start(bench, WORKER_POOL=pool, WORKER_CONCURRENCY="8")
    sent, members = {}, []
    for shape, make in SHAPES.items():
        member = bench.signature("stamp", [2.0], immutable=True)
        members.append(member.freeze().id)
        sent[shape] = send(make(bench, member))
    prepared(lambda: all(bench.runs(member) for member in members))
    bench.server.kill()
    time.sleep(3)
    bench.server.restart()
    assert ended(bench, sent) == dict.fromkeys(SHAPES, "SUCCESS")


@pytest.mark.slow
def test_member_that_is_delivered_twice_counts_once(bench: Bench) -> None:
    """The body of a chord runs once, with each member once, if a member is delivered twice with two results."""
    start(bench, WORKER_POOL="threads", WORKER_CONCURRENCY="16", VISIBILITY_TIMEOUT="1", RESTORE_INTERVAL="0.2")
    twice = bench.signature("number", [2.5])
    result = chord([twice, bench.signature("linger", [0.0]), bench.signature("tidy", [5.0])], bench.signature("body"))
    last = result.apply_async()
    members = [detached(member) for member in last.parent.results]
    body = detached(last)
    assert ended(bench, {"body": body}) == {"body": "SUCCESS"}
    prepared(lambda: bench.runs(members[0]) > 1)
    returned = json.loads(bench.client.get(f"celery-task-meta-{body}") or "")["result"]
    assert (len(returned), returned[0] in {1, 2}, returned[2], bench.runs(body)) == (3, True, "done", 1)


def test_interrupted_sender_of_a_body(bench: Bench) -> None:
    """The body of a chord is sent once, with first results, if an interrupt ends the first attempt to send it."""
    app = bench.sender()
    body = app.signature("worker.body")
    body.freeze()
    member = Context(id="member", group="interrupted", group_index=0, chord=body)
    app.backend.set_chord_size("interrupted", 1)

    def interrupt(**_: object) -> None:
        raise KeyboardInterrupt

    before_task_publish.connect(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            app.backend.on_chord_part_return(member, "SUCCESS", "first")
    finally:
        before_task_publish.disconnect(interrupt)
    for again in ("second", "third"):
        app.backend.on_chord_part_return(member, "SUCCESS", again)
    (sent,) = bench.client.lrange("celery", 0, -1)
    assert json.loads(b64decode(json.loads(sent)["body"]))[0] == [["first"]]


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["chord", "long chain", "chord in a chord"])
def test_reader_of_a_failed_workflow(bench: Bench, shape: str) -> None:
    """A reader with the result object sees the failure of a member, while another member still runs."""
    start(bench)
    failing = bench.signature("fail", ["member"], immutable=True)
    workflow = chord([SHAPES[shape](bench, failing), bench.signature("stamp", [60.0])], bench.signature("echo"))
    result = workflow.apply_async()
    try:
        with pytest.raises((ChordError, ValueError), match="member"):
            value_of(result, 30)
    finally:
        detach(result)
