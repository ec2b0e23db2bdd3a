"""Keep a worker alive, and what it holds, when its connection to the broker is lost; report whether it consumes.

Celery 5.6 and 5.7 return to the queue every task that the worker holds, if they still can: one that runs is run twice.
If they cannot, what waits in the worker waits for the visibility timeout. `KeepingConsumer` acknowledges, with the next
connection, what has ended, keeps what runs, and returns the rest. It needs the transport of `transport`.

    app.conf.worker_consumer = "redis_practices.celery_worker.consumer:KeepingConsumer"
    app.conf.worker_enable_prefetch_count_reduction = False    # kept tasks count as prefetched

A worker of Celery 5.7.0 with kombu 5.7.0 ends if its connection breaks while it holds an unacknowledged message and
waits for another: `'NoneType' object has no attribute 'hostname'`. Celery closes the connection a second time, and
kombu still holds a channel that it could not close the first time. `SurvivingConsumer` drops that channel.
Celery 5.6 does not close a second time, so it is harmless there. docs/upstream/celery.md has the details;
tests/test_upstream.py fails once upstream has mended it.

``celery inspect ping`` starts a Python process and a broadcast for every health check. A worker with the variable
READY_FILE touches that file when it is ready and then with each heartbeat (every 2 s). Celery's event loop sends
heartbeats only while it is connected to the broker. So the file grows old when the worker hangs or has lost its broker.
A worker in warm shutdown removes the file.

    READY_FILE=/tmp/ready celery -A worker worker
    find "$READY_FILE" -mmin -0.2 | grep -q .        the check: the file is younger than 12 s
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery.signals import heartbeat_sent, worker_ready, worker_shutting_down
from celery.worker.consumer import Consumer
from celery.worker.state import active_requests, reserved_requests
from kombu.transport import virtual

from redis_practices.celery_worker.transport import Channel

RECONNECT = 5.0
"""The longest wait in seconds between two attempts of a worker to connect; Celery's is 30."""


class SurvivingConsumer(Consumer):  # type: ignore[misc] # Celery has no types
    """Celery's consumer, which survives the loss of its connection."""

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Clean up the lost connection, and make it forget its channel.

        The name is private, since kombu has no public one.
        """
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


class KeepingConsumer(SurvivingConsumer):
    """A consumer that keeps running tasks through a lost connection, and gives waiting ones back."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Start without tasks."""
        super().__init__(*arguments, **options)
        self._held: dict[str, Any] = {}
        self._begun: dict[str, Any] = {}
        self._unwritten: set[str] = set()
        self._unrecorded: list[Any] = []

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Close what is left of the connection, and note the tasks that it held."""
        qos = self._qos()
        if qos is not None:
            qos.restore_at_shutdown = False
            self._note_begun()
            self._begun |= {one.message.delivery_tag: one for one in tuple(reserved_requests) if hold_in_pool(one)}
        super().on_connection_error_after_connected(exc)
        if qos is not None:
            qos._flush()  # noqa: SLF001 - kombu has no other way
            self._held |= qos._delivered  # noqa: SLF001
            qos._delivered.clear()  # noqa: SLF001
            self._unwritten |= qos.unwritten
            self._unrecorded += qos.unrecorded

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
        # One that ended meanwhile acknowledges its message soon; one that Celery has cancelled runs no more.
        self._note_begun()
        kept = {tag for tag, request in self._begun.items() if not getattr(request, "_already_cancelled", False)}
        for tag, message in list(self._held.items()):
            if tag in self._unwritten:
                pass
            elif tag in kept:
                message.channel = qos.channel
                virtual.QoS.append(qos, message, tag)
            else:
                qos.restore_by_tag(tag)
            del self._held[tag]
        self._unwritten.clear()
        self._begun.clear()

    def _note_begun(self) -> None:
        """Note which tasks run now."""
        self._begun |= {request.message.delivery_tag: request for request in tuple(active_requests)}


def hold_in_pool(request: Any) -> bool:
    """Keep a task that a process or thread of the pool has, and return whether one has it.

    Celery would forget a task that the pool has not confirmed, and the broker would deliver it a second time. A task
    that waits for a thread is withdrawn.
    """
    job = request._apply_result and request._apply_result()  # noqa: SLF001 - Celery has no public name, nor has billiard
    if getattr(job, "_write_to", None):  # the process has it, or a part of it
        job._accepted = True  # noqa: SLF001 - what is accepted is not discarded
        return True
    future = getattr(job, "f", None)  # of a thread
    return future is not None and not future.cancel()


READY_FILE = Path(os.environ.get("READY_FILE", ""))
"""The file of the health check; its folder must be writable, and empty when the worker starts."""


def appear(**_: Any) -> None:
    """Create the file: the worker consumes."""
    READY_FILE.touch()


def stay(**_: Any) -> None:
    """Keep the file young; the first heartbeat precedes readiness, so it does not create the file."""
    if READY_FILE.exists():
        READY_FILE.touch()


def leave(**_: Any) -> None:
    """Remove the file: a worker in warm shutdown takes no more tasks."""
    READY_FILE.unlink(missing_ok=True)


if READY_FILE.name:
    worker_ready.connect(appear)
    heartbeat_sent.connect(stay)
    worker_shutting_down.connect(leave)
