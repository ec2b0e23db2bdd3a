"""Simulate a cluster of 1,000 nodes with 10^9 keys, which one machine cannot hold.

The distribution is a random number of keys for each slot. The bus is what all nodes know of a few, by the rules for
pings and gossip. The audit scales the answers of a small cluster to the number of nodes and keys.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import time
from typing import Any

from lib.bus_rule import bus
from lib.ending import run
from lib.side_by_side import add_shapes, end, machine

from redis_practices.redis_cluster.formation import even_ranges
from redis_practices.redis_cluster.topology import SLOTS
from redis_practices.servers.cluster import start_cluster
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import engine_of, server_binary

EXAMPLES = """\
examples:
  python benchmarks/scale_simulation.py
  python benchmarks/scale_simulation.py --nodes 100 --keys 10000000 --node-timeout 5 --json"""

THOUSAND = 1000


def spread(primaries: int, keys: int, numbers: random.Random) -> dict[str, float]:
    """Return the worst deviations of a primary's slots and keys from an even share, in percent of it."""
    slots = [last - first + 1 for first, last in even_ranges(primaries)]
    # With so large a mean, Poisson is nearly normal.
    mean = keys / SLOTS
    held = [sum(numbers.gauss(mean, math.sqrt(mean)) for _ in range(count)) for count in slots]
    by_slots = [
        count / slots_of - 1 for count, slots_of in zip(held, (keys * count / SLOTS for count in slots), strict=True)
    ]
    return {
        "slots of a primary": SLOTS / primaries,
        "slots off an even share, worst, %": 100 * max(abs(count * primaries / SLOTS - 1) for count in slots),
        "keys off an even share, worst, %": 100 * max(abs(count * primaries / keys - 1) for count in held),
        "keys off the share of its slots, worst, %": 100 * max(map(abs, by_slots)),
    }


def timed(work: Any, rounds: int = 20) -> tuple[float, Any]:
    """Return the median seconds of `work`, and its last result."""
    seconds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds), result


def audit(nodes: int, keys: int, binary: str, sample: int = 100_000) -> dict[str, float]:
    """Return what one client reads of all `nodes`, and the time for all keys, extrapolated from a small cluster."""
    with ProcessGroup() as group:
        cluster = start_cluster(group, primaries=6, replicas=0, binary=binary)
        node = cluster.nodes[0].client()
        told = node.execute_command("CLUSTER", "NODES")
        tag = next(f"{{{number}}}" for number in range(SLOTS) if node.cluster("KEYSLOT", f"{{{number}}}") < SLOTS // 6)
        with node.pipeline(transaction=False) as pipe:
            for number in range(sample):
                pipe.set(f"{tag}{number}", "")
            pipe.execute()
        scan_seconds, found = timed(lambda: sum(1 for _ in node.scan_iter(count=1000)), rounds=3)
    line = len(told) / len(cluster.nodes)
    return {
        "MB of maps, each node's of each node": line * nodes * nodes / 1e6,
        "h to scan every key, one client": scan_seconds * keys / found / 3600,
        "min to scan every key, a client a node": scan_seconds * keys / found / nodes / 60,
    }


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=1000, help="primaries (default: 1000)")
    parser.add_argument("--keys", type=int, default=10**9, help="default: 10^9")
    parser.add_argument("--node-timeout", type=float, default=15.0, help="seconds (default: 15, as of the servers)")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers (default: 1)")
    parser.add_argument("--server-binary", help="the server that the audit is extrapolated from")
    add_shapes(parser)
    options = parser.parse_args()
    numbers = random.Random(options.seed)
    binary = server_binary(options.server_binary)
    found = {
        "distribution": spread(options.nodes, options.keys, numbers),
        f"bus at rest, node timeout {options.node_timeout:g} s": bus(
            options.nodes, options.node_timeout, random.Random(options.seed)
        ),
        f"audit, from {engine_of(binary)} here": audit(options.nodes, options.keys, binary),
    }
    if options.shape == "json":
        print(json.dumps({"nodes": options.nodes, "keys": options.keys, "machine": machine(), **found}))
        return
    print(f"| {options.nodes:,} primaries, {options.keys:,} keys | |", "|---|--:|", sep="\n")
    for title, figures in found.items():
        for name, value in figures.items():
            print(f"| {title}: {name} | {value:,.3g} |" if value < THOUSAND else f"| {title}: {name} | {value:,.0f} |")
    print()
    end(options.shape)


if __name__ == "__main__":
    run(main)
