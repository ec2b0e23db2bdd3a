"""Test that every node is asked side by side, and that one bad node changes nothing for the rest."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from redis import Connection, Redis
from redis.exceptions import AuthenticationError, InvalidResponse, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from fixtures import PROJECT
from fixtures.gate.deployment_under_test import gate_environment
from fixtures.proxies.streams import LoopThread, Serve, TlsProxy
from fixtures.run.keys import Unsupported
from fixtures.run.processes import ForkingGroup
from fixtures.stacks.external.command_guard import GuardedPool
from redis_practices.cli import Failure, shortened
from redis_practices.clients import Pool, redis_client
from redis_practices.credentials import VARIABLE
from redis_practices.redis_cluster import every_node
from redis_practices.redis_cluster.every_node import (
    AT_ONCE,
    Asked,
    Maps,
    ask_every,
    count_keys,
    foreign_keys,
    itself,
    setting_differences,
    user_differences,
)
from redis_practices.redis_cluster.slot_migration import move_slots
from redis_practices.redis_cluster.topology import endpoint, members, slot_of
from redis_practices.server_info import Refused
from redis_practices.servers.cluster import EmbeddedCluster, start_cluster
from redis_practices.servers.server import CACHE, Server, start_server
from steps.redis_cluster.clients import sampled


@pytest.fixture(scope="module")
def shared() -> Iterator[EmbeddedCluster]:
    """Give a cluster of 3 primaries with 1 replica each, for tests that leave it as it is."""
    with ForkingGroup() as group:
        yield start_cluster(group, node_timeout_ms=5000)


@pytest.fixture
def cluster() -> Iterator[EmbeddedCluster]:
    """Give a cluster for one test."""
    with ForkingGroup() as group:
        yield start_cluster(group, node_timeout_ms=5000)


@pytest.fixture
def server() -> Iterator[Server]:
    """Give a server."""
    with ForkingGroup() as group:
        yield start_server(group, {**CACHE, "bind": ["127.0.0.1", "-::1"]})


@pytest.fixture
def listen() -> Iterator[Callable[[Serve], int]]:
    """Give a function that starts a listener, and returns its port."""
    with closing(LoopThread()) as loop:
        yield loop.listen


def clients(cluster: EmbeddedCluster, **options: Any) -> dict[str, Redis]:
    """Return a client of each node, by address."""
    return {node.address: node.client(**options) for node in cluster.nodes}


def local(port: int, **options: Any) -> Redis:
    """Return a client of a port of this machine."""
    return redis_client(f"redis://127.0.0.1:{port}", **options)


class Heard:
    """What nodes have replied to PING, by name."""

    def __init__(self) -> None:
        """Begin without a reply."""
        self.replies: dict[str, Any] = {}

    async def ping(self, asked: Asked) -> None:
        """Ask a node."""
        self.replies[asked.name] = await asked("PING")


def check_named(nodes: dict[str, Redis], bad: str, kind: type[Exception], **options: Any) -> RedisError:
    """Require that one node alone is reported, with an error of a kind, and return it."""
    heard = Heard()
    errors = ask_every(nodes, heard.ping, **options)
    assert list(errors) == [bad]
    assert isinstance(errors[bad], kind)
    assert set(heard.replies) == nodes.keys() - {bad}
    return errors[bad]


def test_a_wrong_password_is_reported(cluster: EmbeddedCluster) -> None:
    """A node that refuses the login stops no other."""
    with cluster.nodes[1].client() as client:
        client.config_set("requirepass", "s3cret")
    check_named(clients(cluster), cluster.nodes[1].address, AuthenticationError)


def test_a_node_that_hangs_is_reported(cluster: EmbeddedCluster) -> None:
    """It costs its own timeout, and no other node waits for it."""
    cluster.nodes[0].pause()
    try:
        error = check_named(clients(cluster, socket_timeout=3), cluster.nodes[0].address, RedisTimeoutError, within=60)
        assert str(error) == "Timeout reading from socket"
    finally:
        cluster.nodes[0].resume()


def sends(*parts: bytes) -> Serve:
    """Return a server that answers the first command with these parts, and closes the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.read(1)
            for part in parts:
                writer.write(part)
                await writer.drain()
        writer.close()

    return serve


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        ([b"$100\r\nhalf a rep"], RedisConnectionError),
        ([], RedisConnectionError),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], InvalidResponse),
        ([b"+PONG\r\n+PONG\r\n"], InvalidResponse),
        ([b"$999999999\r\n", *[b"x" * 2**20] * 40], InvalidResponse),
    ],
    ids=["the middle of a reply", "no reply", "HTTP", "two replies", "a reply without end"],
)
def test_a_broken_reply_is_reported(
    shared: EmbeddedCluster, listen: Callable[[Serve], int], parts: list[bytes], kind: type[Exception]
) -> None:
    """A node that closes in the middle of a reply, or sends what is none, stops no other."""
    nodes = {**clients(shared), "bad": local(listen(sends(*parts)))}
    check_named(nodes, "bad", kind)


def test_a_port_where_nothing_listens_is_reported(shared: EmbeddedCluster) -> None:
    """The error has the words of redis-py."""
    error = check_named({**clients(shared), "bad": local(1)}, "bad", RedisConnectionError)
    assert str(error) == "Error 111 connecting to 127.0.0.1:1. Connection refused."


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer nothing."""
    await reader.read()
    writer.close()


@pytest.mark.parametrize(("url", "place"), [("redis://cache", ("cache", 6379)), ("redis:///0", ("localhost", 6379))])
def test_a_url_without_port_is_asked_at_6379(url: str, place: tuple[str, int]) -> None:
    """Host and port are those that redis-py takes for this URL."""
    assert endpoint(redis_client(url)) == place


def test_one_deadline_holds_for_all(listen: Callable[[Serve], int]) -> None:
    """Nodes that hang in larger numbers than are asked at once are reported within the time for all."""
    port = listen(hang)
    begun, heard = time.monotonic(), Heard()
    nodes = {str(number): local(port, socket_timeout=60) for number in range(150)}
    errors = ask_every(nodes, heard.ping, within=0.5)
    assert time.monotonic() - begun < 60
    assert len(errors) == 150
    assert {type(error) for error in errors.values()} == {RedisTimeoutError}


def test_at_most_64_connections_are_open(listen: Callable[[Serve], int]) -> None:
    """None is answered before 64 are open, and no further one is opened."""
    now = most = 0
    full = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == AT_ONCE:
            full.set()
        with suppress(OSError):
            while await reader.read(1024):
                await full.wait()
                writer.write(b"+PONG\r\n")
        now -= 1
        writer.close()

    port, heard = listen(serve), Heard()
    assert not ask_every({str(number): local(port) for number in range(200)}, heard.ping)
    assert len(heard.replies) == 200
    assert most == AT_ONCE == 64


def test_nothing_is_kept_of_a_node(listen: Callable[[Serve], int]) -> None:
    """Of 100 replies of a megabyte, as many are in memory as nodes are asked at once."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"$1048576\r\n" + b"x" * 2**20 + b"\r\n")
        with suppress(OSError):
            await writer.drain()
            await reader.read()
        writer.close()

    sizes: list[int] = []

    async def measure(asked: Asked) -> None:
        sizes.append(len(await asked("CLUSTER", "NODES")))

    nodes = {str(number): local(port) for port in [listen(serve)] for number in range(100)}
    tracemalloc.start()
    try:
        assert not ask_every(nodes, measure, at_once=4)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sizes == [2**20] * 100
    assert peak < 40 * 2**20


def test_it_needs_no_thread_and_leaves_none(shared: EmbeddedCluster) -> None:
    """A fork would lose a thread."""
    before = threading.active_count()
    assert not ask_every(clients(shared), Heard().ping)
    assert threading.active_count() == before


# Logins, encryption, addresses


def test_tls_with_the_certificates_of_the_url(server: Server, tmp_path: Path) -> None:
    """A server whose authority the URL names is asked; another one is reported."""
    heard = Heard()
    with closing(TlsProxy(tmp_path, wants_certificate=True)) as tls:
        place = tls.before(server.port)
        files = "&".join(
            f"{name}={tmp_path / file}"
            for name, file in {
                "ssl_ca_certs": "ca.pem",
                "ssl_certfile": "client.pem",
                "ssl_keyfile": "client.key",
            }.items()
        )
        nodes = {"good": redis_client(f"rediss://{place}?{files}"), "bad": redis_client(f"rediss://{place}")}
        errors = ask_every(nodes, heard.ping)
    assert heard.replies == {"good": b"PONG"}
    assert "CERTIFICATE_VERIFY_FAILED" in str(errors["bad"])


def test_logins_databases_and_ipv6(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """User, password, provider and database are those of the URL, and IPv6 is an address like another."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "login"))
    (tmp_path / "login").write_text("app\ns3cret\n", encoding="utf-8")
    with server.client() as admin:
        admin.execute_command("ACL SETUSER", "app", "on", ">s3cret", "~*", "+@all")
    urls = {
        "user": f"redis://app:s3cret@[::1]:{server.port}/3",
        "provider": f"redis://127.0.0.1:{server.port}?credential_provider=redis_practices.credentials.LoginFile",
        "default": f"redis://localhost:{server.port}",
    }
    seen = {}

    async def look(asked: Asked) -> None:
        fields = dict(word.split(b"=", 1) for word in (await asked("CLIENT", "INFO")).split())
        seen[asked.name] = fields[b"user"], fields[b"db"]

    assert not ask_every({name: redis_client(url) for name, url in urls.items()}, look)
    assert seen == {"user": (b"app", b"3"), "provider": (b"app", b"0"), "default": (b"default", b"0")}


# Connection classes that check commands


class Slow(Connection):
    """A connection whose check takes time, like a limit of commands a second."""

    @staticmethod
    def check_command(_command: bytes) -> None:
        """Take 0.3 s."""
        time.sleep(0.3)

    def send_packed_command(self, *_: Any, **__: Any) -> None:
        """Send nothing."""


class Unseen(Connection):
    """A connection that watches what it sends, and names no check."""

    def send_packed_command(self, *_: Any, **__: Any) -> None:
        """Send nothing."""


def test_a_slow_check_is_no_late_reply(server: Server) -> None:
    """The checks of eight nodes take 2.4 s, which are none of the 1.5 s for all nodes."""
    patience: dict[str, Any] = {"socket_timeout": 0.2, "socket_connect_timeout": 0.2}
    heard = Heard()
    pools = [Pool(host="127.0.0.1", port=server.port, connection_class=Slow, **patience) for _ in range(8)]
    assert not ask_every(
        {str(number): Redis.from_pool(pool) for number, pool in enumerate(pools)}, heard.ping, within=1.5
    )
    assert len(heard.replies) == 8


def test_commands_are_checked(server: Server) -> None:
    """The gate sends no forbidden command, and no command goes past a class that would see it."""

    async def destroy(asked: Asked) -> None:
        await asked("FLUSHALL")

    with server.client() as client:
        client.set("k", "v")
        with pytest.raises(Unsupported):
            ask_every({"": Redis.from_pool(GuardedPool(host="127.0.0.1", port=server.port))}, destroy)
        with pytest.raises(Failure, match="Unseen has no check_command"):
            ask_every({"": Redis.from_pool(Pool(port=server.port, connection_class=Unseen))}, destroy)
        assert client.get("k") == "v"


def test_without_hiredis_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what to install."""
    monkeypatch.setattr(every_node, "hiredis", None)
    with pytest.raises(Failure, match=r"pip install 'redis\[hiredis\]'"):
        ask_every({}, Heard().ping)


def test_errors_of_the_server_and_of_the_interview(shared: EmbeddedCluster) -> None:
    """A server's error is the node's, and any other error ends the whole."""

    async def unknown(asked: Asked) -> None:
        good, bad = await asked.all([("PING",), ("SIXTY",)])
        assert (good, type(bad).__name__) == (b"PONG", "ResponseError")
        await asked("SIXTY")

    async def broken(asked: Asked) -> None:
        raise LookupError(asked.name)

    assert len(ask_every(clients(shared), unknown)) == 6
    with pytest.raises(LookupError):
        ask_every(clients(shared), broken)


# Answers, reduced


def maps_of(cluster: EmbeddedCluster) -> Maps:
    """Return the maps of all nodes."""
    found = Maps()
    assert not ask_every(clients(cluster), found.ask)
    return found


def test_a_map_is_kept_once(shared: EmbeddedCluster) -> None:
    """Nodes that agree have one map, in any order, with any links and times; each node also describes itself."""
    found = maps_of(shared)
    [view] = found.views.values()
    assert sorted(view.viewers) == sorted(found.own) == sorted(node.address for node in shared.nodes)
    with shared.nodes[0].client() as client:
        known = members(client)
    assert view.members.keys() == known.keys()
    for identity, member in known.items():
        seen = view.members[identity]
        assert (seen.address, seen.ranges, seen.primary, seen.epoch) == (
            member.address,
            member.ranges,
            member.primary,
            member.epoch,
        )
        assert seen.flags == member.flags - {"myself"}


def test_a_node_with_another_map_is_named(cluster: EmbeddedCluster) -> None:
    """One node gets another owner of a slot."""
    with cluster.nodes[1].client() as client, cluster.nodes[2].client() as other:
        slot = min(next(m for m in members(client).values() if "myself" in m.flags).slots)
        identity = other.execute_command("CLUSTER MYID")
    with cluster.nodes[0].client() as client:
        client.execute_command("CLUSTER SETSLOT", slot, "NODE", identity)
        found = maps_of(cluster)
    if len(found.views) == 1:
        pytest.skip("a packet of the owner had come before the answer")
    view = min(found.views.values(), key=lambda view: len(view.viewers))
    assert cluster.nodes[0].address in view.viewers  # since Valkey 8.0 also its replica
    assert len(view.viewers) < 3
    assert slot in view.members[identity].slots


def test_open_slots_are_the_own_ones_of_a_node(cluster: EmbeddedCluster) -> None:
    """A node describes its open slots itself, and they make no other map."""
    with ExitStack() as stack:
        source, target = (stack.enter_context(node.client()) for node in cluster.nodes[:2])
        there = target.execute_command("CLUSTER MYID")
        source.execute_command("CLUSTER SETSLOT", 0, "MIGRATING", there)
        found = maps_of(cluster)
    assert len(found.views) == 1
    leaving = {name: one.leaving for name, one in found.own.items() if one.leaving}
    assert leaving.pop(cluster.nodes[0].address) == {0: there}
    assert len(leaving) < 2  # since Valkey 8.0 also its replica


def test_settings_and_users_that_differ(cluster: EmbeddedCluster) -> None:
    """The nodes are named, and the values of passwords are not."""
    with ExitStack() as stack:
        first, second = (stack.enter_context(node.client()) for node in cluster.nodes[:2])
        first.config_set("hz", "77")
        second.config_set("masterauth", "s3cret")
        second.execute_command("ACL SETUSER", "app", "on", ">s3cret", "+get")
        assert setting_differences(clients(cluster)) == [
            f"hz is '77' on {cluster.nodes[0].address}, '10' elsewhere",
            *(f"{name} is different on 1 nodes" for name in ("masterauth", "primaryauth") if first.config_get(name)),
        ]
        assert user_differences(clients(cluster)) == [f"user app differs on {cluster.nodes[1].address}"]


def test_keys_in_foreign_slots(cluster: EmbeddedCluster) -> None:
    """A key that was left behind is found by its slot; a node with its own keys alone is asked for no other slot."""
    names = [f"key:{number}" for number in range(50)]
    with cluster.client() as client:
        for name in names:
            client.set(name, "v")
    slot = slot_of(names[0])
    owners = {slot: node for node in cluster.nodes[:3] for slot in own_slots(node)}
    source, target = owners[slot], next(node for node in cluster.nodes[:3] if node is not owners[slot])
    assert found_keys(cluster) == {}
    with ExitStack() as stack:
        nodes = [stack.enter_context(node.client()) for node in cluster.nodes]
        giver, taker = (nodes[cluster.nodes.index(node)] for node in (source, target))
        saved = giver.dump(names[0])
        move_slots([slot], giver, taker, nodes)
        assert found_keys(cluster) == {}
        giver.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", taker.execute_command("CLUSTER MYID"))
        with giver.client() as asking:
            asking.execute_command("ASKING")
            asking.execute_command("RESTORE", names[0], 0, saved)
        assert found_keys(cluster) == {}
        giver.execute_command("CLUSTER SETSLOT", slot, "STABLE")
        assert found_keys(cluster) == {source.address: {slot: 1}}


def own_slots(node: Any) -> frozenset[int]:
    """Return the slots that a node owns."""
    found: list[frozenset[int]] = []

    async def look(asked: Asked) -> None:
        found.append((await itself(asked)).slots)

    assert not ask_every({"": node.client()}, look)
    return found[0]


def found_keys(cluster: EmbeddedCluster) -> dict[str, dict[int, int]]:
    """Return the keys in foreign slots, by node and slot."""
    found = {}

    async def look(asked: Asked) -> None:
        if keys := await foreign_keys(asked):
            found[asked.name] = keys

    assert not ask_every(clients(cluster), look)
    return found


def test_a_refused_script_is_said(server: Server) -> None:
    """A user without the right to scripts is no server without keys."""
    with server.client() as admin:
        admin.execute_command("ACL SETUSER", "app", "on", "nopass", "~*", "+@all", "-eval")

    async def look(asked: Asked) -> None:
        await count_keys(asked, [0])

    with pytest.raises(Refused, match="COUNTKEYSINSLOT in a script is refused"):
        ask_every({"": redis_client(f"redis://app:x@127.0.0.1:{server.port}")}, look)


def test_redirections_are_sampled_evenly() -> None:
    """Up to 20 primaries are asked for all of 300 keys; of 200, each is asked for 30, and each key is asked for."""
    keys = [str(number) for number in range(300)]
    assert [sorted(one) for one in sampled(keys, 20)] == [sorted(keys)] * 20
    asked = sampled(keys, 200)
    assert {len(set(one)) for one in asked} == {30}
    assert set(Counter(key for one in asked for key in one).values()) == {20}


def test_long_lists_are_cut() -> None:
    """A failure about 200 nodes names ten of them."""
    assert shortened([*"abcdefghijk"]) == "a, b, c, d, e, f, g, h, i, j, k"
    assert shortened([*"abcdefghijkl"]) == "a, b, c, d, e, f, g, h, i, j and 2 more"


@pytest.mark.slow
def test_a_skipped_scenario_waits_for_no_turn(shared: EmbeddedCluster, tmp_path: Path) -> None:
    """Scenarios that would disrupt are skipped at once while another one samples reads for three seconds."""
    folder = "features/redis_cluster"
    command = [sys.executable, "-m", "pytest", f"{folder}/clients.feature", f"{folder}/failover.feature"]
    command += ["--processes", "2", "--cluster-url", shared.url, "--junitxml", str(tmp_path / "junit.xml")]
    subprocess.run(command, cwd=PROJECT, env=gate_environment(), capture_output=True, timeout=120, check=False)
    cases = ET.parse(tmp_path / "junit.xml").iter("testcase")  # noqa: S314 - this run's own file
    seconds = [(case.find("skipped") is not None, float(case.attrib["time"])) for case in cases]
    assert max(taken for is_skipped, taken in seconds if not is_skipped) > 3
    waits = [taken for is_skipped, taken in seconds if is_skipped]
    assert len(waits) > 3
    assert max(waits) < 1
