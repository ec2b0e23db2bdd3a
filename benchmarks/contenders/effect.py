"""Do nothing, as the task of every contender; leave a mark at a quarter of the tasks, and in each of the last ones.

By the quarter all workers have started. A mark in each task would measure Redis, which is the same for all. The tail is
longer than any worker's prefetch, so the end of the tail is the end of all tasks.
"""

from __future__ import annotations

import os
import time
from functools import cache

from redis import Redis

MARKS = "benchmark:marks"
TAIL = 64
URL = os.environ.get("BROKER_URL", "redis://127.0.0.1:6379/0")


@cache
def _client() -> Redis:
    """Return the client of this process."""
    return Redis.from_url(URL)


def effect(index: int, total: int) -> None:
    """Record the time if this task ends the first quarter of `total`, or is one of the last."""
    if index == total // 4 or index >= total - TAIL:
        _client().rpush(MARKS, time.time())
