"""The sentences about results, failures, workflows and remote control."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, group
from celery.canvas import Signature
from celery.result import AsyncResult
from pytest_bdd import given, parsers, then, when
from redis.client import Monitor
from redis.exceptions import ConnectionError as RedisConnectionError

from fixtures.celery_worker.client import Sent, runs_of
from fixtures.celery_worker.workers import wait_until_it_hears
from fixtures.reporting.measurements import Bound
from fixtures.stacks.external.key_cleanup import on_server
from fixtures.stacks.protocols import Broker, Private, Worker
from redis_practices.celery_worker.sending import value_of
from redis_practices.polling import eventually
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
    value_of(sent.results[-1], duration.seconds())
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

    eventually(gone, within=duration.seconds())


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
    value_of(sent.results[-1], duration.seconds())


@then(parsers.cfparse("taking the others, {how}, takes {bound:Bound}", extra_types=TYPES))
def take_others(sent: Sent, how: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Take the other results, which are there, and measure how long that took."""
    begun = time.monotonic()
    for result in sent.results[:-1]:
        if "ready" in how:
            assert result.ready()
        result.get(timeout=30.0)
    measure("taking the others", unit="s", bound=bound, seen=round(time.monotonic() - begun, 3))


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
    begun = time.monotonic()
    sent.wait(60.0)
    assert sent.values == [i + i for i in range(number)], f"the members returned {sent.values}"
    measure("all members", unit="s", bound=bound, seen=round(time.monotonic() - begun, 3))


@then(parsers.cfparse("the sum of its {number:Count} members comes back {bound:Bound}", extra_types=TYPES))
def check_chord(sent: Sent, number: int, bound: Bound, measure: Callable[..., None]) -> None:
    """Wait for the task that gets the results of all members, and forget those of the members too."""
    begun = time.monotonic()
    seen = value_of(sent.results[-1], 120.0)
    assert seen == total(number), f"the sum is {seen}, not {total(number)}"
    measure("end of the chord", unit="s", bound=bound, seen=round(time.monotonic() - begun, 3))
    sent.results.extend(sent.results[-1].parent.results)


@then(parsers.cfparse('it fails with "{error}" {bound:Bound}', extra_types=TYPES))
def check_error(sent: Sent, error: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Require that waiting for the last task raises an error, as ``Kind: message``."""
    begun = time.monotonic()
    with pytest.raises(Exception) as caught:  # noqa: PT011 - kind and message are compared below
        value_of(sent.results[-1], 30.0)
    seen = f"{type(caught.value).__name__}: {caught.value}"
    assert seen == error, f"it failed with {seen!r}, not {error!r}"
    measure("error back", unit="s", bound=bound, seen=round(time.monotonic() - begun, 3))


@then(parsers.cfparse('its traceback names "{line}"'))
def check_traceback(sent: Sent, line: str) -> None:
    """Require a line of code in the traceback that the result carries."""
    assert line in sent.results[-1].traceback, f"the traceback is\n{sent.results[-1].traceback}"


@then(parsers.cfparse("it ran {number:Count} times within {duration:Duration}", extra_types=TYPES))
def check_runs(broker: Broker, sent: Sent, number: int, duration: Duration) -> None:
    """Require how often the last task ran."""

    def ran() -> None:
        """Require it now."""
        assert len(runs_of(broker, sent.results[-1])) == number

    eventually(ran, within=duration.seconds())


@when(parsers.cfparse("the first task has begun within {duration:Duration}", extra_types=TYPES))
def await_begun(broker: Broker, sent: Sent, duration: Duration) -> None:
    """Wait until the first task runs: what a worker has only fetched, it may return."""
    eventually(lambda: runs_of(broker, sent.results[0]), within=duration.seconds())


@then(parsers.cfparse("the first task ran {number:Count} times", extra_types=TYPES))
def check_first_runs(broker: Broker, sent: Sent, number: int) -> None:
    """Require how often the first task ran, now that one after it is done."""
    runs = runs_of(broker, sent.results[0])
    assert len(runs) == number, f"it ran {len(runs)} times"


@then("it ran again after these waits")
def check_waits(broker: Broker, sent: Sent, measure: Callable[..., None], datatable: Sequence[Sequence[str]]) -> None:
    """Hold the time between one run of the last task and the next against a bound a row."""
    runs = runs_of(broker, sent.results[-1])
    waits = [after - before for before, after in pairwise(runs)]
    wanted = [TYPES["Bound"](row["WAIT"]) for row in rows(datatable, ("WAIT",))]
    assert len(waits) == len(wanted), f"it ran again {len(waits)} times, after {waits} s, not {len(wanted)} times"
    for number, (bound, seen) in enumerate(zip(wanted, waits, strict=True), start=1):
        measure(f"wait before retry {number}", unit="s", bound=bound, seen=round(seen, 3))


@then(parsers.cfparse("{bound:Bound} of their retries ran in the busiest {window:Duration}", extra_types=TYPES))
def check_spread(broker: Broker, sent: Sent, bound: Bound, window: Duration, measure: Callable[..., None]) -> None:
    """Hold the largest share of retries that ran within any such time against its bound."""
    runs = [runs_of(broker, result) for result in sent.results]
    # As if all had failed at one moment: on a busy machine their first runs are a while apart.
    moments = [again - first for first, again in runs]
    busiest = max(sum(1 for other in moments if 0 <= other - one <= window.seconds()) for one in moments)
    measure("retries at once", unit="%", bound=bound, seen=round(100 * busiest / len(moments)))


@when(parsers.cfparse('"{text}" is put into the queue by hand'))
def put_by_hand(broker: Broker, text: str) -> None:
    """Write an element to the queue that no Celery made."""
    with broker.client() as client:
        client.lpush(broker.queue, text)


@then(parsers.cfparse("the worker ends with exit code {code:Count} {bound:Bound}", extra_types=TYPES))
def check_exit(broker: Broker, code: int, bound: Bound, measure: Callable[..., None]) -> None:
    """Wait for the end of the broker's first worker."""
    worker: Worker = broker.workers[0]
    begun = time.monotonic()
    assert worker.wait_end(30.0) == code
    measure("until the worker ended", unit="s", bound=bound, seen=round(time.monotonic() - begun, 3))


@given(
    parsers.cfparse("a broker of its own with a worker that keeps its state in {place}"),
    target_fixture="broker",
)
def have_broker_with_state(private: Private, tmp_path: Path, place: str) -> Broker:
    """Have a worker that remembers what was revoked in a file, or only in memory."""
    state = {"STATE_DB": str(tmp_path / "state")} if place == "a file" else {}
    return private.broker(None, workers=1, WORKER_POOL="solo", **state)


@when("it is revoked")
def revoke(broker: Broker, sent: Sent) -> None:
    """Revoke the last task; where workers run, go on when one says that it has heard."""
    task = sent.results[-1].id
    if not broker.workers:
        sent.app.control.revoke(task)
        return
    # Again where nobody has: one that has just started may not hear commands yet.
    eventually(lambda: bool(sent.app.control.revoke(task, reply=True, limit=1, timeout=1.0)), within=10.0)


@when("it is revoked and ended")
def terminate(sent: Sent) -> None:
    """Revoke the last task and end the process that runs it with SIGTERM."""
    sent.app.control.revoke(sent.results[-1].id, terminate=True)


@when("a worker starts")
def start_first_worker(broker: Broker) -> None:
    """Start the first worker of a broker that has none."""
    broker.start_worker(WORKER_POOL="solo")


@when(parsers.cfparse('the worker is restarted and serves "{queue}"'))
def restart_worker(broker: Broker, sent: Sent, queue: str) -> None:
    """Stop the first worker as a deployment does, and start one with the same settings for a queue."""
    broker.workers[0].stop()
    sent.app.conf.task_default_queue = queue
    broker.start_worker(TASK_QUEUE=queue)


@when(
    parsers.cfparse("a worker is pinged {number:Count} times by its name", extra_types=TYPES), target_fixture="answers"
)
def ping_by_name(broker: Broker, sent: Sent, number: int) -> int:
    """Ping the shared worker, and return how many answers came: a call ends when those named have answered."""
    return _answers(sent, broker.workers[0].name, number, destination=[broker.workers[0].name], timeout=5.0)


@when(parsers.cfparse("all workers are pinged {number:Count} times", extra_types=TYPES), target_fixture="answers")
def ping_all(broker: Broker, sent: Sent, number: int) -> int:
    """Ping whoever is there, and return how many answers of the shared worker came: a call ends with its time."""
    return _answers(sent, broker.workers[0].name, number, timeout=0.2)


def _answers(sent: Sent, worker: str, number: int, **options: Any) -> int:
    """Ping from this process, again and again, and return how often `worker` answered."""
    wait_until_it_hears(sent.app, worker)
    calls = [sent.app.control.broadcast("ping", reply=True, **options) for _ in range(number)]
    return sum(worker in reply for replies in calls for reply in replies or [])


@then(parsers.cfparse("{bound:Bound} answers came", extra_types=TYPES))
def check_answers(answers: int, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the number of answers against a bound."""
    measure("answers", unit="", bound=bound, seen=answers)


@then("pinging the worker raises ConnectionError")
def check_ping_raises(broker: Broker, sent: Sent) -> None:
    """Require that the command fails once over the connection that the process has kept."""
    with pytest.raises(RedisConnectionError):
        sent.app.control.ping([broker.workers[0].name], timeout=5.0)


@then(parsers.cfparse("the worker answers a ping within {duration:Duration}", extra_types=TYPES))
def check_ping(broker: Broker, sent: Sent, duration: Duration) -> None:
    """Require an answer of the first worker, which connects again in its own time."""
    wait_until_it_hears(sent.app, broker.workers[0].name, duration.seconds())
