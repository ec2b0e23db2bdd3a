"""The sentences about workers that die in the middle of a task, and about what becomes of it."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from pytest_bdd import given, parsers, then, when

from fixtures.housekeeping import prefix_of_run
from fixtures.waiting import eventually, seconds_until
from steps.celery_failing import runs_of
from steps.vocabulary import TYPES, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from redis import Redis

    from fixtures.deployments import Broker, Worker
    from fixtures.measurements import Bound
    from steps.celery_worker import Sent
    from steps.vocabulary import Duration

SWEEP = {"RESTORE_INTERVAL": "0.5", "RESTORE_THROTTLE": "1"}
"""How often workers look for what is to be delivered again, where a scenario does not say otherwise."""


@dataclass
class Application:
    """An application with keys of its own on the broker, so that nobody else's tasks are delivered by its workers."""

    broker: Broker
    prefix: str
    settings: dict[str, str] = field(default_factory=dict)
    workers: list[Worker] = field(default_factory=list)
    ended: float = 0.0
    """When its worker was ended or cut off, as a `time.monotonic` reading."""

    def start_worker(self) -> None:
        """Start one more worker."""
        self.workers.append(self.broker.start_worker(KEY_PREFIX=self.prefix, **self.settings))

    def end_worker(self) -> None:
        """Kill the first worker."""
        self.ended = time.monotonic()
        self.workers.pop(0).kill()


@pytest.fixture
def application(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Application]:
    """Give an application whose workers and keys are gone in the end."""
    ours = Application(broker, f"{prefix_of_run()}{secrets.token_hex(6)}:")
    # The sender reads its settings in this process.
    monkeypatch.setenv("KEY_PREFIX", ours.prefix)
    yield ours
    for worker in ours.workers:
        worker.kill()
    with broker.client() as client:
        for key in client.scan_iter(f"{ours.prefix}*", count=1000):
            client.delete(key)


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


@when("the worker that runs it is killed")
def kill_running(application: Application, sent: Sent) -> None:
    """End the worker that holds the last task with SIGKILL; it does one task at a time."""
    received = f"[{sent.results[-1].id}] received"
    running = next(worker for worker in application.workers if received in worker.log_tail(400))
    application.workers.remove(running)
    application.ended = time.monotonic()
    running.kill()


@when("the first worker hangs while it waits for a task")
def pause_first(application: Application, sent: Sent) -> None:
    """Hold the first worker (SIGSTOP) when it has just asked for a task, which the broker hands out within 1 s."""
    # The sender is connected before, so that it needs no time then; this queue is served by nobody.
    sent.app.send_task("worker.add", [4, 8], queue="elsewhere", ignore_result=True)
    with application.broker.client() as client:
        asked = brpops(client)
        eventually(lambda: brpops(client) > asked, within=10.0, every=0.002)
        # Answered is not yet asked again: a worker held in between would take nothing.
        eventually(lambda: client.info("clients")["blocked_clients"] > 0, within=10.0, every=0.001)
    application.workers[0].pause()


def brpops(client: Redis) -> int:
    """Return how many BRPOP have been answered; a worker asks again at once."""
    calls: int = client.info("commandstats").get("cmdstat_brpop", {}).get("calls", 0)
    return calls


@when("the first worker is told to quit")
def quit_first(application: Application) -> None:
    """Ask the first worker for a cold shutdown."""
    application.workers[0].quit()


@then(parsers.cfparse("the worker is gone {bound:Bound}", extra_types=TYPES))
def check_gone(application: Application, bound: Bound, measure: Callable[..., None]) -> None:
    """Wait for the end of the first worker, which was told to quit."""
    begun = time.monotonic()
    application.workers[0].wait_end(30.0)
    measure("until the worker ended", unit="s", bound=bound, seen=round(time.monotonic() - begun, 3))


@when("all its workers are stopped, which lets them finish")
def stop_all(application: Application) -> None:
    """Ask every worker for a warm shutdown (SIGTERM), and wait for the end of what they do."""
    while application.workers:
        application.workers.pop(0).stop()


@then(parsers.cfparse("it is delivered again {bound:Bound}", extra_types=TYPES))
def check_redelivery(application: Application, sent: Sent, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the time from the end of its worker to the second run of the last task against a bound."""
    result = sent.results[-1]
    seen = seconds_until(lambda: len(runs_of(application.broker, result)) > 1, give_up=30.0, since=application.ended)
    measure("delivered again", unit="s", bound=bound, seen=round(seen, 3))


@then("its result says that another worker did it, in a second delivery")
def check_other_worker(application: Application, sent: Sent) -> None:
    """Require that the worker that is left returned the result, of a message marked as delivered again."""
    value = sent.results[-1].get(timeout=10.0)
    assert value == {"worker": application.workers[0].name, "run": 2, "redelivered": True}


@when(parsers.cfparse("{number:Count} of its tasks wait in the queue within {duration:Duration}", extra_types=TYPES))
@then(parsers.cfparse("{number:Count} of its tasks wait in the queue within {duration:Duration}", extra_types=TYPES))
def check_waiting(application: Application, number: int, duration: Duration) -> None:
    """Require how many tasks nobody holds."""

    def wait() -> None:
        """Require it now."""
        with application.broker.client() as client:
            seen = client.llen(f"{application.prefix}{application.broker.queue}")
        assert seen == number, f"{seen} tasks wait"

    eventually(wait, within=duration.seconds())


@then("it ran at least twice")
def check_ran_again(application: Application, sent: Sent, measure: Callable[..., None]) -> None:
    """Wait until the last task has run twice or more often, and report how often."""
    result = sent.results[-1]
    eventually(lambda: len(runs_of(application.broker, result)) > 1, within=5.0)
    measure("runs", unit="", seen=len(runs_of(application.broker, result)))


@then(parsers.cfparse('"{order}" was paid {number:Count} times', extra_types=TYPES))
def check_payments(application: Application, order: str, number: int) -> None:
    """Require how many payments of an order were booked."""
    with application.broker.client() as client:
        assert int(client.get(f"{application.prefix}payments:{order}") or 0) == number


@when("every connection to the broker is dropped")
def drop_connections(broker: Broker, application: Application) -> None:
    """Let the server close what clients hold (``CLIENT KILL``), as a firewall or a failover does."""
    application.ended = time.monotonic()
    with broker.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)
        # The one on which a worker hears orders always waits for an answer, so that it notices at once.
        assert client.client_kill_filter(_type="pubsub"), "no worker was connected"
