"""The sentences that judge a cluster by what its nodes say of each other, without any traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_bdd import parsers, then

from fixtures.measurements import Bound
from key_slots import SLOTS
from steps.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.deployments import Cluster
    from steps.audit import Audited


def _members(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """Return what the first node says of each (``CLUSTER NODES``), by address."""
    with cluster.nodes[0].client() as client:
        return dict(client.execute_command("CLUSTER NODES"))


def _primaries(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """Return the nodes that own slots."""
    return {address: member for address, member in _members(cluster).items() if member["slots"]}


def _slots(member: dict[str, Any]) -> int:
    """Return how many slots a node owns."""
    return sum(int(ends[-1]) - int(ends[0]) + 1 for ends in member["slots"])


@then("no node is marked as failed")
def check_failed(cluster: Cluster) -> None:
    """Require that the nodes see each other."""
    bad = {
        address: member["flags"]
        for address, member in _members(cluster).items()
        if {"fail", "fail?", "handshake", "noaddr"} & set(member["flags"].split(","))
    }
    assert not bad, f"marked in CLUSTER NODES: {bad}"


@then(parsers.cfparse("every primary has {bound:Bound} live replica", extra_types=TYPES))
def check_replicas(cluster: Cluster, audited: Audited, bound: Bound, measure: Callable[..., None]) -> None:
    """Count the replicas of each primary that are not marked as failed."""
    members = _members(cluster)
    for address, primary in _primaries(cluster).items():
        live = [
            member
            for member in members.values()
            if member["master_id"] == primary["node_id"] and "fail" not in member["flags"]
        ]
        measure(f"live replicas of {address}", unit="", bound=audited.bound("replicas", bound), seen=len(live))


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
            mine = next(
                entry for entry in client.execute_command("CLUSTER NODES").values() if "myself" in entry["flags"]
            )
        assert not mine["migrations"], f"{node.address} has open slots: {mine['migrations']}"


@then(parsers.cfparse("no primary's share of the slots is off an even one by more than {points:d} %"))
def check_balance(cluster: Cluster, audited: Audited, points: int, measure: Callable[..., None]) -> None:
    """Compare each primary's number of slots with the mean."""
    shares = {address: _slots(member) for address, member in _primaries(cluster).items()}
    even = SLOTS / len(shares)
    worst = max(abs(slots - even) / even * 100 for slots in shares.values())
    limit = audited.bound("slots", Bound.at_most(points, "%"))
    measure("widest deviation from an even share of the slots", unit="%", bound=limit, seen=round(worst, 1))
