"""Report a consuming Celery worker by a file that the worker keeps young.

``celery inspect ping`` starts a Python process and a broadcast for every check. Here the worker touches ``READY_FILE``
when it is ready and then with each heartbeat (every 2 s). Celery's event loop sends heartbeats only while it is
connected to the broker. So the file grows old when the worker hangs or has lost its broker. A worker in warm shutdown
removes the file.

    READY_FILE=/tmp/ready celery -A worker worker --include redis_practices.celery_worker.health
    find "$READY_FILE" -mmin -0.2 | grep -q .        the check: the file is younger than 12 s
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery.signals import heartbeat_sent, worker_ready, worker_shutting_down

READY_FILE = Path(os.environ["READY_FILE"])
"""The file; its folder must be writable, and empty when the worker starts."""


@worker_ready.connect
def appear(**_: Any) -> None:
    """Create the file: the worker consumes."""
    READY_FILE.touch()


@heartbeat_sent.connect
def stay(**_: Any) -> None:
    """Keep the file young; the first heartbeat precedes readiness, so it does not create the file."""
    if READY_FILE.exists():
        READY_FILE.touch()


@worker_shutting_down.connect
def leave(**_: Any) -> None:
    """Remove the file: a worker in warm shutdown takes no more tasks."""
    READY_FILE.unlink(missing_ok=True)
