"""Two ways timed against each other so that a busy machine cannot tell a wrong story.

Slices of both alternate, so that what slows the machine slows both, and each is compared with its neighbour: where the
machine gets slower half way, the medians of both ways may come from different halves. The spread is shown, and where
the slices disagree about who is faster, or by how much, nothing is concluded.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

TOO_WIDE = 40
"""Percent of the ratio that the middle half of its slices may spread over; beyond, the ratio is no result."""

NEAR = 10
"""Percent of difference that is none."""


@dataclass(frozen=True)
class Comparison:
    """Seconds of each slice of the naive and of the tuned way, in the order they ran."""

    naive: tuple[float, ...]
    tuned: tuple[float, ...]

    @property
    def _ratios(self) -> list[float]:
        """How many times faster the tuned way is, by each slice and its neighbour."""
        return [one / other for one, other in zip(self.naive, self.tuned, strict=True)]

    @property
    def ratio(self) -> float:
        """How many times faster the tuned way is: the median of the neighbours' ratios."""
        return statistics.median(self._ratios)

    @property
    def spread(self) -> float:
        """How far the neighbours' ratios lie apart: the middle half of them, in % of the ratio."""
        low, _, high = statistics.quantiles(self._ratios, n=4, method="inclusive")
        return 100 * (high - low) / self.ratio

    @property
    def verdict(self) -> str:
        """``pays``, ``costs``, ``no difference``, or the refusal to conclude: ``too noisy: spread 45 %``."""
        if self.spread > TOO_WIDE:
            return f"too noisy: spread {self.spread:.0f} %"
        faster = sum(ratio > 1 for ratio in self._ratios)
        rounds = len(self.naive)
        if abs(100 * self.ratio - 100) < NEAR:
            return "no difference"
        if min(faster, rounds - faster) > rounds // 5:
            return f"too noisy: spread {self.spread:.0f} %"
        return "pays" if self.ratio > 1 else "costs"


def compare(
    naive: Callable[[], object],
    tuned: Callable[[], object],
    *,
    rounds: int = 7,
    clock: Callable[[], float] = time.perf_counter,
) -> Comparison:
    """Run both once to warm up, then `rounds` times in turn, the garbage collector off, and return what they took.

    `clock` returns seconds: by default those on the wall; `time.thread_time` counts those of the client's processor.
    """
    return compare_by([clock], naive, tuned, rounds=rounds)[0]


def compare_by(
    clocks: Sequence[Callable[[], float]], naive: Callable[[], object], tuned: Callable[[], object], *, rounds: int
) -> list[Comparison]:
    """Do the same by several clocks at once, and return what each saw."""
    seen: list[tuple[list[float], list[float]]] = [([], []) for _ in clocks]
    was_enabled = gc.isenabled()
    naive(), tuned()
    gc.disable()
    try:
        for number in range(rounds):
            # Who goes first changes too: the first finds the machine as others left it.
            for which in (0, 1) if number % 2 else (1, 0):
                begun = [clock() for clock in clocks]
                (naive, tuned)[which]()
                for times, clock, start in zip(seen, clocks, begun, strict=True):
                    times[which].append(clock() - start)
    finally:
        if was_enabled:
            gc.enable()
    return [Comparison(tuple(one), tuple(other)) for one, other in seen]
