"""Tasks that a worker may not survive, and tasks that may be delivered twice; ``worker.py`` includes them."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from celery import Task, shared_task
from redis import Redis
from redis.client import Pipeline

from connection import redis_client
from dead_letter import Guarded, prefixed
from example_tasks import note_run
from once import Busy, effect_once, once
from outbox import Outbox

LEASE = float(os.environ.get("ONCE_LEASE", "60"))
"""Seconds that one run of a payment may take."""

KEEP = 86400.0
"""Seconds for which a payment is not made again."""


@shared_task(bind=True, name="worker.linger")
def linger(self: Task, seconds: float) -> dict[str, Any]:
    """Take `seconds` in the first run and none in later ones; return who ran it last, and which run that was."""
    runs = note_run(self)
    if runs == 1:
        time.sleep(seconds)
    redelivered = bool(self.request.delivery_info.get("redelivered"))
    return {"worker": self.request.hostname, "run": runs, "redelivered": redelivered}


@shared_task(bind=True, name="worker.crash")
def crash(self: Task, times: int = 10**6) -> int:
    """Kill the process that runs it in its first `times` runs, as running out of memory would; then return the run."""
    runs = note_run(self)
    if runs <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return runs


def _book(client: Redis, bill: str, seconds: float) -> None:
    """Take `seconds`, then book one payment for `bill`."""
    time.sleep(seconds)
    client.incr(prefixed(f"payments:{bill}"))


@shared_task(bind=True, name="worker.book")
def book(self: Task, bill: str, seconds: float = 0.0) -> bool:
    """Book one payment for `bill` each time that this runs: what not to do."""
    note_run(self)
    with redis_client(self.app.conf.broker_url) as client:
        _book(client, bill, seconds)
    return True


@shared_task(bind=True, name="worker.crash_guarded", base=Guarded)
def crash_guarded(self: Task, times: int = 10**6) -> int:
    """Do as `crash` does, as a task whose deliveries are counted."""
    return int(crash.run.__func__(self, times))


@shared_task(bind=True, name="worker.crash_retried", max_retries=2, default_retry_delay=0, retry_on_worker_lost=True)
def crash_retried(self: Task) -> int:
    """Do as `crash` does, as a task that Celery runs again as a retry: from 5.7 on, which knows the option."""
    return int(crash.run.__func__(self))


@shared_task(bind=True, name="worker.end_worker", base=Guarded)
def end_worker(self: Task) -> None:
    """Kill the whole worker, not only the process that runs it."""
    note_run(self)
    os.kill(os.getppid(), signal.SIGKILL)
    # Not a moment longer than its worker, or it would still store a result.
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task(bind=True, name="worker.order", ignore_result=True)
def order(self: Task, number: str) -> None:
    """Note order `number` in Redis exactly once, and strike it out of the outbox in the same transaction."""
    client: Redis = self.backend.client
    client.incr(prefixed("order-runs"))
    outbox = Outbox(client, prefixed("outbox"))

    def effect(pipe: Pipeline) -> None:
        """Queue what must happen once."""
        pipe.hincrby(prefixed("orders"), number, 1)
        outbox.settle(number, pipe)

    if not effect_once(client, prefixed(f"ordered:{number}"), effect, keep=KEEP):
        # Written down once more after it had happened.
        outbox.settle(number)
    # What comes after the effect, and is cut off when the worker is killed: the task is not acknowledged yet.
    time.sleep(0.008)


@shared_task(bind=True, name="worker.pay", max_retries=None)
def pay(self: Task, bill: str, seconds: float = 0.0) -> bool:
    """Book one payment for `bill` after `seconds` of work, once, however often this is delivered.

    Return whether this run booked it. While another run is at it, this one waits for its turn.
    """
    note_run(self)
    with redis_client(self.app.conf.broker_url) as client:
        try:
            with once(client, prefixed(f"paid:{bill}"), lease=LEASE, keep=KEEP) as first:
                if first:
                    _book(client, bill, seconds)
        except Busy as busy:
            raise self.retry(exc=busy, countdown=LEASE / 4) from None
    return first
