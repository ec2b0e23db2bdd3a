"""Prevent overload of the origin and of a failing server: ttl jitter, early refresh (XFetch), a circuit breaker.

Values that are cached together expire together and are then computed together: a cache stampede. `jittered` gives each
value a different ttl. A hot value expires while many readers use it: `is_due` picks one of them to compute it shortly
before.

Early refresh is from "Optimal Probabilistic Cache Stampede Prevention" (Vattani, Chierichetti, Lowenstein; VLDB 2015).
The nearer the expiry and the longer the computation, the likelier a read refreshes. A value without readers just
expires.

    client.set(key, value, px=round(1000 * jittered(300)))        between 270 and 300 s

A dead or paused server costs every call a timeout. `Breaker` stops asking it for a while. pybreaker holds one lock
during each call, so threads would use the cache one at a time, and its asyncio support needs Tornado. Threads and tasks
ask this circuit breaker before a call, and report the outcome after it.

It is per process: after a fork each child counts its own failures, from those of its parent. A call that is interrupted
reports nothing. The next trial is then the one after the pause.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable

from redis_practices.clients import after_fork


def jittered(ttl: float, spread: float = 0.1, draw: Callable[[], float] = random.random) -> float:
    """Return a random ttl in seconds, evenly distributed between ``ttl * (1 - spread)`` and `ttl`.

    It never exceeds `ttl`, which is a promise about the age of the value. `draw` returns numbers from 0 up to 1; a
    seeded ``random.Random(7).random`` makes the result repeatable.

    Raises:
        ValueError: `ttl` is not above 0, or `spread` is outside of 0 up to 1.
    """
    if not ttl > 0 or not 0 <= spread < 1:
        raise ValueError(f"a ttl is above 0 and a spread from 0 up to 1, not {ttl!r} and {spread!r}")
    return ttl * (1 - spread * draw())


def is_due(cost: float, left: float, beta: float = 1.0, draw: Callable[[], float] = random.random) -> bool:
    """Tell whether this read should compute the value again, although it lives for `left` more seconds.

    `cost` is the time of the computation in seconds. A `beta` above 1 refreshes earlier, below 1 later, and 0 only when
    no time is left. `draw` returns numbers from 0 up to 1.
    """
    # 1 - draw() is above 0, so its logarithm exists.
    return -cost * beta * math.log(1 - draw()) >= left


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
