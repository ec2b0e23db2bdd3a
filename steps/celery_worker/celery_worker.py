"""The sentences about Celery's tasks and the workers that process them."""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from pytest_bdd import given, parsers, then, when

from fixtures.celery_worker.client import Sent
from fixtures.reporting.measurements import Bound
from fixtures.stacks.protocols import Broker, Worker
from steps.common.vocabulary import TYPES, Duration, assert_table, rows


@given("a broker with its worker", target_fixture="workers")
def have_workers(broker: Broker) -> list[Worker]:
    """Have at least one worker that is ready."""
    assert broker.workers, "no worker serves the broker"
    return [broker.workers[0]]


@given("a second worker")
def start_second_worker(broker: Broker, workers: list[Worker], request: pytest.FixtureRequest) -> None:
    """Start one more worker for this scenario; it is stopped in the end."""
    worker = broker.start_worker()
    request.addfinalizer(worker.stop)
    workers.append(worker)


@when(parsers.cfparse('the task "{task}" with {duration:Duration} is sent', extra_types=TYPES))
def send_with_duration(sent: Sent, task: str, duration: Duration) -> None:
    """Send a task whose argument is a time in seconds."""
    sent.send(task, duration.seconds())


@when(parsers.cfparse('the task "{task}" with "{text}" is sent'))
def send_with_text(sent: Sent, task: str, text: str) -> None:
    """Send a task whose argument is a text."""
    sent.send(task, text)


@when(parsers.cfparse('the task "{task}" is sent with these arguments'))
def send_with_table(sent: Sent, task: str, datatable: Sequence[Sequence[str]]) -> None:
    """Send a task once a row, with two numbers."""
    for row in rows(datatable, ("X", "Y")):
        sent.send(task, json.loads(row["X"]), json.loads(row["Y"]))


@when(parsers.cfparse("{number:Count} tasks that take {duration:Duration} each are sent", extra_types=TYPES))
def send_batch(sent: Sent, number: int, duration: Duration) -> None:
    """Send a batch of tasks that take their time."""
    for _ in range(number):
        sent.send("sleep", duration.seconds())


@then(parsers.cfparse("sending took {bound:Bound}", extra_types=TYPES))
def check_sending(sent: Sent, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the time that sending took against its bound."""
    measure("sending a task", unit="s", bound=bound, seen=round(sent.seconds, 3))


@then(parsers.cfparse("its result comes back {bound:Bound}", extra_types=TYPES))
@then(parsers.cfparse("all of them are processed {bound:Bound}", extra_types=TYPES))
def await_results(sent: Sent, bound: Bound, measure: Callable[..., None]) -> None:
    """Wait for every result, a while beyond the bound, so that a failure can say what was seen."""
    begun = time.monotonic()
    sent.wait(30.0)
    measure("results back", unit="s", bound=bound, seen=round(time.monotonic() - begun, 3))


@then(parsers.cfparse("these results come back {bound:Bound}", extra_types=TYPES))
def compare_results(sent: Sent, bound: Bound, measure: Callable[..., None], datatable: Sequence[Sequence[str]]) -> None:
    """Wait for every result and hold them against the table, in the order of sending."""
    await_results(sent, bound, measure)
    assert_table(datatable, [{"RESULT": value} for value in sent.values])


@then("it was processed by another process")
def check_other_process(sent: Sent) -> None:
    """Require that the worker that ran the task is not this process."""
    worker, here = sent.values[-1], {"host": socket.gethostname(), "pid": os.getpid()}
    assert worker != here, f"the task ran in the process that sent it: {worker}"


@then(parsers.cfparse('waiting for its result raises ValueError with "{message}" {bound:Bound}', extra_types=TYPES))
def check_failure(sent: Sent, message: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Require that waiting raises what the task raised."""
    begun = time.monotonic()
    with pytest.raises(ValueError, match=f"^{message}$"):
        sent.wait(30.0)
    measure("error back", unit="s", bound=bound, seen=round(time.monotonic() - begun, 3))


@then(parsers.cfparse("each of the two workers processed {bound:Bound} of them", extra_types=TYPES))
def check_shares(sent: Sent, bound: Bound, workers: list[Worker], measure: Callable[..., None]) -> None:
    """Hold the number of tasks that each worker processed against its bound."""
    shares = Counter(value["worker"] for value in sent.values)
    for worker in workers:
        measure(f"tasks of {worker.name}", unit="", bound=bound, seen=shares[worker.name])
