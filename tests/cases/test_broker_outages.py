"""Test brokers that fail over, pause, stop for seconds, or are behind a faulty proxy."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
from celery.exceptions import TimeoutError as NoAnswer
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from fixtures import PROJECT
from fixtures.proxies.streams import Mutation, RespProxy
from fixtures.run.processes import ForkingGroup
from redis_practices.celery_worker.sending import publish, publisher, sender
from redis_practices.cli import Failure
from redis_practices.polling import eventually
from redis_practices.servers.celery import WorkerProcess
from redis_practices.servers.server import BROKER, Config, EmbeddedError, start_server
from send_task import call
from tests.cases.bench import Bench
from tests.cases.preparing import prepared
from tests.cases.proxies import OldProtocol, TcpProxy
from worker import settings

FAILURES = (OperationalError, RedisError, RuntimeError, NoAnswer, Failure)
"""The errors that a sender may raise during a failover."""


class Managed:
    """A broker with a replica behind one address, like a managed service."""

    def __init__(self, bench: Bench, group: ForkingGroup, carried: Callable[..., TcpProxy]) -> None:
        self.primary = bench.server
        with self.primary.client() as client:
            client.config_set("repl-diskless-sync-delay", 0)
        follows: Config = {"repl-diskless-sync-delay": 0, "replicaof": ["127.0.0.1", str(self.primary.port)]}
        self.replica = start_server(group, {**BROKER, **follows})
        with self.replica.client() as client:
            prepared(lambda: client.info("replication")["master_link_status"] == "up")
        self._proxy = carried(self.primary.port)
        self.url = self._proxy.url

    def fail_over(self) -> None:
        """Swap the roles by a planned failover: the address leads to the new primary, old connections stay open."""
        with self.replica.client() as client:
            client.replicaof("NO", "ONE")
        self._proxy.target = self.replica.port
        with self.primary.client() as client:
            client.replicaof("127.0.0.1", str(self.replica.port))


@pytest.fixture
def managed(bench: Bench, group: ForkingGroup, carried: Callable[..., TcpProxy]) -> Managed:
    """Give a broker with a planned failover."""
    return Managed(bench, group, carried)


def works(url: str) -> bool:
    """Tell whether a new sender gets a result."""
    return call(sender(settings(url)), "worker.add", 4, 8, timeout=4) == 12


def goes_on(worker: WorkerProcess, url: str) -> None:
    """Require that the same worker process serves a new sender within 15 s."""
    eventually(lambda: not worker.runs or works(url), within=15, also=FAILURES)
    assert worker.runs, worker.log_tail(3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [{}, {"BROKER_TRANSPORT": "redis_practices.celery_worker.batch_transport:Transport", "WORKER_POOL": "solo"}],
    ids=["usual transport", "batch transport"],
)
def test_idle_worker_after_a_planned_failover(bench: Bench, managed: Managed, settings: dict[str, str]) -> None:
    """An idle worker process takes tasks within 15 s of a planned failover."""
    worker = bench.worker(managed.url, **settings)
    prepared(lambda: works(managed.url))
    managed.fail_over()
    goes_on(worker, managed.url)


@pytest.mark.slow
def test_busy_worker_after_a_planned_failover(bench: Bench, managed: Managed) -> None:
    """A busy worker process ends its task and takes new ones within 15 s of a planned failover."""
    worker = bench.worker(managed.url)
    task = bench.send("linger", [4])
    bench.await_run(task)
    with managed.replica.client() as client:
        prepared(lambda: client.llen(f"runs:{task}") == 1)
    managed.fail_over()
    goes_on(worker, managed.url)
    bench.client = managed.replica.client()
    assert bench.ended(task, within=15) == "SUCCESS"


def outcomes(send: Callable[[], object], times: int) -> list[str]:
    """Return the outcomes of sending a task several times."""
    found = []
    for _ in range(times):
        try:
            send()
            found.append("sent")
        except FAILURES as error:
            found.append(str(error))
    return found


def test_publisher_after_a_planned_failover(managed: Managed) -> None:
    """A long-lived publisher sends again after at most one error."""
    app = publisher(settings, managed.url, 3)
    publish(app, "worker.add", (1, 2))
    managed.fail_over()
    assert outcomes(lambda: publish(app, "worker.add", (1, 2)), 4)[1:] == ["sent"] * 3


def test_sender_after_a_planned_failover(managed: Managed) -> None:
    """A long-lived sender without results sends again after at most one error."""
    app = sender(settings(managed.url))
    app.send_task("worker.add", (1, 2))
    managed.fail_over()
    assert outcomes(lambda: app.send_task("worker.add", (1, 2), retry=False), 4)[1:] == ["sent"] * 3


@pytest.mark.slow
def test_caller_after_a_planned_failover(bench: Bench, managed: Managed) -> None:
    """A long-lived sender that waits for results gets them again after at most one error."""
    first = bench.worker(managed.url)
    app = sender(settings(managed.url))
    assert call(app, "worker.add", 4, 8) == 12
    first.stop()
    managed.fail_over()
    bench.worker(managed.url)
    assert outcomes(lambda: call(app, "worker.add", 4, 8), 4)[1:] == ["sent"] * 3


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_task_that_ends_while_the_broker_hangs(bench: Bench, pool: str) -> None:
    """A task that ends while the broker is paused for seconds is SUCCESS."""
    bench.worker(WORKER_POOL=pool, SOCKET_TIMEOUT="1")
    task = bench.send("stamp", [1])
    bench.await_run(task)
    bench.server.pause()
    time.sleep(5)  # the task ends after 1 s, and each wait for an answer lasts 1 s
    bench.server.resume()
    assert bench.ended(task, within=10) == "SUCCESS"


@pytest.mark.slow
def test_task_that_ends_while_the_broker_is_away(new_bench: Callable[..., Bench]) -> None:
    """A task that ends while the broker is stopped for seconds is SUCCESS."""
    bench = new_bench({"appendfsync": "always"})
    bench.worker(SOCKET_TIMEOUT="1")
    task = bench.send("stamp", [1])
    bench.await_run(task)
    bench.server.kill()
    time.sleep(5)  # the task ends after 1 s, and the worker tries for 1 s to write its result
    bench.server.restart()
    bench.client = bench.server.client()
    assert bench.ended(task, within=20) == "SUCCESS"


@pytest.mark.slow
def test_worker_of_a_broker_without_hello(bench: Bench, mutated: Callable[[int, Mutation], RespProxy]) -> None:
    """A worker and a sender use a broker without HELLO, if the URL has protocol=2."""
    url = f"{mutated(bench.server.port, OldProtocol()).url}?protocol=2"
    try:
        bench.worker(url)
    except EmbeddedError as error:
        raise AssertionError(error) from error
    assert works(url)


def test_worker_says_that_the_broker_lacks_hello(
    bench: Bench, group: ForkingGroup, mutated: Callable[[int, Mutation], RespProxy]
) -> None:
    """A worker logs that its broker does not know HELLO."""
    worker = WorkerProcess(group, mutated(bench.server.port, OldProtocol()).url, "worker", {})
    eventually(lambda: "unknown command 'HELLO'" in worker.log_tail(), within=10)


@pytest.mark.slow
@pytest.mark.parametrize("silently", [False, True], ids=["closed", "forgotten"])
def test_worker_behind_a_balancer_that_cuts_idle_connections(
    bench: Bench, carried: Callable[..., TcpProxy], *, silently: bool
) -> None:
    """A task longer than the idle timeout of a load balancer runs once, and its worker answers afterwards."""
    proxy = carried(bench.server.port, idle=3, silently=silently)
    worker = bench.worker(proxy.url)
    task = bench.send("stamp", [12])
    bench.await_run(task)
    assert (bench.ended(task, within=30), bench.runs(task)) == ("SUCCESS", 1)
    assert bench.sender().control.ping([worker.name], timeout=5)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        pytest.param({"maxmemory": 1}, "command not allowed when used memory", marks=pytest.mark.slow),
        pytest.param(
            {"replicaof": ["127.0.0.1", "1"]}, "can't write against a read only replica", marks=pytest.mark.slow
        ),
        ({"requirepass": "other"}, "refuses the user or password"),
    ],
)
def test_send_task_to_a_broker_that_refuses(group: ForkingGroup, config: Config, reason: str) -> None:
    """``send_task.py`` exits with 1 and the reason in one line, without the password."""
    url = start_server(group, {**BROKER, **config}).url.replace(":other@", ":guessed@")
    log, environment = group.folder / "said", {**os.environ, "BROKER_URL": url}
    child = group.start_python("send_task", ["--timeout", "2"], log, cwd=PROJECT / "src", env=environment)
    code, said = child.wait(30.0), log.read_text().strip()
    assert code == 1, said
    assert reason in said
    assert "\n" not in said
    assert "guessed" not in said
