"""The sentences about results and workflows."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from typing import Any

import pytest
from celery import chain, chord, group
from celery.canvas import Signature
from celery.result import AsyncResult
from pytest_bdd import given, parsers, then, when
from redis.client import Monitor

from fixtures.celery_worker.client import Sent, returned
from fixtures.reporting.measurements import Bound
from fixtures.run.own_time import Stopwatch, WorkersClock
from fixtures.stacks.external.key_cleanup import on_server
from fixtures.stacks.protocols import Broker, Private
from steps.common.vocabulary import TYPES, Duration, rows


def key_of(result: AsyncResult) -> str:
    """Return the key of a result."""
    return on_server(f"celery-task-meta-{result.id}")


@given("a broker of its own with a worker whose results expire after 1 second", target_fixture="broker")
def have_expiring_broker(private: Private) -> Broker:
    """Have a worker that gives its results a short life."""
    return private.broker(workers=1, RESULT_EXPIRES="1", WORKER_POOL="solo")


@when(parsers.cfparse("its result comes back within {duration:Duration} and is forgotten", extra_types=TYPES))
def forget(sent: Sent, duration: Duration) -> None:
    """Wait for the last result and delete it."""
    returned(sent.results[-1], duration.seconds())
    sent.results[-1].forget()


@then(parsers.cfparse("its result is kept for {bound:Bound}", extra_types=TYPES))
def check_ttl(broker: Broker, sent: Sent, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the time to live of the last result against a bound."""
    with broker.client() as client:
        measure("time to live", unit="s", bound=bound, seen=client.ttl(key_of(sent.results[-1])))


@then(parsers.cfparse("within {duration:Duration} the broker holds no keys but these", extra_types=TYPES))
def check_keys(broker: Broker, duration: Duration, datatable: Sequence[Sequence[str]]) -> None:
    """Wait until every key that is left fits a pattern of the table."""
    patterns = [row["KEY"] for row in rows(datatable, ("KEY",))]

    def gone() -> None:
        """Require it now."""
        with broker.client() as client:
            left = [key for key in client.scan_iter() if not any(fnmatch(key, pattern) for pattern in patterns)]
        assert not left, f"{len(left)} more keys, such as {left[:3]}"

    WorkersClock().eventually(gone, within=duration.seconds())


@then("the first task has left no result")
def check_no_result(broker: Broker, sent: Sent) -> None:
    """Require that no key holds the result of the first task."""
    with broker.client() as client:
        assert not client.exists(key_of(sent.results[0])), "its result is there"


@then(parsers.cfparse('a newcomer sees the first task as "{state}"'))
def check_state_of_newcomer(sent: Sent, state: str) -> None:
    """Require the state that a process sees which knows nothing but the task's id."""
    seen = sent.app.AsyncResult(sent.results[0].id).state
    assert seen == state, f"its state is {seen}, not {state}"


@then(parsers.cfparse("each of their results takes {bound:Bound} bytes", extra_types=TYPES))
def check_weight(broker: Broker, sent: Sent, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the memory of the largest result, key included, against a bound (``MEMORY USAGE``)."""
    with broker.client() as client:
        heaviest = max(client.memory_usage(key_of(result)) or 0 for result in sent.results)
    measure("largest result", unit="bytes", bound=bound, seen=heaviest)


@when("the broker's commands are watched", target_fixture="monitor")
def watch_commands(broker: Broker, request: pytest.FixtureRequest) -> Monitor:
    """Watch every command from now on (``MONITOR``)."""
    client = broker.client()
    monitor: Monitor = client.monitor().__enter__()

    def end() -> None:
        """Watch no longer."""
        monitor.__exit__()
        client.close()

    request.addfinalizer(end)
    return monitor


def _until(monitor: Monitor, mark: str) -> Iterator[str]:
    """Yield the commands that came before the one that contains `mark`."""
    while mark not in (command := monitor.next_command()["command"]):
        yield command


@then("the broker got these commands about it")
def check_commands(
    broker: Broker, sent: Sent, monitor: Monitor, measure: Callable[..., None], datatable: Sequence[Sequence[str]]
) -> None:
    """Hold the number of commands that name the key of the last result against a bound a row."""
    mark = secrets.token_hex(8)
    with broker.client() as client:
        client.echo(mark)
    key = key_of(sent.results[-1])
    seen = Counter(command.split()[0].upper() for command in _until(monitor, mark) if key in command)
    for row in rows(datatable, ("COMMAND", "NUMBER")):
        measure(row["COMMAND"], unit="", bound=TYPES["Bound"](row["NUMBER"]), seen=seen[row["COMMAND"]])


@then(parsers.cfparse("the result of the last comes back within {duration:Duration}", extra_types=TYPES))
def await_last(sent: Sent, duration: Duration) -> None:
    """Wait for the last result before the others."""
    returned(sent.results[-1], duration.seconds())


@then(parsers.cfparse("taking the others, {how}, takes {bound:Bound}", extra_types=TYPES))
def take_others(sent: Sent, how: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Take the other results, which are there, and measure how long that took."""
    watch = Stopwatch()
    for result in sent.results[:-1]:
        if "ready" in how:
            assert result.ready()
        result.get(timeout=30.0)
    measure("taking the others", unit="s", bound=bound, seen=round(watch.seconds(), 3))


def task(sent: Sent, name: str, *arguments: Any) -> Signature:
    """Return a call of a task that is part of something larger."""
    return sent.app.signature(f"worker.{name}", args=arguments)


def total(number: int) -> int:
    """Return the sum of what the members of a group or chord return: ``add(i, i)`` for each i below `number`."""
    return number * (number - 1)


@when("the chain add(1, 2), add(10), add(100) is sent")
def send_chain(sent: Sent) -> None:
    """Send three tasks, each of which gets the result of the one before."""
    whole = chain(task(sent, "add", 1, 2), task(sent, "add", 10), task(sent, "add", 100))
    sent.results.append(whole.apply_async())


@when(parsers.cfparse("a group of {number:Count} tasks is sent", extra_types=TYPES))
def send_group(sent: Sent, number: int) -> None:
    """Send tasks that are waited for together."""
    sent.results.extend(group(task(sent, "add", i, i) for i in range(number)).apply_async().results)


@when(parsers.cfparse("a chord of {number:Count} members is sent", extra_types=TYPES))
def send_chord(sent: Sent, number: int) -> None:
    """Send tasks, and one more that gets all their results."""
    members = [task(sent, "add", i, i) for i in range(number)]
    sent.results.append(chord(members, task(sent, "total")).apply_async())


@when("a chord with a failing member is sent")
def send_failing_chord(sent: Sent) -> None:
    """Send a chord of three, of which the second fails."""
    members = [task(sent, "add", 1, 1), task(sent, "fail", "member"), task(sent, "add", 2, 2)]
    sent.results.append(chord(members, task(sent, "total")).apply_async())


@then(parsers.cfparse("the results of its {number:Count} members come back in order {bound:Bound}", extra_types=TYPES))
def check_group(sent: Sent, number: int, bound: Bound, measure: Callable[..., None]) -> None:
    """Wait for the members of a group."""
    clock = WorkersClock()
    sent.wait(60.0)
    assert sent.values == [i + i for i in range(number)], f"the members returned {sent.values}"
    measure("all members", unit="s", bound=bound, seen=clock.within(bound))


@then(parsers.cfparse("the sum of its {number:Count} members comes back {bound:Bound}", extra_types=TYPES))
def check_chord(sent: Sent, number: int, bound: Bound, measure: Callable[..., None]) -> None:
    """Wait for the task that gets the results of all members, and forget those of the members too."""
    clock = WorkersClock()
    seen = returned(sent.results[-1], 120.0)
    assert seen == total(number), f"the sum is {seen}, not {total(number)}"
    measure("end of the chord", unit="s", bound=bound, seen=clock.within(bound))
    sent.results.extend(sent.results[-1].parent.results)
