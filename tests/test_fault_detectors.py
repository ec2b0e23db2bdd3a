"""Test the detectors of cluster faults on real clusters, before and after what heals them, and at their bounds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from redis import Redis

from fixtures.gate.spoiling import SPOILED
from fixtures.run.processes import ForkingGroup
from redis_practices.polling import eventually
from redis_practices.redis_cluster.failover import elections, fail_over, fork_needs, lagging, pressed
from redis_practices.redis_cluster.formation import astray, disputes
from redis_practices.redis_cluster.topology import itself, members, read_shards
from redis_practices.server_info import engine_name, version_of
from redis_practices.servers.cluster import EmbeddedCluster, start_cluster


@pytest.fixture
def cluster() -> Iterator[EmbeddedCluster]:
    """Give a healthy cluster of 3 primaries with 1 replica each."""
    with ForkingGroup() as group:
        yield start_cluster(group, node_timeout_ms=5000)


@pytest.fixture
def clients(cluster: EmbeddedCluster) -> Iterator[list[Redis]]:
    """Give a client of each node."""
    with ExitStack() as stack:
        yield [stack.enter_context(node.client()) for node in cluster.nodes]


def disputed(clients: list[Redis]) -> set[str]:
    """Return the disputes."""
    own = [itself(client) for client in clients]
    return {why for client in clients for _, why in disputes(own, members(client))}


def test_a_replica_that_its_peers_take_for_a_primary_heals(cluster: EmbeddedCluster, clients: list[Redis]) -> None:
    """With a later epoch of its primary, peers believe the role of the replica."""
    engine = engine_name(clients[0].info("server"))
    if "valkey" not in engine or version_of(engine) < (8, 0, 10):
        pytest.skip("needs Valkey 8.0.10: an engine with the fault")
    assert not disputed(clients)
    SPOILED["a replica that its peers take for a primary"](cluster)
    primary, replica = cluster.nodes[0], clients[3]
    where = primary.address
    says = {f"says that it follows {where}, and is a primary"}
    # Its peers have heard of it again and again, and still say so.
    heard = members(clients[0])[itself(replica).identity].heard
    eventually(lambda: members(clients[0])[itself(replica).identity].heard > heard + 3000, within=20)
    assert disputed(clients) == says
    clients[0].execute_command("CLUSTER BUMPEPOCH")
    eventually(lambda: not disputed(clients), within=10)


def test_a_host_name_that_a_peer_does_not_know(clients: list[Redis]) -> None:
    """A new name is disputed until the next ping, and then no longer."""
    views = [members(client) for client in clients]
    clients[0].config_set("cluster-announce-hostname", "left.example")
    own = [itself(client) for client in clients]
    assert {why for view in views for _, why in disputes(own, view)} == {"has the host name left.example, and none"}
    eventually(lambda: not disputed(clients), within=10)


def test_a_replica_with_another_shard_id_than_its_primary(clients: list[Redis]) -> None:
    """``CLUSTER SHARDS`` then lists it in a shard without a primary; its answer is changed here: no engine has one."""
    me, shards = itself(clients[3]), clients[3].execute_command("CLUSTER", "SHARDS")
    assert not astray(me, members(clients[3], "SHARDS"))
    apart: list[Any] = []
    for shard in map(dict, shards):
        mine = [node for node in shard["nodes"] if node["id"] == me.identity]
        others = [node for node in shard["nodes"] if node["id"] != me.identity]
        apart += [{**shard, "nodes": others}, *([{"slots": [], "nodes": mine}] if mine else [])]
    assert astray(me, {one.identity: one for one in read_shards(apart)})


def replication(written: int, confirmed: int, **changed: Any) -> dict[str, Any]:
    """Return INFO replication of a primary with one replica."""
    replica = {"ip": "10.0.0.1", "port": 7000, "state": "online", "offset": confirmed, "lag": 1}
    return {
        "master_replid": "a",
        "connected_slaves": 1,
        "master_repl_offset": written,
        "slave0": {**replica, "state": changed.pop("state", "online")},
        **changed,
    }


def test_lagging_replicas() -> None:
    """A replica lags if it lacks more than 1 MB of the writes before the first look."""
    first = replication(5_000_000, 1)
    assert lagging(first, replication(90_000_000, 3_900_000)) == {"10.0.0.1:7000": 1_100_000}
    assert not lagging(first, replication(90_000_000, 4_100_000))
    assert not lagging(first, replication(9_000_000, 1, state="send_bulk"))
    assert not lagging(first, replication(9_000_000, 1, master_replid="b"))
    assert not lagging({"role": "slave"}, {"role": "slave"})


@pytest.mark.parametrize(
    ("limit", "backlog", "share"),
    [
        ("normal 0 0 0 slave 10485760 0 0 pubsub 0 0 0", 0, 0.6),
        ("replica 100000000 10485760 60", 0, 0.6),
        ("replica 1000 0 0", 10485760, 0.6),
        ("replica 0 0 0", 10485760, 0.0),
    ],
)
def test_output_buffers(limit: str, backlog: int, share: float) -> None:
    """The narrower of the two limits counts, and neither is below the backlog."""
    assert pressed([100, 6291456], limit, backlog) == pytest.approx(share)
    assert pressed([], limit, backlog) == 0.0


GB = 2**30


@pytest.mark.parametrize(
    ("limit", "copied", "peak", "needs"),
    [
        (70, 5, 10, 1.05),
        (60, 5, 10, 0.9),
        (70, 0.05, 10, 0.0),
        (70, 10, 5, 1.4),
        (0, 5, 10, 0.0),
    ],
)
def test_memory_for_a_fork(limit: float, copied: float, peak: float, needs: float) -> None:
    """The limit and the share that the last fork copied must fit; small copies tell nothing."""
    told = {"maxmemory": limit * GB, "total_system_memory": 100 * GB, "used_memory_peak": peak * GB}
    assert fork_needs({**told, "rdb_last_cow_size": copied * GB}) == pytest.approx(needs)
    assert fork_needs({**told, "aof_last_cow_size": copied * GB, "rdb_last_cow_size": 0}) == pytest.approx(needs)


def test_elections(clients: list[Redis]) -> None:
    """Each planned failover is one election, of the node that takes over."""

    def begun(node: int, seconds: float = 1) -> float:
        return elections(clients[node].execute_command("CLUSTER INFO"), seconds)

    before = begun(3)
    fail_over(clients[3])
    assert begun(3) - before == pytest.approx(1.0)
    assert begun(0) == pytest.approx(0.0)
    assert begun(3, 36_000) == pytest.approx((before + 1) / 10)
