"""``cluster_example.py --watch`` shows the slots of each primary while they migrate."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import cluster_example
from fixtures.redis_cluster.nodes import clients_of, primaries
from fixtures.run.processes import ForkingGroup
from redis_practices.polling import eventually
from redis_practices.redis_cluster.slot_migration import move_slots
from redis_practices.redis_cluster.topology import itself
from redis_practices.servers.cluster import start_cluster


def test_watching_shows_migrated_slots_and_leaves_no_key(
    group: ForkingGroup, ending: ExitStack, tmp_path: Path
) -> None:
    """Migrate 1000 slots: the last line shows them within 5 s, each line shows all primaries, Ctrl-C ends with 0."""
    cluster, output = start_cluster(group), tmp_path / "output"
    nodes = ending.enter_context(clients_of(primaries(cluster)))
    addresses = [node.address for node in primaries(cluster)]
    held = [len(itself(node).slots) for node in nodes]
    command = [sys.executable, cluster_example.__file__, "--watch", "--interval", "0.2", "--keys", "200"]
    with output.open("wb") as file:
        environment = {**os.environ, "CLUSTER_URL": cluster.url}
        watcher = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
    ending.callback(watcher.wait)
    ending.callback(watcher.kill)

    def lines() -> list[str]:
        return re.findall(r"^\d\d:\d\d:\d\d slots/keys: (.*)\n", output.read_text(encoding="utf-8"), re.MULTILINE)

    def shows(wanted: list[int]) -> bool:
        seen = dict(re.findall(r"(\S+) (\d+)/\d+", lines()[-1])) if lines() else {}
        return [int(seen.get(address, 0)) for address in addresses] == wanted

    eventually(lambda: shows(held), within=10.0)
    move_slots(range(1000), nodes[0], nodes[1], nodes)
    eventually(lambda: shows([held[0] - 1000, held[1] + 1000, held[2]]), within=5.0)
    assert all(len(re.findall(r"\d+/\d+", line)) == len(addresses) for line in lines()), lines()
    watcher.send_signal(signal.SIGINT)
    assert watcher.wait(10.0) == 0, output.read_text(encoding="utf-8")
    assert [node.dbsize() for node in nodes] == [0, 0, 0]
