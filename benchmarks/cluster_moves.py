"""Time a rebalance to a new node and the drain of that node, with 20,000 keys: this project's way and redis-cli's.

A cluster of 3 primaries with 1 replica each; the fourth primary has joined before the clock starts.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack

from lib.ending import run
from lib.side_by_side import rounds_of, show, summary

from redis_practices.redis_cluster.formation import wait_until_ready
from redis_practices.redis_cluster.growth import add_node, drain_node, even_moves, rebalance
from redis_practices.redis_cluster.topology import itself
from redis_practices.servers.binary import engine_of, server_binary
from redis_practices.servers.cluster import start_cluster
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import Config, start_server

EXAMPLES = """\
examples:
  python benchmarks/cluster_moves.py
  python benchmarks/cluster_moves.py --server-binary /usr/bin/redis-server --rounds 5 --json"""

KEYS = 20_000


class Grown:
    """A cluster with keys, and a new fourth primary without slots."""

    def __init__(self, group: ProcessGroup, binary: str, stack: ExitStack) -> None:
        """Start the cluster and let the node join."""
        cluster = start_cluster(group, binary=binary)
        with cluster.client() as client, client.pipeline() as pipe:
            for number in range(KEYS):
                pipe.set(f"key:{number}", "x" * 100)
            pipe.execute()
        self.nodes = [stack.enter_context(node.client()) for node in cluster.nodes]
        config: Config = {"cluster-enabled": "yes", "cluster-node-timeout": 500, "save": ""}
        server = start_server(group, config, binary=binary)
        self.new = stack.enter_context(server.client())
        self.address, self.new_address = cluster.nodes[0].address, server.address
        add_node(self.new, self.nodes)
        wait_until_ready([*self.nodes, self.new])

    def check(self, slots: int) -> None:
        """Require agreement of all nodes, `slots` slots on the new node, and every key (ValueError)."""
        wait_until_ready([*self.nodes, self.new])
        held = [itself(node) for node in self.nodes]
        keys = sum(node.dbsize() for node, member in zip(self.nodes, held, strict=True) if not member.primary)
        keys += self.new.dbsize()
        if (seen := len(itself(self.new).slots)) != slots or keys != KEYS:
            raise ValueError(f"the new node has {seen} slots, not {slots}; {keys} of {KEYS} keys are there")


def timed(binary: str, grow: Callable[[Grown], None], drain: Callable[[Grown], None], *, draining: bool) -> float:
    """Return the seconds of one of the two halves; both are run and checked."""
    with ProcessGroup() as group, ExitStack() as stack:
        cluster = Grown(group, binary, stack)
        begun = time.monotonic()
        grow(cluster)
        grown = time.monotonic() - begun
        cluster.check(4096)
        if not draining:
            return grown
        begun = time.monotonic()
        drain(cluster)
        return time.monotonic() - begun


def by_redis_cli(redis_cli: str) -> tuple[Callable[[Grown], None], Callable[[Grown], None]]:
    """Return the commands of an operator with redis-cli: rebalance, and reshard to each remaining node."""

    def run(*arguments: str) -> None:
        subprocess.run([redis_cli, "--cluster", *arguments], check=True, capture_output=True, timeout=300)

    def grow(cluster: Grown) -> None:
        run("rebalance", cluster.address, "--cluster-use-empty-masters", "--cluster-threshold", "1")

    def drain(cluster: Grown) -> None:
        leaver = itself(cluster.new)
        held = {leaver.identity: leaver, **{(m := itself(node)).identity: m for node in cluster.nodes}}
        slots = {name: sorted(member.slots) for name, member in held.items() if not member.primary}
        for (source, target), moved in even_moves(slots, leaver.identity).items():
            ends = ("--cluster-from", source, "--cluster-to", target, "--cluster-slots", str(len(moved)))
            run("reshard", cluster.address, *ends, "--cluster-yes")
            # redis-cli refuses the next reshard until all nodes agree.
            wait_until_ready([*cluster.nodes, cluster.new])
        run("del-node", cluster.address, leaver.identity)

    return grow, drain


def main() -> None:
    """Run the rounds and print the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each way is timed (default: 3)")
    parser.add_argument("--server-binary", help="another redis-server or valkey-server")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    binary = server_binary(options.server_binary)
    redis_cli = shutil.which("redis-cli") or shutil.which("valkey-cli")
    if not redis_cli:
        parser.error("needs redis-cli or valkey-cli in PATH")
    ours = (_rebalance, lambda cluster: drain_node(cluster.new, cluster.nodes))
    theirs = by_redis_cli(redis_cli)
    for draining, title in ((False, "a new node gets its share"), (True, "the node is drained and leaves")):
        ways = {
            "ours": lambda draining=draining: timed(binary, *ours, draining=draining),
            "redis-cli": lambda draining=draining: timed(binary, *theirs, draining=draining),
        }
        rows = summary(rounds_of(ways, options.rounds), "redis-cli")
        show(f"{title}, {KEYS} keys, {engine_of(binary)}; ratio to redis-cli", rows, "s", as_json=options.json)


def _rebalance(cluster: Grown) -> None:
    """Share the slots out over all nodes."""
    rebalance([*cluster.nodes, cluster.new])


if __name__ == "__main__":
    run(main)
