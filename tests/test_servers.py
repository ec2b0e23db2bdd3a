"""Test that servers and large clusters start and end, and what the example of a cluster prints about real nodes."""

from __future__ import annotations

import re
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path
from threading import Timer

import pytest

from fixtures import PROJECT
from fixtures.gate.commands import Leaks, Running, clean_environment
from redis_practices.cli import Failure
from redis_practices.clients import cluster_client
from redis_practices.polling import eventually, join
from redis_practices.redis_cluster.formation import why_not_ready
from redis_practices.redis_cluster.topology import SLOTS
from redis_practices.servers import process_group
from redis_practices.servers.cluster import LARGE_NODE_TIMEOUT, Plan, start_cluster
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import BROKER, Config, free_ports, server_binary, start_server

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


def held(group: ProcessGroup, primaries: int, nodes: int, config: Config) -> Plan:
    """Return a plan whose nodes were held, and are released."""
    ports = free_ports(nodes, group.held)
    plan = Plan(group, ports, primaries, LARGE_NODE_TIMEOUT, config, server_binary())
    plan.boot_held()
    return plan


def test_held_cluster_is_ready() -> None:
    """Each of 30 nodes that were released together knows all others, and lists every replica."""
    with ProcessGroup() as group:
        nodes = held(group, 15, 30, {}).started
        assert why_not_ready([node.client() for node in nodes]) is None
        assert len(nodes) == 30


@pytest.mark.parametrize(
    "config",
    [
        {"requirepass": "two words", "masterauth": "two words"},
        {"user": ["reader", "on", ">secret", "~*", "+get"]},
        {"aclfile": "own.acl"},
    ],
    ids=["password", "user", "aclfile"],
)
def test_held_cluster_has_its_users(config: Config, tmp_path: Path) -> None:
    """A held node has the users of its directives when it is released, and after a restart."""
    if "aclfile" in config:
        config = {"aclfile": str(tmp_path / "own.acl")}
        (tmp_path / "own.acl").write_text("user default on nopass ~* &* +@all\nuser reader on >secret ~* +get\n")
    with ProcessGroup() as group:
        node = held(group, 3, 6, config).started[0]
        for _ in range(2):
            with node.client() as client:
                users = client.acl_list()
            assert any("nopass" in user for user in users) == ("requirepass" not in config)
            assert any("reader" in user for user in users) == ("requirepass" not in config)
            node.restart()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_stopped_start_leaves_nothing(number: signal.Signals) -> None:
    """A large cluster whose start ends in the middle leaves no server and no file."""
    running = Running(
        "exec python src/serve.py cluster --primaries 50 --replicas 0", clean_environment(server_binary())
    )
    leaks = Leaks(running)
    try:
        eventually(lambda: len(leaks.servers()) >= 10, within=20, every=0.01)
        running.process.send_signal(number)
        outcome = running.ended(20)
        assert (outcome.exit_code, outcome.stdout) == (-9 if number == signal.SIGKILL else 130, "")
        eventually(lambda: not leaks.processes() and not leaks.files(), within=10)
    finally:
        leaks.remove()
        running.close()


def test_late_end_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that have not ended in time, here in none, are a `Failure`: `serve.py` prints no traceback."""
    said = r"^processes that still run 0 s after SIGKILL: \d\. This machine is too busy$"
    with ProcessGroup() as group:
        server = start_server(group, BROKER)
        with monkeypatch.context() as patch:
            patch.setattr(process_group, "END_TIMEOUT", 0.0)
            with pytest.raises(Failure, match=said):
                group.close()
    assert not server.runs


def refusal(*options: str, files: int | None = None) -> str:
    """Return the error of a start of a cluster that is refused; `files` is the hard limit of open files."""
    ended = subprocess.run(
        [sys.executable, "src/serve.py", "cluster", *options],
        cwd=PROJECT,
        env=clean_environment(server_binary()),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        preexec_fn=(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))) if files else None,
    )
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2 if "--port" in options else 1, "", 1)
    return ended.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="another system does not say how much memory it has for TCP")
def test_large_cluster_is_refused_with_its_reason() -> None:
    """A cluster that the machine cannot hold is refused in one line, before a server starts."""
    assert "60 nodes need 244 open files in a process, and the limit is 200" in refusal("--primaries", "30", files=200)
    assert re.search(
        r"need .* GB are free; this machine holds about \d+ nodes: take .*--insist", refusal("--primaries=2000")
    )
    assert "argument --port: 100 ports from 65500 on end above 65535" in refusal("--port", "65500", "--primaries", "50")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        first = taken.getsockname()[1] - 20
        assert f"one of the ports {first} to {first + 49} is taken" in refusal(f"--port={first}", "--primaries=25")


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
