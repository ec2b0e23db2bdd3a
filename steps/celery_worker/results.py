"""The sentences about results, runs and redelivery: recovery, payments, the outbox, random histories."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from celery.exceptions import TimeoutError as NoResultError
from hypothesis import given as for_all
from hypothesis import settings as examples
from kombu.exceptions import OperationalError
from pytest_bdd import parsers, then, when

from fixtures.bdd.vocabulary import records, register
from fixtures.celery_worker.workers import (
    JSON,
    NOT_JSON,
    TaskMachine,
    WorkerUnderTest,
    returned,
    runs_of_each,
    spelled,
)
from fixtures.context import Context, Seen, target
from fixtures.reporting.measurements import Bound
from fixtures.run.own_time import Stopwatch, WorkersClock
from fixtures.stateful import try_histories
from redis_practices.celery_worker.delivery import Outbox
from redis_practices.celery_worker.failing import letters
from redis_practices.celery_worker.sending import publish, publisher
from steps.celery_worker.tasks import NO_RESULT, PATIENCE, SentTask, Tasks
from steps.celery_worker.workers import Workers
from steps.common.vocabulary import TYPES, Table, assert_table, options, seconds
from worker import settings


@when("the result is read")
@records("wait for the result", "the time until the result of the last task was there", unit="s")
@records("reads of the result", "GET of the result's key, if the task was sent with `count commands`", unit="commands")
@records("subscriptions to the result", "SUBSCRIBE to the result, with `count commands`", unit="commands")
@records("ttl of the result", "the time after which the result of the last task expires", unit="s")
@records("delay of the task", "the time from the sending of the last task until it ran", unit="s")
@records("wait before retry 1", "the time from the first run of the last task to the second", unit="s")
@records("wait before retry 2", "the time from the second run of the last task to the third", unit="s")
def read_result(context: Context) -> None:
    """Wait for the result of the last task, or its error, for "the task failed with".

    Example: ``When the result is read``
    """
    tasks, clock, begun = context.part(Tasks), WorkersClock(), time.monotonic()
    task = tasks.last
    with context.attempt("task", Exception):
        try:
            task.value()
        except Exception as error:
            # Celery's own text of it, which carries the lines of code.
            error.add_note(task.result.traceback or "")
            raise
    passed = time.monotonic() - begun

    def waited(bound: Bound | None) -> float:
        # A busy judge lets an idle worker join when the busy worker has half of its work done.
        return tasks.clock.certain(clock.apart(passed, bound), bound, "s", more_than=1.0) if bound else passed

    context.record("wait for the result", waited)
    context.record("ttl of the result", lambda _: task.ttl())
    context.record("delay of the task", tasks.exact(lambda: task.runs()[0] - tasks.called))
    context.record("wait before retry 1", tasks.exact(lambda: task.wait_before(1)))
    context.record("wait before retry 2", tasks.exact(lambda: task.wait_before(2)))
    if tasks.monitor:
        commands = tasks.commands(task.key)
        context.record("reads of the result", commands["GET"])
        context.record("subscriptions to the result", commands["SUBSCRIBE"])


@when("all results are read")
@records("read of the results", "the time that reading the results took", unit="s")
@records("tasks begun a second", "how many tasks began in a second, from the first to the last", unit="1/s")
@records("retries at once", "the largest share of second runs that began within 1.5 seconds", unit="%")
def read_results(context: Context, datatable: Table | None = None) -> None:
    """Wait for the results that were not read yet, one after another.

    The OPTION ``look first``, if it is no, leaves out the look whether a result is there already.

    Example: ``When all results are read``
    """
    tasks, watch = context.part(Tasks), Stopwatch()
    if options(datatable).get("look first") == "no":
        for task in tasks.sent:
            task.values = task.values or [task.result.get(timeout=PATIENCE)]
    values = tasks.wait()
    context.record("read of the results", round(watch.seconds(), 3))

    def rate(bound: Bound | None) -> float:
        begun = sorted(value["begun"] for value in values)
        number, passed = len(begun) - 1, begun[-1] - begun[0]
        return tasks.clock.rate(number, passed, bound) if bound else round(number / passed, 1)

    def busiest(bound: Bound | None) -> float:
        # As if all had failed at one moment: on a busy machine their first runs are a while apart.
        moments = [again - first for first, again in tasks.run_at()]
        most = max(sum(0 <= other - one <= WINDOW for other in moments) for one in moments)
        share = round(100 * most / len(moments))
        return tasks.clock.certain(share, bound, "% at once", more_than=WINDOW) if bound else share

    context.record("tasks begun a second", rate)
    context.record("retries at once", busiest)


WINDOW = 1.5
"""Seconds in which retries count as at once: a worker of one process does 20 in up to 1 s on a busy machine."""

register("setting", "look first", "whether a reader asks ready() before get()")(read_results)


@register("measurement", "stored results", "keys of the broker that hold results of sent tasks", unit="keys")
def stored_results(context: Context, thing: Any) -> float:
    """Count them now, of one task or of all that were sent."""
    tasks = [thing] if isinstance(thing, SentTask) else context.part(Tasks).sent
    with context.broker.client() as client:
        return float(client.exists(*(one.key for one in tasks)))


@register("measurement", "bytes", "memory that the key of a result takes, its name included", unit="bytes")
def result_bytes(context: Context, task: SentTask) -> float:
    """Ask the server (``MEMORY USAGE``)."""
    task.value()
    with context.broker.client() as client:
        return float(client.memory_usage(task.key) or 0)


@register("measurement", "processed tasks", "tasks whose result says that this worker ran them", unit="tasks")
def processed_tasks(context: Context, worker: Any) -> Seen:
    """Read every result; on a busy judge one worker may have the turns of another."""
    tasks = context.part(Tasks)
    ran = sum(value["worker"] == worker.name for value in tasks.wait())
    return tasks.certain(ran, f"tasks of {worker.name}", more_than=1.0)


@then(parsers.parse("the result arrives {bound:Bound}", extra_types=TYPES))
def check_arrival(context: Context, bound: Bound) -> None:
    """Require that the result of the last task comes in this time, counted from here.

    Example: ``Then the result arrives within 10 seconds``
    """
    clock = WorkersClock()
    context.part(Tasks).last.value((bound.high or 0) + PATIENCE)
    context.measure("until the result arrives", unit="s", bound=bound, seen=clock.within(bound))


@then(parsers.parse("the result is {value:Json}", extra_types=TYPES))
def check_result(context: Context, value: Any) -> None:
    """Compare the result of the last task with a value of JSON.

    Example: ``Then the result is 12``
    """
    seen = context.part(Tasks).last.value()
    assert spelled(seen) == spelled(value), f"the result is {spelled(seen)}, not {spelled(value)}"


@then(parsers.parse("all tasks are processed {bound:Bound}", extra_types=TYPES))
def check_processed(context: Context, bound: Bound) -> None:
    """Require that every task returns in this time, counted from here.

    Example: ``Then all tasks are processed within 20 seconds``
    """
    clock = WorkersClock()
    context.part(Tasks).wait((bound.high or 0) + PATIENCE)
    context.measure("until all tasks are processed", unit="s", bound=bound, seen=clock.within(bound))


@then(parsers.parse('the state of {target:Target} is "{text}"', extra_types=TYPES))
def check_state(context: Context, target: str, text: str) -> None:
    """Require the state of a task, as a process reads it that knows nothing but its id.

    Example: ``Then the state of the first task is "PENDING"``
    """
    task, tasks = context.target(target), context.part(Tasks)

    def has_state() -> None:
        seen = task.state()
        assert seen == text, f"the state of {target} is {seen}, not {text}"

    try:
        WorkersClock().eventually(has_state, within=PATIENCE, every=0.01)
    except AssertionError:
        # A busy judge revokes a task when its countdown is over.
        hurry = task.options.get("countdown", math.inf)
        tasks.clock.certain(0, Bound.exactly(1), f"tasks that are {text}", more_than=hurry)
        raise


@then(parsers.parse("{target:Target} ran {bound:Times}", extra_types=TYPES))
def check_runs(context: Context, target: str, bound: Bound) -> None:
    """Require how often a task ran, or each of several; a task counts its runs in the broker.

    Example: ``Then the task ran exactly once``
    """
    tasks, results = context.part(Tasks), [one.result for one in context.targets(target)]
    seen: list[int] = []

    def ran() -> None:
        seen[:] = [len(moments) for moments in runs_of_each(tasks.client, results)]
        assert min(seen) >= (bound.low or 0), f"{target} ran {min(seen)} times"

    with suppress(AssertionError):  # judged below
        WorkersClock().eventually(ran, within=PATIENCE / 2)
    # A worker without a processor looks dead after the visibility timeout, and its task is delivered again.
    more_than = min(tasks.redelivery, 1.0) if bound.high is None else tasks.redelivery
    for times in sorted({min(seen), max(seen)}):
        certain = tasks.clock.certain(times, bound, f"runs of {target}", more_than)
        context.measure(f"runs of {target}", unit="", bound=bound, seen=certain)


@then("the tasks began in this order")
def check_order(context: Context, datatable: Table) -> None:
    """Compare the order in which the tasks began with the rows.

    Example: a table of PRIORITY
    """
    tasks = context.part(Tasks)
    begun = sorted(zip(tasks.wait(), tasks.sent, strict=True), key=lambda pair: pair[0]["begun"])
    assert_table(datatable, [{"TASK": one.name, "PRIORITY": one.options.get("priority", "")} for _, one in begun])


# Properties


@register("property", "a value returns as it was sent", "a value of JSON is the same after a task returned it")
def returns_as_sent(context: Context, number: int) -> None:
    """Let Hypothesis look for a value that is another one after it went to a task and came back as its result."""
    tasks, longest = context.part(Tasks), 0

    @examples(max_examples=number, deadline=None, database=None)
    @for_all(JSON)
    def round_trip(value: object) -> None:
        nonlocal longest
        longest = max(longest, len(spelled(value)))
        tasks.probes.append(tasks.app.send_task("worker.echo", [value]))
        assert spelled(returned(tasks.probes[-1], PATIENCE)) == spelled(value)

    round_trip()
    context.measure("longest value", unit="characters", seen=longest)


@register("property", "the sender refuses the value", "a value with a part that JSON lacks is refused, not sent")
def sender_refuses(context: Context, number: int) -> None:
    """Let Hypothesis look for a value unknown to JSON that is sent, or refused with an error that does not say why."""
    app = publisher(settings, context.broker.url)

    @examples(max_examples=number, deadline=None, database=None)
    @for_all(NOT_JSON)
    def refuse(value: object) -> None:
        with pytest.raises(TypeError, match=r"worker\.echo cannot be sent: .*not JSON serializable"):
            publish(app, "worker.echo", [value], queue=context.part(Tasks).queue)

    refuse()
    app.close()


STUCK = 60.0
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
        if clock.left(STUCK) < 0:
            left = clock.certain(shop.outbox.open(), Bound.exactly(0), "open orders", more_than=STUCK / 2)
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
        clock.eventually(settled, within=STUCK, every=0.5)
    except AssertionError:
        clock.certain(shop.outbox.open(), Bound.exactly(0), "open orders", more_than=STUCK / 2)
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
    clock.eventually(context.part(Tasks).all_done, within=STUCK)
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
