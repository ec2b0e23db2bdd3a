"""Write values to the origin and the cache: `WriteThrough`, `WriteBehind`.

Two writers may reach the cache in another order than the origin. A slow reader may fill in a value older than both.
With `WriteThrough` the origin gives every state of a record a version, and the cache refuses older versions. A script
does so, since no other way compares and writes atomically on every engine.

`WriteBehind` answers a write at once and saves it in the origin a little later, in order. It is not for a pure cache:
an eviction or a restart would lose writes that users believe to be saved. Use a server with
``noeviction`` and an append-only file, and only where an answer cannot wait for the origin.

`WriteThrough` promises: no error of the cache, since a cache that is away is a miss, and its circuit breaker spares
each call the timeout. A record knows its key; one of an earlier release, without it, is read. An interrupt between
`save` and the cache leaves the older record, like a failed write: until its ttl ends, or the next write.

`WriteBehind` promises: after an interrupt or the death of a drainer its lock ends within 40 s. The next drainer saves
what is left, the last write perhaps twice. A write that raised may be queued. Not promised: anything that a
server without its file loses in a restart or a failover.
"""

from __future__ import annotations

import _thread
import json
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from redis import Redis
from redis.exceptions import LockError, RedisError
from redis.lock import Lock
from redis.utils import str_if_bytes

from redis_practices.polling import Flag
from redis_practices.pure_cache.cache_aside import ERRORS, is_dead, require_json
from redis_practices.pure_cache.overload import Breaker

# Versions are compared as text: Lua's numbers are exact only up to 2**53.
_PUT = """
local function below(a, b)
    -- Compare decimal integers.
    local a_negative, b_negative = a:sub(1, 1) == '-', b:sub(1, 1) == '-'
    if a_negative ~= b_negative then return a_negative end

    -- With more digits, a number is further from 0.
    local less = #a < #b or #a == #b and a < b
    if a_negative then return a ~= b and not less end
    return less
end

local known = redis.call('HGET', KEYS[1], 'version')
if known and not below(known, ARGV[1]) then return 0 end

redis.call('HSET', KEYS[1], 'version', ARGV[1], 'key', KEYS[1], 'value', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""


class WriteThrough:
    """A cache of records with versions, such as a row's counter or the time of its last change."""

    def __init__(self, client: Redis, *, ttl: float, breaker: Breaker | None = None) -> None:
        """Keep records for `ttl` seconds; after a failed write the old record may live that long."""
        self._client, self._ttl, self.breaker = client, ttl, breaker or Breaker()

    def write(self, key: str, value: Any, save: Callable[[Any], int]) -> bool:
        """Save `value` in the origin, then cache it with the version that `save` returns.

        The origin comes first: a value that it refuses must never be cached. False means that the value is saved but
        not cached: the cache did not answer, or holds a newer version. Readers may then see the old value until its ttl
        ends. Raises any exception of `save`.
        """
        version = save(value)
        return self.put(key, value, version)

    def put(self, key: str, value: Any, version: int) -> bool:
        """Cache a value; readers call it after a miss.

        False means that the cache holds this version or a newer one, or that it does not answer or refuses the write. A
        version is a whole number of any size, such as a time in nanoseconds.
        """
        require_json(value)
        arguments = (str(int(version)), json.dumps(value), round(self._ttl * 1000))
        return bool(self._asked(lambda: self._client.eval(_PUT, 1, key, *arguments)))

    def get(self, key: str) -> Any:
        """Return the cached value of `key` (``HMGET``).

        None means a miss, a record of another form, or a cache that does not answer.
        """
        found = self._asked(lambda: self._client.hmget(key, ["key", "value"]))
        if not isinstance(found, list) or found[1] is None or str_if_bytes(found[0] or key) != key:
            return None
        try:
            return json.loads(found[1])
        except ValueError:
            return None

    def _asked(self, command: Callable[[], Any]) -> Any:
        """Return the reply to a command, or None. While the circuit breaker is open, None is returned at once."""
        if not self.breaker.allows():
            return None
        try:
            reply = command()
        except (*ERRORS, UnicodeDecodeError) as error:  # the latter: a client that decodes has read another form
            if is_dead(error):
                self.breaker.failed()
            else:
                self.breaker.succeeded()
            return None
        self.breaker.succeeded()
        return reply


LOCK = 30.0
"""Seconds after which the lock of a dead drainer ends."""

_DELETE_ENTRY = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('XDEL', KEYS[2], ARGV[2])
return 1
"""


class _Drainer:
    """A running drainer. An interrupt drops this object with its frame, which ends the renewal of its lock."""

    def __init__(self) -> None:
        self.ended = Flag()


def _renew(drainer: weakref.ref[_Drainer], ended: Flag, lock: Lock) -> None:
    """Renew a lock three times in its ttl until the drainer ends. One save may take longer than the ttl."""
    # If the renewal fails, the drainer notices at its next check.
    with suppress(RedisError):
        while not ended.wait(LOCK / 3) and drainer() is not None:
            lock.reacquire()


@contextmanager
def _renewed(lock: Lock) -> Iterator[None]:
    """Renew a lock as long as the block runs."""
    drainer = _Drainer()
    try:
        # Not threading.Thread: a signal handler that raises in its start leaves it broken.
        _thread.start_new_thread(_renew, (weakref.ref(drainer), drainer.ended, lock))
        yield
    finally:
        drainer.ended.set()


class WriteBehind:
    """A stream of writes that are saved later, in their order."""

    def __init__(self, client: Redis, queue: str, *, ttl: float = 60.0) -> None:
        """Queue in the stream `queue`; cached values live for `ttl` seconds. The client must decode its replies."""
        self._client, self._queue, self._ttl = client, queue, ttl

    def write(self, key: str, value: Any) -> None:
        """Queue the write and cache the value, both or neither (``MULTI``, ``XADD``, ``SET``).

        Raises:
            redis.exceptions.RedisError: the write is not queued; after a lost reply it may be.
        """
        require_json(value)
        raw = json.dumps(value)
        with self._client.pipeline(transaction=True) as both:
            both.xadd(self._queue, {"key": key, "value": raw})
            both.set(key, raw, px=round(self._ttl * 1000))
            both.execute()

    def waiting(self) -> int:
        """Return the number of writes that are not saved yet (``XLEN``)."""
        return self._client.xlen(self._queue)

    def drain(self, save: Callable[[str, Any], None], batch: int = 100) -> int:
        """Save the queued writes, oldest first, and return their number; one drainer at a time.

        A write that cannot be saved stops the drainer, since later writes may change the same record: all of them wait
        for the next call. A write leaves the queue after it is saved, so a drainer that dies may have saved one that is
        saved again. `save` must be idempotent.

        Raises:
            redis.exceptions.LockError: another drainer is at work, or took over from this one.
            Exception: any exception of `save`.
        """
        saved = 0
        lock = self._client.lock(f"{self._queue}:drainer", timeout=LOCK, blocking=False, thread_local=False)
        with lock, _renewed(lock):
            while entries := self._oldest(batch):
                for entry, write in entries:
                    # Fenced: a drainer that was paused beyond its lock saves nothing after the next drainer began.
                    lock.reacquire()
                    save(write["key"], json.loads(write["value"]))
                    if not self._client.eval(_DELETE_ENTRY, 2, lock.name, self._queue, lock.local.token, entry):
                        raise LockError(f"another drainer of {self._queue} took over while {entry} was saved")
                    saved += 1
        return saved

    def _oldest(self, number: int) -> list[Any]:
        """Return the oldest queued writes, each with its id in the stream (``XRANGE``)."""
        return list(self._client.xrange(self._queue, count=number) or ())
