"""Define a Celery app with the settings of Celery alone, for the commands that it sends."""

from __future__ import annotations

import os

from celery import Celery

from fixtures.stacks.protocols import TASKS

app = Celery("plain", broker=os.environ["BROKER_URL"], backend=os.environ["BROKER_URL"])
# A task that is acknowledged early cannot be given back.
app.conf.update(include=[TASKS], task_acks_late=True)


@app.task(name="worker.add")
def add(x: float, y: float) -> float:
    """Return the sum."""
    return x + y
