"""Define tasks that end in unusual ways, for the tests of workflows; a worker imports them by WORKER_INCLUDES."""

from __future__ import annotations

import time
from typing import Any

from celery import Task, shared_task, signature
from celery.exceptions import Ignore

from fixtures.celery_worker.tasks import note_run


@shared_task(name="worker.ignore")
def ignore() -> None:
    """End without a result."""
    raise Ignore


@shared_task(bind=True, name="worker.replace")
def replace(self: Task, value: Any) -> None:
    """Let another task take its place and return `value`."""
    self.replace(signature("worker.echo", [value]))


@shared_task(bind=True, name="worker.number")
def number(self: Task, seconds: float) -> int:
    """Return the number of this run; the first run takes `seconds`."""
    runs = note_run(self)
    if runs == 1:
        time.sleep(seconds)
    return runs


@shared_task(bind=True, name="worker.body")
def body(self: Task, results: Any) -> Any:
    """Count its runs and return what the members returned."""
    note_run(self)
    return results
