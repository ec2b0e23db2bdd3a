"""The Celery app and its tasks. Run it from this folder with ``celery -A worker worker``.

Every setting that a deployment may want otherwise is read from the environment, so that the same file serves a
laptop, the compose service and the specification.
"""

from __future__ import annotations

import os
import socket
import time
from importlib import import_module
from typing import Any

from celery import Celery, Task

import queue_age  # noqa: F401 - makes every task carry the time of its sending
from message_signing import sign_messages

DEFAULT_BROKER_URL = "redis://127.0.0.1:6379/0"
SOCKET_TIMEOUT = float(os.environ.get("SOCKET_TIMEOUT", "5"))
"""Seconds after which a broker that hangs is an error; without it a publisher waits for ever."""


def settings(broker_url: str, timeout: float = SOCKET_TIMEOUT) -> dict[str, Any]:
    """Return the configuration of a worker or a sender that uses `broker_url` for tasks and results.

    `timeout` in seconds bounds connecting to Redis and each of its answers.
    """
    sockets = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    # The same for tasks and results: a prefix of all keys, and the name under which the sentinels know the primary.
    shared = {"global_keyprefix": os.environ.get("KEY_PREFIX", "")}
    if sentinel_primary := os.environ.get("SENTINEL_PRIMARY"):
        shared["master_name"] = sentinel_primary
    return {
        "broker_url": broker_url,
        "result_backend": os.environ.get("RESULT_BACKEND", broker_url),
        "task_default_queue": os.environ.get("TASK_QUEUE", "celery"),
        # JSON only: a pickled payload would let whoever reaches the broker run code in the worker.
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "timezone": "UTC",
        "enable_utc": True,
        # Results that nobody reads must not fill the broker's memory. Seconds.
        "result_expires": int(os.environ.get("RESULT_EXPIRES", "3600")),
        **delivery_settings(),
        # A worker reserves one task a process, so that long tasks do not hold short ones back.
        "worker_prefetch_multiplier": int(os.environ.get("PREFETCH_MULTIPLIER", "1")),
        # Where a worker keeps what was revoked, for its next start; without it a restart forgets.
        "worker_state_db": os.environ.get("STATE_DB"),
        "broker_connection_retry_on_startup": True,
        # `one_trip:Transport` for many short tasks: a task costs the worker less than half as much. See one_trip.py.
        "broker_transport": transport(),
        "broker_transport_options": {
            **redelivery_settings(),
            # Priorities that have a list of their own: four by default. Senders and workers must agree.
            "priority_steps": priority_steps(int(os.environ.get("PRIORITY_STEPS", "4"))),
            **shared,
            **sockets,
        },
        # Without a retry policy of its own the result backend tries for 19 s before it says that Redis is down.
        "result_backend_transport_options": {"retry_policy": {"timeout": timeout}, **shared},
        "redis_socket_timeout": timeout,
        "redis_socket_connect_timeout": timeout,
    }


def transport() -> str | None:
    """Return the transport that BROKER_TRANSPORT names, like ``one_trip:Transport``; None leaves it to the URL."""
    name = os.environ.get("BROKER_TRANSPORT") or None
    if name and ":" in name:
        # Now: `celery` takes this folder off the path again when it has found the app.
        import_module(name.partition(":")[0])
    return name


def delivery_settings() -> dict[str, Any]:
    """Return what decides whether a task is lost, done or done twice when a worker dies."""
    return {
        # A task is acknowledged when it is done, so that a killed worker's task is delivered again: at least once
        # instead of at most once. It costs nothing that can be measured; tasks must bear a second run, see once.py.
        "task_acks_late": os.environ.get("ACKS_LATE", "1") == "1",
        # A task that killed its process is not run again: it would kill the next one too, without end.
        "task_reject_on_worker_lost": os.environ.get("REJECT_ON_WORKER_LOST", "0") == "1",
        # Cancel what runs when the broker is lost, since it will be delivered again? It saves work done twice, but a
        # worker (5.6.3) ends when Redis is away at that moment: it cannot write that the task is revoked.
        "worker_cancel_long_running_tasks_on_connection_loss": os.environ.get("CANCEL_ON_LOSS", "0") == "1",
        # Look for the result of a task that is delivered again, and leave it out if it has ended well? One read for
        # each such task, and none for others. Two runs at once it does not prevent, as once.py does.
        "worker_deduplicate_successful_tasks": os.environ.get("DEDUPLICATE", "0") == "1",
        # Seconds that running tasks get on SIGQUIT before they go back to the queue. Keep it below the grace period
        # of whoever stops the worker (stop_grace_period in docker-compose.yml).
        "worker_soft_shutdown_timeout": float(os.environ.get("SOFT_SHUTDOWN", "10")),
        # Seconds that a task may take: an exception inside it, then the end of its process. Below the visibility
        # timeout, so that a task that hangs is never done by two at once. The prefork pool alone enforces them.
        "task_soft_time_limit": float(os.environ.get("TASK_SOFT_TIME_LIMIT", "3000")),
        "task_time_limit": float(os.environ.get("TASK_TIME_LIMIT", "3300")),
    }


def redelivery_settings() -> dict[str, Any]:
    """Return when a task that nobody acknowledged is delivered again."""
    return {
        # Seconds until it may be; must exceed the longest task and the longest countdown, or they run twice. Longer
        # means that what a killed worker held waits longer.
        "visibility_timeout": float(os.environ.get("VISIBILITY_TIMEOUT", "3600")),
        # Every so many seconds a worker looks for such tasks, and really looks only each so many-th time. Left at
        # their defaults, 10 and 10, that is every 100 s. A look costs the broker one read of one sorted set.
        "unacked_restore_interval": float(os.environ.get("RESTORE_INTERVAL", "5")),
        "unacked_restore_throttle": int(os.environ.get("RESTORE_THROTTLE", "1")),
        # Who looks holds a lock for as many seconds at most. Left at its default, 300, a worker that is killed while
        # it looks keeps all others from delivering anything again for 5 minutes.
        "unacked_mutex_expire": int(os.environ.get("RESTORE_LOCK", "10")),
    }


def priority_steps(number: int) -> list[int]:
    """Return the steps that divide the priorities 0 to 9 into `number` lists: 4 gives 0, 3, 6 and 9."""
    return [round(step * 9 / (number - 1)) for step in range(number)]


app = Celery("worker")
app.conf.update(settings(os.environ.get("BROKER_URL", DEFAULT_BROKER_URL)))
# Modules that a worker imports besides.
app.conf.include = os.environ.get("WORKER_INCLUDES", "").split()
app.conf.worker_pool = os.environ.get("WORKER_POOL", "prefork")
app.conf.worker_concurrency = int(os.environ.get("WORKER_CONCURRENCY", "0")) or None
if beat_every := os.environ.get("BEAT_EVERY"):
    # What `celery beat` sends. It notes each sending at once in its file, and not every 3 minutes, as by default:
    # a beat that was killed would send again what it had sent since.
    app.conf.beat_schedule = {"tick": {"task": "worker.stamp", "schedule": float(beat_every)}}
    app.conf.beat_sync_every = int(os.environ.get("BEAT_SYNC_EVERY", "1"))
if signing_folder := os.environ.get("SIGNING_FOLDER"):
    sign_messages(app, signing_folder)


@app.task
def add(x: float, y: float) -> float:
    """Return the sum: the example of the README."""
    return x + y


def _who(task: Task) -> dict[str, Any]:
    """Return the worker, host and process that run `task`."""
    return {"worker": task.request.hostname, "host": socket.gethostname(), "pid": os.getpid()}


@app.task(bind=True)
def whoami(self: Task) -> dict[str, Any]:
    """Return who ran this task."""
    return _who(self)


@app.task(bind=True)
def sleep(self: Task, seconds: float) -> dict[str, Any]:
    """Take `seconds`, then return who ran it: stands for work that takes its time."""
    time.sleep(seconds)
    return _who(self)


@app.task
def fail(message: str) -> None:
    """Raise ValueError(message): stands for work that fails."""
    raise ValueError(message)
