"""Write-behind: a write is queued and answered at once; somebody saves it in the origin a little later, in order.

It is not for a pure cache: a queue that may be evicted or lost in a restart loses what users were told is saved. Use a
server with ``noeviction`` and an append-only file, and this only where an answer cannot wait for the origin.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from redis import Redis


class WriteBehind:
    """Writes that wait in a stream: in the order in which they were made, until they are saved."""

    def __init__(self, client: Redis, queue: str, *, ttl: float = 60.0) -> None:
        """Queue in the stream `queue`; cached values live for `ttl` seconds. The client decodes its answers."""
        self._client, self._queue, self._ttl = client, queue, ttl

    def write(self, key: str, value: Any) -> None:
        """Queue the write and cache the value, both or neither (``MULTI``, ``XADD``, ``SET``).

        Raises:
            redis.exceptions.RedisError: nothing is queued, or the answer was lost and it is not known.
        """
        raw = json.dumps(value)
        with self._client.pipeline(transaction=True) as both:
            both.xadd(self._queue, {"key": key, "value": raw})
            both.set(key, raw, px=round(self._ttl * 1000))
            both.execute()

    def waiting(self) -> int:
        """Return how many writes are not saved yet (``XLEN``)."""
        return self._client.xlen(self._queue)

    def drain(self, save: Callable[[str, Any], None], batch: int = 100) -> int:
        """Save what waits, oldest first, and return how much that was; one drainer at a time.

        The first write that cannot be saved stops it, for the ones behind it may change the same record: it and they
        wait for the next call. A write is taken out only after it is saved, so one may be saved twice when a drainer
        dies, and `save` must bear that.

        Raises:
            redis.exceptions.LockError: another drainer is at work.
            Exception: whatever `save` raises.
        """
        saved = 0
        # redis-py's lock: it has a token and a ttl, so a drainer that dies blocks the next one for 30 s at most.
        with self._client.lock(f"{self._queue}:drainer", timeout=30, blocking=False) as lock:
            while entries := self._oldest(batch):
                for entry, write in entries:
                    save(write["key"], json.loads(write["value"]))
                    self._client.xdel(self._queue, entry)
                    saved += 1
                lock.reacquire()
        return saved

    def _oldest(self, number: int) -> list[Any]:
        """Return the oldest writes that wait, each with its place in the queue (``XRANGE``)."""
        return list(self._client.xrange(self._queue, count=number) or ())
