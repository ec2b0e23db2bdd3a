"""Measure the cost of a cluster by size: time until ready, memory of a node, traffic of the bus at rest.

Primaries without replicas, as child processes of this one. The bus is watched at rest, two node timeouts after the
start and over whole node timeouts: nodes that started together ping in waves. Beside it stands what the rule of
`lib/bus_rule.py` simulates.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import time
from dataclasses import asdict, dataclass
from itertools import product

from redis import Redis

from lib.bus_rule import bus
from lib.ending import run
from lib.side_by_side import add_shapes, end, machine

from redis_practices.servers.cluster import start_cluster
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import engine_of, server_binary

EXAMPLES = """\
examples:
  python benchmarks/cluster_scale.py
  python benchmarks/cluster_scale.py --sizes 24 50 100 --node-timeout 2 5 15 --rounds 1
  python benchmarks/cluster_scale.py --sizes 3 6 12 --server-binary /usr/bin/redis-server --json"""


@dataclass(frozen=True)
class Sample:
    """One cluster of one size."""

    nodes: int
    timeout: float
    """The node timeout in seconds."""
    ready: float
    """Seconds from nothing to ready."""
    memory: float
    """MB of a node's memory (``used_memory_rss``), median of the nodes."""
    links: float
    """KB of that memory for links to other nodes (``mem_cluster_links``), median."""
    messages: float
    """Messages of a node over the bus in a second, mean of the nodes."""
    rule: float
    """The same by the rule."""
    kilobytes: float | None
    """KB of a node over the bus in a second; None if the engine does not count them."""
    cpu: float
    """Percent of a core that a node uses at rest, mean."""


def counters(node: Redis) -> dict[str, float]:
    """Return the bus traffic that a node has sent so far, and its processor time in seconds."""
    said, cpu = node.execute_command("CLUSTER INFO"), node.info("cpu")
    return {
        "messages": float(said["cluster_stats_messages_sent"]),
        "bytes": float(said.get("cluster_stats_bytes_sent", "nan")),
        "cpu": cpu["used_cpu_sys"] + cpu["used_cpu_user"],
    }


def sample(size: int, binary: str, timeout: float, seconds: float) -> Sample:
    """Start a cluster of `size` primaries, and watch it for `seconds` up to the end of a node timeout."""
    with ProcessGroup() as group:
        begun = time.monotonic()
        cluster = start_cluster(group, primaries=size, replicas=0, binary=binary, node_timeout_ms=round(1000 * timeout))
        ready = time.monotonic() - begun
        nodes = [server.client() for server in cluster.nodes]
        time.sleep(2 * timeout)  # until the traffic of the start is over
        before, since = [counters(node) for node in nodes], time.monotonic()
        time.sleep(math.ceil(seconds / timeout) * timeout)
        after, passed = [counters(node) for node in nodes], time.monotonic() - since
        memory = [node.info("memory") for node in nodes]
    rate = {
        name: statistics.mean(late[name] - early[name] for early, late in zip(before, after, strict=True)) / passed
        for name in before[0]
    }
    return Sample(
        nodes=size,
        timeout=timeout,
        ready=round(ready, 3),
        memory=round(statistics.median(told["used_memory_rss"] for told in memory) / 1e6, 2),
        links=round(statistics.median(told.get("mem_cluster_links", 0) for told in memory) / 1e3, 1),
        messages=round(rate["messages"], 1),
        rule=round(bus(size, timeout, random.Random(1))["messages/s of a node"], 1),
        kilobytes=None if rate["bytes"] != rate["bytes"] else round(rate["bytes"] / 1e3, 1),
        cpu=round(100 * rate["cpu"], 2),
    )


def main() -> None:
    """Measure every size once a round, and print the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, 6, 12, 24, 48], help="numbers of primaries")
    parser.add_argument("--rounds", type=int, default=3, help="clusters of each size (default: 3)")
    parser.add_argument(
        "--seconds", type=float, default=12.0, help="how long the bus is watched, at least (default: 12)"
    )
    parser.add_argument("--node-timeout", type=float, nargs="+", default=[2.0], help="seconds (default: 2)")
    parser.add_argument("--server-binary", help="another redis-server or valkey-server")
    add_shapes(parser)
    options = parser.parse_args()
    binary = server_binary(options.server_binary)
    seen: dict[tuple[int, float], list[Sample]] = {pair: [] for pair in product(options.sizes, options.node_timeout)}
    for _ in range(options.rounds):
        for (size, timeout), samples in seen.items():
            samples.append(sample(size, binary, timeout, options.seconds))
    rows = [median(samples) for samples in seen.values()]
    title = f"clusters of primaries alone, {engine_of(binary)}"
    if options.shape == "json":
        print(json.dumps({"benchmark": title, "rounds": options.rounds, "machine": machine(), "rows": rows}))
        return
    print(f"{title[0].upper()}{title[1:]}, medians of {options.rounds} rounds.", end="\n\n")
    print("| primaries | node timeout, s | ready, s | MB a node | KB of it for links", end="")
    print(" | messages/s a node | by rule | KB/s a node | CPU a node |")
    print(f"|{'---:|' * 9}")
    for row in rows:
        cells = "{nodes} | {timeout:g} | {ready} | {memory} | {links} | {messages} | {rule} | {kilobytes} | {cpu} %"
        print(f"| {cells.format(**row)} |")
    print()
    end(options.shape)


def median(samples: list[Sample]) -> dict[str, float | None]:
    """Return the median of each figure."""
    columns = {name: [asdict(one)[name] for one in samples] for name in asdict(samples[0])}
    return {name: None if None in values else statistics.median(values) for name, values in columns.items()}


if __name__ == "__main__":
    run(main)
