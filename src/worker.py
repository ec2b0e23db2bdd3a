"""Define the Celery app and its tasks; start it with ``celery -A worker worker``.

Differences between deployments come from the environment, so that one file serves a laptop and a container.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from celery import Celery

from redis_practices.celery_worker import queue_age  # noqa: F401 - its signal stamps every task with its time
from redis_practices.celery_worker.access import address_of, pool_options, sign_messages, transport_for
from redis_practices.celery_worker.transport import CHECK_EVERY, IDLE
from redis_practices.celery_worker.workflows import with_chords

SOCKET_TIMEOUT = float(os.environ.get("SOCKET_TIMEOUT", "5"))
"""Seconds until a silent broker is an error; without a timeout a publisher waits for ever."""


def url_of(variable: str) -> str | None:
    """Return the URL in a variable, and remove Celery's copy of it from the environment.

    The command `celery` copies it to another variable, which overrides the settings, with options that kombu does not
    take. The same goes for the URL of ``celery --broker``.
    """
    return os.environ.pop(f"CELERY_{variable}", None) or os.environ.get(variable)


RESULTS = url_of("RESULT_BACKEND")
"""The URL for results, if they do not go to the broker."""


def settings(broker_url: str, timeout: float = SOCKET_TIMEOUT) -> dict[str, Any]:
    """Return the configuration of a worker or a sender.

    Tasks and results go through `broker_url`, which may have any option of redis-py. `timeout` (seconds) bounds
    connecting to Redis and each of its replies.
    """
    results = address_of(RESULTS or broker_url, options=True)
    if backend := os.environ.get("RESULT_BACKEND_CLASS"):
        results = f"{backend}+{results}"
    # For tasks and results: the prefix of all keys. Give each application its own on a server that others use too.
    shared: dict[str, Any] = {"global_keyprefix": os.environ.get("KEY_PREFIX", ""), **sentinel_settings(timeout)}
    return {
        "broker_url": address_of(broker_url),
        "result_backend": with_chords(results),
        "task_default_queue": os.environ.get("TASK_QUEUE", "celery"),
        # JSON only: with pickle, every client that can write to the broker can run code in the worker.
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        # Seconds until a result expires, since unread results fill the broker's memory (300 bytes each). It must exceed
        # the longest workflow, with the visibility timeout of a member whose worker is killed.
        "result_expires": int(os.environ.get("RESULT_EXPIRES", "86400")),
        # Seconds for which a chord waits for its next member.
        "result_chord_expires": int(os.environ.get("CHORD_EXPIRES", "604800")),
        **delivery_settings(),
        # Prefetch: a process reserves one task, so that long tasks do not hold up short ones.
        "worker_prefetch_multiplier": int(os.environ.get("PREFETCH_MULTIPLIER", "1")),
        # The file that keeps revoked ids for the worker's next start; without it a restart forgets them.
        "worker_state_db": os.environ.get("STATE_DB"),
        "broker_connection_retry_on_startup": True,
        # Through an outage running tasks are kept, waiting ones given back. Kept ones count as prefetched.
        "worker_consumer": "redis_practices.celery_worker.consumer:KeepingConsumer",
        "worker_enable_prefetch_count_reduction": False,
        "broker_transport": transport_for(broker_url, transport()),
        "broker_transport_options": {
            **redelivery_settings(),
            # Priorities with a separate list each; senders and workers must agree.
            "priority_steps": [0, 3, 6, 9],
            **shared,
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            # Seconds between checks of the connection for control commands, by default 25.
            "health_check_interval": CHECK_EVERY,
            **pool_options(broker_url),
        },
        # Without this retry policy the result backend tries for 19 s before it reports that Redis is down.
        "result_backend_transport_options": {"retry_policy": {"timeout": timeout}, **shared},
        "redis_socket_timeout": timeout,
        "redis_socket_connect_timeout": timeout,
        # Seconds after which an idle connection is replaced: a firewall may have forgotten it.
        "redis_backend_health_check_interval": IDLE,
        # `celery beat` records each sending at once; by default a killed beat repeats up to 3 minutes of them.
        "beat_sync_every": 1,
    }


def sentinel_settings(timeout: float) -> dict[str, Any]:
    """Return how to find the primary through sentinels: its name, and the sentinels' own user and password."""
    primary = os.environ.get("SENTINEL_PRIMARY")
    if not primary:
        return {}
    login = {"username": os.environ.get("SENTINEL_USERNAME"), "password": os.environ.get("SENTINEL_PASSWORD")}
    timeouts = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    return {"master_name": primary, "sentinel_kwargs": {**timeouts, **{k: v for k, v in login.items() if v}}}


def transport() -> str | None:
    """Return the transport in BROKER_TRANSPORT; None leaves the choice to the URL.

    ``redis_practices.celery_worker.batch_transport:Transport`` halves the worker's cost of a short task.
    """
    name = os.environ.get("BROKER_TRANSPORT") or None
    if name and ":" in name:
        # Imported now: `celery` removes this folder from the path after it has found the app.
        import_module(name.partition(":")[0])
    return name


def delivery_settings() -> dict[str, Any]:
    """Return the settings that decide whether a dead worker's task is lost or redelivered."""
    return {
        # Acknowledged when done: a killed worker's task is redelivered. Delivery is then at least once instead of at
        # most once, at no measurable cost; tasks must be idempotent, see `once`.
        "task_acks_late": True,
        # A task that killed its process is not run again, or it would kill the next process too: see `Guarded`.
        "task_reject_on_worker_lost": False,
        # Running tasks continue without the broker, and run once.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # Seconds for running tasks on SIGQUIT before they return to the queue; keep it below stop_grace_period.
        "worker_soft_shutdown_timeout": float(os.environ.get("SOFT_SHUTDOWN", "10")),
        # Seconds until an exception inside a task, then until its process is killed; only prefork enforces them. Both
        # stay below the visibility timeout, so that two workers never run a hung task at the same time.
        "task_soft_time_limit": float(os.environ.get("TASK_SOFT_TIME_LIMIT", "3000")),
        "task_time_limit": float(os.environ.get("TASK_TIME_LIMIT", "3300")),
    }


def redelivery_settings() -> dict[str, Any]:
    """Return the settings that decide when an unacknowledged task is redelivered."""
    return {
        # The visibility timeout in seconds. It must exceed the longest task and countdown, or they run twice; a killed
        # worker's tasks wait as long.
        "visibility_timeout": float(os.environ.get("VISIBILITY_TIMEOUT", "3600")),
        # Workers check for unacknowledged tasks every 5 s, at the cost of one read; by default every 10 times 10 = 100
        # s.
        "unacked_restore_interval": 5.0,
        "unacked_restore_throttle": 1,
        # Seconds for which a check locks other workers out; by default a worker killed during its check stops them for
        # 300.
        "unacked_mutex_expire": 10,
    }


app = Celery("worker")
app.conf.update(settings(url_of("BROKER_URL") or "redis://127.0.0.1:6379/0"))
app.conf.worker_pool = os.environ.get("WORKER_POOL", "prefork")
app.conf.worker_concurrency = int(os.environ.get("WORKER_CONCURRENCY", "0")) or None
app.conf.include = os.environ.get("WORKER_INCLUDES", "").split()  # further modules with tasks
if signing_folder := os.environ.get("SIGNING_FOLDER"):
    sign_messages(app, signing_folder)


@app.task
def add(x: float, y: float) -> float:
    """Return the sum: the example of the README."""
    return x + y
