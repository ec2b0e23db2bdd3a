"""The sentences about a broker that is dead, paused, replaced or full."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from celery.exceptions import TimeoutError as NoResult
from kombu.exceptions import OperationalError
from pytest_bdd import given, parsers, then, when
from redis.exceptions import OutOfMemoryError

from fixtures.celery_worker.client import Sent, runs_of_each
from fixtures.celery_worker.workers import Application, celery_release
from fixtures.reporting.measurements import Bound
from fixtures.run.own_time import WorkersClock
from fixtures.stacks.protocols import Broker, Cluster, Private, Worker
from redis_practices.celery_worker.sending import check_broker, sender
from redis_practices.cli import Failure
from redis_practices.polling import seconds_until
from redis_practices.servers.binary import EmbeddedError
from redis_practices.servers.server import BROKER, NAME, sentinel_url
from steps.common.vocabulary import TYPES, Duration, rows
from worker import settings


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
    log = broker.workers()[0].log_tail(400)
    assert "Unrecoverable error" not in log, f"it ended:\n{log[-2000:]}"
    assert broker.workers()[0].runs, f"it ended:\n{log[-2000:]}"


@then(parsers.cfparse('whoever asks anew reads "{state}" {bound:Bound}', extra_types=TYPES))
def check_state_anew(sent: Sent, state: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Wait for a state of the last task as a newcomer reads it: who has seen an end of it remembers that."""

    def has_state() -> None:
        """Require the state."""
        seen = sent.app.backend.get_state(sent.results[-1].id)
        assert seen == state, f"its state is {seen}"

    clock = WorkersClock()
    seconds_until(has_state, give_up=40.0)
    measure(f"until {state}", unit="s", bound=bound, seen=clock.within(bound))


@given(parsers.cfparse("a worker of Celery {version}"))
def start_other_release(application: Application, version: str) -> None:
    """Start a worker that runs another release, with room for a second task."""
    application.settings = {"PYTHONPATH": celery_release(version), "WORKER_CONCURRENCY": "2"}
    application.start_worker()
    assert f" v{version} " in application.workers[0].log_tail(400), "it is another release"


@given(
    parsers.cfparse(
        "a broker of its own with a replica and {number:Count} sentinels, and a worker that asks them for it",
        extra_types=TYPES,
    ),
    target_fixture="broker",
)
def have_sentinels(private: Private, number: int, monkeypatch: pytest.MonkeyPatch) -> Broker:
    """Have a broker whose primary is found by asking sentinels."""
    # The sender reads its settings in this process.
    monkeypatch.setenv("SENTINEL_PRIMARY", NAME)
    broker: Any = private.broker(workers=0, SENTINEL_PRIMARY=NAME, WORKER_POOL="solo")
    host, _, port = broker.node.address.rpartition(":")
    # A replica that has never been in sync cannot take over, so it need not wait for others to sync with it.
    broker.node.client().config_set("repl-diskless-sync-delay", 0)
    private.server({**BROKER, "replicaof": [host, port]})
    broker.url = sentinel_url(private.sentinels(broker.node, number))
    broker.start_worker()
    ready: Broker = broker
    return ready


@when("the broker's primary is killed")
def kill_primary(broker: Broker) -> None:
    """End the primary at once."""
    broker.node.kill()


@then(parsers.cfparse("a task that is sent until it succeeds is done {bound:Bound}", extra_types=TYPES))
def send_until_done(sent: Sent, bound: Bound, measure: Callable[..., None]) -> None:
    """Send again whenever sending fails or no result comes, and measure until one has come."""

    def done() -> None:
        """Send a task and take its result."""
        sent.send("add", 4, 8)
        sent.results[-1].get(timeout=5.0)

    clock = WorkersClock()
    seconds_until(done, give_up=40.0, also=(OperationalError, NoResult, RuntimeError))
    measure("a task is done again", unit="s", bound=bound, seen=clock.within(bound))


@given("a cluster of its own", target_fixture="cluster")
def have_cluster(private: Private) -> Cluster:
    """Have a cluster of three primaries."""
    return private.cluster(replicas=0)


@then(parsers.cfparse('asking it whether it can carry tasks says "{text}"'))
def check_said(cluster: Cluster, text: str) -> None:
    """Require that the check before sending refuses it."""
    with pytest.raises(Failure) as caught:
        check_broker(cluster.url)
    assert text in str(caught.value), f"it says: {caught.value}"


@then("a worker that is pointed at it ends, with one of these errors")
def check_worker_ends(private: Private, cluster: Cluster, datatable: Sequence[Sequence[str]]) -> None:
    """Require that Celery's own worker does not start on it."""
    broker: Any = private.broker(workers=0, WORKER_POOL="solo")
    broker.url = cluster.url
    with pytest.raises(EmbeddedError) as caught:
        broker.start_worker()
    errors = [row["ERROR"] for row in rows(datatable, ("ERROR",))]
    assert any(error in str(caught.value) for error in errors), f"it says: {caught.value}"


@then(parsers.cfparse("a sender that is pointed at it fails {bound:Bound}", extra_types=TYPES))
def check_sender_fails(cluster: Cluster, bound: Bound, measure: Callable[..., None]) -> None:
    """Require that Celery's own sender fails in time."""
    app = sender(settings(cluster.url, 2.0))
    clock = WorkersClock()
    with pytest.raises(OperationalError):
        app.send_task("worker.add", [4, 8])
    measure("failed after", unit="s", bound=bound, seen=clock.within(bound))


PAYLOAD = "x" * 10_000
"""What a task carries that fills a broker."""

ENOUGH = 1000
"""More of them than 8 MB hold."""


@given(
    parsers.cfparse(
        'a broker of its own with {size:Count} MB of memory, full, and the policy "{policy}"', extra_types=TYPES
    ),
    target_fixture="broker",
)
def have_full_broker(private: Private, size: int, policy: str) -> Broker:
    """Have a broker without workers that is as full as it gets, with 200 results among what fills it."""
    broker = private.broker({"maxmemory": f"{size}mb", "maxmemory-policy": policy}, workers=0)
    with broker.client() as client:
        for number in range(200):
            client.set(f"celery-task-meta-{number}", "result" * 100, ex=3600)
    return broker


@given(
    parsers.cfparse("a broker of its own with {size:Count} MB of memory and a worker", extra_types=TYPES),
    target_fixture="broker",
)
def have_small_broker(private: Private, size: int) -> Broker:
    """Have a broker that will be full soon."""
    return private.broker({**BROKER, "maxmemory": f"{size}mb"}, workers=1, WORKER_POOL="solo")


@when("others fill the broker")
def fill_broker(broker: Broker) -> None:
    """Fill what is left of the broker's memory, in moments: the worker is to have tasks left when it is full."""
    with broker.client() as client:
        for _ in range(ENOUGH):
            try:
                client.rpush("others", b"-" * 2**16)
            except OutOfMemoryError:
                return
    raise AssertionError("it never was full")


@when(parsers.cfparse("the broker has {size:Count} MB of memory", extra_types=TYPES))
def resize(broker: Broker, size: int) -> None:
    """Give the broker more memory while it runs."""
    with broker.client() as client:
        client.config_set("maxmemory", f"{size}mb")


def fill(broker: Broker, sent: Sent) -> int:
    """Send tasks that nobody does, until the broker refuses one; return how many it took."""
    for number in range(ENOUGH):
        try:
            sent.app.send_task("worker.add", [PAYLOAD], queue=broker.queue, ignore_result=True)
        except OperationalError:
            return number
        except AttributeError:
            # What a queue is bound to is a key too, and may be evicted: kombu 5.7 then gives up its channel in the
            # middle of sending, and stumbles over that.
            return number
    return ENOUGH


@then(parsers.cfparse("{bound:Bound} of the tasks that it took are gone", extra_types=TYPES))
def check_gone(broker: Broker, sent: Sent, bound: Bound, measure: Callable[..., None]) -> None:
    """Send until it is full, count what is there, and hold the share that is not against a bound."""
    taken = fill(broker, sent)
    with broker.client() as client:
        there = client.llen(broker.queue)
    measure("tasks gone", unit="%", bound=bound, seen=round(100 * (taken - there) / taken, 1))


@then(parsers.cfparse('sending one more fails {bound:Bound} with "{message}"', extra_types=TYPES))
def check_refused(sent: Sent, bound: Bound, message: str, measure: Callable[..., None]) -> None:
    """Require that the sender is told, and in time."""
    clock = WorkersClock()
    with pytest.raises(OperationalError, match=message):
        sent.app.send_task("worker.add", [PAYLOAD])
    measure("refused after", unit="s", bound=bound, seen=clock.within(bound))


@then(parsers.cfparse("{bound:Bound} of the {number:Count} tasks before it never ran", extra_types=TYPES))
def check_never_ran(broker: Broker, sent: Sent, bound: Bound, number: int, measure: Callable[..., None]) -> None:
    """Count the first tasks that did not run, although one that was sent after them did."""
    lost = [moments for moments in runs_of_each(broker, sent.results[:number]) if not moments]
    measure("tasks lost", unit="", bound=bound, seen=len(lost))
