"""How long a task that failed waits before it is tried again: longer each time, and not all at the same moment.

Celery's own ``retry_backoff`` counts in whole seconds: the first retries of a crowd come in two clumps, at 0 and at
1 s. This one spreads them over the whole interval ("full jitter").
"""

from __future__ import annotations

import random

BASE = 1.0
"""Seconds before the first retry."""

CAP = 600.0
"""Seconds that no wait exceeds."""


def wait_before_retry(retries: int, *, base: float = BASE, cap: float = CAP, jitter: bool = True) -> float:
    """Return the seconds to wait after `retries` earlier ones: `base`, twice `base`, four times …, at most `cap`.

    With `jitter` it is any time from 0 to that, so that what failed together does not come back together.
    """
    longest: float = min(cap, base * 2.0**retries)
    return random.uniform(0.0, longest) if jitter else longest
