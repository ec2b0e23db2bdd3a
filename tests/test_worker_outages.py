"""Test that workers and senders carry their tasks through every outage of the broker, in any order of events.

The worker and the sender live through all events. Every task ends as SUCCESS within `PATIENCE` seconds after it is due.
A task that was in the worker's hands runs once.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from random import Random
from typing import Any

import psutil
import pytest
from celery.exceptions import TimeoutError as NoAnswerError
from hypothesis import strategies as st
from hypothesis.stateful import rule
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from fixtures.run.own_time import WorkersClock
from fixtures.run.processes import ForkingGroup
from fixtures.stacks.protocols import worker_environment
from fixtures.stateful import History, try_histories
from redis_practices.celery_worker.sending import sender
from redis_practices.servers.celery import Beat
from redis_practices.servers.server import BROKER, Config, start_server
from send_task import call
from tests.cases.bench import Bench, detached
from tests.cases.preparing import prepared
from tests.cases.proxies import TcpProxy
from worker import settings

PATIENCE = 15.0
"""Seconds after an outage in which the worker does the next task."""

FAILURES = (OperationalError, RedisError, RuntimeError, NoAnswerError)
"""The errors that a sender may raise once for each outage."""


class Shaken:
    """A broker with a replica behind one address, a worker and a sender that outlive every event."""

    def __init__(self, group: ForkingGroup, ending: ExitStack, **environment: str) -> None:
        """Start them; `environment` has settings of the worker."""
        self._bench = Bench(group, {"appendfsync": "always", "repl-diskless-sync-delay": 0})
        self._primary = self._bench.server
        follows: Config = {"replicaof": ["127.0.0.1", str(self._primary.port)], "repl-diskless-sync-delay": 0}
        self._replica = start_server(group, {**BROKER, **follows})
        self._in_sync()
        self._proxy = ending.enter_context(closing(TcpProxy(self._primary.port)))
        self.worker = self._bench.worker(self._proxy.url, WORKER_CONCURRENCY="2", **environment)
        self.app = sender(settings(self._proxy.url))
        self.events: list[str] = []

    def _in_sync(self) -> None:
        """Wait until the replica follows the primary, and has all that the primary has."""
        with self._replica.client() as client:
            prepared(lambda: client.info("replication")["master_link_status"] == "up", also=(RedisError,))
        with self._primary.client() as client:
            client.set("last", secrets.token_hex(4))
            prepared(lambda: client.wait(1, 1000) == 1)

    def send(self, task: str, *arguments: object, **options: Any) -> str:
        """Send a task; at most one attempt fails after an event."""
        name = secrets.token_hex(8)
        errors: list[Exception] = []
        for _ in range(2):
            try:
                detached(self.app.send_task(f"worker.{task}", arguments, task_id=name, retry=False, **options))
            except FAILURES as error:
                errors.append(error)
            else:
                return name
        raise AssertionError(f"the sender fails more than once after {self.events}: {errors!r}")

    def in_hands(self, task: str) -> None:
        """Wait until a task has begun, or the broker has noted it as taken."""
        with self._primary.client() as client:
            prepared(lambda: client.exists(f"runs:{task}") or task in str(client.hgetall("unacked")))

    def kill(self, seconds: float) -> None:
        """Kill the server, and start it again."""
        self.events.append(f"kill {seconds:g}")
        self._in_sync()
        self._primary.kill()
        time.sleep(seconds)
        self._primary.restart()
        with self._primary.client() as client:
            client.replicaof("NO", "ONE")  # the replica of the beginning has that in its configuration

    def hang(self, seconds: float) -> None:
        """Pause the server."""
        self.events.append(f"hang {seconds:g}")
        self._primary.pause()
        time.sleep(seconds)
        self._primary.resume()

    def drop(self, seconds: float) -> None:
        """Close every connection."""
        self.events.append(f"drop {seconds:g}")
        with self._primary.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        time.sleep(seconds)

    def forget(self, seconds: float) -> None:
        """Forget every connection without a word."""
        self.events.append(f"forget {seconds:g}")
        self._proxy.forget()
        time.sleep(seconds)

    def refuse_writes(self, seconds: float) -> None:
        """Make the server a replica of none that answers, then a primary again: READONLY."""
        self.events.append(f"refuse_writes {seconds:g}")
        with self._primary.client() as client:
            client.replicaof("127.0.0.1", "1")
            time.sleep(seconds)
            client.replicaof("NO", "ONE")

    def swap(self, seconds: float) -> None:
        """Fail over: the old primary is demoted with its connections open, and the address leads to the new one."""
        self.events.append(f"swap {seconds:g}")
        self._in_sync()
        with self._primary.client() as client:
            client.execute_command("FAILOVER", "TO", "127.0.0.1", str(self._replica.port), "TIMEOUT", "5000")
            prepared(lambda: client.info("replication")["role"] == "slave")
        self._lead(seconds)

    def demote(self, seconds: float) -> None:
        """Fail over as an operator does it by hand (``REPLICAOF``)."""
        self.events.append(f"demote {seconds:g}")
        self._in_sync()
        with self._primary.client() as old, self._replica.client() as new:
            new.replicaof("NO", "ONE")
            old.replicaof("127.0.0.1", str(self._replica.port))
        self._lead(seconds)

    def _lead(self, seconds: float) -> None:
        """Let the address lead to the new primary after `seconds`."""
        time.sleep(seconds)
        self._primary, self._replica = self._replica, self._primary
        self._proxy.target = self._primary.port

    def require(self, tasks: dict[str, set[int]], due: float = 0.0) -> None:
        """Require that the worker lives, and that tasks have ended as SUCCESS with that number of runs."""
        assert self.worker.runs, self.worker.log_tail(20)
        self._bench.client = self._primary.client()

        def ended() -> None:
            states = {task: self._bench.state(task) for task in tasks}
            failed = [self._bench.client.get(f"celery-task-meta-{task}") for task in tasks if states[task] == "FAILURE"]
            assert set(states.values()) <= {"SUCCESS"}, f"after {self.events}: {states}, {failed}"

        try:
            WorkersClock().eventually(ended, within=due + PATIENCE)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.worker.log_tail(400)}") from None
        # A run notes its moment, and may do it twice when the answer is lost.
        runs = {task: len(set(self._bench.client.lrange(f"runs:{task}", 0, -1))) for task in tasks}
        wrong = {task: (runs[task], allowed) for task, allowed in tasks.items() if runs[task] not in allowed}
        assert not wrong, f"runs, allowed: {wrong}\n{self.worker.log_tail(400)}"

    def works(self) -> None:
        """Require that the sender gets a result, after at most one error."""
        with suppress(*FAILURES):
            call(self.app, "worker.add", 4, 8, timeout=PATIENCE)
            return
        assert call(self.app, "worker.add", 4, 8, timeout=PATIENCE) == 12


@pytest.fixture
def shaken() -> Iterator[Callable[..., Shaken]]:
    """Give a function that starts a broker, a worker and a sender."""
    with ForkingGroup("redis-practices-outages") as group, ExitStack() as ending:
        yield lambda **environment: Shaken(group, ending, **environment)


EVENTS: dict[str, tuple[Callable[[Shaken, float], None], float]] = {
    "dropped": (Shaken.drop, 0.0),
    "killed for 1 s": (Shaken.kill, 1.0),
    "killed for 3 s": (Shaken.kill, 3.0),
    "killed for 8 s": (Shaken.kill, 8.0),
    "killed for 20 s": (Shaken.kill, 20.0),
    "hung for 8 s": (Shaken.hang, 8.0),
    "forgotten": (Shaken.forget, 0.0),
    "read-only for 3 s": (Shaken.refuse_writes, 3.0),
    "failed over": (Shaken.swap, 0.0),
    "demoted": (Shaken.demote, 0.0),
    "demoted, the address 3 s late": (Shaken.demote, 3.0),
}
"""What can happen to a broker: an event, and for how many seconds."""

RETRIED = {2, 3}
"""Runs of a task that is retried once: the retry is sent again if the answer is lost, and then runs twice."""

BATCH = "redis_practices.celery_worker.batch_transport:Transport"

POOLS = {"prefork": {}, "threads": {"WORKER_POOL": "threads"}, "batch transport": {"BROKER_TRANSPORT": BATCH}}


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("event", EVENTS)
def test_everything_in_hand(shaken: Callable[..., Shaken], event: str, pool: str) -> None:
    """A running, a waiting, a due and a retried task run once through an outage, and the sender sends again."""
    broker = shaken(**POOLS[pool])
    tasks = {
        broker.send("stamp", 2.0): {1},
        broker.send("flaky", 1, 3.0): RETRIED,
        broker.send("stamp", countdown=3.0): {1},
        broker.send("stamp", countdown=12.0): {1},
    }
    for task in tasks:
        broker.in_hands(task)
    happens, seconds = EVENTS[event]
    happens(broker, seconds)
    tasks[broker.send("stamp")] = {1, 2}
    broker.require(tasks, due=12.0)
    broker.works()


def test_task_that_a_process_has_not_confirmed(shaken: Callable[..., Shaken]) -> None:
    """A task runs once if the connection is lost before the process of the pool has said that it runs the task."""
    broker = shaken()
    broker.works()
    processes = psutil.Process(broker.worker.pid).children()
    for process in processes:
        process.suspend()
    task = broker.send("stamp")
    broker.in_hands(task)
    broker.drop(0.5)
    for process in processes:
        process.resume()
    broker.require({task: {1}})


@pytest.mark.slow
def test_beat_sends_what_was_due_meanwhile() -> None:
    """A beat sends a task that was due while the broker was away once it is back."""
    with ForkingGroup("redis-practices-outages") as group:
        bench = Bench(group, {"appendfsync": "always"})
        asked = worker_environment({"BROKER_URL": bench.url, "BEAT_EVERY": "8"})
        beat = Beat(group, "beat", asked)
        begun = time.monotonic()
        prepared(beat.starts)
        time.sleep(max(0.0, begun + 6 - time.monotonic()))
        bench.server.kill()
        time.sleep(6)  # the task is due after 8 s
        bench.server.restart()
        bench.client = bench.server.client()
        WorkersClock().eventually(lambda: bench.client.llen("celery") == 1, within=3)


TASKS: list[tuple[str, list[float], float, set[int]]] = [
    ("stamp", [], 0.0, {1}),
    ("stamp", [1.0], 0.0, {1}),
    ("stamp", [], 1.0, {1}),
    ("flaky", [1, 0.5], 0.0, RETRIED),
]
"""Tasks with arguments, the countdown in seconds, and how often each may run."""


class OutageMachine(History):
    """One history of events; the worker and the sender are those of earlier ones."""

    def __init__(self, broker: Shaken, failures: list[BaseException]) -> None:
        """Begin without a task."""
        super().__init__(failures)
        self.broker = broker
        self.tasks: dict[str, set[int]] = {}

    @rule(event=st.randoms(use_true_random=False))
    def something_happens(self, event: Random) -> None:
        """Send a task, and let an event happen while it is on its way, runs, or waits."""
        broker = self.broker
        task, arguments, countdown, runs = event.choice(TASKS)
        name = broker.send(task, *arguments, countdown=countdown)
        self.tasks[name] = runs
        # What the broker gives away at the moment of its end is lost with the connection; see known limits.
        broker.in_hands(name)
        happens = event.choice(
            [Shaken.drop, Shaken.kill, Shaken.hang, Shaken.refuse_writes, Shaken.swap, Shaken.demote]
        )
        happens(broker, event.choice([0.0, 0.3, 1.0]))

    def compare(self) -> None:
        """Require that all tasks end, with no run too many."""
        self.broker.require(self.tasks)
        self.broker.works()


def test_a_history_of_outages(shaken: Callable[..., Shaken]) -> None:
    """Worker and sender live through two events."""
    try_histories(lambda failures: OutageMachine(shaken(), failures), number=1, steps=2)


@pytest.mark.slow
def test_histories_of_outages(shaken: Callable[..., Shaken]) -> None:
    """Worker and sender live through histories of events."""
    broker = shaken()
    try_histories(lambda failures: OutageMachine(broker, failures), number=8, steps=6)
