"""Tasks that fail, take long or are particular, as real ones are; ``worker.py`` includes them.

Each has an explicit name: a name is an address that senders know, so it must not follow the file.
"""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Task, shared_task
from celery.exceptions import Reject, SoftTimeLimitExceeded

from retry_backoff import wait_before_retry

RUNS_TTL = 300
"""Seconds for which the runs of a task can be read."""


def note_run(task: Task) -> int:
    """Add this moment to the list ``runs:{task id}`` beside the results, and return how many runs it holds."""
    # The prefix is the application's; see KEY_PREFIX in worker.py.
    key = f"{os.environ.get('KEY_PREFIX', '')}runs:{task.request.id}"
    with task.backend.client.pipeline() as pipe:
        noted = pipe.rpush(key, time.time()).expire(key, RUNS_TTL).execute()
    return int(noted[0])


@shared_task(bind=True, name="worker.flaky", max_retries=3)
def flaky(self: Task, failures: int, base: float = 1.0, jitter: bool = False) -> int:  # noqa: FBT001, FBT002 - JSON
    """Fail `failures` times, each retry later than the one before, then return how often it ran.

    `base` is the first wait in seconds. A task whose retries are used up fails with its own error.
    """
    runs = note_run(self)
    if runs <= failures:
        error = ConnectionError(f"attempt {runs} failed")
        raise self.retry(exc=error, countdown=wait_before_retry(self.request.retries, base=base, jitter=jitter))
    return runs


@shared_task(name="worker.tidy")
def tidy(seconds: float, afterwards: float = 0.0) -> str:
    """Take `seconds`; when the soft time limit comes first, take `afterwards` of what is left until the hard one."""
    try:
        time.sleep(seconds)
    except SoftTimeLimitExceeded:
        time.sleep(afterwards)
        return "tidied up"
    return "done"


@shared_task(bind=True, name="worker.refuse")
def refuse(self: Task, times: int) -> int:
    """Return its message to the queue `times` times, then return how often it ran; below 0 drop it for good."""
    runs = note_run(self)
    if times < 0:
        raise Reject("this is no task of mine", requeue=False)
    if runs <= times:
        raise Reject("not now", requeue=True)
    return runs


@shared_task(bind=True, name="worker.stamp")
def stamp(self: Task, seconds: float = 0.0) -> dict[str, Any]:
    """Take `seconds` and return who ran it, and when it began (seconds since 1970)."""
    begun = time.time()
    note_run(self)
    time.sleep(seconds)
    return {"worker": self.request.hostname, "pid": os.getpid(), "begun": begun}


@shared_task(name="worker.echo")
def echo(value: Any) -> Any:
    """Return what it was given."""
    return value


@shared_task(bind=True, name="worker.limited", rate_limit="10/s")
def limited(self: Task) -> dict[str, Any]:
    """Return when it began; a worker begins at most ten of these a second."""
    return {"worker": self.request.hostname, "begun": time.time()}


@shared_task(name="worker.total")
def total(numbers: list[float]) -> float:
    """Return the sum of what the members of a chord returned."""
    return sum(numbers)
