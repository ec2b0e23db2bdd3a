"""Measure how close Python clients come to the C benchmark: one connection, one payload and one depth for every way.

The ceiling is valkey-benchmark, or redis-benchmark, from the PATH. It is the peer of each way with the same command:
GET against GET, MGET against MGET, a cluster against a cluster. All ways take turns. The table shows keys a second with
their spread. Servers are embedded, or those of CACHE_URL and CLUSTER_URL. The second table (--parts) splits the time of
a batch into its parts.
"""

from __future__ import annotations

import json
import statistics
import time
from asyncio import Runner
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import hiredis

from lib.ceiling_ways import C_CLUSTER, C_GET, PEERS, Way, c_tool, c_ways, coredis, glide, redis_py
from lib.ending import run
from lib.engine_sources import named_tool
from lib.side_by_side import add_shapes, end, machine, rounds_of, spread_of, summary

from redis_practices.cli import Failure, Parser, count, say
from redis_practices.clients import cluster_client, one_line_errors, redis_client
from redis_practices.server_info import engine_name
from redis_practices.servers.locate import deployment
from redis_practices.tuning import bulk, round_trips

EXAMPLES = """\
  python benchmarks/ceiling.py
  python benchmarks/ceiling.py --depth 1000 --rounds 15 --json"""

KEYS = 5000
INSTALL = "pip install valkey-glide coredis   (or: pip install --group benchmarks)"


@contextmanager
def clients() -> Iterator[tuple[Any, Any]]:
    """Yield a client of a server and a client of a cluster."""
    with (
        deployment("cache") as url,
        deployment("cluster") as cluster_url,
        one_line_errors(url),
        redis_client(url) as server,
        cluster_client(cluster_url) as cluster,
    ):
        yield server, cluster


def ways_of(server: Any, cluster: Any, options: Any, stack: ExitStack) -> dict[str, Way]:
    """Fill both with values, and return every way to read them, the C tool's first; report missing packages."""
    keys = [f"ceiling:{index:012}" for index in range(max(KEYS, options.depth))]
    bulk.pipelined(server, [("SET", key, "x" * options.size, "EX", "600") for key in keys])
    bulk.write_bulk(cluster, [(key, "x" * options.size) for key in keys], ttl=600)
    program = c_tool()
    if not program:
        raise Failure("needs valkey-benchmark or redis-benchmark in PATH: without it there is no ceiling")
    found = c_ways(program, server, cluster, keys, options)
    found.update(redis_py(server, cluster, keys, options.depth, stack))
    runner = stack.enter_context(Runner())
    others: list[Callable[[], dict[str, Way]]] = [
        lambda: glide(server, cluster, keys, options.depth, runner),
        lambda: coredis(server, keys, options.depth, runner),
    ]
    for other in others:
        try:
            found.update(other())
        except ImportError as error:
            say(f"left out, since {error.name} is not installed: {INSTALL}")
    return found


def parts_of(server: Any, depth: int, size: int) -> list[dict[str, Any]]:
    """Return the parts of a batch in microseconds a key: packing, parsing, the rest of the client, waiting.

    Packing and parsing are timed alone, on the same commands and replies. The rest of the client's processor time goes
    into its objects, checks and system calls. In the remaining time it waits for the server.
    """
    keys = [f"ceiling:{index:012}" for index in range(depth)]
    commands = [("GET", key) for key in keys]
    answer = f"${size}\r\n{'x' * size}\r\n".encode() * depth
    reader_only = f"*{depth}\r\n".encode() + answer
    packing = median_of(lambda: bulk.packed(commands), time.thread_time)
    parsing = median_of(lambda: parsed(reader_only), time.thread_time)
    rows = []
    ways: dict[str, Callable[[], Any]] = {
        "redis-py, pipeline": lambda: round_trips.in_pipelines(server, keys, depth),
        "tuning.bulk, one server": lambda: bulk.pipelined(server, commands, depth),
    }
    for name, way in ways.items():
        used, took = median_of(way, time.thread_time), median_of(way, time.perf_counter)
        rows.append(
            {"way": name, "packing": packing, "parsing": parsing}
            | {"rest of the client": max(0.0, used - packing - parsing), "waiting": max(0.0, took - used)}
        )
    return [
        {name: round(1e6 * value / depth, 3) if isinstance(value, float) else value for name, value in row.items()}
        for row in rows
    ]


def parsed(answer: bytes) -> Any:
    """Return a reply as hiredis parses it."""
    reader = hiredis.Reader(encoding="utf-8")
    reader.feed(answer)
    return reader.gets()


def median_of(work: Callable[[], object], clock: Callable[[], float], rounds: int = 21) -> float:
    """Return the median time of `work` by a clock, in seconds."""
    seen = []
    for _ in range(rounds):
        begun = clock()
        work()
        seen.append(clock() - begun)
    return statistics.median(seen)


def shown(rows: Sequence[dict[str, Any]], program: str) -> str:
    """Return the rows as a table in Markdown: each ceiling, then the ways below it, the fastest first."""
    lines = ["| way to read many keys | keys a second | of its ceiling | spread |", "|---|--:|--:|--:|"]
    medians = {row["way"]: row["median"] for row in rows}
    alone = medians[C_GET]
    for row in sorted(rows, key=lambda row: (medians[row["peer"]], row["peer"], row["median"])):
        way = row["way"].replace("C,", f"**{program}**,") if row["way"] == row["peer"] else row["way"]
        share = f"{100 * row['ratio']:.0f} %"
        if row["peer"] == C_CLUSTER:  # its three servers need more than two cores, so both ceilings are shown
            share += f", of one server's GET {100 * alone / row['median']:.0f} %"
        lines.append(f"| {way} | {1e6 / row['median']:,.0f} | {share} | {spread_of(row)} |")
    return "\n".join(lines)


def shown_parts(rows: Sequence[dict[str, Any]]) -> str:
    """Return the parts of a batch as a table in Markdown."""
    names = [name for name in rows[0] if name != "way"]
    lines = [f"| microseconds a key | {' | '.join(names)} |", f"|---|{'--:|' * len(names)}"]
    return "\n".join(lines + [f"| {row['way']} | {' | '.join(f'{row[name]:.2f}' for name in names)} |" for row in rows])


def main() -> None:
    """Measure and print."""
    parser = Parser(__doc__, EXAMPLES)
    parser.add_argument("--depth", type=count, default=1000, help="commands in flight (default: 1000)")
    parser.add_argument("--size", type=count, default=100, help="bytes of a value (default: 100)")
    parser.add_argument("--rounds", type=count, default=15, help="how often each is measured (default: 15)")
    parser.add_argument("--parts", action="store_true", help="only split the time of a batch into its parts")
    add_shapes(parser)
    options = parser.parse_args()
    if options.rounds < 3:  # noqa: PLR2004 - the fewest for a median and its spread
        raise Failure("fewer than 3 rounds show no spread")
    with clients() as (server, cluster), ExitStack() as stack:
        ways = ways_of(server, cluster, options, stack)
        rounds_of(ways, 1)  # warms up
        engine = engine_name(server.info("server"))
        rows = [] if options.parts else summary(rounds_of(ways, options.rounds), {way: way for way in ways} | PEERS)
        parts = parts_of(server, options.depth, options.size)
    title = f"keys a second, {options.depth} in flight, values of {options.size} bytes, {engine}"
    if options.shape == "json":
        print(json.dumps({"benchmark": title, "unit": "us", "machine": machine(), "rows": rows, "parts": parts}))
        return
    if options.shape == "text":
        print(title)
    tables = [shown_parts(parts)] if options.parts else [shown(rows, named_tool(c_tool() or "").name)]
    print(*tables, "", sep="\n")
    end(options.shape)


if __name__ == "__main__":
    run(main)
