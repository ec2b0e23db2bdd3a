"""Measure a cache in front of a function: one small interface for every way.

A way measures seconds a hit, seconds a miss with an instant origin, and the cost of a stampede. Each way has its
stampede protection on, if it has one, and a ttl of 60 seconds.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

VALUE = {"id": 7, "name": "qiross", "groups": ["admin", "staff"]}
TTL = 60
_names = itertools.count()

Read = Callable[[str, float], Any]
"""Reads a key through the cache; the origin needs that many seconds."""


class Counter:
    """The origin: counts its calls."""

    calls = 0

    def compute(self, delay: float) -> dict[str, Any]:
        """Answer after `delay` seconds."""
        self.calls += 1
        if delay:
            time.sleep(delay)
        return VALUE

    async def compute_async(self, delay: float) -> dict[str, Any]:
        """Answer after `delay` seconds, without holding up other tasks."""
        self.calls += 1
        if delay:
            await asyncio.sleep(delay)
        return VALUE


class Way(Protocol):
    """One way to cache."""

    def hits(self, number: int) -> float:
        """Return the seconds of a hit."""

    def misses(self, number: int) -> float:
        """Return the seconds of a miss."""

    def stampede(self, readers: int, delay: float) -> tuple[float, int]:
        """Return the seconds until all readers are served, and the number of origin calls."""


class ThreadWay:
    """A way for threads."""

    def __init__(self, make: Callable[[Counter], Read]) -> None:
        """Read with the function that `make` returns."""
        self.counter = Counter()
        self._read = make(self.counter)
        self.hits(1)  # connects

    def hits(self, number: int) -> float:
        """Return the seconds of a hit."""
        self._read("hit", 0)
        begun = time.perf_counter()
        for _ in range(number):
            self._read("hit", 0)
        return (time.perf_counter() - begun) / number

    def misses(self, number: int) -> float:
        """Return the seconds of a miss."""
        names = [f"miss{next(_names)}" for _ in range(number)]
        begun = time.perf_counter()
        for name in names:
            self._read(name, 0)
        return (time.perf_counter() - begun) / number

    def stampede(self, readers: int, delay: float) -> tuple[float, int]:
        """Let threads miss at once."""
        name, before, barrier = f"crowd{next(_names)}", self.counter.calls, threading.Barrier(readers + 1)

        def go() -> None:
            """Wait until every thread is ready, then read."""
            barrier.wait(30)
            self._read(name, delay)

        with ThreadPoolExecutor(readers) as threads:
            asked = [threads.submit(go) for _ in range(readers)]
            barrier.wait(30)
            begun = time.perf_counter()
            for one in asked:
                one.result(60)
        return time.perf_counter() - begun, self.counter.calls - before


class TaskWay:
    """A way for asyncio; all ways share the loop `runner`."""

    def __init__(self, runner: asyncio.Runner, make: Callable[[Counter], Coroutine[Any, Any, Read]]) -> None:
        """Read with the function that `make` returns."""
        self.counter, self._runner = Counter(), runner
        self._read = runner.run(make(self.counter))
        self.hits(1)  # connects

    def hits(self, number: int) -> float:
        """Return the seconds of a hit."""
        return self._timed(["hit"] * (number + 1))

    def misses(self, number: int) -> float:
        """Return the seconds of a miss."""
        return self._timed([f"miss{next(_names)}" for _ in range(number + 1)])

    def _timed(self, names: list[str]) -> float:
        """Read the first name, then time the rest, one after another."""

        async def go() -> float:
            """Read in the loop."""
            await self._read(names[0], 0)
            begun = time.perf_counter()
            for name in names[1:]:
                await self._read(name, 0)
            return (time.perf_counter() - begun) / (len(names) - 1)

        return self._runner.run(go())

    def stampede(self, readers: int, delay: float) -> tuple[float, int]:
        """Let tasks miss at once."""
        name, before = f"crowd{next(_names)}", self.counter.calls

        async def go() -> float:
            """Read in the loop."""
            begun = time.perf_counter()
            await asyncio.gather(*(self._read(name, delay) for _ in range(readers)))
            return time.perf_counter() - begun

        return self._runner.run(go()), self.counter.calls - before
