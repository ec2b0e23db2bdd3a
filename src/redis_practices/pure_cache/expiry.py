"""Spread the ends of cached values: ttl jitter and early refresh (XFetch).

Values that were cached together would expire together, and then be computed together: a cache stampede. `jittered`
gives each its own ttl. A value that is read often expires under its readers: `is_due` lets one of them compute it again
shortly before.

Early refresh is from "Optimal Probabilistic Cache Stampede Prevention" (Vattani, Chierichetti, Lowenstein; VLDB 2015).
The nearer the end and the longer the computation, the likelier a read refreshes; a value without readers just expires.

    client.set(key, value, px=round(1000 * jittered(300)))        between 270 and 300 s
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable


def jittered(ttl: float, spread: float = 0.1, draw: Callable[[], float] = random.random) -> float:
    """Return a ttl in seconds that is evenly drawn between ``ttl * (1 - spread)`` and `ttl`.

    It is never longer than `ttl`, which is what somebody promised about the age of the value. `draw` gives numbers
    from 0 up to 1; a seeded ``random.Random(7).random`` makes it repeatable.

    Raises:
        ValueError: `ttl` is not above 0, or `spread` is not from 0 up to 1.
    """
    if not ttl > 0 or not 0 <= spread < 1:
        raise ValueError(f"a ttl is above 0 and a spread from 0 up to 1, not {ttl!r} and {spread!r}")
    return ttl * (1 - spread * draw())


def is_due(cost: float, left: float, beta: float = 1.0, draw: Callable[[], float] = random.random) -> bool:
    """Tell whether this read should compute the value again, though it lives for `left` more seconds.

    `cost` is how long the computation took, in seconds. With a `beta` above 1 refreshes come earlier, below 1 later,
    with 0 only when nothing is left. `draw` gives numbers from 0 up to 1.
    """
    # 1 - draw() lies above 0, and so has a logarithm.
    return -cost * beta * math.log(1 - draw()) >= left
