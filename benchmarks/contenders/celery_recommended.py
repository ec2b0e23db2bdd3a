"""Celery with the settings of src/worker.py; tasks are sent in batches, or with ONE_BY_ONE one after the other."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from celery import Celery

from effect import URL, effect

sys.path.append(str(Path(__file__).parents[2] / "src"))
from redis_practices.celery_worker.sending import send_many
from worker import settings

app = Celery("recommended")
app.conf.update(settings(URL))
app.conf.task_ignore_result = not os.environ.get("RESULTS")


@app.task(name="nothing")
def nothing(index: int, total: int) -> None:
    """Do nothing."""
    effect(index, total)


def publish(number: int) -> None:
    """Send tasks in batches, or one after the other."""
    if os.environ.get("ONE_BY_ONE"):
        for index in range(number):
            nothing.delay(index, number)
        return
    calls = ((index, number) for index in range(number))
    send_many(app, "nothing", calls, store_results=bool(os.environ.get("RESULTS")))
