"""The rows of `tuning_example.py`: what was seen of a practice, and the table that shows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from redis_practices.tuning.compare import compare
from redis_practices.tuning.effects import Effect
from redis_practices.tuning.lab import Lab

Work = Callable[[], object]


def timed(naive: Work, tuned: Work, budget: float, clock: Callable[[], float] = time.perf_counter) -> dict[str, Any]:
    """Time two ways in turn for about `budget` seconds, 5 rounds at least, and return the columns of a row."""
    begun = time.perf_counter()
    naive(), tuned()
    rounds = max(5, min(51, round(budget / (time.perf_counter() - begun))))
    seen = compare(naive, tuned, rounds=rounds, clock=clock)
    return {
        "naive": round(1000 * median(seen.naive), 3),
        "tuned": round(1000 * median(seen.tuned), 3),
        "unit": "ms",
        "ratio": round(seen.ratio, 2),
        "spread_percent": round(seen.spread, 1),
        "rounds": rounds,
        "verdict": seen.verdict,
    }


def counted(effect: Effect, servers: Lab) -> dict[str, Any]:
    """See both sides of an effect once and return the columns of a row; there is no ratio to nothing."""
    naive, tuned = effect.seen(servers)
    worse, better = (tuned, naive) if effect.more_is_better else (naive, tuned)
    return {
        "naive": round(naive, 3),
        "tuned": round(tuned, 3),
        "unit": effect.unit,
        "ratio": round(worse / better, 2) if better else None,
        "spread_percent": None,
        "rounds": 1,
        "verdict": "pays" if worse > better * 1.05 else "costs" if worse < better / 1.05 else "no difference",
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as aligned text."""
    lines = [f"{'practice':32} {'naive':>9} {'tuned':>9} {'':7} {'ratio':>6} {'spread':>7}  verdict; does not pay when"]
    for row in rows:
        seen = f"{row['naive']:>9.2f} {row['tuned']:>9.2f} {row['unit']:7} {shown(row['ratio'], '', 1):>6}"
        spread = shown(row["spread_percent"], " %", 0)
        lines.append(f"{row['practice']:32} {seen} {spread:>7}  {row['verdict']}; {row['not_when']}")
    return "\n".join(lines)


def shown(value: float | None, unit: str, digits: int) -> str:
    """Return a number, or a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}{unit}"


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a table in Markdown."""
    lines = [
        "| practice | naive | tuned | times better | spread | verdict | does not pay when |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        both = f"{row['naive']:.4g} {row['unit']} | {row['tuned']:.4g} {row['unit']}"
        numbers = f"{shown(row['ratio'], '', 1)} | {shown(row['spread_percent'], ' %', 0)}"
        lines.append(f"| {row['practice']} | {both} | {numbers} | {row['verdict']} | {row['not_when']} |")
    return "\n".join(lines)
