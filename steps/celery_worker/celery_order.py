"""The sentences about the order, the time and the rate of tasks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pytest
from pytest_bdd import given, parsers, then, when

from fixtures.celery_worker.workers import Waiting, solo_worker
from fixtures.reporting.measurements import Bound
from fixtures.stacks.protocols import Broker, Worker
from steps.celery_worker.celery_tasks import send
from steps.common.vocabulary import TYPES, assert_table, rows


@given("a worker that does one task at a time", target_fixture="workers")
def have_solo_worker(waiting: Waiting) -> list[Worker]:
    """Have a worker that waits to be told to begin with its queue."""
    return [waiting.worker]


@given("a worker that does one task at a time and knows 10 priorities", target_fixture="workers")
def have_ten_steps(broker: Broker, waiting: Waiting, solo_workers: dict[str, Worker]) -> list[Worker]:
    """Have the same, and a sender, with one step for each priority."""
    waiting.sent.app.conf.broker_transport_options["priority_steps"] = list(range(10))
    waiting.worker = solo_worker(broker, solo_workers, "10")
    return [waiting.worker]


@given(parsers.cfparse('the task "{task}" is routed to its queue'))
def route_to_queue(broker: Broker, waiting: Waiting, task: str) -> None:
    """Send one kind of task to the waiting worker, and all others where they usually go."""
    waiting.sent.app.conf.task_default_queue = broker.queue
    waiting.sent.app.conf.task_routes = {f"worker.{task}": {"queue": waiting.queue}}


@given("the shared worker serves its queue too")
def share_queue(broker: Broker, waiting: Waiting, request: pytest.FixtureRequest) -> None:
    """Let a second worker serve the queue for the length of the scenario."""
    waiting.begin(broker.workers[0])
    request.addfinalizer(lambda: waiting.end(broker.workers[0]))


@when("the worker begins with its queue")
def begin(waiting: Waiting) -> None:
    """Let the waiting worker begin."""
    waiting.begin()


@when("tasks with these priorities wait for it")
def send_priorities(waiting: Waiting, datatable: Sequence[Sequence[str]]) -> None:
    """Send one task a row, in this order, before the worker begins."""
    waiting.priorities = [row["PRIORITY"] for row in rows(datatable, ("PRIORITY",))]
    for priority in waiting.priorities:
        send(waiting.sent, "stamp", [], priority=int(priority))


@then(parsers.cfparse("they begin in this order {bound:Bound}", extra_types=TYPES))
def check_order(
    waiting: Waiting, bound: Bound, measure: Callable[..., None], datatable: Sequence[Sequence[str]]
) -> None:
    """Let the worker begin, and hold the order in which the tasks ran against the table."""
    waiting.begin()
    begun = time.monotonic()
    waiting.sent.wait(30.0)
    measure("all done", unit="s", bound=bound, seen=round(time.monotonic() - begun, 3))
    order = sorted(zip(waiting.sent.values, waiting.priorities, strict=True), key=lambda pair: pair[0]["begun"])
    assert_table(datatable, [{"PRIORITY": priority} for _, priority in order])
