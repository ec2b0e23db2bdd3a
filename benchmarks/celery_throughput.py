"""Measure the tasks a second of Celery with its defaults, of Celery as recommended, and of similar packages.

Every contender carries the same empty tasks, over the same kind of server, with two workers' worth of processes. Each
round goes through all contenders, so that a slow moment of the machine slows all. The table shows medians, with their
ratio to Celery's defaults and their spread. The recommendation is a bundle of three parts. All combinations are
measured, and the last table has the factor of each part.

    python benchmarks/celery_throughput.py
    python benchmarks/celery_throughput.py --tasks 100000 --rounds 1

rq, dramatiq, huey and taskiq take part if they are installed (pip install --group benchmarks, with pip 25.1 or newer).
arq needs an older redis-py, and thus a separate environment:

    python3 -m venv .arq && .arq/bin/pip install --group benchmarks-arq
    python benchmarks/celery_throughput.py --programs .arq/bin
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median, quantiles

from lib.celery_contender import COMBINATIONS, CONTENDERS, PARTS, Parts, bundle
from lib.celery_measure import LeftOutError, Measured, measured
from lib.ending import run
from lib.side_by_side import caption, machine

from redis_practices.cli import UsageError, count, say

BASE = CONTENDERS[0].name
HEADER = "| | publish | drain | end to end | processor, ms a task |"


def measure_all(folders: list[Path], options: argparse.Namespace) -> dict[str, list[Measured]]:
    """Measure every contender once a round; report a contender that cannot take part."""
    seen: dict[str, list[Measured]] = defaultdict(list)
    contenders = [one for one in CONTENDERS if options.only in one.name or one.name == BASE]
    for number in range(1, options.rounds + 1):
        for contender in list(contenders):
            try:
                result = measured(contender, options.tasks, folders)
            except LeftOutError as error:
                say(f"{contender.name} is left out: {error}")
                contenders.remove(contender)
                continue
            seen[contender.name].append(result)
            say(f"round {number}: {contender.name}: {result}")
    return seen


def table(seen: dict[str, list[Measured]]) -> str:
    """Return the medians of all contenders by guarantee, as Markdown: tasks a second, and the ratio to the baseline."""
    lines: list[str] = []
    guarantee = ""
    for contender in CONTENDERS:
        if contender.name not in seen:
            continue
        if contender.guarantee != guarantee:
            guarantee = contender.guarantee
            lines += ["", f"**{guarantee}**", "", HEADER, "|---|---|---|---|---|"]
        cells = [_cell(seen, contender.name, field) for field in ("publish", "drain", "end_to_end")]
        cells.append(f"{median(one.processor for one in seen[contender.name]):.2f}")
        lines.append(f"| {contender.name} | {' | '.join(cells)} |")
    return "\n".join(lines[1:])


def rows(seen: dict[str, list[Measured]]) -> dict[str, list[dict[str, object]]]:
    """Return the medians, ratios and spreads of all contenders as data."""
    found: list[dict[str, object]] = []
    for name in seen:
        for field in ("publish", "drain", "end_to_end"):
            rates, ratios = _rates(seen, name, field)
            figures = {"median": median(rates), "ratio": median(ratios), "spread": _spread(rates)}
            found.append({"way": name, "phase": field, **figures})
    return {"rows": found}


def _rates(seen: dict[str, list[Measured]], name: str, field: str) -> tuple[list[float], list[float]]:
    """Return the rates of all rounds, and their ratios to the baseline of the same round."""
    rates = [getattr(one, field) for one in seen[name]]
    return rates, [rate / getattr(base, field) for rate, base in zip(rates, seen[BASE], strict=False)]


def _spread(rates: list[float]) -> float:
    """Return the interquartile range over the median."""
    low, _, high = quantiles(rates, n=4, method="inclusive") if len(rates) > 1 else [rates[0]] * 3
    return (high - low) / median(rates)


def _cell(seen: dict[str, list[Measured]], name: str, field: str) -> str:
    """Return a median, the median of its ratios to the baseline of the same round, and its spread."""
    rates, ratios = _rates(seen, name, field)
    return f"{median(rates):,.0f} ({median(ratios):.2f}, {100 * _spread(rates):.0f} %)"


FIGURES = {"publish": "publish", "drain": "drain", "end_to_end": "end to end", "processor": "processor a task"}


def contributions(seen: dict[str, list[Measured]]) -> str:
    """Return the factor of each part of the recommendation, alone and on top of the other two, as Markdown."""
    if not all(bundle(parts) in seen for parts in COMBINATIONS):
        return ""
    lines = [f"| factor of | {' | '.join(FIGURES.values())} |", f"|---|{'--:|' * len(FIGURES)}"]
    cases = [(part, frozenset[str](), frozenset({part})) for part in PARTS]
    cases += [(f"{part}, on top of the other two", frozenset(PARTS) - {part}, frozenset(PARTS)) for part in PARTS]
    cases.append(("all three", frozenset(), frozenset(PARTS)))
    for name, before, after in cases:
        cells = [f"{_factor(seen, field, before, after):.2f}" for field in FIGURES]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _factor(seen: dict[str, list[Measured]], field: str, before: Parts, after: Parts) -> float:
    """Return the median over the rounds of a figure with some parts, divided by the figure with others."""
    both = zip(seen[bundle(before)], seen[bundle(after)], strict=False)
    return float(median(getattr(late, field) / getattr(early, field) for early, late in both))


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=count, default=2000, help="tasks for each measurement (default: 2000)")
    parser.add_argument("--rounds", type=count, default=5, help="how often (default: 5)")
    parser.add_argument("--only", default="", help="contenders with this word in their name, and Celery's defaults")
    parser.add_argument(
        "--programs", type=Path, action="append", default=[], help="a further folder of programs, like .arq/bin"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    if missing := [folder for folder in options.programs if not (folder / "python").exists()]:
        raise UsageError(f"{missing[0]} holds no python: name the folder of an environment's programs, like .arq/bin")
    seen = measure_all([Path(sys.executable).parent, *options.programs], options)
    if options.json:
        print(
            json.dumps({"benchmark": "celery throughput", "unit": "tasks a second", "machine": machine(), **rows(seen)})
        )
    else:
        print(table(seen), contributions(seen), caption(), sep="\n\n")


if __name__ == "__main__":
    run(main)
