"""Measure the cost of a cache in front of a function: hits, misses, a stampede; beside a bare GET and three packages.

Slices of each way alternate in one process and on one server. The goal: a hit costs at most 1.3 times a bare GET with
its JSON. A ratio above 1 is faster than the bare GET.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from collections.abc import Callable
from functools import partial

from lib.cache_peers import ways
from lib.cache_ways import Way
from lib.ending import run
from lib.side_by_side import add_shapes, end, rounds_of, show, summary

from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import CACHE, start_server

EXAMPLES = """\
examples:
  python benchmarks/cache.py
  python benchmarks/cache.py --server-binary /usr/bin/redis-server --rounds 400 --markdown"""
GOAL = 1.3
BASELINE = "bare GET"


def stampedes(found: dict[str, Way], options: argparse.Namespace, title: str) -> None:
    """Let concurrent readers miss with each way; print the median seconds and origin calls of five rounds."""
    print(f"| {title} | median, ms | most calls of the origin |", "|---|--:|--:|", sep="\n")
    for name, way in found.items():
        seen = [way.stampede(options.readers, options.delay) for _ in range(5)]
        took, calls = statistics.median(one for one, _ in seen), max(calls for _, calls in seen)
        print(f"| {name} | {took * 1000:.0f} | {calls} |")
    print()


def microseconds(once: Callable[[], float]) -> float:
    """Return the seconds of `once` in microseconds."""
    return once() * 1e6


def measure(kind: str, found: dict[str, Way], options: argparse.Namespace) -> None:
    """Measure the ways of one kind, and print the results."""
    for title, number in (("hits", 25), ("misses", 10)):
        timed = {name: partial(getattr(way, title), number) for name, way in found.items()}
        seen = rounds_of({name: partial(microseconds, once) for name, once in timed.items()}, options.rounds)
        rows = summary(seen, BASELINE)
        show(f"{kind}, {title}", rows, "us", options.shape)
        if title == "hits" and options.shape != "json":
            overhead = statistics.median(seen["cache_aside"]) / statistics.median(seen[BASELINE])
            print(f"A hit costs {overhead:.2f} times a {BASELINE}; the goal is at most {GOAL}.", end="\n\n")
    if options.shape != "json":
        title = f"{kind}, {options.readers} readers miss at once, the origin takes {options.delay * 1000:g} ms"
        stampedes(found, options, title)


def main() -> None:
    """Measure everything and print the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=200, help="slices of each way (default: 200)")
    parser.add_argument("--readers", type=int, default=50, help="readers of a stampede (default: 50)")
    parser.add_argument("--delay", type=float, default=0.1, help="seconds that the origin takes then (default: 0.1)")
    parser.add_argument("--server-binary", help="another redis-server or valkey-server")
    add_shapes(parser)
    options = parser.parse_args()
    with ProcessGroup() as group, asyncio.Runner() as runner:
        found = ways(start_server(group, CACHE, binary=options.server_binary), runner)
        for kind, ways_of_kind in found.items():
            measure(kind, ways_of_kind, options)
    end(options.shape)


if __name__ == "__main__":
    run(main)
