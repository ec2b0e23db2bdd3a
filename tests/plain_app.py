"""Define a Celery app with the settings of Celery alone, for the commands that it sends."""

from __future__ import annotations

import os

from celery import Celery

from fixtures.stacks.protocols import TASKS

app = Celery("plain", broker=os.environ["BROKER_URL"], backend=os.environ["BROKER_URL"])
app.conf.update(include=[TASKS], worker_hijack_root_logger=False, broker_transport_options={"visibility_timeout": 60})


@app.task(name="worker.add")
def add(x: float, y: float) -> float:
    """Return the sum."""
    return x + y
