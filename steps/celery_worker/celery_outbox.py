"""The sentences about orders that go through an outbox to workers that are killed, and about dead letters."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from pytest_bdd import parsers, then, when

from fixtures.celery_worker.client import Sent, runs_of
from fixtures.celery_worker.workers import Application
from fixtures.reporting.measurements import Bound
from redis_practices.celery_worker.delivery import Outbox, letters
from redis_practices.polling import eventually, seconds_until
from steps.common.vocabulary import TYPES, Duration

if TYPE_CHECKING:
    from redis import Redis


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
        begun, kills = time.monotonic(), 0
        while not all(one.done() for one in sending) or client.exists(f"{application.prefix}celery"):
            assert time.monotonic() < begun + PATIENCE, f"{outbox.open()} orders are still open"
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
        seconds = seconds_until(lambda: idle(client, application), give_up=PATIENCE)
    measure("delivered again and done", unit="s", bound=bound, seen=round(seconds, 2))


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

    eventually(settled, within=5.0)


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

    eventually(settled, within=PATIENCE, every=0.5)
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
    result = sent.results[-1]
    eventually(lambda: len(runs_of(application.broker, result)) >= number, within=duration.seconds())
    assert result.state == "PENDING", f"its state is {result.state}"
