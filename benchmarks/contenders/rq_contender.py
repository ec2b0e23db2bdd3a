"""rq: a job is a hash, and its result is stored in it."""

from __future__ import annotations

from redis import Redis
from rq import Queue

from effect import URL, effect

BATCH = 100


def nothing(index: int, total: int) -> None:
    """Do nothing."""
    effect(index, total)


def publish(number: int) -> None:
    """Send jobs in batches."""
    queue = Queue(connection=Redis.from_url(URL))
    for begin in range(0, number, BATCH):
        indices = range(begin, min(begin + BATCH, number))
        queue.enqueue_many([Queue.prepare_data(nothing, args=(index, number), result_ttl=60) for index in indices])
