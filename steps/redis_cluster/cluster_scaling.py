"""The sentences about slots that move between nodes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from parse import with_pattern
from pytest_bdd import given, parsers, then, when

from fixtures.redis_cluster.faults import Cast
from fixtures.redis_cluster.nodes import clients_of, owner_of, strangers
from fixtures.run.keys import Unsupported
from redis_practices.polling import eventually
from redis_practices.redis_cluster.slot_migration import atomic_interface, move_slots, open_slots
from redis_practices.redis_cluster.topology import ClusterError, itself, members, owner, slot_of, slot_ranges
from steps.common.vocabulary import TYPES as COMMON

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from fixtures.stacks.protocols import Cluster, Node, Stack


@with_pattern("live|at one stroke|by default")
def way(text: str) -> str:
    """Read how slots move; by default at one stroke where the servers can."""
    return text


@with_pattern("their old primary|the other primary")
def side(text: str) -> str:
    """Read where slots are."""
    return text


TYPES: dict[str, Any] = {**COMMON, "Way": way, "Side": side}


@dataclass
class Move:
    """Slots, the node that owns them and the one that is to have them."""

    slots: list[int]
    source: Node
    target: Node
    error: ClusterError | None = None
    seconds: float = 0.0


@given(parsers.cfparse('{count:Count} slots with that of "{key}" among them', extra_types=TYPES), target_fixture="move")
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


@when(parsers.cfparse("they move {way:Way} to another primary", extra_types=TYPES))
def move_them(  # noqa: PLR0913, PLR0917 - pytest-bdd hands fixtures and placeholders over one by one
    cluster: Cluster, move: Move, way: str, measure: Callable[..., None], stack: Stack, request: pytest.FixtureRequest
) -> None:
    """Move the slots, and tell how long that takes; a cluster that is only lent gets them back."""
    try_move(cluster, move, way)
    assert move.error is None, str(move.error)
    if stack.name != "embedded":
        back = Move(move.slots, move.target, move.source)
        request.addfinalizer(lambda: try_move(cluster, back, "by default"))
    measure(f"moving {len(move.slots)} slots {way}", unit="s", seen=round(move.seconds, 3))


@then(parsers.cfparse("those slots are at {where:Side}, and none is open", extra_types=TYPES))
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
