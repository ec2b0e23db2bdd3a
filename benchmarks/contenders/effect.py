"""What the task of every contender does: nothing, but for a mark after a quarter of them, and by the last of them.

By the quarter all workers have started. A mark in each task would measure Redis, which is the same for all. The tail
is longer than what any of them reserves, so when all of it is done, so is what came before.
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
    """Return this process' client."""
    return Redis.from_url(URL)


def effect(index: int, total: int) -> None:
    """Do nothing; note the time when this ends the first quarter of `total` tasks, or is one of the last."""
    if index == total // 4 or index >= total - TAIL:
        _client().rpush(MARKS, time.time())
