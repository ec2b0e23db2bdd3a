"""The sentences about calling tasks back and asking workers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pytest_bdd import given, parsers, then, when
from redis.exceptions import ConnectionError as RedisConnectionError

from fixtures.celery_worker.workers import wait_until_it_hears
from redis_practices.polling import eventually
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.celery_worker.client import Sent
    from fixtures.reporting.measurements import Bound
    from fixtures.stacks.protocols import Broker, Private
    from steps.common.vocabulary import Duration


@given(
    parsers.cfparse("a broker of its own with a worker that keeps its state in {place}"),
    target_fixture="broker",
)
def have_broker_with_state(private: Private, tmp_path: Path, place: str) -> Broker:
    """Have a worker that remembers what was revoked in a file, or only in memory."""
    state = {"STATE_DB": str(tmp_path / "state")} if place == "a file" else {}
    return private.broker(None, workers=1, WORKER_POOL="solo", **state)


@when("it is revoked")
def revoke(broker: Broker, sent: Sent) -> None:
    """Revoke the last task; where workers run, go on when one says that it has heard."""
    task = sent.results[-1].id
    if not broker.workers:
        sent.app.control.revoke(task)
        return
    # Again where nobody has: one that has just started may not hear commands yet.
    eventually(lambda: bool(sent.app.control.revoke(task, reply=True, limit=1, timeout=1.0)), within=10.0)


@when("it is revoked and ended")
def terminate(sent: Sent) -> None:
    """Revoke the last task and end the process that runs it with SIGTERM."""
    sent.app.control.revoke(sent.results[-1].id, terminate=True)


@when("a worker starts")
def start_first_worker(broker: Broker) -> None:
    """Start the first worker of a broker that has none."""
    broker.start_worker(WORKER_POOL="solo")


@when(parsers.cfparse('the worker is restarted and serves "{queue}"'))
def restart_worker(broker: Broker, sent: Sent, queue: str) -> None:
    """Stop the first worker as a deployment does, and start one with the same settings for a queue."""
    broker.workers[0].stop()
    sent.app.conf.task_default_queue = queue
    broker.start_worker(TASK_QUEUE=queue)


@when(
    parsers.cfparse("a worker is pinged {number:Count} times by its name", extra_types=TYPES), target_fixture="answers"
)
def ping_by_name(broker: Broker, sent: Sent, number: int) -> int:
    """Ping the shared worker, and return how many answers came: a call ends when those named have answered."""
    return _answers(sent, broker.workers[0].name, number, destination=[broker.workers[0].name], timeout=5.0)


@when(parsers.cfparse("all workers are pinged {number:Count} times", extra_types=TYPES), target_fixture="answers")
def ping_all(broker: Broker, sent: Sent, number: int) -> int:
    """Ping whoever is there, and return how many answers of the shared worker came: a call ends with its time."""
    return _answers(sent, broker.workers[0].name, number, timeout=0.2)


def _answers(sent: Sent, worker: str, number: int, **options: Any) -> int:
    """Ping from this process, again and again, and return how often `worker` answered."""
    wait_until_it_hears(sent.app, worker)
    calls = [sent.app.control.broadcast("ping", reply=True, **options) for _ in range(number)]
    return sum(worker in reply for replies in calls for reply in replies or [])


@then(parsers.cfparse("{bound:Bound} answers came", extra_types=TYPES))
def check_answers(answers: int, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the number of answers against a bound."""
    measure("answers", unit="", bound=bound, seen=answers)


@then("pinging the worker raises ConnectionError")
def check_ping_raises(broker: Broker, sent: Sent) -> None:
    """Require that the command fails once over the connection that the process has kept."""
    with pytest.raises(RedisConnectionError):
        sent.app.control.ping([broker.workers[0].name], timeout=5.0)


@then(parsers.cfparse("the worker answers a ping within {duration:Duration}", extra_types=TYPES))
def check_ping(broker: Broker, sent: Sent, duration: Duration) -> None:
    """Require an answer of the first worker, which connects again in its own time."""
    wait_until_it_hears(sent.app, broker.workers[0].name, duration.seconds())
