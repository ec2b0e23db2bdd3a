"""Test that delays of the judge and traffic of other clients never count against the deployment."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from redis import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from fixtures.celery_worker.workers import Beats
from fixtures.context import Context
from fixtures.proxies.streams import TlsProxy
from fixtures.pure_cache.origin import Origin, tasks_at_once
from fixtures.redis_cluster.nodes import is_copied
from fixtures.reporting.measurements import Bound
from fixtures.run.keys import StackError
from fixtures.run.own_time import (
    PRESSURE,
    SCHEDULE,
    Moment,
    Sampler,
    Stopwatch,
    WorkersClock,
    busy_share,
    first_certain,
    moment_of,
    schedule_here,
)
from fixtures.run.practices_file import AuditBounds
from fixtures.run.processes import ForkingGroup
from fixtures.stacks.external.rate_limit import RateLimit
from fixtures.stacks.external.stack import ExternalStack
from redis_practices.polling import eventually
from redis_practices.pure_cache.key_audit import KeyRules, bad_keys, sample, shown
from redis_practices.pure_cache.near_cache import NearCache
from redis_practices.servers.celery import LateError
from redis_practices.servers.server import BROKER, CACHE, Server, start_server
from steps.celery_worker.broker import waiting_tasks
from steps.celery_worker.results import check_runs, processed_tasks, read_result
from steps.celery_worker.tasks import Tasks
from steps.celery_worker.workers import await_sent
from steps.common.audit import Audited, check_number, count_missed_pings
from steps.pure_cache.fronts import ENOUGH, Near
from tests.cases.judging import judge as judged

needs_schedule = pytest.mark.skipif(not SCHEDULE.exists(), reason="the kernel does not count waits for a processor")


@contextmanager
def busy_processors() -> Iterator[None]:
    """Keep every processor busy with two programs during a block."""
    with ExitStack() as ending:
        for _ in range(4):
            hog = ending.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            ending.callback(hog.kill)
        yield


class Seen:
    """Records measurements as a scenario does."""

    def __init__(self) -> None:
        self.bounds: dict[str, Bound | None] = {}
        self.values: dict[str, Any] = {}

    def __call__(self, name: str, *, unit: str, seen: Any, bound: Bound | None = None, change: str = "") -> None:
        """Record a measurement, and fail as `Measure` does."""
        del unit
        self.bounds[name], self.values[name] = bound, seen
        assert not bound or bound.allows(seen), f"{name}: {seen}{change}"


@pytest.mark.slow
@needs_schedule
def test_stopwatch_leaves_out_a_busy_processor() -> None:
    """A stopwatch in a computing thread on a busy machine shows nearly nothing, while the clock shows seconds."""
    with busy_processors():
        begun, watch, enough = time.monotonic(), Stopwatch(), time.thread_time() + 0.5
        while time.thread_time() < enough:
            pass
        passed, seen = time.monotonic() - begun, watch.seconds()
    assert passed > 0.6, "the processors were not busy"
    assert seen < passed / 4


def test_stopwatch_counts_what_the_server_takes(cache_server: Server) -> None:
    """A wait for the server counts as the deployment's."""
    with cache_server.client() as client:
        watch = Stopwatch()
        client.brpop(["nothing"], timeout=0.3)
    assert watch.seconds() > 0.25


def test_stopwatch_leaves_out_turns(tmp_path: Path) -> None:
    """Waits for --max-ops count as the judge's."""
    limit, begun, watch = RateLimit(f"100:{tmp_path / 'turns'}"), time.monotonic(), Stopwatch()
    for _ in range(40):
        limit.wait()
    passed, seen = time.monotonic() - begun, watch.seconds()
    assert passed > 0.3
    assert seen < 0.1


BETWEEN = Bound.between(0.99, 1.5, "s")
UNTIL = Bound.at_most(1, "s")


def test_sampled_answers(cache_server: Server) -> None:
    """A judge that holds Python's lock makes no answer late; a paused server does."""
    with cache_server.client() as client:
        sampler = Sampler({"it": client.connection_pool.get_connection()}, ("GET", "none"))
        sum(range(30_000_000))  # one call in C, which lets no other thread run
        time.sleep(0.1)
        seen = sampler.stop()["it"].seconds
        assert len(seen) > 2
        assert max(seen) < 0.1
        sampler = Sampler({"it": client.connection_pool.get_connection()}, ("GET", "none"))
        cache_server.pause()
        time.sleep(0.5)
        cache_server.resume()
        assert max(sampler.stop()["it"].seconds) > 0.3


@needs_schedule
def test_server_on_the_processor_of_its_judge(group: ForkingGroup, cache_server: Server) -> None:
    """A server that waits for a processor of its judge is not late, also in a container; one of another machine is."""
    processor = {min(os.sched_getaffinity(0))}
    for _ in range(8):
        busy = group.start([sys.executable, "-c", "while True: pass"], Path(os.devnull), cwd=group.folder)
        os.sched_setaffinity(busy.pid, processor)
    with cache_server.client() as client:
        told = client.info("server")
        os.sched_setaffinity(told["process_id"], processor)
        os.setpriority(os.PRIO_PROCESS, told["process_id"], 19)
        schedule = schedule_here(told)
        assert schedule
        assert schedule_here({**told, "tcp_port": 1}) is None
        connections = {name: client.connection_pool.make_connection() for name in ("here", "hidden", "elsewhere")}
        for connection in connections.values():
            connection.connect()
        sampler = Sampler(connections, ("GET", "none"), schedules={"here": schedule}, hidden={"hidden"})
        time.sleep(3)
        seen = sampler.stop()
    # The last answer may be missing at the end, so Linux has not yet counted the wait for it.
    assert max(seen["elsewhere"].seconds[:-1]) > 0.1
    assert max(seen["here"].seconds[:-1]) < 0.05
    assert max(seen["hidden"].seconds) < 0.05


@pytest.mark.parametrize(
    ("bound", "moment", "seen"),
    [(BETWEEN, (1.0, 1.02), 1.02), (BETWEEN, (1.9, 2.0), 1.9), (BETWEEN, (0.5, 0.6), 0.6), (UNTIL, (0.0, 0.2), 0.2)],
)
def test_moment_that_is_certain(bound: Bound, moment: tuple[float, float], seen: float) -> None:
    """A moment on one side of a bound is judged."""
    assert Moment(*moment).within(bound) == seen


@pytest.mark.parametrize(("bound", "moment"), [(BETWEEN, (1.2, 2.0)), (BETWEEN, (0.4, 1.2)), (UNTIL, (0.9, 1.1))])
def test_moment_that_is_not(bound: Bound, moment: tuple[float, float]) -> None:
    """A moment with ends on both sides of a bound gives no verdict."""
    with pytest.raises(StackError, match="own processor is too busy"):
        Moment(*moment).within(bound)


def test_measurement_that_proves_nothing_is_made_anew() -> None:
    """A measurement without verdict is repeated, the first verdict is final, and three without end in an error."""
    moments = iter([Moment(1.2, 2.0), Moment(1.9, 2.0), Moment(1.0, 1.01)])
    assert first_certain(lambda: next(moments), BETWEEN) == 1.9
    with pytest.raises(StackError, match="too busy"):
        first_certain(lambda: Moment(1.2, 2.0), BETWEEN)


def test_judge_that_is_held_up(cache_server: Server) -> None:
    """A judge that sleeps while a key expires does not report a late expiry."""
    with cache_server.client() as client:
        client.set("key", "x", px=300)
        looks = iter((0.0, 1.2))

        def gone() -> bool:
            time.sleep(next(looks))
            return client.get("key") is None

        moment = moment_of(gone, 5)
    assert moment.least < 0.3
    assert moment.most > 1.2


needs_pressure = pytest.mark.skipif(not PRESSURE.exists(), reason="the kernel does not count busy processors")
SECOND = Bound.at_most(1, "s")


@needs_pressure
def test_wait_of_a_busy_judge() -> None:
    """A busy judge waits longer for a late event, and then gives no verdict on the bound."""
    with busy_processors():
        clock, begun = WorkersClock(), time.monotonic()
        clock.eventually(lambda: time.monotonic() > begun + 1.3, within=1.0)
        with pytest.raises(StackError, match="processor was busy"):
            clock.within(SECOND)


def test_what_never_comes_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy judge waits longer, but not forever, and then fails."""
    monkeypatch.setattr("fixtures.run.own_time.MOST_BUSY", 0.3)
    with busy_processors(), pytest.raises(AssertionError, match="it was False"):
        WorkersClock().eventually(lambda: False, within=0.3)


class Work:
    """A scenario on a busy judge: a task ran three times, 2.1 s apart, and two tasks are in the queue."""

    def __init__(self, server: Server, ending: ExitStack) -> None:
        broker = SimpleNamespace(client=server.client, url=server.url, node=server, queue="celery")
        stack = cast("Any", SimpleNamespace(broker=lambda: broker))
        self.context = Context(cast("Any", None), stack, "", ending, cast("Any", Seen()), cast("Any", None))
        self.tasks = self.context.part(Tasks)
        self.tasks.redelivery, self.tasks.called = 1.0, time.time()
        for name in ["busy"] * 9 + ["idle"] * 2:
            self.tasks.note(None, "stamp", {"ignore_result": True})
            self.tasks.last.values.append({"worker": name})
        self.tasks.note(self.tasks.app.AsyncResult("1"), "stamp", {})
        begun = self.tasks.called + 3.2
        self.tasks.app.backend.store_result("1", {"begun": begun, "worker": "busy"}, "SUCCESS")
        with server.client() as client:
            client.rpush("runs:1", begun, begun + 1.2, begun + 3.3)
            client.rpush("celery", "task", "task")

    def checks(self, clock: WorkersClock) -> dict[str, Callable[[], None]]:
        """Return checks that fail unless the judge was busy since `clock` began."""
        self.tasks.clock, idle = clock, SimpleNamespace(name="idle")
        beat = SimpleNamespace(sleeps_after_sending=lambda: True, begun=0.0)
        beats = SimpleNamespace(clock=clock, sent=lambda _: [10.0, 11.3], running=[beat])
        self.context.parts[Beats] = beats
        read_result(self.context)
        await_sent(self.context, 2)
        self.context.record("processed tasks", processed_tasks(self.context, idle))
        self.context.record("waiting tasks", waiting_tasks(self.context, idle))
        self.context.record("pings answered", self.tasks.certain(0, "answers", more_than=1.0))
        judge = partial(partial, self.context.judge)
        return {
            "runs": lambda: check_runs(self.context, "the task", Bound.exactly(2)),
            "retries": judge("wait before retry 2", Bound.between(1, 1.9, "s")),
            "delay": judge("delay of the task", Bound.between(0.95, 3, "s")),
            "queue": judge("waiting tasks", Bound.exactly(3)),
            "beat": judge("interval of the tasks", Bound.at_least(2, "s")),
            "shares": judge("processed tasks", Bound.at_least(3)),
            "answers": judge("pings answered", Bound.between(1, 19)),
        }


@needs_pressure
def test_work_of_a_busy_judge(group: ForkingGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Late, repeated or uneven work of a busy judge gives no verdict on the broker; else it fails."""
    monkeypatch.setattr("fixtures.run.own_time.MOST_BUSY", 0.3)
    monkeypatch.delenv("KEY_PREFIX", raising=False)
    with ExitStack() as ending:
        work = Work(start_server(group, BROKER), ending)
        with busy_processors():
            clock = WorkersClock()
            time.sleep(1.5)
        for name in work.checks(clock):
            with pytest.raises(StackError, match="processor was busy"):
                work.checks(clock)[name]()
            with pytest.raises(AssertionError):
                work.checks(WorkersClock())[name]()


@needs_pressure
@pytest.mark.parametrize("error", [LateError("not ready after 30 s"), RedisTimeoutError("Timeout connecting")])
def test_what_is_late_for_a_busy_judge(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """A late connection or worker on a busy judge gives no verdict on the deployment."""
    stack = ExternalStack({})
    monkeypatch.setattr("fixtures.stacks.external.stack.BUSY", 100.0)
    with pytest.raises(pytest.fail.Exception if isinstance(error, LateError) else RedisTimeoutError):
        raise error if stack.explain(error) is None else StackError
    monkeypatch.setattr("fixtures.stacks.external.stack.BUSY", 5.0)
    with busy_processors():
        eventually(lambda: busy_share() > 5.0, within=10.0)
        with pytest.raises(StackError, match="processor was busy"):
            stack.explain(error)


@pytest.fixture
def behind_tls(group: ForkingGroup) -> Iterator[Callable[[Server], str]]:
    """Give a function that starts a TLS proxy before a server and returns its URL."""
    with closing(TlsProxy(group.folder)) as proxy:
        yield lambda server: f"rediss://{proxy.before(server.port)}/0?ssl_ca_certs={group.folder / 'ca.pem'}"


@pytest.mark.slow
def test_readers_behind_tls(cache_server: Server, behind_tls: Callable[[Server], str]) -> None:
    """100 readers over TLS lead to one call of the origin, even on a busy machine."""
    origin = Origin(0.1)
    origin.values["user:1"] = "qiross"
    with busy_processors():
        got = tasks_at_once(behind_tls(cache_server), 100, origin, "user:1", "user:1")
    assert set(got) == {"qiross"}
    assert origin.calls == 1


@needs_schedule
def test_sending_behind_tls(group: ForkingGroup, behind_tls: Callable[[Server], str]) -> None:
    """TLS handshakes do not count as sending time."""
    server = start_server(group, BROKER)
    url = behind_tls(server) + "&ssl_cert_reqs=required"
    broker = SimpleNamespace(client=server.client, url=url, node=server, queue="celery")
    with ExitStack() as ending:
        stack = cast("Any", SimpleNamespace(broker=lambda: broker))
        context = Context(cast("Any", None), stack, "", ending, cast("Any", Seen()), cast("Any", None))
        begun = time.monotonic()
        context.part(Tasks).send("add", [1, 2])
        passed = time.monotonic() - begun
        context.judge("send", Bound.at_most(passed / 4, "s"))


@contextmanager
def hammered(server: Server) -> Iterator[None]:
    """Let another client read without a pause."""
    ended = threading.Event()

    def read() -> None:
        with server.client() as client:
            while not ended.is_set():
                client.get("of another application")

    other = threading.Thread(target=read)
    other.start()
    yield
    ended.set()
    other.join()


def test_near_cache_of_a_server_that_others_use(cache_server: Server) -> None:
    """A near cache test ignores reads of other clients, and counts reads that reach the server."""
    client, other = cache_server.client(protocol=3), cache_server.client()
    with NearCache(client, "practices:", heartbeat=2) as cache:
        near = Near(cache, client, other, "practices:")
        eventually(lambda: cache.listening, within=10)
        near.hold("user:1", "qiross")
        with hammered(cache_server):
            asked = near.asked("user:1", 1000)
        assert asked == 0
        assert near.asked("user:2", 1000) == ENOUGH


NAMES = (b"\x80\x04\x95user", b":1:user_42", b"flask_cache_view//\x1b[31m", "user:\u202egnp".encode())
"""Names from pickle, from Django, with an escape sequence, and with right-to-left text."""


def test_names_are_bytes(cache_server: Server) -> None:
    """The key audit reads names of all programs, and prints them without control characters."""
    with cache_server.client() as client:
        for name in NAMES:
            client.set(name, "x")
        keys = list(sample(cast("Redis", client)))
    assert {key.name for key in keys} == set(NAMES)
    [told] = bad_keys(keys, KeyRules(pattern=".*")).values()
    assert told[3:] == ["and 1 more"]
    assert {shown(name) for name in NAMES} == {
        r"\x80\x04\x95user",
        ":1:user_42",
        r"flask_cache_view//\x1b[31m",
        r"user:\u202egnp",
    }


def audited(*servers: Server) -> Context:
    """Return the context of a scenario that audits servers."""
    audit = Audited(servers, AuditBounds({}), {})
    return cast("Context", SimpleNamespace(part=lambda _: audit, measure=Seen(), stack=ExternalStack({})))


def test_silence_follows_the_pings(group: ForkingGroup) -> None:
    """A replica may be silent for as long as ``repl-ping-replica-period`` allows."""
    server = start_server(group, {**CACHE, "repl-ping-replica-period": 30, "repl-diskless-sync-delay": 0})
    replica = start_server(group, {**CACHE, "replicaof": ["127.0.0.1", str(server.port)]})
    with replica.client() as client:
        eventually(lambda: client.info("replication")["master_link_status"] == "up", within=10)
    context = audited(server, replica)
    assert count_missed_pings(context, None) == {replica.address: 0.0}
    context.part(Audited).told("field")[replica.address]["master_last_io_seconds_ago"] = 61
    assert count_missed_pings(context, None) == {replica.address: 2.0}


def test_copy_that_comes_later_than_a_client_waits(group: ForkingGroup) -> None:
    """A copy may take longer than the timeout in the URL, and a paused replica is noticed."""
    server = start_server(group, {**CACHE, "repl-diskless-sync-delay": 0})
    replica = start_server(group, {**CACHE, "replicaof": server.address.split(":")})
    with replica.client() as client:
        eventually(lambda: client.info("replication")["master_link_status"] == "up", within=10)
    with server.client(socket_timeout=0.4) as client:
        replica.pause()
        client.set("key", "x")
        assert not is_copied(client, 1, within=0.3)
        later = threading.Timer(0.8, replica.resume)
        later.start()
        assert is_copied(client, 1)
        later.join()


def test_refusal_names_its_bound(group: ForkingGroup) -> None:
    """A refusal names the line of practices.toml that changes the bound."""
    server = start_server(group, {**CACHE, "maxclients": 50})
    with pytest.raises(AssertionError, match=r"practices.toml changes this bound: \[bounds\] maxclients"):
        check_number(audited(server), "setting", "maxclients", Bound.at_least(1000))


@pytest.mark.slow
@pytest.mark.parametrize("options", ["", "--max-ops 500"])
def test_busy_judge_accepts(
    group: ForkingGroup, cache_server: Server, behind_tls: Callable[[Server], str], options: str
) -> None:
    """A busy judge accepts a healthy cache behind TLS that is full of foreign keys."""
    with cache_server.client() as client:
        for name in NAMES:
            client.set(name, "x", ex=1000)
    with busy_processors():
        judgement = judged(group, "cache", behind_tls(cache_server), f"--quick {options}")
    assert (judgement.failed, judgement.verdict) == ({}, "accepted")
