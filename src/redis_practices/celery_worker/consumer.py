"""Keep a worker of Celery 5.7 alive when the broker restarts.

A worker of Celery 5.7.0 with kombu 5.7.0 ends if its connection breaks while it holds an unacknowledged message and
waits for another: `'NoneType' object has no attribute 'hostname'`. Celery closes the connection a second time, and
kombu still holds a channel that it could not close the first time. `SurvivingConsumer` drops that channel. Set it by

    app.conf.worker_consumer = "redis_practices.celery_worker.consumer:SurvivingConsumer"

Celery 5.6 does not close a second time, so it is harmless there. docs/upstream/celery.md has the details;
tests/test_upstream.py fails once upstream has mended it.
"""

from __future__ import annotations

from typing import Any

from celery.worker.consumer import Consumer


class SurvivingConsumer(Consumer):  # type: ignore[misc] # Celery has no types
    """Celery's consumer, which survives the loss of its connection."""

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Clean up the lost connection, and make it forget its channel (a private name: kombu has no public one)."""
        if (connection := self.connection) is not None:
            collect = connection.collect

            def collect_and_forget(**options: Any) -> None:
                """Do as ``Connection.collect``, also for a channel whose end fails."""
                try:
                    collect(**options)
                finally:
                    connection._default_channel = None  # noqa: SLF001 - see above

            connection.collect = collect_and_forget
        super().on_connection_error_after_connected(exc)
