"""How close Python comes to the ceiling: one connection, one payload, the same depth for every way to read keys.

The ceiling is redis-benchmark, or valkey-benchmark, from the PATH. Each way runs in turn, several times; shown are the
median, the spread (the middle half), and the share of the ceiling. The server is an embedded one, or --url.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from command_line import Failure, Parser, count, run, say
from connection import cluster_client, one_line_errors, redis_client
from deployment import deployment
from tuning import bulk, many_keys, pipelining, sharing
from tuning.connecting import address

EXAMPLES = """\
  python benchmarks/ceiling.py
  python benchmarks/ceiling.py --depth 1000 --rounds 9 --json"""

KEYS = 5000
Way = Callable[[], int]
"""A way to read some keys; it returns how many."""


def redis_benchmark(server: Any, depth: int, size: int) -> Way | None:
    """Return the ceiling, one connection of the benchmark in C, or None where it is not installed."""
    program = shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")
    if not program:
        return None
    where = address(server)
    command = [program, "-h", where["host"], "-p", str(where["port"]), "-c", "1", "-P", str(depth), "-d", str(size)]
    environment = {**os.environ, **({"REDISCLI_AUTH": where["password"]} if where["password"] else {})}

    def read() -> int:
        """Read a key that is there, a hundred thousand times."""
        done = [*command, "-n", "100000", "-q", "get", "ceiling:0"]
        subprocess.run(done, check=True, capture_output=True, env=environment, timeout=60)
        return 100_000

    return read


def rate(way: Way) -> float:
    """Return the keys a second of one run."""
    begun = time.perf_counter()
    return way() / (time.perf_counter() - begun)


def measured(ways: dict[str, Way], rounds: int) -> list[dict[str, Any]]:
    """Run all ways in turn, `rounds` times after one to warm up, and return a row for each."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        say(f"round {number} of {rounds} …")
        for name, way in ways.items():
            seen = rate(way)
            if number:
                rates[name].append(seen)
    ceiling = statistics.median(next(iter(rates.values())))
    rows = []
    for name, seen_rates in rates.items():
        median = statistics.median(seen_rates)
        low, _, high = statistics.quantiles(seen_rates, n=4, method="inclusive")
        spread = round(100 * (high - low) / median, 1)
        share = round(100 * median / ceiling, 1)
        rows.append({"way": name, "per_second": round(median), "spread_percent": spread, "of_first_percent": share})
    return rows


@contextmanager
def clients() -> Iterator[tuple[Any, Any]]:
    """Yield a client of a server and one of a cluster."""
    with (
        deployment("cache") as url,
        deployment("cluster") as cluster_url,
        one_line_errors(url),
        redis_client(url) as server,
        cluster_client(cluster_url) as cluster,
    ):
        yield server, cluster


def ways_of(server: Any, cluster: Any, depth: int, size: int) -> dict[str, Way]:
    """Fill both with values of `size` bytes and return every way to read them, the ceiling first."""
    keys = [f"ceiling:{index}" for index in range(KEYS)]
    bulk.pipelined(server, [("SET", key, "x" * size, "EX", "600") for key in keys])
    bulk.write_bulk(cluster, [(key, "x" * size) for key in keys], ttl=600)
    commands = [("GET", key) for key in keys]
    ceiling = redis_benchmark(server, depth, size)
    python: dict[str, Callable[[], Any]] = {
        "redis-py pipeline": lambda: pipelining.in_pipelines(server, keys, depth),
        "packed pipeline (tuning.bulk)": lambda: bulk.pipelined(server, commands, depth),
        "redis-py MGET": lambda: many_keys.read_together(server, keys, depth),
        "redis-py cluster pipeline": lambda: sharing.read_by_pipeline(cluster, keys),
        "cluster, a pipeline a node (tuning.bulk)": lambda: bulk.bulk(cluster, commands, depth),
    }
    counted: dict[str, Way] = {name: (lambda way=way: len(way())) for name, way in python.items()}
    return {**({"redis-benchmark": ceiling} if ceiling else {}), **counted}


def main() -> None:
    """Measure and print."""
    parser = Parser(__doc__, EXAMPLES)
    parser.add_argument("--depth", type=count, default=1000, help="commands in flight (default: 1000)")
    parser.add_argument("--size", type=count, default=100, help="bytes of a value (default: 100)")
    parser.add_argument("--rounds", type=count, default=7, help="how often each is measured (default: 7)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    if options.rounds < 3:  # noqa: PLR2004 - a median and its spread need that many
        raise Failure("fewer than 3 rounds show no spread")
    with clients() as (server, cluster):
        rows = measured(ways_of(server, cluster, options.depth, options.size), options.rounds)
    facts = {"processors": os.cpu_count(), "load": os.getloadavg()[0], "python": platform.python_version()}
    if options.json:
        print(json.dumps({"machine": facts, "depth": options.depth, "size": options.size, "results": rows}, indent=2))
        return
    print(f"{'way':42} {'keys a second':>14} {'spread':>7} {'of first':>9}")
    for row in rows:
        shares = f"{row['spread_percent']:>5.0f} % {row['of_first_percent']:>7.0f} %"
        print(f"{row['way']:42} {row['per_second']:>14,} {shares}")
    print(", ".join(f"{name} {value}" for name, value in facts.items()))


if __name__ == "__main__":
    run(main)
