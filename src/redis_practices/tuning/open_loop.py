"""How long answers take, asked as users ask: at their own pace, whether or not the last answer has come.

A loop that sends, waits and sends again stops asking while the server hangs, and so leaves out what it should measure:
ten users who would have waited are one slow answer in its books ("coordinated omission", Gil Tene, "How NOT to Measure
Latency"). In an open loop each request has its moment, and its time counts from that moment on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import ceil

from redis import Redis

from redis_practices.tuning.bulk import packed


def closed_loop(server: Redis, keys: Sequence[str], rate: float, seconds: float) -> list[float]:
    """Naive: read, note how long it took, and read again when the pace allows; return the times in seconds."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end:
        server.get(keys[len(times) % len(keys)])
        times.append(time.perf_counter() - begun)
        time.sleep(max(0.0, 1 / rate - times[-1]))
    return times


def open_loop(server: Redis, keys: Sequence[str], rate: float, seconds: float) -> list[float]:
    """Tuned: `rate` reads a second over one connection, each timed from the moment it was due; return seconds.

    Raises:
        redis.exceptions.RedisError: the server does not answer.
    """
    total = ceil(rate * seconds)
    requests = [packed([("GET", keys[number % len(keys)])]) for number in range(total)]
    times: list[float] = []
    connection = server.connection_pool.get_connection()
    try:
        begun, sent = time.perf_counter() + 0.001, 0
        while len(times) < total:
            due = min(total, int((time.perf_counter() - begun) * rate) + 1)
            if sent < due:
                connection.send_packed_command([b"".join(requests[sent:due])])
                sent = due
            wait = begun + sent / rate - time.perf_counter() if sent < total else 5.0
            while len(times) < sent and connection.can_read(timeout=max(0.0, wait)):
                connection.read_response()
                times.append(time.perf_counter() - begun - len(times) / rate)
                wait = 0.0
            if len(times) == sent < total:
                time.sleep(max(0.0, begun + sent / rate - time.perf_counter()))
    finally:
        if len(times) < total:
            connection.disconnect()
        server.connection_pool.release(connection)
    return times


def percentile(times: Sequence[float], percent: float) -> float:
    """Return the time that `percent` of the answers took at most."""
    return sorted(times)[max(0, ceil(len(times) * percent / 100) - 1)]


PERCENTILES = (50.0, 99.0, 99.9)
"""The middle, what one in a hundred waits, and what one in a thousand does."""


def by_load(server: Redis, keys: Sequence[str], rates: Sequence[float], seconds: float) -> list[dict[str, float]]:
    """Return the percentiles in ms at each rate (a second), as ``{"rate": 1000, "p50": 0.1, …}``."""
    rows = []
    for rate in rates:
        times = open_loop(server, keys, rate, seconds)
        rows.append({"rate": rate, **{f"p{p:g}": round(1000 * percentile(times, p), 3) for p in PERCENTILES}})
    return rows
