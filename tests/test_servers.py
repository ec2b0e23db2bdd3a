"""Test that a killed server comes back to its port, and what the example of a cluster prints about real nodes."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path
from threading import Timer

import pytest

from fixtures import PROJECT
from fixtures.gate.commands import clean_environment
from redis_practices.clients import cluster_client
from redis_practices.polling import join
from redis_practices.redis_cluster.topology import SLOTS
from redis_practices.servers.cluster import start_cluster
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import BROKER, server_binary, start_server

ROW = re.compile(r"^(\S+:\d+) +(primary|replica) +(\d+) +(\d+) +(\d+\.\d) % +#+$", re.MULTILINE)
DEVIATION = re.compile(
    r"^widest deviation from an even spread: (\S+) holds (\d+\.\d) points (more|less) than 33", re.MULTILINE
)
JOURNEY = re.compile(r"^(\S+) -> slot (\d+) -> (\S+)\na wrong node, (\S+), answers: MOVED (\d+) (\S+)$", re.MULTILINE)


def test_port_of_a_killed_server() -> None:
    """A server that forks a child to copy its data, and is killed, waits until the child leaves its port (gate-055)."""
    with ProcessGroup() as group, socket.socket() as child:
        child.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server = start_server(group, BROKER)
        server.kill()
        child.bind(("127.0.0.1", server.port))
        child.listen()
        closing = Timer(0.5, child.close)
        closing.start()
        server.restart()
        join(closing)
        with server.client() as client:
            assert client.ping()


def test_program_is_asked_once_for_a_directive(tmp_path: Path) -> None:
    """Nodes of a cluster have different bus ports, and ask their program once whether it knows `cluster-port`."""
    program, asked = tmp_path / "server", tmp_path / "asked"
    program.write_text(f'#!/bin/sh\n[ "$1" != - ] || echo >>"{asked}"\nexec "{server_binary()}" "$@"\n')
    program.chmod(0o700)
    with ProcessGroup() as group:
        for _ in range(2):
            start_server(group, {"cluster-enabled": "yes", "save": ""}, binary=str(program))
    assert asked.read_text() == "\n"


def test_cluster_example() -> None:
    """The example prints the slots, keys and shares of each node, the widest deviation, and a key's journey."""
    with ProcessGroup() as group:
        url = f"redis://{start_cluster(group).nodes[0].address}"
        command = [sys.executable, "src/cluster_example.py", "--keys", "600"]
        environment = {**clean_environment(server_binary()), "CLUSTER_URL": url}
        ended = subprocess.run(
            command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        with cluster_client(url) as cluster:
            [(key, slot, owner, wrong, moved_slot, moved_to)] = JOURNEY.findall(ended.stdout)
            assert (str(cluster.cluster_keyslot(key)), cluster.get_node_from_key(key).name) == (slot, owner)
            assert (moved_slot, moved_to) == (slot, owner) != (slot, wrong)
            assert cluster.dbsize() == 0
    nodes = ROW.findall(ended.stdout)
    primaries = {node: int(keys) for node, role, _, keys, _ in nodes if role == "primary"}
    assert (len(primaries), len(nodes)) == (3, 6)
    assert sum(int(slots) for _, role, slots, _, _ in nodes if role == "primary") == SLOTS
    assert sum(primaries.values()) == 600
    points = {node: keys / 6 - 100 / 3 for node, keys in primaries.items()}
    shares = {node: float(share) - 100 / 3 for node, role, _, _, share in nodes if role == "primary"}
    assert all(abs(points[node] - shares[node]) <= 0.05 for node in points)
    assert all(20 <= share + 100 / 3 <= 47 for share in shares.values())
    [(node, size, direction)] = DEVIATION.findall(ended.stdout)
    assert abs(points[node] - float(size) * (1 if direction == "more" else -1)) <= 0.05
    assert abs(points[node]) == pytest.approx(max(map(abs, points.values())))
