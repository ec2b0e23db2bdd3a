"""Measure ways to do one thing side by side: interleaved rounds, medians, spread, and the machine."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping
from typing import Any

TOO_WIDE = 0.4
"""A spread (interquartile range over median) beyond which a ratio is no result."""


def rounds_of(ways: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run every way once a round, so that a slow moment of the machine slows all; a terminal shows the progress."""
    seen: dict[str, list[float]] = {name: [] for name in ways}
    shown = sys.stderr.isatty()
    for index in range(rounds):
        for name, way in ways.items():
            if shown:
                print(f"\r\033[Kround {index + 1} of {rounds}: {name}", end="", file=sys.stderr, flush=True)
            seen[name].append(way())
    if shown:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return seen


def summary(seen: Mapping[str, list[float]], baseline: str) -> list[dict[str, Any]]:
    """Return median, range and spread (interquartile range over median) of each way, and `baseline` over it."""
    base = statistics.median(seen[baseline])
    found = []
    for name, values in seen.items():
        median = statistics.median(values)
        quarters = statistics.quantiles(values, n=4) if len(values) > 1 else [median] * 3
        spread = (quarters[2] - quarters[0]) / median
        found.append(
            {"way": name, "median": median, "min": min(values), "max": max(values)}
            | {"spread": spread, "ratio": base / median}
        )
    return found


def machine() -> dict[str, Any]:
    """Return the facts about the machine that the figures depend on."""
    return {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def show(title: str, rows: list[dict[str, Any]], unit: str, *, as_json: bool) -> None:
    """Print the rows as a table, or as JSON."""
    if as_json:
        print(json.dumps({"benchmark": title, "unit": unit, "machine": machine(), "rows": rows}))
        return
    width = max(len(row["way"]) for row in rows)
    print(f"{title} [{', '.join(f'{name} {value}' for name, value in machine().items())}]")
    print(f"{'':{width}}  median {unit:2}     min     max  spread   ratio")
    for row in rows:
        print(
            f"{row['way']:{width}}  {row['median']:9.3f} {row['min']:7.3f} {row['max']:7.3f}"
            f" {row['spread']:6.0%} {row['ratio']:{'6.1f' if row['ratio'] > 1 else '6.2f'}}x"
            f"{' too noisy' if row['spread'] > TOO_WIDE else ''}"
        )
