"""Keep hot values in the memory of the process (client-side caching, RESP3).

A value stays until the server reports a change.

redis-py has a client-side cache too (``CacheConfig``): use it if every server is Redis 7.4 or newer. It refuses older
ones and Valkey, and polls the socket on every hit. This one works on every engine since 6.0. It registers a prefix
(``CLIENT TRACKING ON BCAST``), and the server names each key with this prefix that is written, expires or is evicted.

Promises: a change, an eviction or a flush drops the copy, after one trip of the notice. After a lost connection all
copies are dropped at once, and the listener connects again every quarter of a heartbeat. After a fork the child begins
empty, and listens from its first read. An interrupt of a read keeps nothing of it. Names are bytes.

Not promised: while a connection is silently dead, a copy may be up to two heartbeats and one quarter old. `get` raises
the errors of the client; it has no origin.
"""

from __future__ import annotations

import _thread
import logging
import threading
import time
from contextlib import suppress
from typing import Any, Self

from redis import Redis
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redis_practices.clients import after_fork
from redis_practices.polling import Flag

_log = logging.getLogger(__name__)


class NearCache:
    """Values of the keys with a prefix. End it with `close`, or use it in a ``with`` block."""

    def __init__(self, client: Redis, prefix: bytes | str, *, limit: int = 10_000, heartbeat: float = 1.0) -> None:
        """Keep at most `limit` values of keys that begin with `prefix`.

        After a silence of two `heartbeat` (seconds) the server counts as lost. Until it is back, every read goes to the
        client.
        """
        self._client, self._prefix, self.limit, self._heartbeat = client, prefix, limit, heartbeat
        # By the bytes of the name: another client's name need not be text.
        self._values: dict[bytes, object] = {}
        self._ended = Flag()
        self.listening = False
        """Whether the connection for notices works; values are kept only then."""
        self._lock = threading.Lock()
        self._running: Flag | None = None
        self._begin()
        after_fork(self._forked)

    def _begin(self) -> None:
        """Listen in a thread."""
        with self._lock:
            if self._running is None and not self._ended.is_set():
                stopped = Flag()
                # Not threading.Thread: an exception of a signal handler in its start leaves it broken.
                _thread.start_new_thread(self._run, (stopped,))
                self._running = stopped

    def _forked(self) -> None:
        """Drop all values in a child process, which has no listening thread until its first read."""
        self._values, self.listening, self._lock, self._running = {}, False, threading.Lock(), None

    def get(self, key: bytes | str) -> Any:
        """Return the value of `key`, or None; from memory if it is kept (else ``GET`` and ``PTTL``).

        Raises:
            redis.exceptions.RedisError: the value is not kept, and the server does not answer.
        """
        if self._running is None:
            self._begin()
        name = _bytes(key)
        kept = self._values.get(name)
        if isinstance(kept, tuple) and time.monotonic() < kept[1]:
            return kept[0]
        # A notice about the key before the reply removes this mark; the value is then returned, but not kept.
        mark = object()
        with self._lock:
            if self.listening and name.startswith(_bytes(self._prefix)):
                self._values.pop(name, None)
                self._values[name] = mark
                if len(self._values) > self.limit:
                    del self._values[next(iter(self._values))]
        asked = time.monotonic()
        with self._client.pipeline(transaction=False) as both:
            both.get(key)
            both.pttl(key)
            value, left = both.execute()
        with self._lock:
            if self._values.get(name) is mark:
                del self._values[name]
                if value is not None:
                    # The server reports an expired key when it frees it, which may be later than its ttl.
                    self._values[name] = (value, asked + left / 1000 if left >= 0 else float("inf"))
        return value

    def holds(self, key: bytes | str) -> bool:
        """Tell whether `get` would answer from memory."""
        kept = self._values.get(_bytes(key))
        return isinstance(kept, tuple) and time.monotonic() < kept[1]

    def __len__(self) -> int:
        """Return the number of values that are kept or being read."""
        return len(self._values)

    def close(self) -> None:
        """Stop listening and drop all values."""
        self._ended.set()
        if running := self._running:
            running.wait(30)

    def __enter__(self) -> Self:
        """Return this object."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close this object."""
        self.close()

    def _run(self, stopped: Flag) -> None:
        """Listen until `close`."""
        try:
            self._listen_again()
        finally:
            self._running = None  # the next read starts it again, also after an error
            stopped.set()

    def _listen_again(self) -> None:
        """Listen, and start again after each lost connection; meanwhile no value is kept."""
        connection = None
        while not self._ended.is_set():
            try:
                # Not from the pool: the pool's next user of the connection would receive the notices.
                connection = connection or self._client.connection_pool.make_connection()
                self._listen(connection)
            except Exception:  # noqa: BLE001 - a dead listener would leave old values for ever
                _log.debug("the near cache does not listen", exc_info=True)
            finally:
                self._forget()
            if connection:
                with suppress(RedisError, OSError):
                    connection.disconnect()
            self._ended.wait(self._heartbeat / 4)

    def _forget(self) -> None:
        """Drop all values: changes during a lost connection are unknown."""
        with self._lock:
            self.listening = False
            self._values.clear()

    def _listen(self, connection: Any) -> None:
        """Ask for notices and read them until `close`, or until the server is silent (RedisError)."""
        connection.connect()
        # The one private name of redis-py in this project: its public ways to notices belong to its own cache. See
        # https://github.com/redis/redis-py/issues/3087; tests/test_redis_py_internals.py shows when the name changes.
        connection._get_parser().set_invalidation_push_handler(self._changed)  # noqa: SLF001 - see above
        connection.send_command("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self._prefix)
        connection.read_response()
        self.listening = True
        answer_by: float | None = None
        while not self._ended.is_set():
            try:
                connection.read_response(
                    disable_decoding=True, timeout=self._heartbeat / 4, disconnect_on_error=False, push_request=True
                )
                answer_by = None
            except RedisTimeoutError:
                if answer_by is None:
                    answer_by = time.monotonic() + self._heartbeat
                    connection.send_command("PING", check_health=False)
                elif time.monotonic() > answer_by:
                    raise

    def _changed(self, notice: list[Any]) -> list[Any]:
        """Drop the keys that the server names; None means all keys, after a flush."""
        if notice[1] is None:
            with self._lock:
                self._values.clear()
            return notice
        for key in notice[1]:
            with self._lock:
                self._values.pop(_bytes(key), None)
        return notice


def _bytes(name: bytes | str) -> bytes:
    return name if isinstance(name, bytes) else name.encode()
