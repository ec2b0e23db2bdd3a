"""Measure ways to do one thing side by side: interleaved rounds, medians, spread, and the machine."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
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


def summary(seen: Mapping[str, list[float]], baseline: str | Mapping[str, str]) -> list[dict[str, Any]]:
    """Return median, range and spread (interquartile range over median) of each way, and its baseline over it.

    `baseline` is one way for all, or names the peer of each way.
    """
    medians = {name: statistics.median(values) for name, values in seen.items()}
    found = []
    for name, values in seen.items():
        median, peer = medians[name], baseline if isinstance(baseline, str) else baseline[name]
        quarters = statistics.quantiles(values, n=4) if len(values) > 1 else [median] * 3
        spread = (quarters[2] - quarters[0]) / median
        found.append(
            {"way": name, "median": median, "min": min(values), "max": max(values)}
            | {"spread": spread, "peer": peer, "ratio": medians[peer] / median}
        )
    return found


LOAD_BEFORE = os.getloadavg()[0]
"""The load of the machine before the benchmark, by other programs."""


def machine() -> dict[str, Any]:
    """Return the facts about the machine that the figures depend on."""
    return {
        "cores": os.cpu_count(),
        "load": round(LOAD_BEFORE, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def caption(load: float = LOAD_BEFORE) -> str:
    """Return these facts as a line of Markdown; every table of figures in README and docs ends with one."""
    facts = machine() | {"load": round(load, 2)}
    return (
        "Measured with {cores} cores, load {load} before and {load_after} after, {system}, Python {python}, {date}."
    ).format(**facts)


def add_shapes(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the shape of the output."""
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_const", dest="shape", const="json", help="print JSON")
    shape.add_argument("--markdown", action="store_const", dest="shape", const="markdown", help="print Markdown")
    parser.set_defaults(shape="text")


def show(title: str, rows: list[dict[str, Any]], unit: str, shape: str = "text") -> None:
    """Print the rows as a table, as JSON or as Markdown."""
    if shape == "json":
        print(json.dumps({"benchmark": title, "unit": unit, "machine": machine(), "rows": rows}))
        return
    if shape == "markdown":
        print(f"| {title} | median, {unit} | from, to | spread | ratio |", "|---|--:|--:|--:|--:|", sep="\n")
        for row in rows:
            median, low, high = (three_digits(row[name]) for name in ("median", "min", "max"))
            print(f"| {row['way']} | {median} | {low} to {high} | {spread_of(row)} | {row['ratio']:.2f} |")
        print()
        return
    width = max(len(row["way"]) for row in rows)
    print(title, f"{'':{width}}  median {unit:2}     min     max  spread   ratio", sep="\n")
    for row in rows:
        print(
            f"{row['way']:{width}}  {row['median']:9.3f} {row['min']:7.3f} {row['max']:7.3f}"
            f" {row['spread']:6.0%} {row['ratio']:{'6.1f' if row['ratio'] > 1 else '6.2f'}}x"
            f"{' too noisy' if row['spread'] > TOO_WIDE else ''}"
        )


def three_digits(number: float) -> str:
    """Return a number with three significant digits, without an exponent."""
    rounded = float(f"{number:.3g}")
    return f"{rounded:,.0f}" if rounded >= 1000 else f"{number:.3g}"  # noqa: PLR2004


def spread_of(row: Mapping[str, Any]) -> str:
    """Return the spread of a row in Markdown, and say when it is too wide for a conclusion."""
    return f"{100 * row['spread']:.0f} %{', too noisy' if row['spread'] > TOO_WIDE else ''}"


def end(shape: str) -> None:
    """Print the facts about the machine below all tables."""
    if shape != "json":
        print(caption())
