"""Tasks that a worker may not survive, and tasks that may be delivered twice; ``worker.py`` includes them."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from celery import Task, shared_task
from redis import Redis

from connection import redis_client
from example_tasks import note_run
from once import Busy, once

LEASE = float(os.environ.get("ONCE_LEASE", "60"))
"""Seconds that one run of a payment may take."""

KEEP = 86400.0
"""Seconds for which a payment is not made again."""


def _key(name: str) -> str:
    """Return a key of this application; see KEY_PREFIX in worker.py."""
    return os.environ.get("KEY_PREFIX", "") + name


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


def _book(client: Redis, order: str, seconds: float) -> None:
    """Take `seconds`, then book one payment for `order`."""
    time.sleep(seconds)
    client.incr(_key(f"payments:{order}"))


@shared_task(bind=True, name="worker.book")
def book(self: Task, order: str, seconds: float = 0.0) -> bool:
    """Book one payment for `order` each time that this runs: what not to do."""
    note_run(self)
    with redis_client(self.app.conf.broker_url) as client:
        _book(client, order, seconds)
    return True


@shared_task(bind=True, name="worker.pay", max_retries=None)
def pay(self: Task, order: str, seconds: float = 0.0) -> bool:
    """Book one payment for `order` after `seconds` of work, once, however often this is delivered.

    Return whether this run booked it. While another run is at it, this one waits for its turn.
    """
    note_run(self)
    with redis_client(self.app.conf.broker_url) as client:
        try:
            with once(client, _key(f"paid:{order}"), lease=LEASE, keep=KEEP) as first:
                if first:
                    _book(client, order, seconds)
        except Busy as busy:
            raise self.retry(exc=busy, countdown=LEASE / 4) from None
    return first
