"""The sentences about watching a cluster with src/cluster_example.py."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from pytest_bdd import given, parsers, then, when

import cluster_example
from fixtures.redis_cluster.nodes import clients_of, primaries, ranges
from fixtures.stacks.protocols import Cluster
from redis_practices.polling import eventually
from redis_practices.redis_cluster.slot_migration import move_slots
from steps.common.vocabulary import TYPES, Duration, assert_table


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
    with clients_of(primaries(cluster)) as nodes:
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
