"""Stop asking a dead or paused server for a while. Without this, every call waits for a timeout.

pybreaker holds one lock during each call, so threads would use the cache one at a time, and its asyncio support needs
Tornado. Threads and tasks ask this circuit breaker before a call, and report the outcome after it.

It is per process: after a fork each child counts its own failures, from those of its parent. A call that is interrupted
reports nothing. The next trial is then the one after the pause.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from redis_practices.clients import after_fork


class Breaker:
    """Open after several failures in a row; then let one call at a time probe the server."""

    def __init__(self, failures: int = 3, pause: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Open after `failures` in a row, and let one call through every `pause` seconds until it succeeds."""
        self._limit, self._pause, self._clock = failures, pause, clock
        self._failed = 0
        self._next_trial = 0.0
        self._renew_lock()
        after_fork(self._renew_lock)

    def _renew_lock(self) -> None:
        """Take a new lock: that of a parent process may be held for ever."""
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether calls are blocked."""
        return self._failed >= self._limit

    def allows(self) -> bool:
        """Tell whether this call may run; after the pause exactly one caller gets True."""
        if self._failed < self._limit:
            return True
        with self._lock:
            if self._clock() < self._next_trial:
                return False
            self._next_trial = self._clock() + self._pause
            return True

    def succeeded(self) -> None:
        """Record that the server answered."""
        # Checked without the lock first: a lock on every hit would cost more than the rest of this class.
        if self._failed:
            with self._lock:
                self._failed = 0

    def failed(self) -> None:
        """Record that the server did not answer."""
        with self._lock:
            self._failed += 1
            if self._failed == self._limit:
                self._next_trial = self._clock() + self._pause
