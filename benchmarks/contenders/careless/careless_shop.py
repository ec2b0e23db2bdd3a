"""Sell things with careless workers: docs/compared.md lists what is wrong, and what sees it."""

from __future__ import annotations

import os
import time

from celery import Celery
from kombu import Queue  # type: ignore[attr-defined]  # kombu has few types

app = Celery("careless_shop", broker=os.environ.get("BROKER_URL"))
app.conf.update(
    result_backend=os.environ.get("RESULTS_URL", "redis://:pa55word@results.example/0"),
    accept_content=["json", "pickle"],
    result_serializer="pickle",
    result_expires=None,
    task_acks_late=True,
    broker_transport_options={"visibility_timeout": int(os.environ.get("VISIBILITY_TIMEOUT", "3600"))},
    task_queues=[Queue("celery"), Queue("billing")],
    task_routes={"careless_shop.bill": {"queue": "biling"}},
    beat_schedule={"clean up": {"task": "careless_shop.clean_upp", "schedule": 60.0}},
)


@app.task
def pack(seconds: float = 0) -> float:
    """Pack a parcel."""
    time.sleep(seconds)
    return seconds


@app.task(autoretry_for=(Exception,), max_retries=None)
def bill(number: int) -> int:
    """Write a bill."""
    return number


@app.task
def clean_up() -> None:
    """Remove old carts."""
