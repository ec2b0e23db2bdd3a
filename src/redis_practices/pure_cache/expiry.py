"""Prevent a cache stampede at expiry: ttl jitter, and early refresh (XFetch).

Values that are cached together expire together and are then computed together: a cache stampede. `jittered` gives each
value a different ttl. A hot value expires while many readers use it: `is_due` picks one of them to compute it shortly
before.

Early refresh is from "Optimal Probabilistic Cache Stampede Prevention" (Vattani, Chierichetti, Lowenstein; VLDB 2015).
The nearer the expiry and the longer the computation, the likelier a read refreshes. A value without readers just
expires.

    client.set(key, value, px=round(1000 * jittered(300)))        between 270 and 300 s
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable


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
