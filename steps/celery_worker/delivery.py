"""The sentences about tasks that are lost, delivered again or done twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from pytest_bdd import given, parsers, then, when
from redis import Redis

from fixtures.celery_worker.client import Sent, returned, runs_of
from fixtures.celery_worker.state_machine import TaskMachine, Workshop
from fixtures.celery_worker.workers import Application
from fixtures.reporting.measurements import Bound
from fixtures.run.own_time import WorkersClock
from fixtures.stacks.protocols import Broker, Private
from fixtures.stateful import try_histories
from redis_practices.celery_worker.delivery import Outbox
from redis_practices.celery_worker.failing import letters
from redis_practices.celery_worker.sending import send_many
from redis_practices.polling import eventually
from steps.celery_worker.deployment import SWEEP
from steps.common.vocabulary import TYPES, Duration


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
    clock = WorkersClock()
    application.workers[0].wait_end(30.0)
    measure("until the worker ended", unit="s", bound=bound, seen=clock.within(bound))


@then(parsers.cfparse("it is delivered again {bound:Bound}", extra_types=TYPES))
def check_redelivery(application: Application, sent: Sent, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the time from the end of its worker to the second run of the last task against a bound."""
    result, clock = sent.results[-1], WorkersClock(application.ended)
    clock.eventually(lambda: len(runs_of(application.broker, result)) > 1, within=30.0, every=0.01)
    measure("delivered again", unit="s", bound=bound, seen=clock.within(bound))


@then("its result says that another worker did it, in a second delivery")
def check_other_worker(application: Application, sent: Sent) -> None:
    """Require that the worker that is left returned the result, of a message marked as delivered again."""
    value = returned(sent.results[-1], 10.0)
    assert value == {"worker": application.workers[0].name, "run": 2, "redelivered": True}


@when(parsers.cfparse("{number:Count} of its tasks wait in the queue within {duration:Duration}", extra_types=TYPES))
@then(parsers.cfparse("{number:Count} of its tasks wait in the queue within {duration:Duration}", extra_types=TYPES))
def check_waiting(application: Application, sent: Sent, number: int, duration: Duration) -> None:
    """Require how many tasks nobody holds."""
    seen = -1

    def wait() -> None:
        """Require it now."""
        nonlocal seen
        with application.broker.client() as client:
            seen = client.llen(f"{application.prefix}{application.broker.queue}")
        assert seen == number, f"{seen} tasks wait"

    clock = WorkersClock()
    try:
        clock.eventually(wait, within=duration.seconds())
    except AssertionError:
        sent.clock.certain(seen, Bound.exactly(number), "tasks that wait", more_than=SHORTEST)
        raise
    clock.within(Bound.at_most(duration.seconds(), "s"))


SHORTEST = 0.5
"""Seconds of a busy judge in which the shortest task of these scenarios may end before the next step."""


@then("it ran at least twice")
def check_ran_again(application: Application, sent: Sent, measure: Callable[..., None]) -> None:
    """Wait until the last task has run twice or more often, and report how often."""
    result, bound = sent.results[-1], Bound.at_least(2)
    with suppress(AssertionError):
        WorkersClock().eventually(lambda: bound.allows(len(runs_of(application.broker, result))), within=5.0)
    runs = sent.clock.certain(len(runs_of(application.broker, result)), bound, "runs", more_than=1.0)
    measure("runs", unit="", bound=bound, seen=runs)


@then(parsers.cfparse('"{order}" was paid {number:Count} times', extra_types=TYPES))
def check_payments(application: Application, sent: Sent, order: str, number: int) -> None:
    """Require how many payments of an order were booked."""
    with application.broker.client() as client:
        seen = int(client.get(f"{application.prefix}payments:{order}") or 0)
    lease = float(application.settings.get("ONCE_LEASE", "inf"))
    sent.clock.certain(seen, Bound.exactly(number), "payments", more_than=lease)
    assert seen == number, f"{order} was paid {seen} times"


@when("every connection to the broker is dropped")
def drop_connections(broker: Broker, application: Application) -> None:
    """Let the server close what clients hold (``CLIENT KILL``), as a firewall or a failover does."""
    application.ended = time.monotonic()
    with broker.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)
        # The one on which a worker hears orders always waits for an answer, so that it notices at once.
        assert client.client_kill_filter(_type="pubsub"), "no worker was connected"


PATIENCE = 60.0
"""Seconds after which work under kills counts as stuck."""


def send_orders(sent: Sent, numbers: Sequence[str]) -> None:
    """Send orders as a sender does that keeps no results."""
    for number in numbers:
        sent.app.send_task("worker.order", [number], ignore_result=True)


@when(parsers.cfparse("{number:Count} order is written down and sent", extra_types=TYPES))
def send_from_one(sent: Sent, outbox: Outbox, number: int) -> None:
    """Write orders into the outbox, then send them."""
    numbers = [str(order) for order in range(number)]
    outbox.add((order, "worker.order", [order]) for order in numbers)
    send_orders(sent, numbers)


@when(
    parsers.cfparse(
        "{publishers:Count} publishers write down and send {number:Count} orders, while a worker is killed each second",
        extra_types=TYPES,
    )
)
def send_under_kills(application: Application, sent: Sent, outbox: Outbox, publishers: int, number: int) -> None:
    """Send from several threads; each second kill the oldest worker and start another, until all is taken."""
    numbers = [str(order) for order in range(number)]
    outbox.add((order, "worker.order", [order]) for order in numbers)
    with ThreadPoolExecutor(publishers) as pool, application.broker.client() as client:
        sending = [pool.submit(send_orders, sent, numbers[mine::publishers]) for mine in range(publishers)]
        begun, kills, clock = time.monotonic(), 0, WorkersClock()
        while not all(one.done() for one in sending) or client.exists(f"{application.prefix}celery"):
            if clock.left(PATIENCE) < 0:
                left = clock.certain(outbox.open(), Bound.exactly(0), "orders that are open", more_than=PATIENCE / 2)
                pytest.fail(f"{left} orders are still open", pytrace=False)
            time.sleep(max(0.0, begun + kills + 1 - time.monotonic()))
            application.end_worker()
            application.start_worker()
            kills += 1
    for one in sending:
        one.result()
    sent.seconds = time.monotonic() - begun


@then(parsers.cfparse("the broker holds no task any more {bound:Bound}", extra_types=TYPES))
def await_idle(application: Application, bound: Bound, measure: Callable[..., None]) -> None:
    """Wait until no task waits, and none is noted as taken."""
    with application.broker.client() as client:
        clock = WorkersClock()
        clock.eventually(lambda: idle(client, application), within=PATIENCE)
    measure("delivered again and done", unit="s", bound=bound, seen=clock.within(bound))


def idle(client: Redis, application: Application) -> bool:
    """Say whether no task waits, and none is noted as taken; it asks once."""
    return not client.exists(f"{application.prefix}celery", f"{application.prefix}unacked")


@then(parsers.cfparse("{number:Count} orders are still open", extra_types=TYPES))
def check_open(outbox: Outbox, number: int) -> None:
    """Require how many orders have had no effect yet.

    A broker holds no task either while a worker has taken one and not noted it yet: give that one its moment.
    """

    def settled() -> None:
        """Count once."""
        seen = outbox.open()
        assert seen == number, f"{seen} orders are open, not {number}"

    WorkersClock().eventually(settled, within=5.0)


@when("the outbox is swept until no order is open")
def sweep(sent: Sent, outbox: Outbox, measure: Callable[..., None]) -> None:
    """Send again what is late, every half second, until everything has had its effect."""
    measure("lost without the outbox", unit="orders", seen=outbox.open())
    again = 0

    def settled() -> bool:
        """Sweep once, and say whether all is done."""
        nonlocal again
        again += outbox.sweep(lambda _, arguments: send_orders(sent, [str(arguments[0])]))
        return not outbox.open()

    clock = WorkersClock()
    try:
        clock.eventually(settled, within=PATIENCE, every=0.5)
    except AssertionError:
        clock.certain(outbox.open(), Bound.exactly(0), "orders that are open", more_than=PATIENCE / 2)
        raise
    measure("sent again", unit="orders", seen=again)


@then(parsers.cfparse("each of the {number:Count} orders was done exactly once", extra_types=TYPES))
def check_orders(application: Application, sent: Sent, number: int, measure: Callable[..., None]) -> None:
    """Count the effects of every order, and report how many runs it took, and workers, and how fast it was."""
    with application.broker.client() as client:
        effects = client.hgetall(f"{application.prefix}orders")
        runs = int(client.get(f"{application.prefix}order-runs") or 0)
    measure("orders done", unit="", seen=len(effects), bound=TYPES["Bound"](f"exactly {number}"))
    measure("runs beyond one an order", unit="", seen=runs - number)
    measure("workers killed", unit="", seen=application.kills)
    if sent.seconds:
        measure("taken a second", unit="orders", seen=round(number / sent.seconds))
    twice = [order for order, times in effects.items() if times != "1"]
    assert not twice, f"done more than once: {twice[:10]}"


@then(parsers.cfparse('one dead letter names "{task}" and its {deliveries:Count} deliveries', extra_types=TYPES))
def check_dead_letter(application: Application, sent: Sent, task: str, deliveries: int) -> None:
    """Require the one message that was put aside; the prefix is that of this scenario."""
    with application.broker.client() as client:
        found = letters(client)
    assert [(one["id"], one["task"], one["deliveries"]) for one in found] == [(sent.results[0].id, task, deliveries)]


@then(parsers.cfparse("it runs {number:Count} times within {duration:Duration}, and goes on", extra_types=TYPES))
def check_loop(application: Application, sent: Sent, number: int, duration: Duration) -> None:
    """Wait until the last task has run so often, and require that it has no result yet."""
    result, clock = sent.results[-1], WorkersClock()
    clock.eventually(lambda: len(runs_of(application.broker, result)) >= number, within=duration.seconds())
    clock.within(Bound.at_most(duration.seconds(), "s"))
    assert result.state == "PENDING", f"its state is {result.state}"


MOST_LOOKS = 6_000
"""Looks, each at least 10 ms after the last, after which tasks that are not done count as stuck."""

MOST_MOMENTS = 100_000
"""The same for counts of everything, which cost about a millisecond each."""

# All at one moment: how many tasks wait, are noted, and have run (each run leaves a key).
COUNT = """
return redis.call('LLEN', KEYS[1]) + redis.call('HLEN', KEYS[2]) + #redis.call('KEYS', ARGV[1])
"""


@given("a worker beside it with kombu's transport")
def start_ordinary(application: Application) -> None:
    """Start a second worker of the application with the transport that Celery has."""
    application.settings = {**application.settings, "BROKER_TRANSPORT": "redis"}
    application.start_worker()


@when("the server forgets its scripts")
def forget_scripts(broker: Broker) -> None:
    """Do what a restart does to scripts (``SCRIPT FLUSH``)."""
    with broker.client() as client:
        client.script_flush()


@when(
    parsers.cfparse("{number:Count} tasks are sent in batches, and all are done", extra_types=TYPES),
    target_fixture="requests",
)
def send_and_wait(application: Application, sent: Sent, number: int) -> float:
    """Send tasks that do next to nothing, and return how many requests for each the server read, without our looks."""
    with application.broker.client() as client:
        before = client.info("stats")["total_reads_processed"]
        send_many(sent.app, "worker.add", [[4, 8]] * number)
        looks = 0
        while not idle(client, application):
            looks += 1
            assert looks < MOST_LOOKS, f"it does not get on: {client.llen(f'{application.prefix}celery')} tasks wait"
            time.sleep(0.01)
        asked: int = client.info("stats")["total_reads_processed"] - before
    return (asked - looks) / number


@then(parsers.cfparse("the broker was asked {bound:Bound} times for each of them", extra_types=TYPES))
def check_requests(requests: float, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the requests for each task against a bound."""
    measure("requests for each task", unit="", bound=bound, seen=round(requests, 2))


@then(
    parsers.cfparse(
        "at {moments:Count} or more moments of {number:Count} tasks, each waits, is noted or has run",
        extra_types=TYPES,
    )
)
def check_moments(
    application: Application, sent: Sent, moments: int, number: int, measure: Callable[..., None]
) -> None:
    """Send tasks and count them again and again until all are done; a killed worker leaves what one moment shows."""
    prefix = application.prefix
    seen: list[int] = []
    with application.broker.client() as client:
        count = client.register_script(COUNT)
        send_many(sent.app, "worker.stamp", [[]] * number)
        while not idle(client, application):
            assert len(seen) < MOST_MOMENTS, f"it does not get on: {client.llen(f'{prefix}celery')} tasks wait"
            seen.append(int(count([f"{prefix}celery", f"{prefix}unacked"], [f"{prefix}runs:*"])))
    measure("moments", unit="", bound=TYPES["Bound"](f"at least {moments}"), seen=len(seen))
    measure("tasks in the fewest", unit="", bound=TYPES["Bound"](f"at least {number}"), seen=min(seen))


@given("a broker of its own with a worker that remembers and delivers again after 1 second", target_fixture="broker")
def have_remembering_broker(private: Private, tmp_path: Path) -> Broker:
    """Have a worker that does one task at a time and keeps what was revoked in a file."""
    settings = {"STATE_DB": str(tmp_path / "state"), "VISIBILITY_TIMEOUT": "1", "WORKER_POOL": "solo", **SWEEP}
    return private.broker(None, workers=1, **settings)


@then(
    parsers.cfparse(
        "in {number:Count} histories of up to {steps:Count} events every task runs as often as it should",
        extra_types=TYPES,
    )
)
def try_histories_of_tasks(broker: Broker, sent: Sent, number: int, steps: int, measure: Callable[..., None]) -> None:
    """Let Hypothesis look for an order of events after which a task has run more or less often than it should."""
    workshop = Workshop(broker, sent.app)
    try_histories(lambda: TaskMachine(workshop), number, steps, workshop.failures)
    for what, times in sorted(workshop.done.items()):
        measure(what, unit="", seen=times)
