"""The sentences about workers that die in the middle of a task, and about what becomes of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pytest_bdd import parsers, then, when

from fixtures.celery_worker.client import runs_of
from redis_practices.celery_worker.sending import value_of
from redis_practices.polling import eventually, seconds_until
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from fixtures.celery_worker.client import Sent
    from fixtures.celery_worker.workers import Application
    from fixtures.reporting.measurements import Bound
    from fixtures.stacks.protocols import Broker
    from steps.common.vocabulary import Duration


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


@then(parsers.cfparse("the worker is gone {bound:Bound}", extra_types=TYPES))
def check_gone(application: Application, bound: Bound, measure: Callable[..., None]) -> None:
    """Wait for the end of the first worker, which was told to quit."""
    begun = time.monotonic()
    application.workers[0].wait_end(30.0)
    measure("until the worker ended", unit="s", bound=bound, seen=round(time.monotonic() - begun, 3))


@then(parsers.cfparse("it is delivered again {bound:Bound}", extra_types=TYPES))
def check_redelivery(application: Application, sent: Sent, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the time from the end of its worker to the second run of the last task against a bound."""
    result = sent.results[-1]
    seen = seconds_until(lambda: len(runs_of(application.broker, result)) > 1, give_up=30.0, since=application.ended)
    measure("delivered again", unit="s", bound=bound, seen=round(seen, 3))


@then("its result says that another worker did it, in a second delivery")
def check_other_worker(application: Application, sent: Sent) -> None:
    """Require that the worker that is left returned the result, of a message marked as delivered again."""
    value = value_of(sent.results[-1], 10.0)
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
