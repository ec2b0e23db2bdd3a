"""The sentences about walking over all keys of a cluster."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_bdd import parsers, then, when

from fixtures.redis_cluster.nodes import primaries, ranges
from fixtures.reporting.measurements import Bound
from fixtures.run.keys import Unsupported
from redis_practices.redis_cluster.key_distribution import every_key
from redis_practices.redis_cluster.slot_migration import move_slots
from redis_practices.redis_cluster.topology import owner, slot_of
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from fixtures.stacks.protocols import Cluster, Node

MOST = 1_000_000
"""Keys of a node that a scan may walk over; more would take minutes on somebody's own cluster."""


@dataclass
class Walk:
    """How often each key was met, and the slot that moved meanwhile."""

    met: Counter[str] = field(default_factory=Counter)
    moved: int | None = None


def scanned(node: Node, key_prefix: str) -> set[str]:
    """Return the keys of this scenario that a scan of one node meets (``SCAN``)."""
    with node.client() as client:
        if (keys := client.dbsize()) > MOST:
            raise Unsupported(f"{node.address} holds {keys} keys: walking over all of them takes too long")
        return set(client.scan_iter(match=f"{key_prefix}*", count=1000))


@when("all primaries are scanned for them", target_fixture="walk")
def scan(cluster: Cluster, key_prefix: str) -> Walk:
    """Scan every primary."""
    return Walk(Counter(key for node in primaries(cluster) for key in scanned(node, key_prefix)))


@when("a slot moves from the last primary to the first during a scan of one after another", target_fixture="walk")
def scan_during_move(
    cluster: Cluster, key_prefix: str, written: dict[str, str], request: pytest.FixtureRequest
) -> Walk:
    """Scan each primary once, and move a slot before the last."""
    *others, last = primaries(cluster)
    walk = Walk(Counter(key for node in others for key in scanned(node, key_prefix)))
    walk.moved = move_slot_of_last(cluster, written, request)
    walk.met.update(scanned(last, key_prefix))
    return walk


@when("a slot moves from the last primary to the first during a walk that looks again", target_fixture="walk")
def walk_during_move(
    cluster: Cluster, key_prefix: str, written: dict[str, str], request: pytest.FixtureRequest
) -> Walk:
    """Walk, and move a slot when the first primary is done."""
    walk = Walk()
    before = ranges(cluster)
    with cluster.client() as client:
        for key in every_key(client, f"{key_prefix}*", count=10):
            held = owner(slot_of(key), before)
            assert held, f"no node owns the slot of {key}"
            if walk.moved is None and held.primary != before[0].primary:
                walk.moved = move_slot_of_last(cluster, written, request)
            walk.met[key] += 1
    return walk


def move_slot_of_last(cluster: Cluster, written: dict[str, str], request: pytest.FixtureRequest) -> int:
    """Move the slot of one key from the last primary to the first, until the scenario ends."""
    nodes = [node.client() for node in primaries(cluster)]
    slots = ranges(cluster)
    last = primaries(cluster)[-1].address
    slot = next(slot for slot in map(slot_of, written) if (held := owner(slot, slots)) and held.primary == last)
    move_slots([slot], nodes[-1], nodes[0], nodes)
    request.addfinalizer(lambda: move_slots([slot], nodes[0], nodes[-1], nodes))
    return slot


@then("all keys were met but those of the slot that moved")
def check_missed(walk: Walk, written: dict[str, str]) -> None:
    """Compare the keys that were not met with those of the slot."""
    expected = {key for key in written if slot_of(key) == walk.moved}
    assert written.keys() - walk.met.keys() == expected


@then(parsers.cfparse("{bound:Bound} keys were met", extra_types=TYPES))
def check_met(walk: Walk, written: dict[str, str], bound: Bound, measure: Callable[..., None]) -> None:
    """Count the keys written that were met."""
    measure("keys met", unit="keys", bound=bound, seen=len(walk.met.keys() & written.keys()))


@then(parsers.cfparse("{bound:Bound} keys were met at more than one node", extra_types=TYPES))
def check_met_once(walk: Walk, bound: Bound, measure: Callable[..., None]) -> None:
    """Count the keys that two nodes showed."""
    measure("keys at two nodes", unit="keys", bound=bound, seen=sum(times > 1 for times in walk.met.values()))
