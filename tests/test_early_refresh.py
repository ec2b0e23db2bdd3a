"""Test the probability of an early refresh against the paper on XFetch."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_practices.pure_cache.cache_aside import REFRESH, SCRIPT, CacheProtocol, Entry, Rules
from redis_practices.pure_cache.overload import is_due

TIMES = st.floats(0.001, 1000)
DRAWS = st.floats(0, 1, exclude_max=True)


@given(cost=TIMES, left=TIMES, beta=st.floats(0.1, 10), draw=DRAWS)
def test_probability_of_a_refresh(cost: float, left: float, beta: float, draw: float) -> None:
    """A read refreshes with the probability ``exp(-left / (beta * cost))``."""
    threshold = 1 - math.exp(-left / (beta * cost))
    if not math.isclose(draw, threshold, abs_tol=1e-9):
        assert is_due(cost, left, beta, lambda: draw) == (draw > threshold)


@given(cost=TIMES, left=TIMES, sooner=st.floats(0, 1), draw=DRAWS)
def test_refresh_is_likelier_near_the_end(cost: float, left: float, sooner: float, draw: float) -> None:
    """A read that refreshes would also refresh later, and every read refreshes at the end."""
    if is_due(cost, left, draw=lambda: draw):
        assert is_due(cost, left * sooner, draw=lambda: draw)
    assert is_due(cost, 0, draw=lambda: draw)


@pytest.mark.parametrize(
    ("costs_left", "low", "high"), [(0, 100, 100), (1, 35, 39), (2, 12, 15), (5, 0.3, 1.1), (20, 0, 0)]
)
def test_share_of_refreshing_reads(costs_left: float, low: float, high: float) -> None:
    """A third of the reads refreshes one computation before the end, and few reads refresh five before."""
    draw = random.Random(7).random
    share = sum(is_due(1.0, costs_left, draw=draw) for _ in range(20_000)) / 200
    assert low <= share <= high


def test_running_refresh_is_picked_for_none() -> None:
    """A reader of the mark of a refresh returns the old value, even if the computation takes longer than its lease."""
    now = 1000.0
    protocol = CacheProtocol(Rules(ttl=60, lease=1, draw=lambda: 0.99, clock=lambda: now))
    protocol.known_dialect = SCRIPT

    refreshing = protocol.get_or_compute("key")
    next(refreshing)
    claim: Any = refreshing.send(Entry("old", cost=3.0, until=now + 2).encoded("key"))
    mark = claim[5]
    assert refreshing.send(b"OK") is REFRESH

    reading = protocol.get_or_compute("key")
    next(reading)
    with pytest.raises(StopIteration) as read:
        reading.send(mark)
    assert read.value.value == "old"

    now += 1
    after = protocol.get_or_compute("key")
    next(after)
    claim = after.send(mark)
    assert claim[4] == mark, "the lease has ended, and the next reader computes"
