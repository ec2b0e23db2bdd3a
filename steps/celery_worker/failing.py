"""The sentences about tasks that fail, are refused or revoked, and about remote control."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pytest_bdd import given, parsers, then, when
from redis.exceptions import ConnectionError as RedisConnectionError

from fixtures.celery_worker.client import Sent, returned, runs_of, runs_of_each
from fixtures.celery_worker.workers import wait_until_it_hears
from fixtures.reporting.measurements import Bound
from fixtures.run.own_time import WorkersClock
from fixtures.stacks.protocols import Broker, Private, Worker
from steps.common.vocabulary import TYPES, Duration, rows


@then(parsers.cfparse('it fails with "{error}" {bound:Bound}', extra_types=TYPES))
def check_error(sent: Sent, error: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Require that waiting for the last task raises an error, as ``Kind: message``."""
    clock = WorkersClock()
    with pytest.raises(Exception) as caught:  # noqa: PT011 - kind and message are compared below
        returned(sent.results[-1], 30.0)
    seen = f"{type(caught.value).__name__}: {caught.value}"
    assert seen == error, f"it failed with {seen!r}, not {error!r}"
    measure("error back", unit="s", bound=bound, seen=clock.within(bound))


@then(parsers.cfparse('its traceback names "{line}"'))
def check_traceback(sent: Sent, line: str) -> None:
    """Require a line of code in the traceback that the result carries."""
    assert line in sent.results[-1].traceback, f"the traceback is\n{sent.results[-1].traceback}"


@then(parsers.cfparse("it ran {number:Count} times within {duration:Duration}", extra_types=TYPES))
def check_runs(broker: Broker, sent: Sent, number: int, duration: Duration, request: pytest.FixtureRequest) -> None:
    """Require how often the last task ran."""
    clock, seen = WorkersClock(), 0

    def ran() -> None:
        """Require it now; what ran too often will not have run less often."""
        nonlocal seen
        seen = len(runs_of(broker, sent.results[-1]))
        assert seen >= number, f"it ran {seen} times"

    clock.eventually(ran, within=duration.seconds())
    clock.within(Bound.at_most(duration.seconds(), "s"))
    if "application" in request.fixturenames:
        # A worker that has no processor for as long looks dead, and its task is delivered again.
        timeout = float(request.getfixturevalue("application").settings["VISIBILITY_TIMEOUT"])
        sent.clock.certain(seen, Bound.at_most(number), "runs", more_than=timeout)
    assert seen == number, f"it ran {seen} times"


@when(parsers.cfparse("the first task has begun within {duration:Duration}", extra_types=TYPES))
def await_begun(broker: Broker, sent: Sent, duration: Duration) -> None:
    """Wait until the first task runs: what a worker has only fetched, it may return."""
    WorkersClock().eventually(lambda: bool(runs_of(broker, sent.results[0])), within=duration.seconds())


@then(parsers.cfparse("the first task ran {number:Count} times", extra_types=TYPES))
def check_first_runs(broker: Broker, sent: Sent, number: int) -> None:
    """Require how often the first task ran, now that one after it is done."""
    runs = runs_of(broker, sent.results[0])
    assert len(runs) == number, f"it ran {len(runs)} times"


@then("it ran again after these waits")
def check_waits(broker: Broker, sent: Sent, measure: Callable[..., None], datatable: Sequence[Sequence[str]]) -> None:
    """Hold the time between one run of the last task and the next against a bound a row."""
    runs = runs_of(broker, sent.results[-1])
    waits = [after - before for before, after in pairwise(runs)]
    wanted = [TYPES["Bound"](row["WAIT"]) for row in rows(datatable, ("WAIT",))]
    assert len(waits) == len(wanted), f"it ran again {len(waits)} times, after {waits} s, not {len(wanted)} times"
    for number, (bound, wait) in enumerate(zip(wanted, waits, strict=True), start=1):
        measure(f"wait before retry {number}", unit="s", bound=bound, seen=sent.clock.apart(wait, bound))


@then(parsers.cfparse("{bound:Bound} of their retries ran in the busiest {window:Duration}", extra_types=TYPES))
def check_spread(broker: Broker, sent: Sent, bound: Bound, window: Duration, measure: Callable[..., None]) -> None:
    """Hold the largest share of retries that ran within any such time against its bound."""
    runs = runs_of_each(broker, sent.results)
    # As if all had failed at one moment: on a busy machine their first runs are a while apart.
    moments = [again - first for first, again in runs]
    busiest = max(sum(1 for other in moments if 0 <= other - one <= window.seconds()) for one in moments)
    share = sent.clock.certain(round(100 * busiest / len(moments)), bound, "% at once", more_than=window.seconds())
    measure("retries at once", unit="%", bound=bound, seen=share)


@when(parsers.cfparse('"{text}" is put into the queue by hand'))
def put_by_hand(broker: Broker, text: str) -> None:
    """Write an element to the queue that no Celery made."""
    with broker.client() as client:
        client.lpush(broker.queue, text)


@then(parsers.cfparse("the worker ends with exit code {code:Count} {bound:Bound}", extra_types=TYPES))
def check_exit(broker: Broker, code: int, bound: Bound, measure: Callable[..., None]) -> None:
    """Wait for the end of the broker's first worker."""
    worker: Worker = broker.workers()[0]
    clock = WorkersClock()
    assert worker.wait_end(30.0) == code
    measure("until the worker ended", unit="s", bound=bound, seen=clock.within(bound))


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
    if not broker.workers():
        sent.app.control.revoke(task)
        return
    # Again where nobody has: one that has just started may not hear commands yet.
    WorkersClock().eventually(lambda: bool(sent.app.control.revoke(task, reply=True, limit=1, timeout=1.0)), 10.0)


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
    broker.workers()[0].stop()
    sent.app.conf.task_default_queue = queue
    broker.start_worker(TASK_QUEUE=queue)


@when(
    parsers.cfparse("a worker is pinged {number:Count} times by its name", extra_types=TYPES), target_fixture="answers"
)
def ping_by_name(broker: Broker, sent: Sent, number: int) -> int:
    """Ping the shared worker, and return how many answers came: a call ends when those named have answered."""
    return _answers(sent, broker.workers()[0].name, number, destination=[broker.workers()[0].name], timeout=5.0)


@when(parsers.cfparse("all workers are pinged {number:Count} times", extra_types=TYPES), target_fixture="answers")
def ping_all(broker: Broker, sent: Sent, number: int) -> int:
    """Ping whoever is there, and return how many answers of the shared worker came: a call ends with its time."""
    return _answers(sent, broker.workers()[0].name, number, timeout=0.2)


SLOW = 1.0
"""Seconds of a busy judge that make an answer late, or let one worker have the turns of another."""


def _answers(sent: Sent, worker: str, number: int, **options: Any) -> int:
    """Ping from this process, again and again, and return how often `worker` answered."""
    wait_until_it_hears(sent.app, worker)
    sent.clock = WorkersClock()
    calls = [sent.app.control.broadcast("ping", reply=True, **options) for _ in range(number)]
    return sum(worker in reply for replies in calls for reply in replies or [])


@then(parsers.cfparse("{bound:Bound} answers came", extra_types=TYPES))
def check_answers(sent: Sent, answers: int, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the number of answers against a bound."""
    measure("answers", unit="", bound=bound, seen=sent.clock.certain(answers, bound, "answers", more_than=SLOW))


@then("pinging the worker raises ConnectionError")
def check_ping_raises(broker: Broker, sent: Sent) -> None:
    """Require that the command fails once over the connection that the process has kept."""
    with pytest.raises(RedisConnectionError):
        sent.app.control.ping([broker.workers()[0].name], timeout=5.0)


@then(parsers.cfparse("the worker answers a ping within {duration:Duration}", extra_types=TYPES))
def check_ping(broker: Broker, sent: Sent, duration: Duration) -> None:
    """Require an answer of the first worker, which connects again in its own time."""
    wait_until_it_hears(sent.app, broker.workers()[0].name, duration.seconds())
