"""Celery with its defaults for every setting except the addresses."""

from __future__ import annotations

import os

from celery import Celery

from effect import URL, effect

RESULTS = bool(os.environ.get("RESULTS"))
app = Celery("defaults", broker=URL, backend=URL if RESULTS else None)
app.conf.task_acks_late = bool(os.environ.get("ACKS_LATE"))


@app.task(name="nothing")
def nothing(index: int, total: int) -> None:
    """Do nothing."""
    effect(index, total)


def publish(number: int) -> None:
    """Send one task after the other, as most programs do."""
    for index in range(number):
        nothing.delay(index, number)
