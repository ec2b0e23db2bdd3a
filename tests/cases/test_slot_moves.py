"""Slots with names that are no text, with several databases, or whose move is broken by a failover."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from redis import Redis
from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException, RedisError

from fixtures.run.processes import ForkingGroup
from redis_practices.polling import eventually
from redis_practices.redis_cluster.failover import fail_over
from redis_practices.redis_cluster.key_distribution import biggest_keys, every_key
from redis_practices.redis_cluster.slot_migration import close_open_slots, move_slots, open_slots
from redis_practices.redis_cluster.topology import ClusterError, itself, owner, slot_of, slot_ranges
from redis_practices.servers.binary import engine_of, server_binary
from redis_practices.servers.cluster import EmbeddedCluster, start_cluster
from redis_practices.servers.server import Server
from tests.cases.preparing import prepared

SLOT = slot_of("{cart}:1")
BINARY = b"{cart}:\xff\xfe"


@dataclass
class Estate:
    """A cluster with clients of its nodes: that of the owner of `SLOT`, and of another primary."""

    cluster: EmbeddedCluster
    nodes: Sequence[Redis]
    owner: Redis
    other: Redis

    def server(self, node: Redis) -> Server:
        """Return the server behind a client."""
        return next(server for server in self.cluster.nodes if server.port == port_of(node))

    def raw(self) -> RedisCluster:
        """Return a client that does not decode."""
        return self.cluster.client(decode_responses=False)


def port_of(node: Redis) -> int:
    """Return the port that a client connects to."""
    return int(node.connection_pool.connection_kwargs["port"])


Found = Callable[..., Estate]


@pytest.fixture
def found(group: ForkingGroup, ending: ExitStack) -> Found:
    """Give a function that starts a cluster and finds the owner of `SLOT`."""

    def find(**options: Any) -> Estate:
        cluster = start_cluster(group, node_timeout_ms=2000, **options)
        nodes = [ending.enter_context(node.client()) for node in cluster.nodes]
        primaries = [node for node in nodes if not itself(node).primary]
        home = next(node for node in primaries if SLOT in itself(node).slots)
        return Estate(cluster, nodes, home, next(node for node in primaries if node is not home))

    return find


def open_slot(estate: Estate) -> None:
    """Open `SLOT` as the first half of a move does."""
    estate.other.execute_command("CLUSTER SETSLOT", SLOT, "IMPORTING", itself(estate.owner).identity)
    estate.owner.execute_command("CLUSTER SETSLOT", SLOT, "MIGRATING", itself(estate.other).identity)


@pytest.mark.parametrize("key_by_key", [True, False])
def test_slot_with_a_binary_name_moves(found: Found, *, key_by_key: bool) -> None:
    """A slot moves with a key whose name is not UTF-8, and is closed."""
    moved_with_a_binary_name(found(replicas=0), key_by_key=key_by_key)


def test_slot_with_a_binary_name_moves_on_redis7(found: Found, redis7: str) -> None:
    """A slot moves with a key whose name is not UTF-8 where the server can move only key by key."""
    moved_with_a_binary_name(found(replicas=0, binary=redis7), key_by_key=False)


def moved_with_a_binary_name(estate: Estate, *, key_by_key: bool) -> None:
    """Move `SLOT` with two keys and look for them."""
    with estate.raw() as client:
        client.mset_nonatomic({BINARY: "x", "{cart}:1": "y"})
        move_slots([SLOT], estate.owner, estate.other, estate.nodes, key_by_key=key_by_key)
        assert open_slots(estate.nodes) == []
        assert SLOT in itself(estate.other).slots
        assert [client.get(BINARY), client.get("{cart}:1")] == [b"x", b"y"]


def test_open_slot_with_a_binary_name_is_closed(found: Found, binary: str) -> None:
    """A slot that was left open is closed, and its key with a name that is not UTF-8 is still there."""
    estate = found(replicas=0, binary=binary)
    with estate.raw() as client:
        client.set(BINARY, "x")
        open_slot(estate)
        assert close_open_slots(estate.nodes) == [SLOT]
        assert open_slots(estate.nodes) == []
        assert client.get(BINARY) == b"x"


def test_biggest_keys_with_a_binary_name(found: Found) -> None:
    """The biggest keys are told when the name of one is not UTF-8."""
    estate = found(replicas=0)
    with estate.raw() as client:
        client.set(BINARY, "x" * 1000)
    [(size, name)] = biggest_keys(estate.nodes)
    assert size > 1000
    assert name in (BINARY, BINARY.decode(errors="surrogateescape"), BINARY.decode(errors="backslashreplace"))


def test_walk_over_a_binary_name(found: Found) -> None:
    """A walk over every key meets one whose name is not UTF-8."""
    estate = found(replicas=0)
    with estate.raw() as client:
        client.set(BINARY, "x")
    with estate.cluster.client() as client:
        assert len(list(every_key(client))) == 1


def test_repair_with_several_databases(found: Found) -> None:
    """A slot is closed with the keys of every database, or left open with a refusal."""
    if not engine_of(server_binary()).startswith("valkey 9"):
        pytest.skip("needs Valkey 9: only it has several databases in a cluster")
    estate = found(replicas=0, config={"cluster-databases": 4})
    for database in (0, 1, 3):
        with estate.server(estate.owner).client(db=database) as client:
            client.set("{cart}:1", f"in database {database}")
    open_slot(estate)
    with suppress(ClusterError, RedisError):  # a refusal, as long as nothing is gone
        close_open_slots(estate.nodes)
    prepared(lambda: len({owner_seen_by(node) for node in estate.nodes}) == 1)
    assert held(estate.owner) | held(estate.other) == {0, 1, 3}


def owner_seen_by(node: Redis) -> str | None:
    """Return the address of the owner of `SLOT`, as a node knows it."""
    found = owner(SLOT, slot_ranges(node))
    return found.primary if found else None


def held(node: Redis) -> set[int]:
    """Return the databases in which a node has keys."""
    return {int(name.removeprefix("db")) for name in node.info("keyspace")}


KEYS = 20
"""How many keys of `SLOT` there are when its move is broken off."""


def half_moved(estate: Estate) -> None:
    """Write the keys of `SLOT` and move ten of them."""
    with estate.raw() as client:
        for number in range(KEYS):
            client.set(f"{{cart}}:{number}", number)
    open_slot(estate)
    ahead = [f"{{cart}}:{number}" for number in range(10)]
    estate.owner.execute_command("MIGRATE", "127.0.0.1", port_of(estate.other), "", 0, 5000, "KEYS", *ahead)


def readable(estate: Estate) -> int:
    """Return how many of the keys a new client can read."""
    with estate.raw() as client:
        return sum(client.get(f"{{cart}}:{number}") is not None for number in range(KEYS))


def replica_of(estate: Estate, primary: Redis) -> Redis:
    """Return a client of the replica of a primary."""
    identity = itself(primary).identity
    return next(node for node in estate.nodes if itself(node).primary == identity)


PLANNED = pytest.mark.parametrize("planned", [True, False], ids=["planned", "killed"])


@pytest.mark.slow
@PLANNED
def test_repair_after_a_failover_of_the_target(found: Found, *, planned: bool) -> None:
    """All keys are there after a slot was closed whose target was replaced while it was half moved."""
    repaired_after_a_failover(found(replicas=1), planned=planned)


@pytest.mark.slow
@PLANNED
def test_repair_after_a_failover_of_the_target_on_redis7(found: Found, redis7: str, *, planned: bool) -> None:
    """All keys are there on Redis 7 too, whose replicas do not know of slots on their way."""
    repaired_after_a_failover(found(replicas=1, binary=redis7), planned=planned)


def repaired_after_a_failover(estate: Estate, *, planned: bool) -> None:
    """Replace the target of a slot that is half moved, close the slot and look for its keys."""
    half_moved(estate)
    replica = replica_of(estate, estate.other)
    # What was moved has reached the replica: a key that was on one server alone is no subject here.
    estate.other.wait(1, 2000)
    if planned:
        fail_over(replica)
    else:
        estate.server(estate.other).kill()
        prepared(lambda: not itself(replica).primary)
        estate.nodes = [node for node in estate.nodes if node is not estate.other]
    prepared(lambda: all("cluster_state:ok" in str(n.execute_command("CLUSTER", "INFO")) for n in estate.nodes))
    close_open_slots(estate.nodes)

    def all_readable() -> None:
        assert readable(estate) == KEYS
        assert open_slots(estate.nodes) == []

    eventually(all_readable, within=3, also=(RedisError, RedisClusterException))
