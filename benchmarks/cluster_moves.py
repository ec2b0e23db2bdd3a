"""Time a rebalance to a new node and the drain of that node, with 20,000 keys: this project and the engines' tools.

A cluster of 3 primaries with 1 replica each; the fourth primary has joined before the clock starts. Each comparison is
of one kind: key by key with 100 keys a MIGRATE, or atomic. The ways take turns. A way ends when all nodes agree.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack

from redis import Redis

from lib.ending import run
from lib.engine_sources import Tool, tool
from lib.side_by_side import add_shapes, end, rounds_of, show, summary

from redis_practices.cli import Failure
from redis_practices.polling import poll
from redis_practices.redis_cluster.formation import wait_until_ready
from redis_practices.redis_cluster.growth import add_node, drain_node, even_moves
from redis_practices.redis_cluster.slot_migration import KEYS_AT_ONCE, move_slots
from redis_practices.redis_cluster.topology import address, as_ranges, by_identity, itself
from redis_practices.server_info import version_of
from redis_practices.servers.cluster import start_cluster
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import Config, engine_of, server_binary, start_server

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

    def plan(self, leaving: str) -> tuple[dict[str, Redis], dict[tuple[str, str], list[int]]]:
        """Return the nodes by their ids, and the moves that share the slots out; the node `leaving` then has none."""
        known = by_identity([*self.nodes, self.new])
        held = {name: member for name, node in known.items() if not (member := itself(node)).primary}
        return known, even_moves({name: sorted(member.slots) for name, member in held.items()}, leaving)

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


Halves = tuple[Callable[[Grown], None], Callable[[Grown], None]]
"""A way to move slots: growth, and drain."""


def ours(*, key_by_key: bool) -> Halves:
    """Return the ways of this project; it moves one pair of nodes after another."""

    def move(cluster: Grown, leaving: str) -> None:
        """Move the slots of all pairs."""
        known, moves = cluster.plan(leaving)
        for (source, target), slots in moves.items():
            move_slots(slots, known[source], known[target], list(known.values()), key_by_key=key_by_key)

    def drain(cluster: Grown) -> None:
        """Move all slots away, and make all nodes forget the node."""
        move(cluster, itself(cluster.new).identity)
        drain_node(cluster.new, cluster.nodes)

    return lambda cluster: move(cluster, ""), drain


def by_cli(tool: Tool) -> Halves:
    """Return the commands of an operator, key by key: rebalance, and reshard to each remaining node."""
    word = "primaries" if "valkey" in tool.name else "masters"

    def cluster_command(*arguments: str) -> None:
        """Run the tool; ten keys at once are its default, and slower."""
        done = [tool.path, "--cluster", *arguments, "--cluster-pipeline", str(KEYS_AT_ONCE)]
        subprocess.run(done, check=True, capture_output=True, timeout=300)

    def grow(cluster: Grown) -> None:
        """Rebalance with the empty node."""
        cluster_command("rebalance", cluster.address, f"--cluster-use-empty-{word}", "--cluster-threshold", "1")
        wait_until_ready([*cluster.nodes, cluster.new])

    def drain(cluster: Grown) -> None:
        """Reshard, and delete the node."""
        leaver = itself(cluster.new).identity
        for (source, target), moved in cluster.plan(leaver)[1].items():
            ends = ("--cluster-from", source, "--cluster-to", target, "--cluster-slots", str(len(moved)))
            cluster_command("reshard", cluster.address, *ends, "--cluster-yes")
            # The tool refuses the next reshard until all nodes agree.
            wait_until_ready([*cluster.nodes, cluster.new])
        subprocess.run(
            [tool.path, "--cluster", "del-node", cluster.address, leaver], check=True, capture_output=True, timeout=60
        )

    return grow, drain


def by_command(tool: Tool) -> Halves:
    """Return the server's own command, typed into valkey-cli: one for each source, and all sources at once."""

    def ask(address: str, *words: str | int) -> str:
        """Send a command with the tool (ValueError if the server refuses it)."""
        host, _, port = address.rpartition(":")
        done = [tool.path, "-h", host, "-p", port, *map(str, words)]
        said = subprocess.run(done, check=True, capture_output=True, timeout=60, text=True).stdout
        if said.startswith("ERR"):
            raise ValueError(said)
        return said

    def move(cluster: Grown, leaving: str) -> None:
        """Start all migrations, then wait for their end."""
        known, moves = cluster.plan(leaving)
        words: dict[str, list[str | int]] = {}
        for (source, target), slots in moves.items():
            edges = [edge for pair in as_ranges(slots) for edge in pair]
            words.setdefault(address(known[source]), []).extend(["SLOTSRANGE", *edges, "NODE", target])
        for source, ranges in words.items():
            ask(source, "CLUSTER", "MIGRATESLOTS", *ranges)
        for source in words:
            if not poll(lambda source=source: _ended(ask(source, "CLUSTER", "GETSLOTMIGRATIONS")), 60.0, every=0.005):  # type: ignore[misc]
                raise ValueError(f"{source} has not moved its slots after 60 s")
        wait_until_ready([*cluster.nodes, cluster.new])

    def drain(cluster: Grown) -> None:
        """Move all slots away, and delete the node."""
        leaver = itself(cluster.new).identity
        move(cluster, leaver)
        subprocess.run(
            [tool.path, "--cluster", "del-node", cluster.address, leaver], check=True, capture_output=True, timeout=60
        )

    return lambda cluster: move(cluster, ""), drain


def _ended(jobs: str) -> bool:
    """Tell whether every migration has succeeded (ValueError if one failed)."""
    if "failed" in jobs or "cancelled" in jobs:
        raise ValueError(jobs)
    states = re.findall(r"^state$\n^(\S+)$", jobs, re.MULTILINE)
    return bool(states) and set(states) == {"success"}


def kinds_of(binary: str) -> dict[str, dict[str, Halves]]:
    """Return the ways of each kind, the peer first."""
    tools = [found for name in ("redis-cli", "valkey-cli") if (found := tool(name))]
    if not tools:
        raise Failure("needs redis-cli or valkey-cli")
    kinds = {"key by key": {one.name: by_cli(one) for one in tools} | {"ours": ours(key_by_key=True)}}
    valkey = next((one for one in tools if "valkey" in one.name), None)
    if valkey and "valkey" in engine_of(binary) and version_of(engine_of(binary)) >= (9,):
        kinds["atomic"] = {f"CLUSTER MIGRATESLOTS by {valkey.name}": by_command(valkey), "ours": ours(key_by_key=False)}
    return kinds


def main() -> None:
    """Run the rounds and print the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each way is timed (default: 5)")
    parser.add_argument("--server-binary", help="another redis-server or valkey-server")
    add_shapes(parser)
    options = parser.parse_args()
    binary = server_binary(options.server_binary)
    for kind, halves in kinds_of(binary).items():
        for draining, title in ((False, "a new node gets its share"), (True, "the node is drained and leaves")):
            ways = {
                name: lambda both=both, draining=draining: timed(binary, *both, draining=draining)
                for name, both in halves.items()
            }
            rows = summary(rounds_of(ways, options.rounds), next(iter(ways)))
            show(f"{kind}: {title}, {KEYS:,} keys, {engine_of(binary)}", rows, "s", options.shape)
    end(options.shape)


if __name__ == "__main__":
    run(main)
