"""The sentences about the cluster example's output and its watch mode."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
from pytest_bdd import given, parsers, then, when

import cluster_example
from fixtures.gate.commands import Ended
from fixtures.gate.endpoints import Addresses
from fixtures.redis_cluster.nodes import primaries, ranges
from fixtures.reporting.measurements import Bound
from fixtures.stacks.protocols import Cluster
from redis_practices.clients import cluster_client, node_client
from redis_practices.polling import eventually
from redis_practices.redis_cluster.slot_migration import move_slots
from steps.common.vocabulary import TYPES, Duration, assert_table
from steps.gate.commands import Names, expanded

SLOTS = 16384


class Row(NamedTuple):
    """A row of the table that the script shows."""

    node: str
    role: str
    slots: int
    keys: int
    share: float


def shown(outcome: Ended) -> list[Row]:
    """Return the rows of the table, each of which must end with its bar."""
    found = re.findall(r"^(\S+:\d+) +(primary|replica) +(\d+) +(\d+) +(\d+\.\d) % +#+$", outcome.stdout, re.MULTILINE)
    return [Row(node, role, int(slots), int(keys), float(share)) for node, role, slots, keys, share in found]


@then(
    parsers.parse(
        "it shows a cluster of {primaries:d} primaries and {replicas:d} replicas with all slots and {keys:d} keys"
    )
)
def check_table(outcome: Ended, primaries: int, replicas: int, keys: int) -> None:
    """Count the nodes of each role, and add up what the primaries hold."""
    rows = [row for row in shown(outcome) if row.role == "primary"]
    seen = (len(rows), len(shown(outcome)) - len(rows), sum(row.slots for row in rows), sum(row.keys for row in rows))
    assert seen == (primaries, replicas, SLOTS, keys), str(outcome)
    assert f"Wrote {keys} keys and read them back." in outcome.lines, str(outcome)


@then(parsers.parse("each primary's share is {bound:Bound}", extra_types=TYPES))
def check_shares(outcome: Ended, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the share of each primary against the bound, and against its keys."""
    rows = [row for row in shown(outcome) if row.role == "primary"]
    total = sum(row.keys for row in rows)
    for number, row in enumerate(rows, 1):
        measure(f"share of primary {number}", unit="%", seen=row.share, bound=bound)
        assert abs(row.share - 100 * row.keys / total) <= 0.05, str(outcome)  # noqa: PLR2004 - it shows one decimal


@then("the widest deviation it names is the widest of its table")
def check_deviation(outcome: Ended) -> None:
    """Compare the line about the deviation with the table."""
    rows = [row for row in shown(outcome) if row.role == "primary"]
    even = sum(row.keys for row in rows) / len(rows)
    points = {row.node: 100 * (row.keys - even) / (even * len(rows)) for row in rows}
    line = r"^widest deviation from an even spread: (\S+) holds (\d+\.\d) points (more|less) than 33\.3 %$"
    found = re.search(line, outcome.stdout, re.MULTILINE)
    assert found, str(outcome)
    node, size, direction = found.groups()
    signed = float(size) if direction == "more" else -float(size)
    assert abs(points[node] - signed) <= 0.05, f"{points}\n{outcome}"  # noqa: PLR2004 - it shows one decimal
    assert abs(points[node]) == max(map(abs, points.values())), f"{points}\n{outcome}"


@then(parsers.parse('the journey of its key is as the cluster at "{address}" says'))
def check_journey(addresses: Addresses, names: Names, outcome: Ended, address: str) -> None:
    """Ask the cluster for the slot of the key and for the owner of that slot, and compare."""
    line = r"^(\S+) -> slot (\d+) -> (\S+)\na wrong node, (\S+), answers: MOVED (\d+) (\S+)$"
    found = re.search(line, outcome.stdout, re.MULTILINE)
    assert found, str(outcome)
    key, slot, owner, wrong, moved_slot, moved_to = found.groups()
    with cluster_client(f"redis://{expanded(address, addresses, names)}") as cluster:
        node = cluster.get_node_from_key(key)
        says = (str(cluster.cluster_keyslot(key)), node.name)
    assert (slot, owner) == (moved_slot, moved_to) == says, f"{says}\n{outcome}"
    assert wrong != owner, str(outcome)


@then(parsers.parse('no key is left in the cluster at "{address}"'))
def check_no_key(addresses: Addresses, names: Names, address: str) -> None:
    """Ask every node how many keys it has."""
    with cluster_client(f"redis://{expanded(address, addresses, names)}") as cluster:
        for node in cluster.get_primaries():
            with node_client(node.host, node.port) as client:
                assert client.dbsize() == 0, f"{node.name} holds {client.dbsize()} keys"


@dataclass(frozen=True)
class Watcher:
    """A running example, what it says, and how many slots each primary had when it began, in order of their slots."""

    process: subprocess.Popen[bytes]
    output: Path
    before: Mapping[str, int]

    def lines(self) -> list[str]:
        """Return the lines of its watching so far, the time in front of each left out."""
        text = self.output.read_text(encoding="utf-8")
        return re.findall(r"^\d\d:\d\d:\d\d slots/keys: (.*)\n", text, re.MULTILINE)

    def gained(self) -> list[dict[str, str]]:
        """Return how many slots each primary has gained, as the last line says, in the columns of a table."""
        lines = self.lines()
        assert lines, self.output.read_text(encoding="utf-8")
        found = dict(re.findall(r"(\S+) (\d+)/\d+", lines[-1]))
        names = zip(("first", "second", "third"), self.before.items(), strict=True)
        return [
            {"PRIMARY": name, "SLOTS": f"{int(found.get(address, 0)) - before:+}"} for name, (address, before) in names
        ]


@given("somebody watches it with the example", target_fixture="watcher")
def watch(cluster: Cluster, tmp_path: Path, request: pytest.FixtureRequest) -> Watcher:
    """Start the example and wait for its first look."""
    output = tmp_path / "output"
    command = [sys.executable, cluster_example.__file__, "--watch", "--interval", "0.2", "--keys", "200"]
    with output.open("wb") as file:
        process = subprocess.Popen(
            command, env={**os.environ, "CLUSTER_URL": cluster.url}, stdout=file, stderr=subprocess.STDOUT
        )
    request.addfinalizer(process.wait)
    request.addfinalizer(process.kill)
    slots: Counter[str] = Counter()
    for held in ranges(cluster):
        slots[held.primary] += held.last - held.first + 1
    watcher = Watcher(process, output, slots)
    eventually(watcher.gained, within=10.0)
    return watcher


@when(parsers.cfparse("{number:Count} slots move from the first primary to the second", extra_types=TYPES))
def move(cluster: Cluster, number: int, request: pytest.FixtureRequest) -> None:
    """Move slots, and move them back when the scenario ends: a lent cluster is left as it was."""
    with ExitStack() as stack:
        nodes = [stack.enter_context(node.client()) for node in primaries(cluster)]
        move_slots(range(number), nodes[0], nodes[1], nodes)
    clients = [node.client() for node in primaries(cluster)]
    # The second primary owns the lowest slots now.
    request.addfinalizer(lambda: move_slots(range(number), clients[0], clients[1], clients))


@then(parsers.cfparse("within {limit:Duration} the watcher sees that they have gained slots", extra_types=TYPES))
def see_slots(watcher: Watcher, limit: Duration, datatable: Sequence[Sequence[str]]) -> None:
    """Wait until the last line is as the table."""
    eventually(lambda: assert_table(datatable, watcher.gained()), within=limit.seconds())


@then("it saw no error")
def check_lines(watcher: Watcher) -> None:
    """Require that every line is about all primaries, with every key."""
    for line in watcher.lines():
        keys = [int(count) for count in re.findall(r"\d+/(\d+)", line)]
        assert len(keys) == len(watcher.before), f"the watcher saw: {line}"


@then("on Ctrl-C it ends with 0 and leaves no key")
def end(cluster: Cluster, watcher: Watcher) -> None:
    """Interrupt the example as a terminal does, and count what is left."""
    watcher.process.send_signal(signal.SIGINT)
    code = watcher.process.wait(10.0)
    text = watcher.output.read_text(encoding="utf-8")
    assert code == 0, f"it ended with {code}: {text[-500:]}"
    [prefix] = set(re.findall(r"^(practices:\w+:)0 ->", text, re.MULTILINE))
    for node in primaries(cluster):
        with node.client() as client:
            left = list(client.scan_iter(match=f"{prefix}*", count=1000))
            assert not left, f"{node.address} still holds {len(left)} keys of the example, {left[0]} is one"
