"""Many keys in one command: cheaper than a pipeline, since the server parses, checks and answers once.

Pays for plain strings. Not for huge lists: a command runs to its end while everybody else waits, so stay at some
hundred keys. In a cluster all keys must share a slot; see `redis_practices.tuning.bulk` for those that do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis import Redis


def read_together(server: Redis, keys: Sequence[str], size: int = 100) -> list[Any]:
    """Tuned: read `size` keys by one command (``MGET``)."""
    values: list[Any] = []
    for first in range(0, len(keys), size):
        answer: Any = server.mget(keys[first : first + size])
        values += answer
    return values


def write_each(server: Redis, keys: Sequence[str]) -> None:
    """Naive: write each key and wait for its answer (``SET``)."""
    for key in keys:
        server.set(key, "1")


def write_together(server: Redis, keys: Sequence[str], size: int = 100) -> None:
    """Tuned: write `size` keys by one command (``MSET``; it sets no ttl)."""
    for first in range(0, len(keys), size):
        server.mset(dict.fromkeys(keys[first : first + size], "1"))
