"""The sentences that send tasks and see them processed."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import settings as examples
from parse import with_pattern
from pytest_bdd import given, parsers, then, when

from fixtures import PROJECT
from fixtures.celery_worker.client import JSON, NOT_JSON, Sent, returned, runs_of, spelled
from fixtures.reporting.measurements import Bound
from fixtures.run.own_time import WorkersClock
from fixtures.run.processes import ForkingGroup
from fixtures.stacks.external.key_cleanup import on_server
from fixtures.stacks.protocols import Broker, Private, Worker
from redis_practices.celery_worker.sending import publish, publisher, send_many
from redis_practices.cli import Failure
from redis_practices.servers.binary import free_ports
from redis_practices.servers.server import BROKER
from steps.common.vocabulary import TYPES, Duration, assert_table, rows
from worker import settings
from worker import settings as worker_settings


@given("a broker with its worker", target_fixture="workers")
def have_workers(broker: Broker) -> list[Worker]:
    """Have at least one worker that is ready."""
    assert broker.workers(), "no worker serves the broker"
    return [broker.workers()[0]]


@given("a second worker")
def start_second_worker(broker: Broker, workers: list[Worker], request: pytest.FixtureRequest) -> None:
    """Start one more worker for this scenario; it is stopped in the end."""
    worker = broker.start_worker()
    request.addfinalizer(worker.stop)
    workers.append(worker)


@when(parsers.cfparse('the task "{task}" with {duration:Duration} is sent', extra_types=TYPES))
def send_with_duration(sent: Sent, task: str, duration: Duration) -> None:
    """Send a task whose argument is a time in seconds."""
    sent.connect()
    sent.send(task, duration.seconds())


@when(parsers.cfparse('the task "{task}" with "{text}" is sent'))
def send_with_text(sent: Sent, task: str, text: str) -> None:
    """Send a task whose argument is a text."""
    sent.send(task, text)


@when(parsers.cfparse('the task "{task}" is sent with these arguments'))
def send_with_table(sent: Sent, task: str, datatable: Sequence[Sequence[str]]) -> None:
    """Send a task once a row, with two numbers."""
    for row in rows(datatable, ("X", "Y")):
        sent.send(task, json.loads(row["X"]), json.loads(row["Y"]))


@when(parsers.cfparse("{number:Count} tasks that take {duration:Duration} each are sent", extra_types=TYPES))
def send_batch(sent: Sent, number: int, duration: Duration) -> None:
    """Send a batch of tasks that take their time."""
    for _ in range(number):
        sent.send("sleep", duration.seconds())


@then(parsers.cfparse("sending took {bound:Bound}", extra_types=TYPES))
def check_sending(sent: Sent, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the time that sending took against its bound."""
    measure("sending a task", unit="s", bound=bound, seen=round(sent.seconds, 3))


@then(parsers.cfparse("its result comes back {bound:Bound}", extra_types=TYPES))
@then(parsers.cfparse("all of them are processed {bound:Bound}", extra_types=TYPES))
def await_results(sent: Sent, bound: Bound, measure: Callable[..., None]) -> None:
    """Wait for every result, a while beyond the bound, so that a failure can say what was seen."""
    clock = WorkersClock()
    sent.wait(30.0)
    measure("results back", unit="s", bound=bound, seen=clock.within(bound))


@then(parsers.cfparse("these results come back {bound:Bound}", extra_types=TYPES))
def compare_results(sent: Sent, bound: Bound, measure: Callable[..., None], datatable: Sequence[Sequence[str]]) -> None:
    """Wait for every result and hold them against the table, in the order of sending."""
    await_results(sent, bound, measure)
    assert_table(datatable, [{"RESULT": value} for value in sent.values])


@then("it was processed by another process")
def check_other_process(sent: Sent) -> None:
    """Require that the worker that ran the task is not this process."""
    worker, here = sent.values[-1], {"host": socket.gethostname(), "pid": os.getpid()}
    assert worker != here, f"the task ran in the process that sent it: {worker}"


@then(parsers.cfparse('waiting for its result raises ValueError with "{message}" {bound:Bound}', extra_types=TYPES))
def check_failure(sent: Sent, message: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Require that waiting raises what the task raised."""
    clock = WorkersClock()
    with pytest.raises(ValueError, match=f"^{message}$"):
        sent.wait(30.0)
    measure("error back", unit="s", bound=bound, seen=clock.within(bound))


@then(parsers.cfparse("each of the two workers processed {bound:Bound} of them", extra_types=TYPES))
def check_shares(sent: Sent, bound: Bound, workers: list[Worker], measure: Callable[..., None]) -> None:
    """Hold the number of tasks that each worker processed against its bound."""
    shares = Counter(value["worker"] for value in sent.values)
    for worker in workers:
        seen = sent.clock.certain(shares[worker.name], bound, f"tasks of {worker.name}", more_than=1.0)
        measure(f"tasks of {worker.name}", unit="", bound=bound, seen=seen)


@with_pattern(r"\[.*\]")
def arguments(text: str) -> list[Any]:
    """Read a task's arguments as JSON: ``[2, "text"]``."""
    return list(json.loads(text))


TASK_TYPES = {**TYPES, "Arguments": arguments}


@given("a worker of its own with these settings", target_fixture="workers")
def start_own_worker(
    broker: Broker, sent: Sent, datatable: Sequence[Sequence[str]], request: pytest.FixtureRequest
) -> list[Worker]:
    """Start a worker with settings of ``src/worker.py`` and a queue of its own, to which this scenario sends."""
    settings = {row["SETTING"]: row["VALUE"] for row in rows(datatable, ("SETTING", "VALUE"))}
    queue = f"practices-{secrets.token_hex(6)}"
    sent.app.conf.task_default_queue = queue
    workers = [broker.start_worker(TASK_QUEUE=queue, **settings)]

    def end() -> None:
        """Kill them: their tasks are done by then, and a warm shutdown would take 3 s."""
        for worker in workers:
            worker.kill()

    request.addfinalizer(end)
    return workers


@given(parsers.cfparse("a broker of its own with {number:Count} workers", extra_types=TYPES), target_fixture="broker")
@given(parsers.cfparse("a broker of its own with {number:Count} worker", extra_types=TYPES), target_fixture="broker")
def have_own_broker(private: Private, number: int) -> Broker:
    """Have a broker that this scenario may disrupt, with workers."""
    return private.broker(workers=number)


@when(parsers.cfparse('the task "{task}" is sent with {given:Arguments}', extra_types=TASK_TYPES))
def send_with_arguments(sent: Sent, task: str, given: list[Any]) -> None:
    """Send a task with its arguments as JSON."""
    sent.send(task, *given)


@when(parsers.cfparse('the task "{task}" is sent with {given:Arguments} and these options', extra_types=TASK_TYPES))
def send_with_options(sent: Sent, task: str, given: list[Any], datatable: Sequence[Sequence[str]]) -> None:
    """Send a task with options as Celery's ``apply_async`` names them."""
    options = {row["OPTION"]: json.loads(row["VALUE"]) for row in rows(datatable, ("OPTION", "VALUE"))}
    sent.send(task, *given, **options)


@when(parsers.cfparse('{number:Count} tasks "{task}" are sent with {given:Arguments}', extra_types=TASK_TYPES))
def send_several(sent: Sent, number: int, task: str, given: list[Any]) -> None:
    """Send the same task several times."""
    for _ in range(number):
        sent.send(task, *given)


@then(parsers.cfparse("the worker still does its work {bound:Bound}", extra_types=TYPES))
def check_still_works(sent: Sent, bound: Bound, measure: Callable[..., None]) -> None:
    """Require that a task sent now is done.

    It is asked for, not waited for: a sender whose connection the broker has cut may write its subscription into the
    dead one, subscribe again when it notices, and miss what was published meanwhile.
    """
    clock = WorkersClock()
    sent.send("add", 4, 8)
    clock.eventually(sent.results[-1].ready, within=30.0, every=0.01)
    seen = clock.within(bound)
    assert returned(sent.results[-1], 1.0) == 4 + 8
    measure("another task", unit="s", bound=bound, seen=seen)


@then(parsers.cfparse('the last task is "{state}" {bound:Bound}', extra_types=TYPES))
def await_state(sent: Sent, state: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Wait until the last task has a state."""
    result = sent.results[-1]

    def has_state() -> None:
        """Require the state."""
        assert result.state == state, f"its state is {result.state}, not {state}"

    clock = WorkersClock()
    clock.eventually(has_state, within=30.0, every=0.01)
    measure(f"until {state}", unit="s", bound=bound, seen=clock.within(bound))


@then(parsers.cfparse('the first task is still "{state}"'))
def check_first_state(sent: Sent, state: str) -> None:
    """Require the state of the first task, now that others after it are done."""
    assert sent.results[0].state == state


@then(parsers.cfparse('the worker\'s log says "{text}"'))
def check_log(broker: Broker, text: str) -> None:
    """Require words in the log of the broker's first worker."""

    def says() -> None:
        """Require them now."""
        assert text in broker.workers()[0].log_tail(400), f"its log says:\n{broker.workers()[0].log_tail(15)}"

    WorkersClock().eventually(says, within=5.0)


@when(parsers.cfparse("it has begun within {duration:Duration}", extra_types=TYPES))
def await_begin(broker: Broker, sent: Sent, duration: Duration) -> None:
    """Wait until the last task has noted its first run."""
    WorkersClock().eventually(lambda: bool(runs_of(broker, sent.results[-1])), within=duration.seconds())


@then(parsers.cfparse("each of {number:Count} values of JSON comes back as it was sent", extra_types=TYPES))
def check_round_trip(sent: Sent, number: int, measure: Callable[..., None]) -> None:
    """Let Hypothesis look for a value that is another one after it went to a task and came back as its result."""
    longest = 0

    @examples(max_examples=number, deadline=None, database=None)
    @for_all(JSON)
    def round_trip(value: object) -> None:
        """Send one value and compare what comes back."""
        nonlocal longest
        longest = max(longest, len(spelled(value)))
        sent.send("echo", value)
        seen = returned(sent.results[-1], 10.0)
        assert spelled(seen) == spelled(value)

    round_trip()
    measure("longest value", unit="characters", seen=longest)


@then(
    parsers.cfparse(
        "each of {number:Count} values with something else inside is refused, and nothing is sent", extra_types=TYPES
    )
)
def check_unserialisable(private: Private, number: int) -> None:
    """Let Hypothesis look for a value unknown to JSON that is sent, or refused with an error that does not say why."""
    server = private.server(BROKER)
    app = publisher(worker_settings, server.url)

    @examples(max_examples=number, deadline=None, database=None)
    @for_all(NOT_JSON)
    def refuse(value: object) -> None:
        """Publish one value."""
        with pytest.raises(TypeError, match=r"worker\.echo cannot be sent: .*not JSON serializable"):
            publish(app, "worker.echo", [value])

    refuse()
    app.close()
    with server.client() as client:
        assert not client.exists("celery"), "something was sent"


@given("a queue of its own that nobody serves")
def have_queue(broker: Broker, sent: Sent, request: pytest.FixtureRequest) -> None:
    """Send what is sent to a queue that is deleted in the end."""
    queue = f"practices-{secrets.token_hex(6)}"
    sent.app.conf.task_default_queue = queue

    def clear() -> None:
        """Delete the queue."""
        with broker.client() as client:
            client.delete(on_server(queue))

    request.addfinalizer(clear)


@when(
    parsers.cfparse('{number:Count} tasks "{task}" are sent in batches with {given:Arguments}', extra_types=TASK_TYPES)
)
def send_in_batches(sent: Sent, number: int, task: str, given: list[object]) -> None:
    """Send the same task many times."""
    ids = send_many(sent.app, f"worker.{task}", [given] * number, store_results=True)
    sent.results.extend(sent.app.AsyncResult(identity) for identity in ids)


@when(
    parsers.cfparse("{number:Count} tasks are sent one by one, and {many:Count} in batches", extra_types=TYPES),
    target_fixture="costs",
)
def send_both_ways(sent: Sent, number: int, many: int) -> tuple[float, float]:
    """Return the processor seconds a task that each way takes."""
    begun = time.process_time()
    for _ in range(number):
        sent.app.send_task("worker.add", [4, 8], ignore_result=True)
    between = time.process_time()
    send_many(sent.app, "worker.add", [[4, 8]] * many)
    return (between - begun) / number, (time.process_time() - between) / many


@then(parsers.cfparse("those in batches took {bound:Bound} times less processor time", extra_types=TYPES))
def check_costs(costs: tuple[float, float], bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the ratio of the two against a bound."""
    measure("cost of one by one, in batches", unit="", bound=bound, seen=round(costs[0] / costs[1], 1))


@then(parsers.cfparse("{number:Count} tasks wait in the queue", extra_types=TYPES))
def check_length(broker: Broker, sent: Sent, number: int) -> None:
    """Require the length of the queue."""
    with broker.client() as client:
        seen = client.llen(on_server(sent.app.conf.task_default_queue))
    assert seen == number, f"{seen} tasks wait"


TIMEOUT = 2.0
"""Seconds that senders are given here."""

SOURCES = PROJECT / "src"


@given(parsers.cfparse("a broker that {trouble}"), target_fixture="broker_url")
def have_bad_broker(private: Private, trouble: str) -> str:
    """Have the address of a broker that takes no tasks."""
    if trouble == "is down":
        return f"redis://127.0.0.1:{free_ports(1)[0]}/0"
    troubles: dict[str, dict[str, Any]] = {
        "is full": {"maxmemory": 1},
        "wants another password": {"requirepass": "other"},
    }
    config = troubles.get(trouble, {})
    if trouble == "is a replica":
        config["replicaof"] = private.server(BROKER).address.split(":")
    server = private.server({**BROKER, **config})
    if trouble == "hangs":
        server.pause()
    return server.url.replace(":other@", ":guessed@")


@then(parsers.cfparse('publishing a task fails {bound:Bound} with "{words}"', extra_types=TYPES))
def check_publish(broker_url: str, words: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Require one line that says why, in time."""
    clock = WorkersClock()
    with pytest.raises(Failure) as caught:
        publish(publisher(settings, broker_url, TIMEOUT), "worker.add", [4, 8])
    measure("publish fails after", unit="s", bound=bound, seen=clock.within(bound))
    check_line(str(caught.value), words)


@then(parsers.cfparse('send_task.py fails {bound:Bound} with "{words}"', extra_types=TYPES))
def check_script(broker_url: str, words: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Require the same of the script, as a user calls it."""
    with ForkingGroup() as group:
        begun, log = time.monotonic(), group.folder / "said"
        # As a fork, so that its start, which takes seconds on a busy machine, is no part of what is measured.
        child = group.start_python(
            "send_task", ["--timeout", str(TIMEOUT)], log, cwd=SOURCES, env={**os.environ, "BROKER_URL": broker_url}
        )
        code = child.wait(60.0)
        measure("send_task.py fails after", unit="s", bound=bound, seen=round(time.monotonic() - begun, 3))
        said = log.read_text()
    assert code == 1, f"it ends with exit code {code}: {said}"
    check_line(said.strip(), words)


def check_line(said: str, words: str) -> None:
    """Require one line with these words that gives no password away."""
    assert words in said, f"it says: {said}"
    assert "\n" not in said, f"it says more than a line: {said}"
    assert "guessed" not in said, "it gives the password away"
