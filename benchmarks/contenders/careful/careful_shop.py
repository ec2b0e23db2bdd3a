"""Sell the same things with careful workers: nothing is wrong, although not all of it stands here.

The command line gives the time limits, and reads the queue of bills.
"""

from __future__ import annotations

import os
import time

from celery import Celery

app = Celery("careful_shop", broker=os.environ.get("BROKER_URL"))
app.conf.update(
    result_backend=os.environ.get("RESULTS_URL"),
    accept_content=["json"],
    result_expires=86400,
    result_backend_always_retry=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=int(os.environ.get("PREFETCH", "4")),
    worker_max_tasks_per_child=1000,
    broker_transport_options={"visibility_timeout": 3600},
    task_routes={"careful_shop.bill": {"queue": "billing"}},
    timezone="UTC",
)


@app.task(name="careful_shop.pack")
def pack(seconds: float = 0) -> float:
    """Pack a parcel."""
    time.sleep(seconds)
    return seconds


@app.task(name="careful_shop.bill", autoretry_for=(ConnectionError,), max_retries=5, retry_backoff=True)
def bill(number: int) -> int:
    """Write a bill."""
    return number
