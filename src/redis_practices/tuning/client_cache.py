"""A cache in the client that the server keeps true: it says which keys have changed (``CLIENT TRACKING``, RESP3).

Pays for few keys that are read far more often than written. Not for keys that change all the time: each change costs a
message to every client that read the key. redis-py has such a cache built in, but for Redis >= 7.4 alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from redis import ConnectionPool, Redis

from redis_practices.tuning.connecting import address


class TrackedCache:
    """Reads keys through one connection and remembers them until the server says that they have changed."""

    def __init__(self, server: Redis) -> None:
        """Open a connection of its own to the same server, and have its reads tracked."""
        self._pool = ConnectionPool(protocol=3, **address(server))
        self._connection = self._pool.get_connection()
        self._known: dict[str, Any] = {}
        self._connection._parser.set_invalidation_push_handler(self._forget)  # noqa: SLF001 - redis-py has no public way
        self._ask("CLIENT", "TRACKING", "ON")

    def get(self, key: str) -> Any:
        """Return the value of `key`, asking the server only if it is not known or has changed (``GET``).

        Raises:
            redis.exceptions.RedisError: the server does not answer.
        """
        while self._connection.can_read(timeout=0):
            self._connection.read_response(push_request=True)
        if key not in self._known:
            self._known[key] = self._ask("GET", key)
        return self._known[key]

    def _ask(self, *command: str) -> Any:
        """Send one command and return its answer."""
        self._connection.send_command(*command)
        return self._connection.read_response()

    def _forget(self, message: list[Any]) -> None:
        """Forget the keys that a message names; all, when it names none (the server forgot who read what)."""
        for key in message[1] or list(self._known):
            self._known.pop(key.decode() if isinstance(key, bytes) else key, None)

    def __enter__(self) -> Self:
        """Return the cache."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give the connection back, which ends the tracking."""
        self._connection.disconnect()
        self._pool.release(self._connection)


def read_again(server: Redis, keys: Sequence[str]) -> None:
    """Naive: read each key five times from the server."""
    for _ in range(5):
        for key in keys:
            server.get(key)


def read_tracked(server: Redis, keys: Sequence[str]) -> None:
    """Tuned: read each key five times through a cache in the client; opening it included."""
    with TrackedCache(server) as tracked:
        for _ in range(5):
            for key in keys:
                tracked.get(key)
