"""XFetch: a value that is used much is computed again shortly before it expires, by one of its many readers.

From "Optimal Probabilistic Cache Stampede Prevention" (Vattani, Chierichetti, Lowenstein; VLDB 2015). The nearer the
end and the longer the computation, the likelier a read is the one that refreshes; what nobody reads is left alone.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable


def is_due(cost: float, left: float, beta: float = 1.0, draw: Callable[[], float] = random.random) -> bool:
    """Tell whether this read should compute the value again, though it lives for `left` more seconds.

    `cost` is how long the computation took, in seconds. With a `beta` above 1 refreshes come earlier, below 1 later,
    with 0 only when nothing is left. `draw` gives numbers from 0 up to 1.
    """
    # 1 - draw() lies above 0, and so has a logarithm.
    return -cost * beta * math.log(1 - draw()) >= left
