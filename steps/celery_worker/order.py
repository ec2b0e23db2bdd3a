"""The sentences about order, fairness, rate and schedule."""

from __future__ import annotations

import dbm
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from pytest_bdd import given, parsers, then, when

from fixtures.celery_worker.client import Sent, returned
from fixtures.celery_worker.workers import PATIENCE, Beats, Waiting, solo_worker
from fixtures.reporting.measurements import Bound
from fixtures.run.keys import Unsupported
from fixtures.run.own_time import WorkersClock
from fixtures.stacks.external.key_cleanup import on_server
from fixtures.stacks.protocols import Broker, Worker
from redis_practices.polling import eventually
from steps.common.vocabulary import TYPES, assert_table, rows


@given("a worker that does one task at a time", target_fixture="workers")
def have_solo_worker(waiting: Waiting) -> list[Worker]:
    """Have a worker that waits to be told to begin with its queue."""
    return [waiting.worker]


@given("a worker that does one task at a time and knows 10 priorities", target_fixture="workers")
def have_ten_steps(broker: Broker, waiting: Waiting, solo_workers: dict[str, Worker]) -> list[Worker]:
    """Have the same, and a sender, with one step for each priority."""
    waiting.sent.app.conf.broker_transport_options["priority_steps"] = list(range(10))
    waiting.worker = solo_worker(broker, solo_workers, "10")
    return [waiting.worker]


@given(parsers.cfparse('the task "{task}" is routed to its queue'))
def route_to_queue(broker: Broker, waiting: Waiting, task: str) -> None:
    """Send one kind of task to the waiting worker, and all others where they usually go."""
    waiting.sent.app.conf.task_default_queue = broker.queue
    waiting.sent.app.conf.task_routes = {f"worker.{task}": {"queue": waiting.queue}}


@given("the shared worker serves its queue too")
def share_queue(broker: Broker, waiting: Waiting, request: pytest.FixtureRequest) -> None:
    """Let a second worker serve the queue for the length of the scenario."""
    waiting.begin(broker.workers()[0])
    request.addfinalizer(lambda: waiting.end(broker.workers()[0]))


@when("the worker begins with its queue")
def begin(waiting: Waiting) -> None:
    """Let the waiting worker begin."""
    waiting.begin()


@when("tasks with these priorities wait for it")
def send_priorities(waiting: Waiting, datatable: Sequence[Sequence[str]]) -> None:
    """Send one task a row, in this order, before the worker begins."""
    waiting.priorities = [row["PRIORITY"] for row in rows(datatable, ("PRIORITY",))]
    for priority in waiting.priorities:
        waiting.sent.send("stamp", priority=int(priority))


@then(parsers.cfparse("they begin in this order {bound:Bound}", extra_types=TYPES))
def check_order(
    waiting: Waiting, bound: Bound, measure: Callable[..., None], datatable: Sequence[Sequence[str]]
) -> None:
    """Let the worker begin, and hold the order in which the tasks ran against the table."""
    waiting.begin()
    clock = WorkersClock()
    waiting.sent.wait(30.0)
    measure("all done", unit="s", bound=bound, seen=clock.within(bound))
    order = sorted(zip(waiting.sent.values, waiting.priorities, strict=True), key=lambda pair: pair[0]["begun"])
    assert_table(datatable, [{"PRIORITY": priority} for _, priority in order])


@then("only the first was done by that worker")
def check_routed(sent: Sent, workers: list[Worker]) -> None:
    """Require that the first task was done by the worker and the others were not."""
    done_by = [value["worker"] for value in sent.values]
    mine = [name == workers[0].name for name in done_by]
    assert mine == [True] + [False] * (len(mine) - 1), f"they were done by {done_by}, the worker is {workers[0].name}"


@when(parsers.cfparse("the worker has taken {number:Count} of them", extra_types=TYPES))
def await_taken(broker: Broker, sent: Sent, number: int) -> None:
    """Wait until no more than the others are left in the queue."""
    left = len(sent.results) - number

    def taken() -> None:
        """Require it now."""
        with broker.client() as client:
            waiting = client.llen(on_server(sent.app.conf.task_default_queue))
        assert waiting == left, f"{waiting} of {len(sent.results)} wait in the queue, not {left}"

    WorkersClock().eventually(taken, within=10.0)


@then(
    parsers.cfparse(
        "the last {number:Count} of them are done {bound:Bound} when an idle worker joins", extra_types=TYPES
    )
)
def check_last(sent: Sent, waiting: Waiting, number: int, bound: Bound, measure: Callable[..., None]) -> None:
    """Let the waiting worker serve their queue too, and measure how long the last tasks still take."""
    waiting.queue = sent.app.conf.task_default_queue  # that of the worker that is busy
    waiting.begin()
    clock = WorkersClock()
    for result in sent.results[-number:]:
        returned(result, 30.0)
    # A busy judge lets the idle worker join when the other has its work half done.
    seen = sent.clock.certain(clock.within(bound), bound, "s", more_than=1.0)
    measure("the last tasks done", unit="s", bound=bound, seen=seen)


@then(parsers.cfparse("it begins {bound:Bound} after it was sent", extra_types=TYPES))
def check_begin(sent: Sent, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the time between sending the last task and its begin against a bound."""
    begun = returned(sent.results[-1], 30.0)["begun"]
    measure("began after", unit="s", bound=bound, seen=sent.clock.apart(begun - sent.called, bound))


@then(parsers.cfparse("they began at a rate of {bound:Bound} a second", extra_types=TYPES))
def check_rate(sent: Sent, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the rate at which the tasks began, from the first to the last, against a bound."""
    begun = sorted(value["begun"] for value in sent.values)
    rate = sent.clock.rate(len(begun) - 1, begun[-1] - begun[0], bound)
    measure("rate", unit="1/s", bound=bound, seen=rate)


@given(parsers.cfparse("a beat that sends a task every {period:Count} seconds", extra_types=TYPES))
@given(
    parsers.cfparse(
        "a beat that sends a task every {period:Count} seconds with the setting {setting}", extra_types=TYPES
    )
)
def start_beat(beats: Beats, period: int, setting: str = "") -> None:
    """Start a beat with a timetable of one task, and perhaps a setting of ``src/worker.py``, as NAME=value."""
    if setting and keeps_in_memory(beats.group.folder):
        raise Unsupported(
            "needs a Python whose dbm writes to its file at once: this one's keeps all until it is closed"
        )
    beats.settings = {"BEAT_EVERY": str(period), **dict([setting.split("=")] if setting else [])}
    beats.start()


def keeps_in_memory(folder: Path) -> bool:
    """Tell whether Python's dbm, in which a beat notes what it has sent, keeps all in memory until it is closed.

    Berkeley DB does, as Debian's Python has it: a beat that is killed has noted nothing, and counts anew.
    """
    name = str(folder / "look")
    with dbm.open(name, "c") as store:
        store["key"] = "value"
        return not any(b"value" in file.read_bytes() for file in folder.glob("look*"))


@given("a second beat like it")
def start_second_beat(beats: Beats) -> None:
    """Start a beat with the same timetable and a file of its own, as a second replica would be."""
    beats.start()


@when(parsers.parse("the beat is {how:w} after the first task and started again"))
def restart_beat(beats: Beats, how: str) -> None:
    """Wait for the first task, and end the beat."""
    beats.sent(1)
    # It has been sent, but the beat may not have noted it yet; that moment is not the subject.
    eventually(beats.running[0].sleeps_after_sending, within=PATIENCE, every=0.01)
    beats.running[0].restart(kill=how == "killed")
    eventually(lambda: beats.running[0].starts() == 2, within=PATIENCE, every=0.01)  # noqa: PLR2004 - the second start
    beats.back = time.time()


@then(parsers.cfparse("the next task is sent {bound:Bound} after the first", extra_types=TYPES))
def check_next(beats: Beats, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the time between the first two tasks against a bound."""
    first, second = beats.sent(2)[:2]
    # A beat's first task is late by what a busy judge takes to connect; the next is not.
    seen = beats.clock.certain(beats.clock.apart(second - first, bound), bound, "s", more_than=1.0)
    measure("from the first to the next", unit="s", bound=bound, seen=seen)


@then(parsers.cfparse("the next task is sent {bound:Bound} of the beat's return", extra_types=TYPES))
def check_late(beats: Beats, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the time between the new start of the beat and its next task against a bound."""
    seen = beats.clock.apart(beats.sent(2)[1] - beats.back, bound)
    measure("from the beat's return to the next task", unit="s", bound=bound, seen=seen)
