"""Measure the cost of a cluster by size: time until ready, memory of a node, traffic of the bus at rest.

Primaries without replicas, as child processes of this one. The bus is watched after the start, at rest.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import asdict, dataclass

from redis import Redis

from lib.ending import run
from lib.side_by_side import add_shapes, end, machine

from redis_practices.servers.cluster import start_cluster
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import engine_of, server_binary

EXAMPLES = """\
examples:
  python benchmarks/cluster_scale.py
  python benchmarks/cluster_scale.py --sizes 3 6 12 --node-timeout 2000 --server-binary /usr/bin/redis-server --json"""


@dataclass(frozen=True)
class Sample:
    """One cluster of one size."""

    nodes: int
    ready: float
    """Seconds from nothing to ready."""
    memory: float
    """MB of a node's memory (``used_memory_rss``), median of the nodes."""
    links: float
    """KB of that memory for links to other nodes (``mem_cluster_links``), median."""
    messages: float
    """Messages of a node over the bus in a second, mean of the nodes."""
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


def sample(size: int, binary: str, node_timeout: int, seconds: float) -> Sample:
    """Start a cluster of `size` primaries, watch it for `seconds`, and return the sample."""
    with ProcessGroup() as group:
        begun = time.monotonic()
        cluster = start_cluster(group, primaries=size, replicas=0, binary=binary, node_timeout_ms=node_timeout)
        ready = time.monotonic() - begun
        nodes = [server.client() for server in cluster.nodes]
        time.sleep(node_timeout / 1000)  # until the traffic of the start is over
        before, since = [counters(node) for node in nodes], time.monotonic()
        time.sleep(seconds)
        after, passed = [counters(node) for node in nodes], time.monotonic() - since
        memory = [node.info("memory") for node in nodes]
    rate = {
        name: statistics.mean(late[name] - early[name] for early, late in zip(before, after, strict=True)) / passed
        for name in before[0]
    }
    return Sample(
        nodes=size,
        ready=round(ready, 3),
        memory=round(statistics.median(told["used_memory_rss"] for told in memory) / 1e6, 2),
        links=round(statistics.median(told.get("mem_cluster_links", 0) for told in memory) / 1e3, 1),
        messages=round(rate["messages"], 1),
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
    parser.add_argument("--seconds", type=float, default=4.0, help="how long the bus is watched (default: 4)")
    parser.add_argument("--node-timeout", type=int, default=2000, help="milliseconds (default: 2000)")
    parser.add_argument("--server-binary", help="another redis-server or valkey-server")
    add_shapes(parser)
    options = parser.parse_args()
    binary = server_binary(options.server_binary)
    seen: dict[int, list[Sample]] = {size: [] for size in options.sizes}
    for _ in range(options.rounds):
        for size, samples in seen.items():
            samples.append(sample(size, binary, options.node_timeout, options.seconds))
    rows = [median(samples) for samples in seen.values()]
    title = f"clusters of primaries alone, {engine_of(binary)}, cluster-node-timeout {options.node_timeout} ms"
    if options.shape == "json":
        print(json.dumps({"benchmark": title, "rounds": options.rounds, "machine": machine(), "rows": rows}))
        return
    print(f"{title[0].upper()}{title[1:]}, medians of {options.rounds} rounds.", end="\n\n")
    print("| primaries | ready, s | MB a node | KB of it for links | messages/s a node | KB/s a node | CPU a node |")
    print(f"|{'---:|' * 7}")
    for row in rows:
        print("| {nodes} | {ready} | {memory} | {links} | {messages} | {kilobytes} | {cpu} % |".format(**row))
    print()
    end(options.shape)


def median(samples: list[Sample]) -> dict[str, float | None]:
    """Return the median of each figure."""
    columns = {name: [asdict(one)[name] for one in samples] for name in asdict(samples[0])}
    return {name: None if None in values else statistics.median(values) for name, values in columns.items()}


if __name__ == "__main__":
    run(main)
