"""Carry a worker through an outage of its broker: finished work is recorded, held tasks are kept.

While Redis is away (restarted, hung, failed over), as `worker.py` sets it:

a task that runs       continues, and runs once. Its result is stored when Redis is back, at the earliest moment: the
                       pool process waits, as long as the task's time limit allows. Then the task is acknowledged.
a task that waits      in the worker, for its countdown or a free process: given back to the queue when the worker is
                       connected again, and then taken anew. It runs when it is due.
a retry, a next step   of a chain or a chord, and what a task sends: sent when Redis is back. The task's soft time limit
                       interrupts the wait.
the worker             stays the same process, and connects again within `RECONNECT` seconds (`consumer`).

Not promised: what the server itself has forgotten (``appendfsync everysec``: the last second; a failover: what the
replica did not have). A task that runs twice for other reasons still needs `once`. A warm shutdown during an outage
waits for the results; ``docker stop`` kills the worker after its grace period, and those tasks run again.
"""

from __future__ import annotations

import time
from typing import Any

from celery.backends.redis import RedisBackend, SentinelBackend
from celery.signals import worker_init
from celery.utils.log import get_logger
from redis.backoff import ExponentialBackoff
from redis.connection import Connection
from redis.exceptions import AuthenticationError, OutOfMemoryError, ResponseError
from redis.retry import Retry
from redis.sentinel import SentinelManagedConnection

from redis_practices.celery_worker.transport import kept
from redis_practices.clients import Pool, counted

PAUSE = 0.5
"""Seconds between two attempts to send a task while the broker answers and refuses it."""

logger = get_logger(__name__)


class Patience(Retry):
    """Repeat a command until it is answered, at least once a second; a refused password is an error at once."""

    def __init__(self) -> None:
        """Wait 0.1 s after the first failure, and up to 1 s after later ones."""
        super().__init__(ExponentialBackoff(cap=1.0, base=0.05), -1)

    def call_with_retry(self, do: Any, fail: Any, is_retryable: Any = None, with_failure_count: bool = False) -> Any:  # noqa: FBT001, FBT002 - redis-py's
        """Do it, as redis-py's own does."""

        def is_outage(error: Exception) -> bool:
            logger.warning("Redis does not take the result now: %s", error)
            return not isinstance(error, AuthenticationError) and (is_retryable is None or is_retryable(error))

        return super().call_with_retry(do, fail, is_outage, with_failure_count)


_is_worker = False


@worker_init.connect
def wait_for_broker(sender: Any = None, **_: Any) -> None:
    """Make this process and its pool wait for an absent broker; a sender reports it in time instead."""
    global _is_worker  # noqa: PLW0603 - the pool's processes inherit it
    _is_worker = True
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
        if _is_worker:
            client.set_retry(Patience())
        return client


class BackendOfSentinels(SentinelBackend, Backend):  # type: ignore[misc] # Celery has no types
    """The same for a primary that sentinels name."""

    connection_class = SentinelManagedConnection
