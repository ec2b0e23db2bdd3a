"""The sentences about a broker that restarts, hangs, goes away and comes back."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, then, when

from fixtures.celery_worker.workers import celery_release
from redis_practices.polling import seconds_until
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.celery_worker.client import Sent
    from fixtures.celery_worker.workers import Application
    from fixtures.reporting.measurements import Bound
    from fixtures.stacks.protocols import Broker, Private, Worker
    from steps.common.vocabulary import Duration


@given("a broker of its own that writes nothing to disk", target_fixture="broker")
def have_forgetful_broker(private: Private) -> Broker:
    """Have a broker without workers whose tasks live in memory alone."""
    return private.broker({"appendonly": "no", "save": ""}, workers=0)


@when("the broker is killed and started again")
def kill_and_restart(broker: Broker) -> None:
    """End the server with SIGKILL, and start it with the data folder it had."""
    broker.node.kill()
    broker.node.restart()


@when("the broker is away")
def kill_broker(broker: Broker) -> None:
    """End the server with SIGKILL."""
    broker.node.kill()


@when("the broker is back")
def restart_broker(broker: Broker) -> None:
    """Start the server again."""
    broker.node.restart()


@when(parsers.cfparse("the broker hangs for {duration:Duration}", extra_types=TYPES))
def hang(broker: Broker, duration: Duration) -> None:
    """Let the server answer nothing for a while: the time is the subject."""
    broker.node.pause()
    time.sleep(duration.seconds())
    broker.node.resume()


@when("somebody deletes all keys of the broker")
def flush(broker: Broker) -> None:
    """Delete everything (``FLUSHALL``), what the workers hold included."""
    with broker.client() as client:
        client.flushall()


@when("a worker is started meanwhile", target_fixture="starting")
def start_meanwhile(broker: Broker) -> Future[Worker]:
    """Start a worker, which cannot be ready yet, without waiting for it."""
    pool = ThreadPoolExecutor(1)
    starting = pool.submit(broker.start_worker, WORKER_POOL="solo")
    pool.shutdown(wait=False)
    return starting


@when(parsers.cfparse("it has failed to connect within {duration:Duration}", extra_types=TYPES))
def await_failure(starting: Future[Worker], duration: Duration) -> None:
    """Let the worker try in vain for a while: it neither is ready nor ends."""
    time.sleep(duration.seconds())
    assert not starting.done(), f"it is not waiting: {starting}"


@then("that worker becomes ready")
def check_ready(starting: Future[Worker]) -> None:
    """Wait for the worker that could not connect."""
    starting.result(timeout=30.0)


@then("the worker is still the same process")
def check_same_process(broker: Broker) -> None:
    """Require that no worker of the broker has ended."""
    log = broker.workers[0].log_tail(400)
    assert "Unrecoverable error" not in log, f"it ended:\n{log[-2000:]}"
    assert broker.workers[0].runs, f"it ended:\n{log[-2000:]}"


@then(parsers.cfparse('whoever asks anew reads "{state}" {bound:Bound}', extra_types=TYPES))
def check_state_anew(sent: Sent, state: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Wait for a state of the last task as a newcomer reads it: who has seen an end of it remembers that."""

    def has_state() -> None:
        """Require the state."""
        seen = sent.app.backend.get_state(sent.results[-1].id)
        assert seen == state, f"its state is {seen}"

    measure(f"until {state}", unit="s", bound=bound, seen=round(seconds_until(has_state, give_up=40.0), 3))


@given(parsers.cfparse("a worker of Celery {version}"))
def start_other_release(application: Application, version: str) -> None:
    """Start a worker that runs another release, with room for a second task."""
    application.settings = {"PYTHONPATH": celery_release(version), "WORKER_CONCURRENCY": "2"}
    application.start_worker()
    assert f" v{version} " in application.workers[0].log_tail(400), "it is another release"
