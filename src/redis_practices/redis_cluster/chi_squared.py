"""Whether counts differ from what they should be by more than chance: Pearson's chi-squared test."""

from __future__ import annotations

import math
from collections.abc import Sequence


def p_value(counts: Sequence[int], weights: Sequence[float]) -> float:
    """Return how probable it is that chance alone sets `counts` as far from the shares of `weights` as they are.

    1 means as expected, 1e-9 that one of a thousand million honest runs looks like this. The approximation holds when
    each share is worth five counts or more.

    Raises:
        ValueError: there is nothing to compare.
    """
    total, whole = sum(counts), sum(weights)
    if len(counts) != len(weights) or not total or not whole:
        raise ValueError("counts and weights must be as many, and neither all zero")
    expected = [total * weight / whole for weight in weights]
    if any(count and not share for count, share in zip(counts, expected, strict=True)):
        return 0.0
    parts = [(count, share) for count, share in zip(counts, expected, strict=True) if share]
    return survival(sum((count - share) ** 2 / share for count, share in parts), len(parts) - 1)


def survival(statistic: float, freedom: int) -> float:
    """Return the probability that chi-squared with `freedom` degrees of freedom is above `statistic`.

    The closed form: a sum over every second degree (Abramowitz and Stegun, 26.4.4 and 26.4.5).
    """
    half = statistic / 2
    if not half or not freedom:
        return 1.0
    first = 0.5 if freedom % 2 else 0.0
    steps = (
        math.exp((first + step) * math.log(half) - half - math.lgamma(first + step + 1)) for step in range(freedom // 2)
    )
    return min(1.0, sum(steps) + (math.erfc(math.sqrt(half)) if freedom % 2 else 0.0))
