"""Test leftovers on a broker, and the behaviour of a full one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial

import pytest
from celery import chord
from kombu.exceptions import OperationalError

from fixtures import PROJECT
from fixtures.run.processes import ForkingGroup
from redis_practices.celery_worker.transport import FORGOTTEN
from redis_practices.polling import eventually
from redis_practices.servers.server import Config
from tests.cases.bench import Bench, detached
from tests.cases.preparing import prepared

KILLED = 4
"""The number of killed workers, each with a new name."""

MAILBOX = "_kombu.binding.celery.pidbox"
"""The set of the workers' mailboxes."""

REPLIES = "_kombu.binding.reply.celery.pidbox"
"""The set of the queues of processes that wait for answers of workers."""


@pytest.mark.slow
def test_mailboxes_of_killed_workers(bench: Bench) -> None:
    """Mailboxes of killed workers do not stay bound while another worker lives."""
    bench.worker(WORKER_POOL="solo")
    for _ in range(KILLED):
        bench.worker(WORKER_POOL="solo").kill()
    prepared(lambda: bench.client.scard(MAILBOX) > 0)
    eventually(lambda: bench.client.scard(MAILBOX) == 1, within=10)


ASK = """
import os, sys, threading, time
from redis_practices.clients import redis_client
from redis_practices.celery_worker.sending import sender
from worker import settings

url, key, number = sys.argv[1], sys.argv[2], int(sys.argv[3])


def leave():
    with redis_client(url) as client:
        while client.scard(key) < number:
            time.sleep(0.01)
    os._exit(0)


threading.Thread(target=leave).start()
sender(settings(url)).control.ping(timeout=30, limit=99)
"""
"""A program that sends a command to all workers and exits once its reply queue is bound."""


@pytest.mark.slow
def test_queues_of_killed_askers(bench: Bench, group: ForkingGroup) -> None:
    """Reply queues of killed processes do not stay bound after a request of `FORGOTTEN` seconds later."""
    source = PROJECT / "src"
    program = group.folder / "ask.py"
    program.write_text(ASK)
    environment = {**os.environ, "PYTHONPATH": f"{source}{os.pathsep}{program.parent}"}
    for number in (1, 2):
        asked = [bench.url, REPLIES, str(number)]
        asker = group.start_python(program.stem, asked, group.folder / "asked", cwd=source, env=environment)
        asker.wait(20)
    prepared(lambda: bench.client.scard(REPLIES) == 2)
    time.sleep(FORGOTTEN)
    bench.sender().control.ping(timeout=0.1)
    assert bench.client.scard(REPLIES) == 0


EVICTING = pytest.param("volatile-lru", "2", "PENDING", marks=pytest.mark.known_limit)
"""A lock of `once` and the counters of a chord have a ttl, so a server that evicts takes them first.

Each bill is then paid twice and the chord never ends. Use ``noeviction`` for their server, which need not be the
broker: see RESULT_BACKEND in worker.py.
"""


@pytest.mark.slow
@pytest.mark.parametrize(("policy", "payments", "end"), [("noeviction", "1", "SUCCESS"), EVICTING])
def test_payments_and_chords_on_a_full_broker(
    new_bench: Callable[[Config], Bench], policy: str, payments: str, end: str
) -> None:
    """A bill is paid once and a chord ends, although the broker was full in between, unless it evicts."""
    bench = new_bench({"maxmemory": "8mb", "maxmemory-policy": policy, "appendonly": "no"})
    bench.worker(WORKER_POOL="threads", WORKER_CONCURRENCY="2")
    bills = ["B0", "B1", "B2"]
    for bill in bills:
        paid = bench.send("pay", [bill, 0.0])
        prepared(partial(bench.has_ended, paid))
    members = [bench.signature("add", [1, 1]), bench.signature("add", [2, 2], queue="later")]
    body = chord(members, bench.signature("total")).apply_async()
    first, _ = [detached(member) for member in body.parent.results]
    body_id = detached(body)
    prepared(lambda: bench.state(first) == "SUCCESS")
    fill(bench)
    again = [bench.send("pay", [bill, 0.0]) for bill in bills]
    bench.worker(TASK_QUEUE="later", WORKER_POOL="solo")
    prepared(lambda: all(bench.state(paid) == "SUCCESS" for paid in again))
    assert [bench.client.get(f"payments:{bill}") for bill in bills] == [payments] * len(bills)
    assert bench.ended(body_id, within=5) == end


def fill(bench: Bench) -> None:
    """Send tasks without a worker until the broker refuses one, then make room again."""
    app = bench.sender()

    def send_many() -> None:
        for _ in range(9000):
            app.send_task("worker.echo", ["x" * 3000], queue="waits", ignore_result=True, retry=False)

    with pytest.raises(OperationalError, match="maxmemory"):
        send_many()
    bench.client.delete("waits")
