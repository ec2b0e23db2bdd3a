"""Time the start of a ready cluster of 3 primaries with 1 replica each: both ways of this project, and redis-cli's.

A cluster is ready by the rules of `formation.why_not_ready`: state ok, all nodes known, one slot map, every replica
linked. The quick way is for tests only. It writes the nodes.conf of every node ahead, so that no node waits for
CLUSTER_WRITABLE_DELAY: 2 s after a start as a primary. On a real cluster that delay protects against split brain.

With --nodes, larger clusters are timed once each: held until all nodes are there, and up to 48 nodes with ghosts, the
way of small clusters. Half the nodes are primaries.
"""

from __future__ import annotations

import argparse
import subprocess
import time

from lib.ending import run
from lib.engine_sources import tool
from lib.processes import cpu_seconds
from lib.side_by_side import add_shapes, end, rounds_of, show, summary

from redis_practices.redis_cluster.formation import wait_until_ready
from redis_practices.servers.cluster import LARGE_NODE_TIMEOUT, NODE_TIMEOUT, Plan, make_room_for, start_cluster
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import engine_of, free_ports, server_binary

EXAMPLES = """\
examples:
  python benchmarks/cluster_start.py
  python benchmarks/cluster_start.py --nodes 24 36 48 100 200 --markdown
  python benchmarks/cluster_start.py --server-binary /usr/bin/redis-server --rounds 20 --json"""


def ours(binary: str, *, quick: bool) -> float:
    """Return the seconds of `start_cluster`."""
    with ProcessGroup() as group:
        begun = time.monotonic()
        start_cluster(group, binary=binary, quick=quick)
        return time.monotonic() - begun


def by_redis_cli(binary: str, redis_cli: str) -> float:
    """Return the seconds from the start of six servers to a cluster by ``redis-cli --cluster create`` that is ready."""
    with ProcessGroup() as group:
        plan = Plan(group, free_ports(6), 3, NODE_TIMEOUT, {}, binary)
        begun = time.monotonic()
        # A port that another process takes meanwhile ends the benchmark: its figures would be wrong.
        clients = [plan.connect(server) for server in [plan.start(index) for index in range(6)]]
        create = [redis_cli, "--cluster", "create", *(server.address for server in plan.started)]
        create += ["--cluster-replicas", "1", "--cluster-yes"]
        subprocess.run(create, check=True, capture_output=True, timeout=60)
        wait_until_ready(clients)
        return time.monotonic() - begun


MOST_WITH_GHOSTS = 48
"""Nodes; 100 with ghosts took 25 s."""


def large(nodes: int, binary: str, *, held: bool) -> str:
    """Return the seconds until a large cluster is ready, and those of its servers' processors."""
    if nodes > MOST_WITH_GHOSTS and not held:
        return "not measured | not measured"
    make_room_for(nodes)
    with ProcessGroup() as group:
        timeout = LARGE_NODE_TIMEOUT if held else NODE_TIMEOUT
        plan = Plan(group, free_ports(nodes, group.held), nodes // 2, timeout, {}, binary)
        begun = time.monotonic()
        servers = plan.boot_held() if held else plan.boot_with_ghosts()
        ready = time.monotonic() - begun
        return f"{ready:.2f} | {cpu_seconds(*(server.pid for server in servers)):.2f}"


def main() -> None:
    """Run the rounds and print the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10, help="how often each way is timed (default: 10)")
    parser.add_argument("--server-binary", help="another redis-server or valkey-server")
    parser.add_argument(
        "--nodes", type=int, nargs="+", help="time larger clusters of these numbers of nodes instead; Markdown"
    )
    add_shapes(parser)
    options = parser.parse_args()
    binary = server_binary(options.server_binary)
    if options.nodes:
        print(f"| nodes, {engine_of(binary)} | held: ready, s | servers' CPU s | ghosts: ready, s | servers' CPU s |")
        print("|---:|---:|---:|---:|---:|")
        for nodes in options.nodes:
            print(f"| {nodes} | {large(nodes, binary, held=True)} | {large(nodes, binary, held=False)} |", flush=True)
        print()
        end(options.shape)
        return
    ways = {"quick": lambda: ours(binary, quick=True), "by its own commands": lambda: ours(binary, quick=False)}
    for name in ("valkey-cli", "redis-cli"):
        if found := tool(name):
            ways[f"{found.name} --cluster create"] = lambda path=found.path: by_redis_cli(binary, path)  # type: ignore[misc]
    baseline = list(ways)[-1]
    rows = summary(rounds_of(ways, options.rounds), baseline)
    show(f"cluster of 3 + 3 nodes ready, {engine_of(binary)}", rows, "s", options.shape)
    end(options.shape)


if __name__ == "__main__":
    run(main)
