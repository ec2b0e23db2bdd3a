"""The sentences that send tasks, and what they mean: tasks, queues, options."""

from __future__ import annotations

import json
import math
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import pytest
from celery import Celery, chain, chord, group
from celery.exceptions import TimeoutError as NoAnswerError
from celery.result import AsyncResult
from kombu import pools
from kombu.exceptions import OperationalError
from pytest_bdd import parsers, when
from redis import Redis
from redis.client import Monitor
from redis.exceptions import RedisError

from fixtures import PROJECT
from fixtures.bdd.vocabulary import find, records, register
from fixtures.celery_worker.workers import let_go, returned, runs_of_each
from fixtures.context import Context, Plan, Seen, target
from fixtures.run.own_time import Stopwatch, WorkersClock
from fixtures.run.processes import ForkingGroup
from fixtures.stacks.external.deployments import on_server, prefix_of_run
from redis_practices.celery_worker.queue_age import queue_state
from redis_practices.celery_worker.sending import check_broker, publish, publisher, send_many, sender
from redis_practices.cli import Failure
from redis_practices.servers.server import Server
from steps.common.vocabulary import TYPES, Table, options, rows, seconds
from worker import settings

PATIENCE = 20.0
"""Seconds in which a task is done that the scenario does not promise within a time."""


@dataclass
class SentTask:
    """A task that was sent, as a target of sentences."""

    tasks: Tasks
    result: Any
    """Of Celery: one of a task, or that of a group."""
    name: str
    options: Mapping[str, Any]
    values: list[Any] = field(default_factory=list)
    """What it returned, once that was read."""

    def value(self, within: float = PATIENCE, clock: WorkersClock | None = None) -> Any:
        """Return what it returned, or raise its error (AssertionError if no result comes in time)."""
        if not self.values:
            try:
                self.values.append(returned(self.result, within, clock))
            except NoAnswerError:
                pytest.fail(f"{self.name} has no result after {within:g} s; its state is {self.state()}")
        return self.values[0]

    def state(self) -> str:
        """Return its state as a process reads it that knows nothing but its id."""
        return str(self.tasks.app.backend.get_state(self.result.id))

    def runs(self) -> list[float]:
        """Return when it ran, in seconds since 1970."""
        return runs_of_each(self.tasks.client, [self.result])[0]

    def wait_before(self, retry: int) -> float:
        """Return the seconds between a run and the next."""
        waits = [after - before for before, after in pairwise(self.runs())]
        assert len(waits) >= retry, f"{self.name} ran {len(waits) + 1} times"
        return waits[retry - 1]

    def ttl(self) -> float:
        """Return the seconds after which its result expires."""
        with self.tasks.context.broker.client() as client:
            return float(client.ttl(self.key))

    @property
    def key(self) -> str:
        """The key of its result."""
        return on_server(f"celery-task-meta-{self.result.id}")

    def forget(self) -> None:
        """Delete its result."""
        self.result.forget()

    def revoke(self, terminate: str = "no") -> None:
        """Call it back, and its process with it if `terminate`; return when a worker has heard, if there are any."""
        control, workers = self.tasks.app.control, [worker.name for worker in self.tasks.context.broker.started]
        if terminate == "yes" or not workers:
            control.revoke(self.result.id, terminate=terminate == "yes")
            return
        # Again where none has: a worker that has just started may not hear commands yet.
        asked = {"destination": workers, "reply": True, "limit": 1, "timeout": 1.0}
        WorkersClock().eventually(lambda: bool(control.revoke(self.result.id, **asked)), 10.0)


register("setting", "terminate", "whether the process that runs a revoked task is ended too")(SentTask.revoke)


@dataclass
class Tasks:
    """The tasks that a scenario sent, and the application that sends them."""

    context: Context
    sent: list[SentTask] = field(default_factory=list)
    probes: list[AsyncResult] = field(default_factory=list)
    prefix: str = ""
    """Of all keys of the application, if it has one."""
    redelivery: float = math.inf
    """The visibility timeout in seconds: a worker without a processor for as long looks dead."""
    clock: WorkersClock = field(default_factory=WorkersClock)
    """Since the last sending."""
    called: float = 0.0
    """When the last sending began, in seconds since 1970: a countdown counts from there."""
    costs: dict[bool, float] = field(default_factory=dict)
    """Seconds of this processor that a task took to send, alone and in a batch."""

    monitor: Monitor | None = None
    """Sees every command that the broker receives, if a task was sent with ``count commands``."""

    @property
    def queue(self) -> str:
        """Where its tasks go."""
        own = self.context.own.get("queue")
        return own.name if own else self.context.broker.queue

    @property
    def key(self) -> str:
        """The key of the queue, without a priority."""
        return on_server(self.queue)

    @records("age of the oldest task", "the time since the oldest task of the queue was sent", unit="s")
    def look(self) -> None:
        """Record the length of the queue, and the age of its oldest task."""
        with self.context.broker.client() as client:
            state = queue_state(client, self.key)
        self.context.record("waiting tasks", state.length)
        assert state.oldest is not None, "the tasks do not say when they were sent"
        age = state.oldest
        self.context.record("age of the oldest task", self.exact(lambda: age))

    def fill_with_tasks(self) -> None:
        """Store 200 results, then send tasks of 10 kB until the broker refuses one, at most 1,000."""
        with self.context.broker.client() as client:
            for number in range(200):
                client.set(f"celery-task-meta-{number}", "result" * 100, ex=3600)
        # The binding of a queue is a key too, and may be evicted: kombu 5.7 then fails with an AttributeError.
        with suppress(OperationalError, AttributeError):
            for _ in range(1000):
                self.note(self.app.send_task("worker.add", ["x" * 10_000], **NO_RESULT), "add", NO_RESULT)

    def address(self, url: str) -> str:
        """Return a URL in which BROKER and CLUSTER stand for the addresses that clients of the scenario use."""
        for name in ("BROKER", "CLUSTER"):
            if name in url:
                url = url.replace(name, urlsplit(getattr(self.context, name.lower()).url).netloc.rpartition("@")[2])
        return url

    def keep_apart(self) -> None:
        """Give the application another key prefix: its workers deliver the tasks of no other scenario."""
        assert "app" not in self.__dict__, "tasks were sent before their workers were given"
        broker, self.prefix = self.context.broker, f"{prefix_of_run()}{secrets.token_hex(6)}:"

        def clear() -> None:
            with broker.client() as client:
                for key in client.scan_iter(f"{self.prefix}*", count=1000):
                    client.delete(key)

        self.context.ending.callback(clear)
        # Senders and helpers of this process read their settings there.
        self.context.ending.enter_context(pytest.MonkeyPatch.context()).setenv("KEY_PREFIX", self.prefix)

    @cached_property
    def client(self) -> Redis:
        """A client of the broker that is kept: a step asks it a hundred times a second while it waits."""
        client: Redis = self.context.ending.enter_context(self.context.broker.client())
        return client

    @cached_property
    def app(self) -> Celery:
        """The application, connected."""
        app = sender(settings(self.context.broker.url))
        app.conf.task_default_queue = self.queue
        if own := self.context.own.get("queue"):
            steps = own.environment.get("PRIORITY_STEPS", "0 3 6 9")
            app.conf.broker_transport_options["priority_steps"] = [int(step) for step in steps.split()]
        self.context.ending.callback(self._end, app)
        # Here, so that the clock of the first sending does not count it; a dead broker shows when a task is sent.
        with suppress(OperationalError, RedisError), app.producer_pool.acquire(block=True) as producer:
            producer.connection.ensure_connection(max_retries=1)
            app.backend.client.ping()
        return app

    def _end(self, app: Celery) -> None:
        """Delete what was sent and came back, unless the broker ends with the scenario."""
        results = [one.result for one in self.sent if not one.options.get("ignore_result")] + self.probes
        broker = self.context.broker
        if not ("broker" in self.context.own and isinstance(broker.node, Server)):
            for result in results:
                result.forget()
            if "queue" in self.context.own:
                with broker.client() as client:
                    client.delete(on_server(self.queue))
        # Afterwards: a chord lets go of its members too, and these may be among the results.
        for result in results:
            let_go(result)
        # The process keeps connections for every application to come; another process' scenario may restart the broker
        # until then, and Celery asks workers only once.
        pools.reset()
        app.close()

    def note(self, result: Any, name: str, sending: Mapping[str, Any]) -> None:
        """Keep what was sent."""
        self.sent.append(SentTask(self, result, name, sending))

    def send(self, name: str, given: Sequence[Any], count: int = 1, **sending: Any) -> None:
        """Send a task of the workers, named without ``worker.``; `sending` as `setting` reads it.

        An error is recorded for "the send failed with".
        """
        batch, timeout = sending.pop("batch", False), sending.pop("timeout", None)
        url, results = self.address(sending.pop("url", "")), list[Any]()
        if sending.pop("counted", False):
            client = self.context.ending.enter_context(self.context.broker.client())
            self.monitor = self.context.ending.enter_context(client.monitor())
        if sending.get("queue") == "default":
            sending["queue"] = self.context.broker.queue
        if sending.pop("signing", ""):
            self.note(self.app.AsyncResult(self._signed(name, given)), name, sending)
            return
        app = None if timeout or url else self.app
        watch, begun = Stopwatch(), time.process_time()
        self.called, self.clock = time.time(), WorkersClock()
        with self.context.attempt("send", Failure, OperationalError):
            if timeout:
                if url:
                    check_broker(url, timeout)
                where = url or self.context.broker.url
                publish(publisher(settings, where, timeout), f"worker.{name}", given, **sending)
            elif url:
                sender(settings(url, 2.0)).send_task(f"worker.{name}", given, **sending)
            elif batch:
                keep = not sending.get("ignore_result")
                results = send_many(self.app, f"worker.{name}", [given] * count, store_results=keep)
            else:
                results = [app.send_task(f"worker.{name}", given, **sending) for _ in range(count)]  # type: ignore[union-attr]
        self.costs[batch] = (time.process_time() - begun) / count
        passed = watch.seconds()
        self.context.record("send", self.exact(lambda: passed))
        if "send" not in self.context.errors and not timeout:
            for result in results:
                self.note(self.app.AsyncResult(result) if batch else result, name, sending)

    def all_done(self) -> bool:
        """Tell whether no task waits, and no task is noted as taken."""
        with self.context.broker.client() as client:
            return not client.exists(self.key, on_server("unacked"))

    @contextmanager
    def counting(self, number: int) -> Iterator[None]:
        """Record the requests that the broker reads for each of the tasks, until all are done."""
        with self.context.broker.client() as client:
            before, looks = client.info("stats")["total_reads_processed"], 0
            yield
            while client.exists(self.key, on_server("unacked")):
                looks += 1
                assert looks < MOST_LOOKS, f"{client.llen(self.key)} tasks still wait"
                time.sleep(0.01)
            asked = client.info("stats")["total_reads_processed"] - before - looks
        self.context.record("requests for each task", round(asked / number, 2))

    def _signed(self, name: str, given: Sequence[Any]) -> str:
        """Send a task with Celery's own command, as signing changes a whole process, and return its id."""
        # The command ignores the serializer of the settings.
        call = ["-A", "worker", "call", f"worker.{name}", "--args", json.dumps(given), "--serializer", "auth"]
        folder = str(self.context.request.getfixturevalue("signing_folder"))
        told = {"BROKER_URL": self.context.broker.url, "TASK_QUEUE": self.queue, "SIGNING_FOLDER": folder}
        with ForkingGroup() as group:
            log = group.folder / "said"
            code = group.start_python("celery", call, log, cwd=PROJECT / "src", env={**os.environ, **told}).wait(
                PATIENCE
            )
            said = log.read_text()
        assert code == 0, f"it ends with exit code {code}: {said}"
        return said.split()[-1]

    def exact(self, measure: Callable[[], float]) -> Seen:
        """Return what measures a time when it is judged, of which the seconds of a busy judge are no part."""
        clock = self.clock
        return lambda bound: clock.apart(measure(), bound) if bound else round(measure(), 3)

    def certain(self, seen: float, unit: str, more_than: float) -> Seen:
        """Return a number that says nothing of the deployment if the judge was busy for `more_than` seconds."""
        clock = self.clock
        return lambda bound: clock.certain(seen, bound, unit, more_than) if bound else seen

    @property
    def last(self) -> SentTask:
        """The task that was sent last (AssertionError if there is none)."""
        assert self.sent, "no task was sent"
        return self.sent[-1]

    def commands(self, key: str) -> Counter[str]:
        """Return how often each command came that names a key, since `monitor` began."""
        assert self.monitor, "no task was sent with the option 'count commands'"
        mark, seen = secrets.token_hex(8), Counter[str]()
        with self.context.broker.client() as client:
            client.echo(mark)
        while mark not in (command := self.monitor.next_command()["command"]):
            seen[command.split()[0].upper()] += key in command
        return seen

    def wait(self, within: float = PATIENCE) -> list[Any]:
        """Return the results of all tasks; wait `within` seconds for all together."""
        clock = WorkersClock()
        return [one.value(within, clock) for one in self.sent]

    def run_at(self) -> list[list[float]]:
        """Return when each task ran, in seconds since 1970."""
        return runs_of_each(self.client, [one.result for one in self.sent])


MOST_LOOKS = 6_000
"""Looks, each at least 10 ms after the last, after which tasks that are not done count as stuck."""

NO_RESULT = {"ignore_result": True}


# What an OPTION of a task and a SETTING of a worker mean


def is_yes(text: str) -> bool:
    """Read "yes" and "no"."""
    return {"yes": True, "no": False}[text]


def setting(name: str, meaning: str, read: Callable[[str], Any] = str, *, option: str = "", variable: str = "") -> None:
    """Register a name for an `option` of `Tasks.send`, and for a `variable` of a worker's environment."""

    def keep(plan: Plan, value: str) -> None:
        if plan.kind == "task":
            assert option, f"{name} is no option of a task"
            plan.config[option] = read(value)
        else:
            assert variable, f"{name} is no setting of a worker"
            plan.environment[variable] = str(read(value))

    register("setting", name, meaning)(keep)


setting("countdown", "the time after which a task is due", seconds, option="countdown")
setting("expires", "the time after which a task that no worker has begun is dropped", seconds, option="expires")
setting("soft time limit", "the time after which a task gets an exception", seconds, option="soft_time_limit")
setting("time limit", "the time after which the process of a task is ended", seconds, option="time_limit")
setting("priority", "the urgency of a task: 0 is the most urgent, 9 the least", int, option="priority")
setting("serializer", "how the arguments of a task are written", option="serializer")
setting("ignore result", "whether what a task returns is dropped", is_yes, option="ignore_result")
setting("batch", "whether tasks are sent in batches, a round trip each", is_yes, option="batch")
setting("count commands", "whether what the broker receives for the task is counted", is_yes, option="counted")
setting("timeout", "the time after which a sender gives up (`publisher`)", seconds, option="timeout")
setting("url", "the broker; BROKER and CLUSTER are addresses", option="url", variable="BROKER_URL")
setting("queue", 'the queue; "default" is that of the shared worker', option="queue", variable="TASK_QUEUE")
setting("signing", "whether tasks are signed, and a worker runs no others", option="signing", variable="SIGNING_FOLDER")


def read_settings(kind: str, table: Mapping[str, str]) -> Plan:
    """Return a plan with registered settings or options (KeyError if one is not registered)."""
    plan = Plan(kind)
    for name, value in table.items():
        find("setting", name)[0].functions[0](plan, value)
    return plan


# Targets

target("the task", "the task that was sent last")(lambda context: context.part(Tasks).last)
target("the result", "the result of the task that was sent last")(lambda context: context.part(Tasks).last)
target("the first task", "the task that was sent first")(lambda context: context.part(Tasks).sent[0])
target("each task", "every task that was sent")(lambda context: context.part(Tasks).sent)
target("the queue", "the queue that the tasks of the scenario go to")(lambda context: context.part(Tasks))


def queue_length(context: Context) -> int:
    """Return how many tasks wait in the scenario's queue."""
    with context.broker.client() as client:
        return queue_state(client, context.part(Tasks).key).length


# Sending


@when(parsers.parse('the task "{name}" is sent with {given:Arguments}', extra_types=TYPES))
@records("send", "the time until the broker had taken what was sent", unit="s")
def send_task(context: Context, name: str, given: list[Any], datatable: Table | None = None) -> None:
    """Send one task with its arguments, a list of JSON.

    The OPTIONs are those of Celery, and ``timeout``: the sender then gives up after that time.

    ``add`` is a task of `src/worker.py`; `fixtures/celery_worker/tasks.py` defines all other tasks. ``stamp [s]``
    takes s seconds and returns when it began, ``linger [s]`` takes them only in its first run. ``flaky [n, s]`` fails
    n times, and waits s seconds before its first retry. ``tidy [s, t]`` takes s seconds, or t more after its soft
    time limit. ``refuse [n]`` returns its message n times, with -1 it drops the message. ``crash`` kills its process,
    ``end_worker`` its worker. ``book`` pays in each run, ``pay`` once.

    Example: ``When the task "add" is sent with [4, 8]``
    """
    context.part(Tasks).send(name, given, **read_settings("task", options(datatable)).config)


@when(parsers.parse('{number:Count} tasks "{name}" are sent with {given:Arguments}', extra_types=TYPES))
@records("send", "the time until the broker had taken what was sent", unit="s")
@records("requests for each task", "requests that the broker read for each task until it was done", unit="requests")
@records("saving by the batch", "processor time of a task sent alone, divided by that in a batch", unit="times")
def send_tasks(context: Context, number: int, name: str, given: list[Any], datatable: Table | None = None) -> None:
    """Send the same task several times, one after another or in batches.

    Example: ``When 20 tasks "stamp" are sent with [0.03]``
    """
    tasks, chosen = context.part(Tasks), read_settings("task", options(datatable)).config
    with tasks.counting(number) if chosen.pop("counted", False) else nullcontext():
        tasks.send(name, given, number, **chosen)
    if len(tasks.costs) > 1:
        # Each half of the ratio counts the processor time of this thread's process, so a busy machine changes neither.
        context.record("saving by the batch", round(tasks.costs[False] / tasks.costs[True], 1))


@when("these tasks are sent")
def send_rows(context: Context, datatable: Table) -> None:
    """Send one task a row, in this order; further columns are options.

    Example: a table of TASK, ARGUMENTS and PRIORITY
    """
    for row in rows(datatable, ("TASK", "ARGUMENTS"), ("PRIORITY",)):
        sending = {name.lower(): value for name, value in row.items() if name not in ("TASK", "ARGUMENTS")}
        context.part(Tasks).send(row["TASK"], json.loads(row["ARGUMENTS"]), **read_settings("task", sending).config)


FAILING: dict[str, tuple[str, object, dict[str, float]]] = {
    "fails": ("fail", "member", {}),
    "is unknown": ("no_such_task", 1, {}),
    "drops its message": ("refuse", -1, {}),
    "has expired": ("echo", 1, {"expires": 0.001}),
}
"""Members that do not return: the end of the member, then its task, argument and options."""


@when(parsers.parse("a {kind:w} of {number:Tasks} is sent", extra_types=TYPES))
def send_workflow(context: Context, kind: str, number: int, datatable: Table | None = None) -> None:
    """Send a chain, group or chord of tasks "add".

    Member i of a group or chord adds i and i; the chord ends with the sum of all. Each member of a chain adds 1 to the
    previous result, beginning with 1. The OPTION ``failing member`` puts one of `FAILING` among a chord's.

    Example: ``When a chord of 50 tasks is sent``
    """
    tasks = context.part(Tasks)

    def call(name: str, *given: Any) -> Any:
        return tasks.app.signature(f"worker.{name}", args=given)

    members = [call("add", i, i) for i in range(number)]
    if way := options(datatable).get("failing member"):
        name, argument, limits = FAILING[way]
        members[number // 2] = call(name, argument).set(**limits)
    made = {
        "chain": lambda: chain(call("add", 1, 1), *(call("add", 1) for _ in range(number - 1))),
        "group": lambda: group(members, app=tasks.app),
        "chord": lambda: chord(members, call("total")),
    }[kind]()
    tasks.clock = WorkersClock()
    tasks.note(made.apply_async(), kind, {})


register("setting", "failing member", f"how one member of a chord fails: {', '.join(FAILING)}")(send_workflow)
