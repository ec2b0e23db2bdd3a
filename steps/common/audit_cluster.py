"""The sentences that judge a cluster by what its nodes say of each other, without any traffic."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pytest_bdd import parsers, then

from fixtures.reporting.measurements import Bound
from redis_practices.redis_cluster.topology import SLOTS, Member, itself, members
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.stacks.protocols import Cluster
    from steps.common.audit import Audited


BAD = {"fail", "fail?", "handshake", "noaddr"}
"""Flags of a node that the others do not see."""


def _members(cluster: Cluster) -> list[Member]:
    """Return every node as the first one knows it."""
    with cluster.nodes[0].client() as client:
        return list(members(client).values())


@then("no node is marked as failed")
def check_failed(cluster: Cluster) -> None:
    """Require that the nodes see each other."""
    bad = {member.address: ",".join(sorted(member.flags)) for member in _members(cluster) if BAD & member.flags}
    assert not bad, f"marked in CLUSTER NODES: {bad}"


@then(parsers.cfparse("there are {bound:Bound} primaries", extra_types=TYPES))
def check_majority(cluster: Cluster, audited: Audited, bound: Bound, measure: Callable[..., None]) -> None:
    """Count the nodes that own slots."""
    seen = sum(bool(member.slots) for member in _members(cluster))
    measure("primaries", unit="", bound=audited.bound("primaries", bound), seen=seen)


@then(parsers.cfparse("every primary has {bound:Bound} live replica", extra_types=TYPES))
def check_replicas(cluster: Cluster, audited: Audited, bound: Bound, measure: Callable[..., None]) -> None:
    """Count the replicas of each primary that are not marked as failed."""
    known = _members(cluster)
    live = Counter(member.primary for member in known if not {"fail", "fail?"} & member.flags)
    for primary in (member for member in known if member.slots):
        seen = live[primary.identity]
        measure(f"live replicas of {primary.address}", unit="", bound=audited.bound("replicas", bound), seen=seen)


@then(parsers.cfparse("every replica heard from its primary {bound:Bound} ago", extra_types=TYPES))
def check_links(audited: Audited, bound: Bound, measure: Callable[..., None]) -> None:
    """Require that every replica is linked to its primary and hears from it."""
    roles = audited.values("field", "role")
    links = audited.values("field", "master_link_status") if "slave" in roles.values() else {}
    down = {address: link for address, link in links.items() if link != "up"}
    assert not down, (
        f"a replica that is not linked cannot take over: {', '.join(down)} (link {', '.join(down.values())})"
    )
    for address, ago in audited.values("field", "master_last_io_seconds_ago").items() if links else []:
        measure(f"silence between {address} and its primary", unit="s", bound=bound, seen=float(ago))


@then("no slot is being moved")
def check_moves(cluster: Cluster) -> None:
    """Require that no primary has a slot that is on its way."""
    for node in cluster.nodes:
        with node.client() as client:
            mine = itself(client)
        open_slots = mine.leaving | mine.arriving
        assert not open_slots, f"{node.address} has open slots: {open_slots}"


@then(parsers.cfparse("no primary's share of the slots is off an even one by more than {points:d} %"))
def check_balance(cluster: Cluster, audited: Audited, points: int, measure: Callable[..., None]) -> None:
    """Compare each primary's number of slots with the mean."""
    shares = [len(member.slots) for member in _members(cluster) if member.slots]
    even = SLOTS / len(shares)
    worst = max(abs(slots - even) / even * 100 for slots in shares)
    limit = audited.bound("slots", Bound.at_most(points, "%"))
    measure("widest deviation from an even share of the slots", unit="%", bound=limit, seen=round(worst, 1))
