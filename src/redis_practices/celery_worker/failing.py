"""Retry a failing task with growing waits, and put a poison message aside.

Celery's ``retry_backoff`` counts in whole seconds: the first retries of many tasks come in two clumps, at 0 and at 1 s.
`wait_before_retry` spreads them over the whole interval ("full jitter").

Celery counts retries, not deliveries: a message that kills its worker is delivered again for ever (celery#8610). A
`Guarded` task first counts in Redis how often its message was delivered:

    @app.task(base=Guarded, bind=True)
    def convert(self, picture): ...

After `MAX_DELIVERIES` the task is not run. Its message goes to the list ``dead-letters``, its result becomes a failure,
and it is acknowledged. An operator reads the list, repairs the cause, and sends the message again with `revive`.
"""

from __future__ import annotations

import json
import os
import random
from typing import Any

from celery import Celery, Task
from redis import Redis

MAX_DELIVERIES = int(os.environ.get("MAX_DELIVERIES", "3"))
"""Deliveries that a message may have; a deployment that kills workers counts too, so not 1."""

COUNT_TTL = 86400
"""Seconds for which deliveries are counted: longer than the visibility timeout times `MAX_DELIVERIES`."""

DEAD_LETTERS = "dead-letters"


class TooManyDeliveries(Exception):  # noqa: N818 - it reads as what happened
    """The task ended its worker too often; the message is in the dead-letter list."""


def prefixed(key: str) -> str:
    """Return a key with this application's prefix; see KEY_PREFIX in worker.py."""
    return os.environ.get("KEY_PREFIX", "") + key


class Guarded(Task):  # type: ignore[misc] # Celery has no types
    """A task with a limited number of deliveries."""

    abstract = True
    acks_late = True
    # Without it Celery acknowledges the message of a dead pool process and loses the task. The count ends redeliveries.
    reject_on_worker_lost = True
    max_deliveries = MAX_DELIVERIES

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Count this delivery, and put the message aside above the limit (TooManyDeliveries)."""
        # A retry is a new message with the same id, so its count starts again.
        key = prefixed(f"deliveries:{task_id}:{self.request.retries}")
        client: Redis = self.backend.client
        with client.pipeline() as pipe:
            pipe.incr(key)
            pipe.expire(key, COUNT_TTL)
            delivered = pipe.execute()[0]
        if delivered <= self.max_deliveries:
            return
        letter = {"id": task_id, "task": self.name, "args": args, "kwargs": kwargs, "deliveries": delivered - 1}
        client.rpush(prefixed(DEAD_LETTERS), json.dumps(letter))
        raise TooManyDeliveries(f"{self.name} ended its worker {delivered - 1} times")

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Delete the count."""
        del retval, args, kwargs
        self.backend.client.delete(prefixed(f"deliveries:{task_id}:{self.request.retries}"))


def letters(client: Redis) -> list[dict[str, Any]]:
    """Return the dead letters, oldest first (``LRANGE``)."""
    return [json.loads(letter) for letter in client.lrange(prefixed(DEAD_LETTERS), 0, -1)]


def revive(client: Redis, app: Celery) -> str | None:
    """Send the oldest dead letter again, and return its new id; None if the list is empty.

    The letter leaves the list after it is sent: a kill in between duplicates the task, and never loses it.
    """
    letter = client.lindex(prefixed(DEAD_LETTERS), 0)
    if letter is None:
        return None
    said = json.loads(letter)
    sent = app.send_task(said["task"], said["args"], said["kwargs"])
    client.lrem(prefixed(DEAD_LETTERS), 1, str(letter))
    return str(sent.id)


BASE = 1.0
"""Seconds before the first retry."""

CAP = 600.0
"""The longest wait in seconds."""


def wait_before_retry(retries: int, *, base: float = BASE, cap: float = CAP, jitter: bool = True) -> float:
    """Return the seconds to wait after `retries` earlier ones: `base`, twice `base`, four times ..., at most `cap`.

    With `jitter` it is a random time between 0 and that, so that tasks that failed together do not return together.
    """
    longest: float = min(cap, base * 2.0**retries)
    return random.uniform(0.0, longest) if jitter else longest
