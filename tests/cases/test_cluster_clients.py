"""Test clients of clusters whose nodes change addresses, announce none, or lost data."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from redis.exceptions import RedisClusterException, RedisError

from fixtures.run.processes import ForkingGroup
from redis_practices.clients import cluster_client
from redis_practices.polling import eventually
from redis_practices.redis_cluster.failover import restarts_empty
from redis_practices.redis_cluster.key_distribution import read, slot_map, write
from redis_practices.redis_cluster.topology import slot_of
from redis_practices.servers.cluster import EmbeddedCluster, start_cluster
from redis_practices.servers.server import Config, Server
from tests.cases.preparing import prepared

NAME = "redis-headless"
"""A hostname of the cluster that resolves to the current address of its nodes."""

FIRST, SECOND = "127.0.0.11", "127.0.0.12"


@pytest.fixture
def today(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give a list with the address to which `NAME` resolves."""
    address = [FIRST]
    real = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        return real(address[0] if host == NAME else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return address


def listening_at(address: str) -> Config:
    """Return directives of nodes that announce an address and also listen on their old one."""
    return {"bind": [address, "127.0.0.1"], "cluster-announce-ip": address, "protected-mode": "no"}


def move(cluster: EmbeddedCluster, address: str) -> None:
    """Restart the nodes of a cluster with another address, and introduce them to each other."""
    for node in cluster.nodes:
        node.kill()
    for node in cluster.nodes:
        moved(node, address)
    ports = [(node.port, bus_port(node)) for node in cluster.nodes]
    for node in cluster.nodes:
        with node.client() as client:
            for port, bus in ports:
                client.execute_command("CLUSTER MEET", address, port, bus)
    prepared(lambda: all(state_is_ok(node) and not names(node, FIRST) for node in cluster.nodes), within=30)


def state_is_ok(node: Server) -> bool:
    """Tell whether a node reports the cluster state ok."""
    with node.client() as client:
        return "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO"))


def names(node: Server, address: str) -> bool:
    """Tell whether a node knows another node, or itself, by an address."""
    with node.client() as client:
        return f"{address}:" in str(client.execute_command("CLUSTER", "NODES"))


def moved(node: Server, address: str) -> None:
    """Restart a node with the same directives and another address."""
    path = node.folder / "server.conf"
    path.write_text(path.read_text().replace(FIRST, address))
    node.restart()


def bus_port(node: Server) -> int:
    """Return the port of a node's cluster bus."""
    with node.client() as client:
        return int(client.config_get("cluster-port")["cluster-port"])


@pytest.mark.slow
def test_client_after_all_addresses_changed(group: ForkingGroup, today: list[str]) -> None:
    """A client with a hostname reaches the cluster after all its nodes changed their address."""
    cluster = start_cluster(group, replicas=0, node_timeout_ms=2000, config=listening_at(FIRST), quick=False)
    url = f"redis://{NAME}:{cluster.nodes[0].port}"
    client = cluster_client(url, timeout=0.5)
    assert client.set("user:1", "Ann")
    today[0] = SECOND
    move(cluster, SECOND)
    assert cluster_client(url, timeout=0.5).set("user:1", "Bob"), "a new client reaches it"
    eventually(lambda: client.set("user:1", "Eve"), within=5, also=(RedisError, RedisClusterException))


def nameless(group: ForkingGroup) -> EmbeddedCluster:
    """Start a cluster whose nodes announce an unknown endpoint."""
    cluster = start_cluster(group, replicas=0)
    for node in cluster.nodes:
        with node.client() as admin:
            admin.config_set("cluster-preferred-endpoint-type", "unknown-endpoint")
    return cluster


def test_client_of_nodes_that_name_no_endpoint(group: ForkingGroup) -> None:
    """A client reaches nodes with an unknown endpoint by the address that it asked."""
    with cluster_client(nameless(group).url) as client:
        assert all(client.set(f"key:{number}", number) for number in range(20))


def test_map_of_nodes_that_name_no_endpoint(group: ForkingGroup) -> None:
    """The slot map has nodes with an unknown endpoint by the address that was asked."""
    cluster = nameless(group)
    with cluster_client(cluster.url) as client:
        assert {held.primary for held in slot_map(client)} == {node.address for node in cluster.nodes}


@pytest.mark.slow
@pytest.mark.parametrize(("appendonly", "replaced"), [("yes", False), ("no", True)])
def test_keys_after_a_primary_restarted(group: ForkingGroup, appendonly: str, *, replaced: bool) -> None:
    """No key is lost when a primary restarts with its files at once, or without files after its replica took over."""
    assert lost_in_a_restart(group, appendonly, replaced=replaced) == (0, replaced)


@pytest.mark.slow
@pytest.mark.known_limit
def test_keys_after_a_primary_without_files_restarted_at_once(group: ForkingGroup) -> None:
    """A primary without files that restarts before its replica takes over loses all its keys; `restarts_empty` warns.

    It is still the primary, and its replica follows it. Neither Redis nor Valkey can tell it from one without keys.
    """
    lost, warned = lost_in_a_restart(group, "no", replaced=False)
    assert lost == sum(slot_of(key) <= FIRST_THIRD for key in KEYS)
    assert warned


KEYS = [f"key:{number}" for number in range(3000)]
FIRST_THIRD = 5460
"""The last slot of the first of three primaries."""


def lost_in_a_restart(group: ForkingGroup, appendonly: str, *, replaced: bool) -> tuple[int, bool]:
    """Kill and restart the first primary; return the number of lost keys, and whether `restarts_empty` names it."""
    cluster = start_cluster(
        group, node_timeout_ms=2000 if replaced else 5000, config={"appendonly": appendonly, "save": ""}
    )
    with cluster_client(cluster.url) as client:
        write(client, dict.fromkeys(KEYS, "value"), ttl=600)
    replicas = [node for node in cluster.nodes if follows(node)]
    prepared(lambda: sum(held(node) for node in replicas) == len(KEYS))
    with cluster.nodes[0].client() as node:
        warned = bool(restarts_empty([node]))
    cluster.nodes[0].kill()
    if replaced:
        prepared(lambda: not all(follows(node) for node in replicas))
    cluster.nodes[0].restart()
    prepared(lambda: all(state_is_ok(node) for node in cluster.nodes))
    prepared(lambda: all(linked(node) for node in cluster.nodes))
    with cluster_client(cluster.nodes[1].url) as client:
        return read(client, KEYS).count(None), warned


def follows(node: Server) -> bool:
    """Tell whether a node is a replica."""
    with node.client() as client:
        return str(client.info("replication")["role"]) == "slave"


def held(node: Server) -> int:
    """Return the number of keys on a node."""
    with node.client() as client:
        return int(client.dbsize())


def linked(node: Server) -> bool:
    """Tell whether a node is a primary or a connected replica after its restart."""
    with node.client() as client:
        told = client.info("replication")
    return bool(
        told["role"] == "master" or (told["master_link_status"] == "up" and told["master_last_io_seconds_ago"] < 2)
    )
