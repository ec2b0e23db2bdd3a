"""Test the gate on clusters with one fault, and on caches with binary key names."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.gate.spoiling import fill_primary, spoil_log
from fixtures.run.processes import ForkingGroup
from redis_practices.servers.cluster import EmbeddedCluster, start_cluster
from redis_practices.servers.server import CACHE, Config, Server, start_server
from tests.cases.judging import QUICK, judge
from tests.cases.preparing import prepared

KEPT: Config = {"maxmemory": "64mb"}
OLD, NEW = "old-secret", "new-secret"


def rotate(cluster: EmbeddedCluster) -> str:
    """Change the password of every node but not the replication password, and return the URL."""
    for node in cluster.nodes:
        with node.client() as client:
            client.config_set("requirepass", NEW)
            client.config_rewrite()
    return f"redis://:{NEW}@{cluster.nodes[0].address}/0"


def rotate_and_restart(cluster: EmbeddedCluster) -> str:
    """Change the passwords, and restart a replica, which its primary then refuses."""
    url = rotate(cluster)
    replica = cluster.nodes[3]
    replica.restart()
    with replica.client(password=NEW) as client:
        prepared(lambda: client.info("replication")["master_link_status"] == "down")
    with cluster.nodes[0].client(password=NEW) as client:
        prepared(lambda: str(replica.port) not in str(client.execute_command("CLUSTER", "SLOTS")))
    return url


def spoil_one_log(cluster: EmbeddedCluster) -> str:
    """Break the rewrite of one node's append-only file."""
    spoil_log(cluster.nodes[1])
    return cluster.url


def fill_one(cluster: EmbeddedCluster) -> str:
    """Fill one primary to 95 % of its memory."""
    fill_primary(cluster, 0.95)
    return cluster.url


def add_function(cluster: EmbeddedCluster) -> str:
    """Load a function on one primary only."""
    with cluster.nodes[0].client() as client:
        client.function_load("#!lua name=lib\nredis.register_function('greet', function() return 'hi' end)")
    return cluster.url


Fault = tuple[Config, Callable[[EmbeddedCluster], str], str]
"""Settings, what breaks the cluster, and the cause in the reason."""
PASSWORDS: Config = {"requirepass": OLD, "masterauth": OLD}

FAULTS: dict[str, Fault] = {
    "masterauth is the old password": (PASSWORDS, rotate, "its masterauth is no password of the user default"),
    "a replica was refused after it restarted": (PASSWORDS, rotate_and_restart, "0 of its 1 replicas are linked"),
    "the log of one node cannot be rewritten": ({"appendonly": "yes"}, spoil_one_log, "aof_last_bgrewrite_status"),
    "one primary is nearly full": ({}, fill_one, "memory in use of"),
    "a function is at one primary alone": ({}, add_function, "function differences: lib"),
}


CERTAIN = '-k "not cluster-064"'
"""Excludes a scenario that audits the replica of one random slot: it sees one of three replicas."""


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_gate_refuses_a_faulty_cluster(group: ForkingGroup, fault: str) -> None:
    """The gate refuses a cluster with a fault that becomes an outage later."""
    config, spoil, cause = FAULTS[fault]
    cluster = start_cluster(group, config={**KEPT, **config}, node_timeout_ms=1000)
    url = spoil(cluster)
    judgement = judge(group, "cluster", url, f"{QUICK} {CERTAIN}")
    assert judgement.verdict == "refused"
    assert cause in str(judgement.failed)


@pytest.mark.slow
def test_gate_accepts_a_healthy_cluster(group: ForkingGroup) -> None:
    """The gate accepts a healthy cluster."""
    judgement = judge(group, "cluster", start_cluster(group, config=KEPT, node_timeout_ms=1000).url)
    assert (judgement.failed, judgement.verdict) == ({}, "accepted")


HYGIENE = "-m core -k hygiene"


@pytest.mark.slow
def test_gate_accepts_a_binary_name(group: ForkingGroup, cache_server: Server) -> None:
    """The gate accepts a cache that has a binary key with a ttl."""
    with cache_server.client() as client:
        for number in range(50):
            client.set(f"user:{number}", "x", ex=100)
        client.set(b"user:\xff\xfe", "x", ex=100)
    judgement = judge(group, "cache", cache_server.url, HYGIENE)
    assert judgement.failed == {}
    assert judgement.passed > 0


@pytest.mark.slow
def test_gate_names_a_binary_key_without_ttl(group: ForkingGroup, cache_server: Server) -> None:
    """The gate refuses a cache that has a binary key without ttl, and names the key."""
    with cache_server.client() as client:
        for number in range(50):
            client.set(f"user:{number}", "x", ex=100)
        client.set(b"\xff\xfe", "x")
    judgement = judge(group, "cache", cache_server.url, HYGIENE)
    assert judgement.verdict == "refused"
    assert "UnicodeDecodeError" not in str(judgement.failed)
    assert "INTERNALERROR" not in judgement.said


def test_gate_ends_on_a_cache_that_refuses_writes(group: ForkingGroup) -> None:
    """Threads that read while a scenario fails end with it, so that the run ends."""
    server = start_server(group, {**CACHE, "min-replicas-to-write": 1})
    judgement = judge(group, "cache", server.url, '-k "threads"')
    assert any("8 threads" in name for name in judgement.failed), judgement.said
