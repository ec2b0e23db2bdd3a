"""Measure latency by load: percentiles of an open loop, each request timed from the moment when it was due.

Loads are shares of the rate of a loop of single reads in the same run. One process, one connection, values of 100
bytes. The rounds take turns; the table shows the median of each percentile and its spread over the rounds.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lib.ending import run
from lib.side_by_side import TOO_WIDE, add_shapes, end, machine

from redis_practices.cli import Failure, Parser, count, say, seconds
from redis_practices.clients import one_line_errors, redis_client
from redis_practices.servers.locate import deployment
from redis_practices.svg import lines
from redis_practices.tuning.load import by_load
from redis_practices.tuning.round_trips import one_at_a_time, write_together

EXAMPLES = """\
  python benchmarks/latency.py
  python benchmarks/latency.py --rounds 9 --seconds 1 --plot latency.svg --json"""

SHARES = (10, 25, 50, 75, 100, 150, 200)
"""Loads in % of the rate of a loop of single reads; an open loop can exceed 100 %."""


def rates(server: Any, keys: Sequence[str]) -> list[float]:
    """Return the loads in requests a second."""
    one_at_a_time(server, keys)
    begun = time.perf_counter()
    one_at_a_time(server, keys)
    most = len(keys) / (time.perf_counter() - begun)
    return [round(most * share / 100) for share in SHARES]


def measured(server: Any, keys: Sequence[str], options: Any) -> list[dict[str, Any]]:
    """Return a row for each load: medians of the percentiles over all rounds, in ms, and the spread of each."""
    loads = rates(server, keys)
    rounds = []
    for number in range(options.rounds):
        say(f"round {number + 1} of {options.rounds} …")
        rounds.append(by_load(server, keys, loads, options.seconds))
    rows = []
    for place, load in enumerate(loads):
        row: dict[str, Any] = {"share_percent": SHARES[place], "rate": load}
        for name in [name for name in rounds[0][0] if name != "rate"]:
            seen = [one[place][name] for one in rounds]
            low, middle, high = statistics.quantiles(seen, n=4, method="inclusive")
            row |= {name: round(middle, 3), f"{name}_spread": round((high - low) / middle, 2)}
        rows.append(row)
    return rows


def shown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the percentiles by load as a table in Markdown; a value in brackets had too wide a spread."""
    names = [name for name in rows[0] if f"{name}_spread" in rows[0]]
    lines = [f"| load | requests a second | {' | '.join(names)} |", f"|--:|--:|{'--:|' * len(names)}"]
    for row in rows:
        cells = [
            f"({row[name]:.2f} ms)" if row[f"{name}_spread"] > TOO_WIDE else f"{row[name]:.2f} ms" for name in names
        ]
        lines.append(f"| {row['share_percent']} % | {row['rate']:,.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print and draw."""
    parser = Parser(__doc__, EXAMPLES)
    parser.add_argument("--rounds", type=count, default=5, help="how often each load is measured (default: 5)")
    parser.add_argument("--seconds", type=seconds, default=0.5, help="how long a load lasts each time (default: 0.5)")
    add_shapes(parser)
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw the percentiles into this SVG file")
    options = parser.parse_args()
    if options.rounds < 3:  # noqa: PLR2004 - the fewest for a median and its spread
        raise Failure("fewer than 3 rounds show no spread")
    with deployment("cache") as url, one_line_errors(url), redis_client(url) as server:
        keys = [f"latency:{index}" for index in range(1000)]
        write_together(server, keys)
        rows = measured(server, keys, options)
        server.unlink(*keys)
    if options.shape == "json":
        print(json.dumps({"benchmark": "latency by load", "unit": "ms", "machine": machine(), "rows": rows}))
    else:
        print(shown(rows), end="\n\n")
        end(options.shape)
    if options.plot:
        names = [name for name in rows[0] if f"{name}_spread" in rows[0]]
        series = {name: [(row["rate"], row[name]) for row in rows] for name in names}
        try:
            options.plot.write_text(lines("how long answers take by load", "requests a second", "ms", series))
        except OSError as error:
            raise Failure(f"{options.plot} cannot be written: {error.strerror}") from error


if __name__ == "__main__":
    run(main)
