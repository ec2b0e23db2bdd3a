"""The sentences about nodes that join and leave, and slots that move."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from parse import with_pattern
from pytest_bdd import given, parsers, then, when
from redis import Redis
from redis.cluster import RedisCluster

from fixtures.redis_cluster.faults import Cast, held_move
from fixtures.redis_cluster.nodes import (
    clients_of,
    empty_node,
    node_at,
    owner_of,
    primaries,
    ranges,
    strangers,
)
from fixtures.reporting.measurements import Bound
from fixtures.run.keys import Unsupported
from fixtures.stacks.protocols import Cluster, Node, Private, Stack, need_command
from redis_practices.polling import eventually
from redis_practices.redis_cluster.failover import fail_over
from redis_practices.redis_cluster.formation import wait_until_ready
from redis_practices.redis_cluster.growth import add_node, drain_node, rebalance
from redis_practices.redis_cluster.slot_migration import atomic_interface, close_open_slots, move_slots, open_slots
from redis_practices.redis_cluster.topology import ClusterError, itself, members, owner, slot_of, slot_ranges
from redis_practices.servers.server import Server
from steps.common.vocabulary import TYPES, Duration, rows
from steps.common.vocabulary import TYPES as COMMON
from steps.redis_cluster.routing import send_ahead


@given("an empty node", target_fixture="new_node")
def have_empty_node(private: Private, cluster: Cluster) -> Server:
    """Have a node that is in no cluster."""
    return empty_node(private, cluster)


@given(parsers.cfparse("{count:Count} empty nodes", extra_types=TYPES), target_fixture="new_nodes")
def have_empty_nodes(private: Private, cluster: Cluster, count: int) -> list[Server]:
    """Have nodes that are in no cluster."""
    return [empty_node(private, cluster) for _ in range(count)]


@when("the empty node joins and the slots are shared out anew")
def join(cluster: Cluster, new_node: Server, measure: Callable[..., None]) -> None:
    """Let the node join as a primary and give it its share."""
    with clients_of(cluster.nodes) as clients, new_node.client() as newcomer:
        add_node(newcomer, clients)
        moved = rebalance([*clients, newcomer])
    cluster.add(new_node)
    measure("slots moved to the new node", unit="", seen=moved)


@when(parsers.cfparse('the empty node joins as a replica of "{key}"'))
def join_as_replica(cluster: Cluster, key_prefix: str, key: str, new_node: Server) -> None:
    """Let the node join as a further replica."""
    with (
        clients_of(cluster.nodes) as clients,
        new_node.client() as newcomer,
        owner_of(cluster, key_prefix + key).client() as primary,
    ):
        add_node(newcomer, clients, replica_of=primary)
    cluster.add(new_node)


@when("the new node drains and leaves")
def leave(cluster: Cluster, new_node: Server) -> None:
    """Let the node give away its slots and leave."""
    cluster.remove(new_node.address)
    with clients_of(cluster.nodes) as clients, new_node.client() as leaver:
        drain_node(leaver, clients)


@then("no other node knows the new node, which is empty and alone")
def check_gone(cluster: Cluster, new_node: Server) -> None:
    """Look for the node in what each other node knows."""
    with clients_of(cluster.nodes) as clients, new_node.client() as leaver:
        wait_until_ready(clients, timeout=10.0)
        gone = itself(leaver).identity
        still = [node.address for node, client in zip(cluster.nodes, clients, strict=True) if gone in members(client)]
        assert not still, f"{new_node.address} is still known to {', '.join(still)}"
        assert (len(members(leaver)), leaver.dbsize(), itself(leaver).slots) == (1, 0, frozenset())


@given("a client of the cluster, and redis-py's own, that know its nodes", target_fixture="early_clients")
def have_early_clients(cluster: Cluster, request: pytest.FixtureRequest) -> dict[str, RedisCluster]:
    """Have clients that learn the map now."""
    host, port = cluster.nodes[0].address.split(":")
    found = {
        "src/redis_practices/clients.py": cluster.client(),
        "redis-py": RedisCluster(host, int(port), decode_responses=True),
    }
    for client in found.values():
        request.addfinalizer(client.close)
    return found


@when(parsers.cfparse('the empty node joins, and "{key}" has gone ahead to it'))
def join_and_begin(cluster: Cluster, key_prefix: str, key: str, new_node: Server) -> None:
    """Let the node join, and begin to move its first slot."""
    with clients_of(cluster.nodes) as clients, new_node.client() as newcomer:
        add_node(newcomer, clients)
    send_ahead(key_prefix + key, owner_of(cluster, key_prefix + key), new_node)


@then(parsers.cfparse('the client of {maker} that reads "{key}" gets "{answer}"'))
def check_early_client(
    early_clients: dict[str, RedisCluster], key_prefix: str, maker: str, key: str, answer: str
) -> None:
    """Read a key, and hold the value, or the name of the error, against the answer."""
    try:
        seen = str(early_clients[maker].get(key_prefix + key))
    except Exception as error:  # noqa: BLE001 - the kind of error, whatever it is, is what is compared
        seen = type(error).__name__
    assert seen == answer, f"it gets {seen!r}"


@when("each node is replaced by an empty one")
def replace_all(cluster: Cluster, new_nodes: list[Server]) -> None:
    """Let an empty node follow each primary, take over as planned, and send the former primary away for good."""
    for old, new in zip(primaries(cluster), new_nodes, strict=True):
        with clients_of(cluster.nodes) as clients, new.client() as newcomer, old.client() as leaver:
            add_node(newcomer, clients, replica_of=leaver)
            fail_over(newcomer)
            cluster.add(new)
            cluster.remove(old.address)
            with clients_of(cluster.nodes) as rest:
                drain_node(leaver, rest)
        old.kill()


@then("the cluster consists of the new nodes alone")
def check_replaced(cluster: Cluster, new_nodes: list[Server]) -> None:
    """Require that the new nodes own all slots, for all of them."""
    with clients_of(cluster.nodes) as clients:
        wait_until_ready(clients, timeout=10.0)
    assert {node.address for node in primaries(cluster)} == {node.address for node in new_nodes}


@when(parsers.cfparse('the user "{user}" is made at every node'))
def make_user(cluster: Cluster, user: str) -> None:
    """Make a user who may read everything, without a password."""
    with clients_of(cluster.nodes) as clients:
        for client in clients:
            client.execute_command("ACL SETUSER", user, "on", "nopass", "~*", "+@read")


@with_pattern("live|at one stroke|by default")
def way(text: str) -> str:
    """Read how slots move; by default at one stroke where the servers can."""
    return text


@with_pattern("their old primary|the other primary")
def side(text: str) -> str:
    """Read where slots are."""
    return text


MOVE_TYPES: dict[str, Any] = {**COMMON, "Way": way, "Side": side}


@dataclass
class Move:
    """Slots, the node that owns them and the one that is to have them."""

    slots: list[int]
    source: Node
    target: Node
    error: ClusterError | None = None
    seconds: float = 0.0


@given(
    parsers.cfparse('{count:Count} slots with that of "{key}" among them', extra_types=MOVE_TYPES),
    target_fixture="move",
)
def choose_slots(cluster: Cluster, key_prefix: str, count: int, key: str) -> Move:
    """Choose slots of the owner of a key, and another primary to have them."""
    source = owner_of(cluster, key_prefix + key)
    with source.client() as client:
        held = sorted(itself(client).slots)
    first = min(held.index(slot_of(key_prefix + key)), len(held) - count)
    return Move(held[first : first + count], source, strangers(cluster, key_prefix + key)[0])


@given("servers that move slots at one stroke")
def need_atomic_moves(cluster: Cluster) -> None:
    """Skip what an older engine cannot do."""
    with cluster.nodes[0].client() as client:
        if not atomic_interface(client):
            raise Unsupported("needs Valkey 9.0 or Redis 8.4: atomic slot migration")


def try_move(cluster: Cluster, move: Move, way: str) -> None:
    """Move the slots, or keep the error."""
    begun = time.monotonic()
    with clients_of(cluster.nodes) as clients, move.source.client() as source, move.target.client() as target:
        try:
            move_slots(move.slots, source, target, clients, live=way == "live")
        except ClusterError as error:
            move.error = error
    move.seconds = time.monotonic() - begun


@when(parsers.cfparse("they move {way:Way} to another primary", extra_types=MOVE_TYPES))
def move_them(  # noqa: PLR0913, PLR0917 - pytest-bdd hands fixtures and placeholders over one by one
    cluster: Cluster, move: Move, way: str, measure: Callable[..., None], stack: Stack, request: pytest.FixtureRequest
) -> None:
    """Move the slots, and tell how long that takes; a cluster that is only lent gets them back."""
    try_move(cluster, move, way)
    assert move.error is None, str(move.error)
    if stack.lends:
        back = Move(move.slots, move.target, move.source)
        request.addfinalizer(lambda: try_move(cluster, back, "by default"))
    measure(f"moving {len(move.slots)} slots {way}", unit="s", seen=round(move.seconds, 3))


@then(parsers.cfparse("those slots are at {where:Side}, and none is open", extra_types=MOVE_TYPES))
def check_owner(cast: Cast, move: Move, where: str) -> None:
    """Require one owner of all of the slots on all maps, and no slot that any node has on its way."""
    expected = {(move.source if where == "their old primary" else move.target).address}
    with clients_of(cast.present()) as clients:

        def agreed() -> None:
            """Compare the maps of all nodes that run."""
            seen = [owner(slot, slot_ranges(client)) for client in clients for slot in (move.slots[0], move.slots[-1])]
            assert {found.primary for found in seen if found} == expected, f"the owners are {seen}, not {expected}"
            held = [members(client) for client in clients]
            whole = [member.slots for some in held for member in some.values() if member.address in expected]
            assert all(slots.issuperset(move.slots) for slots in whole), "some of the slots are elsewhere"
            assert not (left := open_slots(clients)), f"open: {'; '.join(left)}"

        eventually(agreed, within=10.0)


@when(parsers.cfparse("they are to move {way:Way} to a primary without memory", extra_types=MOVE_TYPES))
def move_to_full(cluster: Cluster, move: Move, way: str) -> None:
    """Give the target less memory than it uses, and try."""
    with move.target.client() as client:
        before = client.config_get("maxmemory")["maxmemory"] or "0"
        client.config_set("maxmemory", 1)
        try_move(cluster, move, way)
        client.config_set("maxmemory", before)


@when(parsers.cfparse("they are to move {way:Way} to another primary", extra_types=MOVE_TYPES))
def move_anyway(cluster: Cluster, move: Move, way: str) -> None:
    """Try."""
    try_move(cluster, move, way)


@then("to move them is refused")
def check_refusals(cluster: Cluster, private: Private, move: Move, datatable: Sequence[Sequence[str]]) -> None:
    """Try each move of the table, and hold its error against the words there."""
    replica = next(held.replicas[0] for held in ranges(cluster) if held.primary == move.source.address)
    senseless = {
        "to a node of no cluster": (move.source, empty_node(private, cluster)),
        "to a replica": (move.source, node_at(cluster, replica)),
        "from a primary that does not own them": (move.target, move.source),
    }
    for row in rows(datatable, ("HOW", "REASON")):
        source, target = senseless[row["HOW"]]
        attempt = Move(move.slots, source, target)
        try_move(cluster, attempt, "live")
        check_refusal(attempt, row["REASON"])


@when("they begin to move at one stroke while one side hangs, and the move is cancelled")
def cancel_move(move: Move) -> None:
    """Cancel a move while it waits for the other side."""
    with held_move(move.source, move.target, move.slots) as held:
        held.cancel()
        assert held.state() in ("cancelled", "canceled"), held.state()


@when("they begin to move at one stroke while one side hangs, and the target is killed")
def kill_target(cast: Cast, move: Move) -> None:
    """Kill the target of a move that waits."""
    with held_move(move.source, move.target, move.slots) as held:
        move.target.kill()
        cast.away.append(move.target)
        if held.pushed:  # a target that pulls takes along what it knew of the move
            eventually(lambda: held.state() == "failed", within=10.0)


@then(parsers.cfparse('that fails with "{reason}"'))
def check_refusal(move: Move, reason: str) -> None:
    """Require an error that names the cause."""
    assert move.error, "the slots moved"
    assert reason in str(move.error), f"the error does not name the cause: {move.error}"


@when(parsers.cfparse('{who} forgets that the slot of "{key}" is on its way'))
def forget_move(cluster: Cluster, key_prefix: str, key: str, who: str, new_node: Node) -> None:
    """Let the move be half known: ``CLUSTER SETSLOT`` STABLE at one side."""
    for node in {"the owner": [owner_of(cluster, key_prefix + key)], "the new node": [new_node], "nobody": []}[who]:
        with node.client() as client:
            client.execute_command("CLUSTER SETSLOT", slot_of(key_prefix + key), "STABLE")


@then(parsers.cfparse('the slot of "{key}" is named as open'))
def name_open(cluster: Cluster, key_prefix: str, key: str) -> None:
    """Require that asking all nodes finds the slot, and no other."""
    with clients_of(cluster.nodes) as clients:
        found = open_slots(clients)
    assert found, "no open slot was found"
    assert {line.rpartition(" ")[2] for line in found} == {str(slot_of(key_prefix + key))}, f"found {found}"


@when("open slots are repaired")
def repair(cluster: Cluster) -> None:
    """Close what is open."""
    with clients_of(cluster.nodes) as clients:
        assert close_open_slots(clients), "nothing was repaired"


@then("no slot is open")
def check_closed(cluster: Cluster) -> None:
    """Require that no node has a slot on its way."""
    with clients_of(cluster.nodes) as clients:
        eventually(lambda: not open_slots(clients), within=5.0)


TTL = 1000
"""Seconds, far longer than the scenario."""


@dataclass(frozen=True)
class Contents:
    """How the value and the ttl of a key are read, and what they were, by key."""

    read: Callable[[Redis, str], tuple[str, int]]
    seen: dict[str, tuple[str, int]]


def _whole(client: Redis, key: str) -> tuple[str, int]:
    """Return a key as the server serializes it, and its ttl in milliseconds (``DUMP``, ``PTTL``)."""
    return repr(client.dump(key)), int(client.pttl(key))


def _field(client: Redis, key: str) -> tuple[str, int]:
    """Return a hash, and the ttl of its field "a" in milliseconds (``HGETALL``, ``HPTTL``)."""
    return str(client.hgetall(key)), int(client.hpttl(key, "a")[0])


@given(parsers.cfparse('a key of each type in the slot of "{key}", each with a ttl'), target_fixture="contents")
def have_types(cluster: Cluster, key_prefix: str, key: str) -> Contents:
    """Write small keys of all types at their owner."""
    tag = f"{{{key_prefix}{key}}}:"
    with owner_of(cluster, key_prefix + key).client() as client:
        client.set(f"{tag}string", "text")
        client.hset(f"{tag}hash", mapping={"a": "1", "b": "2"})
        client.rpush(f"{tag}list", "a", "b")
        client.sadd(f"{tag}set", 1, 2)
        client.zadd(f"{tag}zset", {"a": 1, "b": 2})
        client.xadd(f"{tag}stream", {"a": "1"})
        client.pfadd(f"{tag}count", "a", "b")
        keys = [tag + kind for kind in ("string", "hash", "list", "set", "zset", "stream", "count")]
        for name in keys:
            assert client.expire(name, TTL), f"{name} was not written"
        return Contents(_whole, {name: _whole(client, name) for name in keys})


@given(parsers.cfparse('a hash in the slot of "{key}" with a field that has a ttl'), target_fixture="contents")
def have_field_ttl(cluster: Cluster, key_prefix: str, key: str) -> Contents:
    """Write a hash of two fields, one of which expires (Unsupported before Redis 7.4 and Valkey 9.0)."""
    name = f"{{{key_prefix}{key}}}:hash"
    need_command(cluster.nodes[0], "HPEXPIRE", "Redis 7.4 or Valkey 9.0: fields of a hash that expire")
    with owner_of(cluster, key_prefix + key).client() as client:
        client.hset(name, mapping={"a": "1", "b": "2"})
        client.expire(name, TTL)
        assert client.hpexpire(name, TTL * 1000, "a") == [1]
        return Contents(_field, {name: _field(client, name)})


@then(parsers.cfparse("what they hold is as it was, and their ttl to {limit:Duration}", extra_types=TYPES))
def compare_contents(cluster: Cluster, contents: Contents, limit: Duration, measure: Callable[..., None]) -> None:
    """Read the keys at their owner, and measure by how much a ttl has grown or shrunk more than time has passed."""
    widest = 0
    for key, (value, ttl) in contents.seen.items():
        with owner_of(cluster, key).client() as client:
            seen, left = contents.read(client, key)
        assert seen == value, f"{key} was {value} and is {seen}"
        widest = max(widest, abs(ttl - left))
    measure("widest change of a ttl", unit="s", bound=Bound.at_most(limit.seconds()), seen=widest / 1000)
