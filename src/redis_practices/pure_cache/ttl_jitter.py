"""Ttls that do not end together: a batch that was cached at once would otherwise be computed again at once."""

from __future__ import annotations

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
