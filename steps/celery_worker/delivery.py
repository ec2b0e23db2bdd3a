"""Sentences about redelivery: recovery, payments, the outbox, random histories."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import pytest
from celery.exceptions import TimeoutError as NoResultError
from kombu.exceptions import OperationalError
from pytest_bdd import parsers, then, when

from fixtures.bdd.vocabulary import register
from fixtures.celery_worker.state_machine import TaskMachine, WorkerUnderTest
from fixtures.context import Context, target
from fixtures.reporting.measurements import Bound
from fixtures.run.own_time import WorkersClock
from fixtures.stateful import try_histories
from redis_practices.celery_worker.delivery import Outbox
from redis_practices.celery_worker.failing import letters
from steps.celery_worker.tasks import NO_RESULT, Tasks
from steps.celery_worker.workers import Workers
from steps.common.vocabulary import TYPES, Table, options, seconds

PATIENCE = 60.0
"""Seconds after which work under kills counts as stuck."""


class Shop:
    """The orders of a scenario and their outbox; an order without effect after 1 second is sent again."""

    def __init__(self, context: Context) -> None:
        """Begin without orders."""
        self.context, self.tasks = context, context.part(Tasks)
        self.client = context.ending.enter_context(context.broker.client())
        self.outbox, self.placed = Outbox(self.client, f"{self.tasks.prefix}outbox", deadline=1.0), 0

    def send(self, numbers: Iterable[str]) -> None:
        """Send orders; no results are kept."""
        for number in numbers:
            self.tasks.note(self.tasks.app.send_task("worker.order", [number], **NO_RESULT), "order", NO_RESULT)

    def place(self, numbers: Sequence[str]) -> None:
        """Write orders down, then send them."""
        self.outbox.add((number, "worker.order", [number]) for number in numbers)
        self.send(numbers)

    def payments(self, order: str) -> list[int]:
        """Return how often an order was paid, or each of them."""
        if order != "each order":
            return [int(self.client.get(f"{self.tasks.prefix}payments:{order}") or 0)]
        paid = self.client.hgetall(f"{self.tasks.prefix}orders")
        return [int(paid.get(str(number), 0)) for number in range(self.placed)]


target("the outbox", "the orders that are written down and have no effect yet")(lambda context: context.part(Shop))


register("measurement", "open orders", "orders of the outbox that have no effect yet", unit="orders")(
    lambda _, shop: shop.outbox.open()
)


register("setting", "publishers", "threads that send orders at once")(Shop.place)
register("setting", "copies", "how often each order is placed")(Shop.place)
register("setting", "a worker is killed every", "the time between two kills; another worker then starts")(Shop.place)


@when(parsers.parse("{number:Orders} placed", extra_types=TYPES))
def place_orders(context: Context, number: int, datatable: Table | None = None) -> None:
    """Write orders into the outbox and send them.

    Example: ``When 2,000 orders are placed``
    """
    chosen, shop = options(datatable), context.part(Shop)
    publishers, shop.placed = int(chosen.get("publishers", 1)), number
    numbers = [str(order) for order in range(number)] * int(chosen.get("copies", 1))
    with ThreadPoolExecutor(publishers) as pool:
        sending = [pool.submit(shop.place, numbers[mine::publishers]) for mine in range(publishers)]
        if "a worker is killed every" in chosen:
            replace_workers(shop, sending, seconds(chosen["a worker is killed every"]))
    for one in sending:
        one.result()


def replace_workers(shop: Shop, sending: Sequence[Future[None]], every: float) -> None:
    """Kill the oldest worker and start another, again and again until all orders are taken."""
    workers, begun, kills, clock = shop.context.part(Workers), time.monotonic(), 0, WorkersClock()
    while not all(one.done() for one in sending) or shop.client.exists(f"{shop.tasks.prefix}celery"):
        if clock.left(PATIENCE) < 0:
            left = clock.certain(shop.outbox.open(), Bound.exactly(0), "open orders", more_than=PATIENCE / 2)
            pytest.fail(f"{left} orders are still open", pytrace=False)
        time.sleep(max(0.0, begun + (kills + 1) * every - time.monotonic()))
        workers.all[kills].kill()
        workers.start({})
        kills += 1
    shop.context.measure("workers killed", unit="", seen=kills)
    shop.context.measure("taken a second", unit="orders", seen=round(shop.placed / (time.monotonic() - begun)))


@when("the outbox is swept")
def sweep(context: Context) -> None:
    """Send again the orders without effect, every half second, until no order is open.

    Example: ``When the outbox is swept``
    """
    shop, clock, again = context.part(Shop), WorkersClock(), 0
    context.measure("lost without the outbox", unit="orders", seen=shop.outbox.open())

    def settled() -> bool:
        nonlocal again
        again += shop.outbox.sweep(lambda _, arguments: shop.send([str(arguments[0])]))
        return not shop.outbox.open()

    try:
        clock.eventually(settled, within=PATIENCE, every=0.5)
    except AssertionError:
        clock.certain(shop.outbox.open(), Bound.exactly(0), "open orders", more_than=PATIENCE / 2)
        raise
    context.measure("sent again", unit="orders", seen=again)


@then(parsers.parse("{order:Order} was paid {bound:Times}", extra_types=TYPES))
def check_payments(context: Context, order: str, bound: Bound) -> None:
    """Compare how often an order was paid with a bound, or each order of the outbox.

    Example: ``Then "A-1" was paid exactly once``
    """
    lease = float(context.part(Workers).environment.get("ONCE_LEASE", "inf"))
    for seen in sorted(set(context.part(Shop).payments(order))):
        certain = context.part(Tasks).clock.certain(seen, bound, "payments", more_than=lease)
        context.measure(f"payments of {order}", unit="", bound=bound, seen=certain)


@then(parsers.parse("the task is delivered again {bound:Bound}", extra_types=TYPES))
def check_redelivery(context: Context, bound: Bound) -> None:
    """Require that the last task runs a second time; the time counts from the last fault.

    Example: ``Then the task is delivered again within 5 seconds``
    """
    task, clock = context.part(Tasks).last, WorkersClock(context.since)
    clock.eventually(lambda: len(task.runs()) > 1, within=30.0, every=0.01)
    context.measure("until the task is delivered again", unit="s", bound=bound, seen=clock.within(bound))


@then(parsers.parse("the broker holds no task {bound:Bound}", extra_types=TYPES))
def check_idle(context: Context, bound: Bound) -> None:
    """Require that no task waits, and no task is noted as taken.

    Example: ``Then the broker holds no task within 10 seconds``
    """
    clock = WorkersClock()
    clock.eventually(context.part(Tasks).all_done, within=PATIENCE)
    context.measure("until the broker holds no task", unit="s", bound=bound, seen=clock.within(bound))


@then(parsers.parse("{target:Target} processes tasks again {bound:Bound}", extra_types=TYPES))
def check_recovery(context: Context, target: str, bound: Bound) -> None:
    """Send tasks until the worker has processed one; the time counts from the last fault.

    Example: ``Then worker 1 processes tasks again within 10 seconds``
    """
    tasks, name, clock = context.part(Tasks), context.target(target).name, WorkersClock(context.since)

    def processed() -> bool:
        tasks.probes.append(tasks.app.send_task("worker.whoami"))
        return bool(tasks.probes[-1].get(timeout=5.0)["worker"] == name)

    clock.eventually(processed, within=40.0, also=(OperationalError, NoResultError, RuntimeError))
    context.measure(f"until {target} processes tasks", unit="s", bound=bound, seen=clock.within(bound))


@register("finding", "dead letters", "tasks that were put aside, because they ended their worker too often")
def dead_letters(context: Context) -> list[dict[str, object]]:
    """Return them, the oldest first; the list has the key prefix of this scenario."""
    with context.broker.client() as client:
        return [{"TASK": one["task"], "DELIVERIES": one["deliveries"]} for one in letters(client)]


@register("property", "every task runs as often as it should", "in a history of events, no task is lost or runs twice")
def runs_as_often(context: Context, number: int) -> None:
    """Let Hypothesis look for a history of up to 10 events after which a task ran too often or too rarely."""
    worker = WorkerUnderTest(context.broker, context.part(Tasks).app)
    try_histories(partial(TaskMachine, worker), number, 10)
    for what, times in sorted(worker.done.items()):
        context.measure(what, unit="", seen=times)
