"""Test the verdict of a comparison of two ways, from the milliseconds of their slices."""

from __future__ import annotations

import pytest

from redis_practices.tuning.measuring import Comparison


@pytest.mark.parametrize(
    ("naive", "tuned", "verdict"),
    [
        ("10 11 10 10 10", "5 5 5 5 5", "pays"),
        ("5 5 5 5 5", "10 11 10 10 10", "costs"),
        ("10 11 10 9 10", "10 10 11 10 9", "no difference"),
        ("30 12 20 25 10", "5 5 5 5 5", "too noisy: spread 65 %"),
        ("5 5 5 10 10", "5 5 10 10 10", "no difference"),
        ("13 12 13 9 13", "10 14 10 10 10", "too noisy: spread 31 %"),
    ],
)
def test_verdict(naive: str, tuned: str, verdict: str) -> None:
    """A verdict needs slices that agree on the faster way and on the factor (once @tuning-041)."""
    slices = (tuple(float(part) / 1000 for part in way.split()) for way in (naive, tuned))
    assert Comparison(*slices).verdict == verdict
