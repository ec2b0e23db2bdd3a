"""The sentences about the order, the time and the rate of tasks."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from pytest_bdd import given, parsers, then, when

from fixtures.celery_worker.remote_control import wait_until_it_hears
from steps.celery_worker.celery_tasks import send
from steps.common.vocabulary import TYPES, assert_table, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fixtures.celery_worker.sent import Sent
    from fixtures.reporting.measurements import Bound
    from fixtures.stacks.deployments import Broker, Stack, Worker


@pytest.fixture(scope="session")
def solo_workers(stack: Stack) -> dict[str, Worker]:
    """Give the workers of this process that do one task at a time, by the number of priorities that they know."""
    del stack  # they end with its broker, so they must not outlive it
    return {}


@dataclass
class Waiting:
    """A worker that does one task at a time, and a queue that it does not serve until it is told to."""

    worker: Worker
    queue: str
    sent: Sent
    priorities: list[str] = field(default_factory=list)
    """Those of the tasks that were sent, in the order of sending."""

    def begin(self, worker: Worker | None = None) -> None:
        """Let it, or another `worker`, serve the queue."""
        name = (worker or self.worker).name
        wait_until_it_hears(self.sent.app, name)
        answers = self.sent.app.control.add_consumer(self.queue, destination=[name], reply=True, limit=1, timeout=10)
        assert answers, f"{name} does not say that it serves {self.queue}"

    def end(self, worker: Worker | None = None) -> None:
        """Let the worker serve the queue no more."""
        name = (worker or self.worker).name
        self.sent.app.control.cancel_consumer(self.queue, destination=[name], reply=True, limit=1, timeout=10)


def _solo(broker: Broker, workers: dict[str, Worker], steps: str) -> Worker:
    """Return the worker of this process that knows `steps` priorities, started at its first use.

    It may have ended since: on a stack that is shared, a scenario that has the broker for itself removes all workers.
    """
    if steps not in workers or not workers[steps].runs:
        queue = f"practices-{secrets.token_hex(6)}"
        workers[steps] = broker.start_worker(TASK_QUEUE=queue, WORKER_POOL="solo", PRIORITY_STEPS=steps)
    return workers[steps]


@pytest.fixture
def waiting(broker: Broker, sent: Sent, solo_workers: dict[str, Worker]) -> Iterator[Waiting]:
    """Give a worker that waits to be told to begin; what is sent goes to the queue that it will serve."""
    held = Waiting(_solo(broker, solo_workers, "4"), f"practices-{secrets.token_hex(6)}", sent)
    sent.app.conf.task_default_queue = held.queue
    yield held
    held.end()


@given("a worker that does one task at a time", target_fixture="workers")
def have_solo_worker(waiting: Waiting) -> list[Worker]:
    """Have a worker that waits to be told to begin with its queue."""
    return [waiting.worker]


@given("a worker that does one task at a time and knows 10 priorities", target_fixture="workers")
def have_ten_steps(broker: Broker, waiting: Waiting, solo_workers: dict[str, Worker]) -> list[Worker]:
    """Have the same, and a sender, with one step for each priority."""
    waiting.sent.app.conf.broker_transport_options["priority_steps"] = list(range(10))
    waiting.worker = _solo(broker, solo_workers, "10")
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
