"""Write-through: who changes the origin puts the new value into the cache, and the newest version wins.

Two writers that save one after the other may reach the cache the other way round, and a reader may bring what it read
before both. Therefore the origin gives every state of a record a version, and the cache refuses an older one: in one
script, which is the only way to compare and write at one stroke on every engine.
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
