"""Carry a worker through an outage of its broker: finished work is recorded, held tasks are kept.

While Redis is away (restarted, hung, failed over), as `worker.py` sets it:

a task that runs       continues, and runs once. Its result is stored when Redis is back, at the earliest moment: the
                       pool process waits, as long as the task's time limit allows. Then the task is acknowledged.
a task that waits      in the worker, for its countdown or a free process: given back to the queue when the worker is
                       connected again, and then taken anew. It runs when it is due.
a retry, a next step   of a chain or a chord, and what a task sends: sent when Redis is back. The task's soft time limit
                       interrupts the wait. In the pools `threads` and `solo` kombu may give up, and the task fails.
what is due by         ``celery beat``: sent when Redis is back, at once. Celery alone skips it until it is due again.
its timetable
the worker             stays the same process, and connects again within `RECONNECT` seconds (`consumer`).

Not promised: what the server itself has forgotten (``appendfsync everysec``: the last second; a failover: what the
replica did not have). A task that runs twice for other reasons still needs `once`. A warm shutdown during an outage
waits for the results; ``docker stop`` kills the worker after its grace period, and those tasks run again.
"""

from __future__ import annotations

import os
import time
from typing import Any

from celery.backends.redis import RedisBackend, SentinelBackend
from celery.signals import beat_init, worker_init, worker_process_init
from celery.utils.log import get_logger
from redis.connection import Connection
from redis.exceptions import OutOfMemoryError, ResponseError
from redis.sentinel import SentinelManagedConnection

from redis_practices.celery_worker import transport
from redis_practices.celery_worker.transport import Patience, kept
from redis_practices.clients import Pool, counted

PAUSE = 0.5
"""Seconds between two attempts to send a task while the broker answers and refuses it."""

logger = get_logger(__name__)


_worker = 0
"""The id of the worker's process; 0 in a sender."""


@worker_init.connect
def wait_for_results(**_: Any) -> None:
    """Make this process and its pool wait for an absent Redis; a sender reports it in time instead."""
    global _worker  # noqa: PLW0603 - the pool's processes inherit it
    _worker = os.getpid()


@beat_init.connect
@worker_process_init.connect
def repeat_commands(**_: Any) -> None:
    """Make a beat and a process of the pool repeat commands to an absent broker; the worker itself connects again."""
    transport.waits = os.getpid() != _worker


@worker_init.connect
@beat_init.connect
def wait_for_broker(sender: Any = None, **_: Any) -> None:
    """Make a worker and a beat wait for an absent broker when they send a task."""
    sender.app.conf.task_publish_retry_policy = {"max_retries": None, "interval_start": 0, "errback": wait_to_send}


def wait_to_send(error: Exception, seconds: float) -> None:
    """Wait before a task is sent again (`seconds` is kombu's own wait); an error that will not pass is raised."""
    if isinstance(error, ResponseError) and not isinstance(error, OutOfMemoryError):
        raise error
    logger.warning("Redis does not take a task now: %s", error)
    if not seconds:
        time.sleep(PAUSE)


class Backend(RedisBackend):  # type: ignore[misc] # Celery has no types
    """Celery's store of results; a worker's waits until Redis is back, a sender's raises."""

    connection_class: type = Connection

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take what Celery's takes."""
        super().__init__(*arguments, **options)
        self.connparams["connection_class"] = counted(
            kept(self.connparams.get("connection_class", self.connection_class))
        )

    @property
    def ConnectionPool(self) -> Any:  # noqa: N802 - Celery's
        """The class of the pool: its connections survive an exception between a command and its reply."""
        return Pool

    def _create_client(self, **parameters: Any) -> Any:
        """Return a client of the results."""
        client = super()._create_client(**parameters)
        if _worker:
            client.set_retry(Patience())
        return client


class BackendOfSentinels(SentinelBackend, Backend):  # type: ignore[misc] # Celery has no types
    """The same for a primary that sentinels name."""

    connection_class = SentinelManagedConnection
