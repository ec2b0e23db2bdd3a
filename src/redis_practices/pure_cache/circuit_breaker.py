"""Leave a server that is down or paused alone for a while, instead of a timeout on every call.

pybreaker holds one lock for the length of each call, so that threads would use the cache one at a time, and its asyncio
needs Tornado. This circuit breaker is asked before a call and told after it, by threads and tasks alike.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Breaker:
    """Open after some failures in a row; then one call at a time tries whether the server is back."""

    def __init__(self, failures: int = 3, pause: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Open after `failures` in a row, and let one call through every `pause` seconds until it succeeds."""
        self._limit, self._pause, self._clock = failures, pause, clock
        self._failed = 0
        self._next_trial = 0.0
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether calls are held back."""
        return self._failed >= self._limit

    def allows(self) -> bool:
        """Tell whether this call may go on; when the pause is over, exactly one caller hears yes."""
        if self._failed < self._limit:
            return True
        with self._lock:
            if self._clock() < self._next_trial:
                return False
            self._next_trial = self._clock() + self._pause
            return True

    def succeeded(self) -> None:
        """Take note that the server answered."""
        # Looked at first, since a lock on every hit would cost more than the rest of this class.
        if self._failed:
            with self._lock:
                self._failed = 0

    def failed(self) -> None:
        """Take note that the server did not answer."""
        with self._lock:
            self._failed += 1
            if self._failed == self._limit:
                self._next_trial = self._clock() + self._pause
