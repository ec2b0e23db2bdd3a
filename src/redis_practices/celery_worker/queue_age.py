"""Report how many tasks wait in a queue, and the age of the oldest.

Set an alarm on these two numbers. The length alone does not tell a busy queue from a queue without workers; the age
does. Celery's messages carry no time, so the sender writes it into a header.

    PYTHONPATH=src python -m redis_practices.celery_worker.queue_age redis://broker:6379/0 celery
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from celery.signals import before_task_publish
from redis import Redis

from redis_practices.cli import UsageError, run
from redis_practices.clients import checked_url, one_line_errors, redis_client

SENT_AT = "sent_at"
"""The header with the time of sending, in seconds since 1970; a task reads it as ``self.request.sent_at``."""

DEFAULT_STEPS = (0, 3, 6, 9)
"""kombu's priorities with a separate list each, unless ``priority_steps`` is set."""


@before_task_publish.connect  # for every task that this process sends, retries included
def stamp_message(headers: dict[str, Any] | None = None, **_: Any) -> None:
    """Write the time of sending into the headers of a task."""
    if headers is not None:
        headers[SENT_AT] = time.time()


@dataclass(frozen=True)
class QueueState:
    """The tasks that wait in a queue."""

    length: int
    """Tasks that no worker has taken yet."""
    oldest: float | None
    """Seconds since the oldest of them was sent; None for an empty queue, or a message without that header."""


def queue_state(client: Redis, queue: str, *, prefix: str = "", steps: Sequence[int] = DEFAULT_STEPS) -> QueueState:
    """Return the state of `queue` with two commands a priority step (``LLEN``, ``LINDEX``), at any length.

    `prefix` is the ``global_keyprefix`` and `steps` the ``priority_steps`` of the transport options.

    Raises:
        RedisError: the server does not answer, or refuses the user.
    """
    lists = [f"{prefix}{queue}\x06\x16{step}" if step else f"{prefix}{queue}" for step in steps]
    pipe = client.pipeline(transaction=False)
    for name in lists:
        pipe.llen(name)
        # Tasks are pushed on the left and taken from the right, so the oldest is the last.
        pipe.lindex(name, -1)
    replies = pipe.execute()
    sent = [moment for message in replies[1::2] if (moment := _sent_at(message)) is not None]
    return QueueState(sum(replies[::2]), max(0.0, time.time() - min(sent)) if sent else None)


def _sent_at(message: str | bytes | None) -> float | None:
    """Return the time when a message was sent; None without a message or without the header."""
    try:
        return float(json.loads(message or "{}")["headers"][SENT_AT])
    except (ValueError, TypeError, LookupError):
        return None


def main() -> None:
    """Print the state of the queue named on the command line."""
    if len(sys.argv) != 3:  # noqa: PLR2004 - the command, the URL, the queue
        raise UsageError(
            "give a URL and a queue, like: python -m redis_practices.celery_worker.queue_age redis://127.0.0.1 celery"
        )
    url = checked_url(sys.argv[1], "the first argument")
    with one_line_errors(url), redis_client(url) as client:
        state = queue_state(client, sys.argv[2])
    age = "unknown" if state.oldest is None else f"{state.oldest:.1f} s"
    print(f"{state.length} tasks wait; the oldest was sent {age} ago" if state.length else "no task waits")


if __name__ == "__main__":
    run(main)
