"""Carry a worker through an outage of its broker: finished work is recorded, held tasks are kept.

While Redis is away (restarted, hung, failed over), as `worker.py` sets it:

a task that runs       continues, and runs once. Its result is stored when Redis is back, at the earliest moment: the
                       pool process waits, as long as the task's time limit allows. Then the task is acknowledged.
a task that waits      in the worker, for its countdown or a free process: given back to the queue when the worker is
                       connected again, and then taken anew. It runs when it is due.
a retry, a next step   of a chain or a chord, and what a task sends: sent when Redis is back. The task's soft time limit
                       interrupts the wait.
the worker             stays the same process, and connects again at most `RECONNECT` seconds after Redis is back.

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
from celery.worker import consumer, state
from kombu.transport import virtual
from redis.backoff import ExponentialBackoff
from redis.connection import Connection
from redis.exceptions import AuthenticationError, OutOfMemoryError, ResponseError
from redis.retry import Retry
from redis.sentinel import SentinelManagedConnection

from redis_practices.celery_worker.transport import Channel, kept
from redis_practices.clients import Pool, counted

RECONNECT = 5.0
"""The longest wait in seconds between two attempts of a worker to connect; Celery's is 30."""

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


class Consumer(consumer.Consumer):  # type: ignore[misc] # Celery has no types
    """A worker's consumer that keeps running tasks through a lost connection, and gives the others back.

    Celery gives all of them back if it still can, so that running ones run twice; if it cannot, the others wait for the
    visibility timeout.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Start without tasks."""
        super().__init__(*arguments, **options)
        self._held: dict[str, Any] = {}
        self._unwritten: set[str] = set()
        self._unrecorded: list[Any] = []

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Close what is left of the connection, and note the tasks that it held."""
        connection, qos = self.connection, self._qos()
        if qos is not None:
            qos.restore_at_shutdown = False
        super().on_connection_error_after_connected(exc)
        if qos is not None:
            qos._flush()  # noqa: SLF001 - kombu has no other way
            self._held |= qos._delivered  # noqa: SLF001
            qos._delivered.clear()  # noqa: SLF001
            self._unwritten |= qos.unwritten
            self._unrecorded += qos.unrecorded
        # Celery 5.7 closes the connection once more, which fails in kombu 5.7.0; see docs/upstream.
        connection._default_channel = None  # noqa: SLF001

    def _qos(self) -> Any:
        """Return the record of the tasks that the connection holds, if it has ours."""
        channel = getattr(self.task_consumer, "channel", None)
        return channel.qos if isinstance(channel, Channel) else None

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, and try at least every `RECONNECT` seconds."""
        ensure = conn.ensure_connection
        conn.ensure_connection = lambda *arguments, **options: ensure(
            *arguments, **{"interval_max": RECONNECT, **options}
        )
        return super().ensure_connected(conn)

    def on_ready(self) -> None:
        """Take up, with a new connection, the tasks that the lost one held."""
        qos = self._qos()
        if qos is not None:
            self._take_up(qos)
        super().on_ready()

    def _take_up(self, qos: Any) -> None:
        """Acknowledge what has ended, keep what runs, and give back the rest."""
        qos.forget(self._unwritten)
        qos.give_back(self._unrecorded)
        self._unrecorded.clear()
        # A task that Celery has cancelled runs no more, although its process may not have ended yet.
        running = {
            request.message.delivery_tag
            for request in state.active_requests
            if not getattr(request, "_already_cancelled", False)
        }
        for tag, message in list(self._held.items()):
            if tag in self._unwritten:
                pass
            elif tag in running:
                message.channel = qos.channel
                virtual.QoS.append(qos, message, tag)
            else:
                qos.restore_by_tag(tag)
            del self._held[tag]
        self._unwritten.clear()
