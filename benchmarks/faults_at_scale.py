"""Let the gate judge a large cluster with a tenth of its nodes dead, slots that move, or a resharding that stopped.

The cluster has 100 primaries with 1 replica each. Each fault is made and mended ten times, with other nodes and slots
each time. `pytest features/redis_cluster --quick` judges the cluster each time. It is right if the scenario for that
fault names every faulty node and slot, and no scenario blames a shard without a fault.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis

from lib.ending import run
from lib.side_by_side import add_shapes, end, machine

from redis_practices.cli import count, say
from redis_practices.clients import cluster_client
from redis_practices.polling import poll
from redis_practices.redis_cluster.formation import wait_until_ready
from redis_practices.redis_cluster.slot_migration import close_open_slots, move_slots, set_slots
from redis_practices.redis_cluster.topology import endpoint, itself, members
from redis_practices.servers.cluster import EmbeddedCluster, start_cluster
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import Server, engine_of, server_binary

EXAMPLES = """\
examples:
  python benchmarks/faults_at_scale.py --markdown
  python benchmarks/faults_at_scale.py --primaries 10 --rounds 1 --node-timeout 2 --only moves"""

PROJECT = Path(__file__).parents[1]

ADDRESS = re.compile(r"127\.0\.0\.1:\d+")

KEYS = 20_000
"""Keys over all slots, so that a slot that moves has keys to move."""

PATIENCE = 120.0
"""Seconds for the cluster to settle after a fault was made or mended."""


class Judged:
    """The cluster under judgement, with a client of each node."""

    def __init__(self, cluster: EmbeddedCluster, numbers: random.Random) -> None:
        """Write the keys."""
        self.cluster, self.numbers = cluster, numbers
        # Survivors connect to each dead node ten times a second, and may answer late.
        self.clients = {node.address: node.client(socket_timeout=PATIENCE) for node in cluster.nodes}
        with cluster_client(cluster.url) as client:
            for first in range(0, KEYS, 1000):
                client.mset_nonatomic({f"key:{number}": "x" for number in range(first, first + 1000)})

    def primaries(self) -> list[Redis]:
        """Return clients of the nodes with slots, in random order."""
        found = [client for client in self.clients.values() if itself(client).slots]
        return self.numbers.sample(found, len(found))

    def settle(self) -> None:
        """Return when the cluster is ready."""
        wait_until_ready(list(self.clients.values()), PATIENCE)


@dataclass(frozen=True)
class Fault:
    """What a judge should find."""

    scenario: str
    """The id of the scenario that names it; "" if nothing is at fault."""
    names: frozenset[str]
    """Its findings."""
    touched: frozenset[str]
    """The addresses of the nodes with the fault, and of their shards."""


@contextmanager
def dead_nodes(judged: Judged) -> Iterator[Fault]:
    """Kill a tenth of the nodes at once, at most one of a shard; each survivor has marked them when it yields."""
    known = members(next(iter(judged.clients.values())))
    shards: dict[str, list[str]] = {}
    for identity, member in known.items():
        shards.setdefault(member.primary or identity, []).append(member.address)
    hit = judged.numbers.sample(sorted(shards), max(1, len(known) // 10))
    dead = {judged.numbers.choice(shards[shard]) for shard in hit}
    servers = [node for node in judged.cluster.nodes if node.address in dead]
    for server in servers:
        server.kill()
    for address, client in judged.clients.items():
        if address not in dead and not poll(lambda client=client: _marks(client, dead), PATIENCE, every=0.5):  # type: ignore[misc]
            raise AssertionError(f"{address} does not mark the dead nodes as failed, or is not ok")
    yield Fault("cluster-003", frozenset(dead), frozenset(address for shard in hit for address in shards[shard]))
    for server in servers:
        server.restart()
    judged.settle()


def _marks(client: Redis, dead: set[str]) -> bool:
    """Tell whether a node is ok, and marks exactly these nodes as failed."""
    marked = {member.address for member in members(client).values() if "fail" in member.flags}
    return marked == dead and client.execute_command("CLUSTER INFO")["cluster_state"] == "ok"


@contextmanager
def moves(judged: Judged) -> Iterator[Fault]:
    """Move slots with their keys between primaries as long as the block runs; that is no fault."""
    stop = threading.Event()

    def reshard() -> int:
        moved = 0
        while not stop.is_set():
            # From the one with most slots to the one with fewest, so that the slots stay evenly shared.
            target, *_, source = sorted(judged.primaries(), key=lambda node: len(itself(node).slots))
            slots = sorted(itself(source).slots)[:8]
            move_slots(slots, source, target, [source, target], timeout=PATIENCE)
            moved += len(slots)
        return moved

    with ThreadPoolExecutor(1) as threads:
        mover = threads.submit(reshard)
        try:
            yield Fault("", frozenset(), frozenset())
        finally:
            stop.set()
        moved = mover.result(PATIENCE)
    if not moved:
        raise AssertionError("no slot has moved")
    say(f"{moved} slots have moved")
    judged.settle()


@contextmanager
def stopped_resharding(judged: Judged) -> Iterator[Fault]:
    """Leave five slots open between ten primaries, with some of their keys moved."""
    chosen = judged.primaries()[:10]
    names, touched = set(), set()
    for source, target in zip(chosen[::2], chosen[1::2], strict=False):
        here, there = itself(source), itself(target)
        slot = judged.numbers.choice(sorted(here.slots))
        set_slots(target, [slot], "IMPORTING", here.identity)
        set_slots(source, [slot], "MIGRATING", there.identity)
        for key in source.execute_command("CLUSTER GETKEYSINSLOT", slot, 1):
            source.execute_command("MIGRATE", *endpoint(target), key, 0, 5000)
        names |= {f"{here.address} gives away {slot}", f"{there.address} takes {slot}"}
        touched |= {here.address, there.address}
    yield Fault("cluster-007", frozenset(names), frozenset(touched))
    close_open_slots(list(judged.clients.values()))
    judged.settle()


FAULTS: dict[str, tuple[str, Callable[[Judged], AbstractContextManager[Fault]]]] = {
    "dead": ("a tenth of the nodes dies at once", dead_nodes),
    "moves": ("slots move while the gate asks", moves),
    "stopped": ("five slots are left open by a resharding", stopped_resharding),
}


@dataclass(frozen=True)
class Outcome:
    """One judgement."""

    missed: list[str]
    """Findings that the scenario for the fault lacks."""
    wrong: list[str]
    """Findings of it that are no fault, and failures that blame another shard, or none."""
    seconds: float
    busy: bool
    """Whether the judge's own processor was too busy for a scenario."""


def judge(url: str, fault: Fault) -> Outcome:
    """Run the gate, and compare what it names with the fault."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pytest", "features/redis_cluster", "--quick", "--cluster-url", url]
        begun = time.monotonic()
        ended = subprocess.run(
            [*command, "--report", folder, "-p", "no:cacheprovider"],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        seconds = time.monotonic() - begun
        report = Path(folder) / "report.json"
        if not report.exists():
            raise AssertionError(f"the gate wrote no report: {ended.stdout[-2000:]}{ended.stderr[-2000:]}")
        return outcome(json.loads(report.read_text(encoding="utf-8")), fault, seconds)


def outcome(report: dict[str, Any], fault: Fault, seconds: float) -> Outcome:
    """Compare a report with the fault."""
    failed = [one for one in report["scenarios"] if one["status"] == "failed"]
    own = [one for one in failed if one["scenario_id"] == fault.scenario]
    named = {finding["NODE"] for one in own for finding in one.get("findings", ())}
    wrong = sorted(named - fault.names)
    for one in failed:
        blamed = set(ADDRESS.findall(f"{one['reason']} {one.get('findings', '')}"))
        if one not in own and (not blamed or blamed - fault.touched):
            wrong.append(f"{one['scenario_id']}: {one['reason']}")
    # A judge without processor time says nothing about the cluster.
    busy = [trouble for trouble in report["troubles"] if "too busy" in trouble]
    wrong += [f"trouble: {trouble}" for trouble in report["troubles"] if trouble not in busy]
    return Outcome(sorted(fault.names - named), wrong, seconds, busy=bool(busy))


def main() -> None:
    """Make each fault in turn, let the gate judge it, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--primaries", type=count, default=100, help="each has 1 replica (default: 100)")
    parser.add_argument("--rounds", type=count, default=10, help="judgements of each fault (default: 10)")
    parser.add_argument("--node-timeout", type=float, default=15.0, help="seconds (default: 15)")
    parser.add_argument("--only", choices=FAULTS, nargs="+", default=list(FAULTS), help="faults (default: all)")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of nodes and slots (default: 1)")
    parser.add_argument("--server-binary", help="another redis-server or valkey-server")
    add_shapes(parser)
    options = parser.parse_args()
    binary = server_binary(options.server_binary)
    found: dict[str, list[Outcome]] = {name: [] for name in ("healthy", *options.only)}
    with ProcessGroup() as group:
        cluster = start_cluster(
            group,
            primaries=options.primaries,
            replicas=1,
            node_timeout_ms=round(1000 * options.node_timeout),
            binary=binary,
        )
        judged = Judged(cluster, random.Random(options.seed))
        found["healthy"].append(judge(cluster.url, Fault("", frozenset(), frozenset())))
        _tell("healthy", found["healthy"][-1])
        for name in options.only * options.rounds:
            with FAULTS[name][1](judged) as fault:
                found[name].append(judge(alive(judged).url, fault))
            _tell(name, found[name][-1])
    timeout = f"node timeout {options.node_timeout:g} s"
    title = f"{options.primaries} primaries with 1 replica each, {engine_of(binary)}, {timeout}"
    show(title, found, options.shape)


def alive(judged: Judged) -> Server:
    """Return the first node that runs."""
    return next(node for node in judged.cluster.nodes if node.runs)


def _tell(name: str, one: Outcome) -> None:
    """Print one judgement on stderr."""
    say(f"{name}: {one.seconds:.1f} s, missed {one.missed or 'nothing'}, wrong {one.wrong or 'nothing'}"[:2000])


def show(title: str, found: dict[str, list[Outcome]], shape: str) -> None:
    """Print the table, or JSON."""
    if shape == "json":
        rows = {name: [vars(one) for one in outcomes] for name, outcomes in found.items()}
        print(json.dumps({"benchmark": title, "machine": machine(), "rows": rows}))
        return
    print(f"| {title} | judged | named every one | named nothing else | judge too busy | s of the gate | from, to |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, outcomes in found.items():
        words = FAULTS[name][0] if name in FAULTS else "nothing is at fault"
        seconds = [one.seconds for one in outcomes]
        right = [sum(not one.missed for one in outcomes), sum(not one.wrong for one in outcomes)]
        right.append(sum(one.busy for one in outcomes))
        spread = f"{statistics.median(seconds):.1f}", f"{min(seconds):.1f}, {max(seconds):.1f}"
        cells = [words, len(outcomes), *right, *spread]
        print(f"| {' | '.join(map(str, cells))} |")
    print()
    end(shape)


if __name__ == "__main__":
    run(main)
