"""Write values to the origin and to the cache: `WriteThrough`, `WriteBehind`.

Two writers that save one after the other may reach the cache the other way round, and a reader may bring what it read
before both. With `WriteThrough` the origin gives every state of a record a version, and the cache refuses an older one:
in one script, which is the only way to compare and write atomically on every engine.

`WriteBehind` answers a write at once and saves it in the origin a little later, in order. It is not for a pure cache: a
queue that is evicted or lost in a restart loses what users were told is saved. Use a server with ``noeviction`` and an
append-only file, and this only where an answer cannot wait for the origin.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

_PUT = """
local known = redis.call('HGET', KEYS[1], 'version')
if known and tonumber(known) >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[1], 'value', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""


class WriteThrough:
    """A cache of records that have a version each: a row's counter, or the time of its last change."""

    def __init__(self, client: Redis, *, ttl: float) -> None:
        """Keep records for `ttl` seconds, which is also how long one stays that could not be replaced."""
        self._client, self._ttl = client, ttl

    def write(self, key: str, value: Any, save: Callable[[Any], int]) -> bool:
        """Save `value` in the origin, put it into the cache under the version that `save` returns.

        The origin comes first: what it refuses was never true. False means that the value is saved and the cache does
        not hold it, because it did not answer or had something newer; then the old value may be read until its ttl is
        over. Raises whatever `save` raises.
        """
        version = save(value)
        try:
            return self.put(key, value, version)
        except RedisError:
            return False

    def put(self, key: str, value: Any, version: int) -> bool:
        """Put a value into the cache unless it holds this version or a newer one; readers call it after a miss.

        Raises:
            redis.exceptions.RedisError: the cache does not answer or refuses the write.
        """
        return bool(self._client.eval(_PUT, 1, key, version, json.dumps(value), round(self._ttl * 1000)))

    def get(self, key: str) -> Any:
        """Return the cached value of `key`, or None on a miss (``HGET``).

        Raises:
            redis.exceptions.RedisError: the cache does not answer.
        """
        raw = self._client.hget(key, "value")
        return json.loads(raw) if raw is not None else None


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
