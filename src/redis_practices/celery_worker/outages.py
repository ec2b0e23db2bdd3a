"""Carry a worker through an outage of its broker: finished work is recorded, held tasks are kept.

While Redis is away (restarted, hung, read-only, failed over), with the settings of `worker.py`:

- A running task continues, and runs once. Its process waits until Redis takes the result, as long as the time limit of
  the task allows.
- A task that waits in the worker, for its countdown or a free process, returns to the queue with the next connection.
  It runs when it is due.
- A retry, the next step of a chain or chord, and a task that a task sends: its process waits until Redis takes it. The
  soft time limit interrupts the wait. In the pools `threads` and `solo` kombu may give up, and the task fails.
- ``celery beat`` sends what was due as soon as Redis is back.
- The worker stays the same process, and connects again within `consumer.RECONNECT` seconds.

Not promised:

- What the server has forgotten: with ``appendfsync everysec`` the last second, after a failover what the replica lacks.
- A task that Redis gives away at the moment when the connection breaks is lost, see `Outbox`.
- A task, also a retry, is sent twice if its sending lost the answer. Make tasks idempotent: see `once`.
- A warm shutdown during an outage waits for the results. ``docker stop`` then kills the worker after its grace period,
  and its tasks run again after the visibility timeout.
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

ATTEMPTS = 10**6
"""Attempts to send a task, with up to 1 s between them: Celery 5.7 makes 3 of None, which is without end in 5.6."""

PAUSE = 0.5
"""Seconds between two attempts to send a task while the broker answers and refuses it."""

logger = get_logger(__name__)


_worker = 0
"""The id of the worker's process; 0 in a sender."""


@worker_init.connect
def wait_for_results(**_: Any) -> None:
    """Make this process and its pool wait for an absent Redis. A sender does not wait: it reports the absence."""
    global _worker  # noqa: PLW0603 - the pool's processes inherit it
    _worker = os.getpid()


@beat_init.connect
@worker_process_init.connect
def repeat_commands(**_: Any) -> None:
    """Make beats and pool processes repeat commands to an absent broker. The worker itself connects again."""
    transport.waits = os.getpid() != _worker


@worker_init.connect
@beat_init.connect
def wait_for_broker(sender: Any = None, **_: Any) -> None:
    """Make a worker and a beat wait for an absent broker when they send a task."""
    sender.app.conf.task_publish_retry_policy = {"max_retries": ATTEMPTS, "interval_start": 0, "errback": wait_to_send}


def wait_to_send(error: Exception, seconds: float) -> None:
    """Wait before a task is sent again, or raise an error that will not pass. `seconds` is kombu's own wait."""
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
