"""The sentences that send any task with any options, to any worker, and look at its state."""

from __future__ import annotations

import json
import os
import secrets
import time
from typing import TYPE_CHECKING, Any

import pytest
from parse import with_pattern
from pytest_bdd import given, parsers, then, when

from redis_practices.celery_worker.sending import value_of
from redis_practices.polling import eventually, seconds_until
from steps.common.vocabulary import TYPES, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fixtures.celery_worker.client import Sent
    from fixtures.reporting.measurements import Bound
    from fixtures.stacks.protocols import Broker, Private, Worker
    from steps.common.vocabulary import Duration


@with_pattern(r"\[.*\]")
def arguments(text: str) -> list[Any]:
    """Read a task's arguments as JSON: ``[2, "text"]``."""
    return list(json.loads(text))


TASK_TYPES = {**TYPES, "Arguments": arguments}


def options_of(datatable: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return a table of options with JSON values."""
    return {row["OPTION"]: json.loads(row["VALUE"]) for row in rows(datatable, ("OPTION", "VALUE"))}


def send(sent: Sent, task: str, given: Sequence[Any], **options: Any) -> None:
    """Send a task with `options` as Celery's ``send_task`` names them."""
    sent.called = time.time()
    sent.results.append(sent.app.send_task(f"worker.{task}", given, **options))


@given("a worker of its own with these settings", target_fixture="workers")
def start_own_worker(
    broker: Broker, sent: Sent, datatable: Sequence[Sequence[str]], request: pytest.FixtureRequest
) -> list[Worker]:
    """Start a worker with settings of ``src/worker.py`` and a queue of its own, to which this scenario sends."""
    settings = {row["SETTING"]: row["VALUE"] for row in rows(datatable, ("SETTING", "VALUE"))}
    queue = f"practices-{secrets.token_hex(6)}"
    sent.app.conf.task_default_queue = queue
    workers = [broker.start_worker(TASK_QUEUE=queue, **settings)]

    def end() -> None:
        """Kill them: their tasks are done by then, and a warm shutdown would take 3 s."""
        for worker in workers:
            worker.kill()

    request.addfinalizer(end)
    return workers


@given(parsers.cfparse("a broker of its own with {number:Count} workers", extra_types=TYPES), target_fixture="broker")
@given(parsers.cfparse("a broker of its own with {number:Count} worker", extra_types=TYPES), target_fixture="broker")
def have_own_broker(private: Private, number: int) -> Broker:
    """Have a broker that this scenario may disrupt, with workers."""
    return private.broker(workers=number)


@when(parsers.cfparse('the task "{task}" is sent with {given:Arguments}', extra_types=TASK_TYPES))
def send_with_arguments(sent: Sent, task: str, given: list[Any]) -> None:
    """Send a task with its arguments as JSON."""
    send(sent, task, given)


@when(parsers.cfparse('the task "{task}" is sent with {given:Arguments} and these options', extra_types=TASK_TYPES))
def send_with_options(sent: Sent, task: str, given: list[Any], datatable: Sequence[Sequence[str]]) -> None:
    """Send a task with options as Celery's ``apply_async`` names them."""
    send(sent, task, given, **options_of(datatable))


@when(parsers.cfparse('{number:Count} tasks "{task}" are sent with {given:Arguments}', extra_types=TASK_TYPES))
def send_several(sent: Sent, number: int, task: str, given: list[Any]) -> None:
    """Send the same task several times."""
    for _ in range(number):
        send(sent, task, given)


@then(parsers.cfparse("the worker still does its work {bound:Bound}", extra_types=TYPES))
def check_still_works(sent: Sent, bound: Bound, measure: Callable[..., None]) -> None:
    """Require that a task sent now is done.

    It is asked for, not waited for: a sender whose connection the broker has cut may write its subscription into the
    dead one, subscribe again when it notices, and miss what was published meanwhile.
    """
    begun = time.monotonic()
    send(sent, "add", [4, 8])
    seen = seconds_until(sent.results[-1].ready, give_up=30.0, since=begun)
    assert value_of(sent.results[-1], 1.0) == 4 + 8
    measure("another task", unit="s", bound=bound, seen=round(seen, 3))


@then(parsers.cfparse('the last task is "{state}" {bound:Bound}', extra_types=TYPES))
def await_state(sent: Sent, state: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Wait until the last task has a state."""
    result = sent.results[-1]

    def has_state() -> None:
        """Require the state."""
        assert result.state == state, f"its state is {result.state}, not {state}"

    measure(f"until {state}", unit="s", bound=bound, seen=round(seconds_until(has_state, give_up=30.0), 3))


@then(parsers.cfparse('the first task is still "{state}"'))
def check_first_state(sent: Sent, state: str) -> None:
    """Require the state of the first task, now that others after it are done."""
    assert sent.results[0].state == state


@then(parsers.cfparse('the worker\'s log says "{text}"'))
def check_log(broker: Broker, text: str) -> None:
    """Require words in the log of the broker's first worker."""

    def says() -> None:
        """Require them now."""
        assert text in broker.workers[0].log_tail(400), f"its log says:\n{broker.workers[0].log_tail(15)}"

    eventually(says, within=5.0)


@when(parsers.cfparse("it has begun within {duration:Duration}", extra_types=TYPES))
def await_begin(broker: Broker, sent: Sent, duration: Duration) -> None:
    """Wait until the last task has noted its first run."""
    key = f"{os.environ.get('KEY_PREFIX', '')}runs:{sent.results[-1].id}"
    with broker.client() as client:
        eventually(lambda: bool(client.exists(key)), within=duration.seconds())
