"""The sentences about workers that come and go."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from pytest_bdd import given, parsers, then, when

from fixtures.celery_worker.client import Sent, runs_of_each
from fixtures.celery_worker.workers import Application, Waiting
from fixtures.reporting.measurements import Bound
from fixtures.stacks.external.key_cleanup import on_server
from fixtures.stacks.protocols import Broker, Private, Worker
from redis_practices.celery_worker.queue_age import queue_state
from steps.common.vocabulary import TYPES, Duration, rows

SWEEP = {"RESTORE_INTERVAL": "0.5", "RESTORE_THROTTLE": "1"}
"""How often workers look for what is to be delivered again, where a scenario does not say otherwise."""


@given(
    parsers.cfparse("a worker whose visibility timeout is {timeout:Duration}", extra_types=TYPES),
    target_fixture="workers",
)
def start_with_timeout(application: Application, timeout: Duration) -> list[Worker]:
    """Start the first worker of an application of its own; it does one task at a time."""
    return start_with_settings(application, timeout, [["SETTING", "VALUE"], ["WORKER_POOL", "solo"]])


@given(
    parsers.cfparse("a worker whose visibility timeout is {timeout:Duration}, with these settings", extra_types=TYPES),
    target_fixture="workers",
)
def start_with_settings(
    application: Application, timeout: Duration, datatable: Sequence[Sequence[str]]
) -> list[Worker]:
    """Start the first worker of an application of its own, with further settings of ``src/worker.py``."""
    further = {row["SETTING"]: row["VALUE"] for row in rows(datatable, ("SETTING", "VALUE"))}
    application.settings = {"VISIBILITY_TIMEOUT": str(timeout.seconds()), **SWEEP, **further}
    application.start_worker()
    return application.workers


@given("a second worker beside it")
@when("another worker starts beside it")
def start_another(application: Application) -> None:
    """Start one more worker with the same settings."""
    application.start_worker()


@when("the first worker is killed")
def kill_first(application: Application) -> None:
    """End the first worker with SIGKILL."""
    application.end_worker()


@given(parsers.cfparse("{number:Count} workers beside it", extra_types=TYPES))
def start_more(application: Application, number: int) -> None:
    """Start more workers of the same application."""
    with ThreadPoolExecutor(number) as pool:
        list(pool.map(lambda _: application.start_worker(), range(number)))


@when("the first worker is told to quit")
def quit_first(application: Application) -> None:
    """Ask the first worker for a cold shutdown."""
    application.workers[0].quit()


@when("all its workers are stopped, which lets them finish")
def stop_all(application: Application) -> None:
    """Ask every worker for a warm shutdown (SIGTERM), and wait for the end of what they do."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda worker: worker.stop(), application.workers))
    application.workers.clear()


@when(parsers.cfparse("{number:Count} more workers of its queue start", extra_types=TYPES))
def start_more_of_queue(
    broker: Broker, sent: Sent, workers: list[Worker], number: int, request: pytest.FixtureRequest
) -> None:
    """Start workers beside the one that has a queue of its own."""
    for _ in range(number):
        worker = broker.start_worker(TASK_QUEUE=sent.app.conf.task_default_queue, WORKER_POOL="solo")
        request.addfinalizer(worker.kill)
        workers.append(worker)


@when("the first worker is stopped")
def stop_first(workers: list[Worker]) -> None:
    """Take the first worker away as a deployment does (SIGTERM), and wait for its end."""
    workers.pop(0).stop()


@when(parsers.parse('a worker starts with the flags "{flags}"'))
def start_with_flags(broker: Broker, flags: str) -> None:
    """Start the first worker of a broker that has none, by ``celery worker`` with these flags."""
    broker.start_worker(WORKER_POOL="solo", WORKER_FLAGS=flags)


@then(parsers.cfparse("it has waited {bound:Bound} for others to answer", extra_types=TYPES))
def check_mingling(broker: Broker, bound: Bound, measure: Callable[..., None]) -> None:
    """Read from the worker's log when it began to look for neighbours, and when it had found none, if it did."""
    times = [
        datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f").astimezone()
        for found in re.finditer(r"\[(.+?): INFO/MainProcess\] mingle: ", broker.workers()[0].log_tail(400))
    ]
    measure("asking others", unit="s", bound=bound, seen=(times[-1] - times[0]).total_seconds() if times else 0)


@then("each of them ran exactly once")
def check_once(broker: Broker, sent: Sent) -> None:
    """Require that no task ran twice, or never."""
    runs = [len(moments) for moments in runs_of_each(broker, sent.results)]
    assert set(runs) == {1}, f"never: {runs.count(0)}, more than once: {sum(number > 1 for number in runs)}"


@then(parsers.cfparse("{bound:Bound} workers did a part of them", extra_types=TYPES))
def check_parts(sent: Sent, bound: Bound, measure: Callable[..., None]) -> None:
    """Count the workers that did tasks."""
    measure("workers", unit="", bound=bound, seen=len({value["worker"] for value in sent.values}))


@then(parsers.cfparse("{number:Count} tasks wait in its queue, the oldest for {bound:Bound}", extra_types=TYPES))
def check_queue(broker: Broker, waiting: Waiting, number: int, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold what can be read of a queue against what was sent."""
    with broker.client() as client:
        state = queue_state(client, on_server(waiting.queue))
    assert state.length == number, f"{state.length} tasks wait"
    assert state.oldest is not None, "the tasks do not say when they were sent"
    measure("age of the oldest", unit="s", bound=bound, seen=waiting.sent.clock.apart(state.oldest, bound))


@then("no task waits in its queue")
def check_queue_empty(broker: Broker, waiting: Waiting) -> None:
    """Require that an empty queue reads as such."""
    with broker.client() as client:
        state = queue_state(client, on_server(waiting.queue))
    assert (state.length, state.oldest) == (0, None), f"it reads {state}"


@given(
    parsers.cfparse('a broker of its own whose workers and senders have the prefix "{prefix}"'),
    target_fixture="broker",
)
def have_prefixed_broker(private: Private, prefix: str, monkeypatch: pytest.MonkeyPatch) -> Broker:
    """Have a worker and a sender that share the setting."""
    # The sender reads its settings in this process.
    monkeypatch.setenv("KEY_PREFIX", prefix)
    return private.broker(workers=1, KEY_PREFIX=prefix, WORKER_POOL="solo")


@then(parsers.cfparse('every key of the broker begins with "{prefix}"'))
def check_prefix(broker: Broker, prefix: str) -> None:
    """Require the prefix of every key; there must be some."""
    with broker.client() as client:
        keys = list(client.scan_iter())
    other = [key for key in keys if not key.startswith(prefix)]
    assert keys, "there are no keys"
    assert not other, f"other keys: {other}"
