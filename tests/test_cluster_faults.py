"""Test the detectors of cluster faults on the maps of healthy clusters, which pass through similar states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from redis_practices.redis_cluster.failover import is_copying, stuck_replicas
from redis_practices.redis_cluster.formation import rival_primaries, stale_ids
from redis_practices.redis_cluster.topology import Member, read_nodes

A, B, C, D, E = (letter * 40 for letter in "abcde")
"""The ids of two primaries, of the replica of the first, and of two further nodes."""

HEALTHY = f"""\
{A} 127.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-8000
{B} 127.0.0.1:7002@17002 master - 0 0 2 connected 8001-16383
{C} 127.0.0.1:7003@17003 slave {A} 0 0 1 connected
"""


def nodes(*lines: str) -> dict[str, Member]:
    """Return the healthy nodes and those of further lines of ``CLUSTER NODES``, by id."""
    return {member.identity: member for member in read_nodes(HEALTHY + "".join(f"{line}\n" for line in lines))}


PASSING: Mapping[str, str] = {
    "a primary that has just joined": f"{D} 127.0.0.1:7004@17004 master - 0 0 0 connected",
    "a node in its handshake": f"{D} 127.0.0.1:7002@17002 handshake - 0 0 0 connected",
    "a dead replica": f"{D} 127.0.0.1:7004@17004 slave,fail {B} 0 0 2 disconnected",
    "a dead primary that was replaced": f"{D} 127.0.0.1:7004@17004 master,fail - 0 0 0 disconnected",
    "a replica in a failover": f"{D} 127.0.0.1:7004@17004 slave {B} 0 0 2 connected",
}
"""By state, the line of a further node."""


def shards(*groups: str) -> list[dict[str, Any]]:
    """Return a reply of ``CLUSTER SHARDS`` with the nodes of each shard."""
    return [
        {"slots": [], "nodes": [{"id": identity, "role": "master"} for identity in group.split()]} for group in groups
    ]


@pytest.mark.parametrize("state", PASSING)
def test_no_detector_takes_a_healthy_state_for_a_fault(state: str) -> None:
    """A node that joins, dies or waits for an election is neither stale, stuck nor a rival."""
    known = nodes(PASSING[state])
    assert not stale_ids(known)
    assert not stuck_replicas(known)
    assert not rival_primaries(shards(f"{A} {C}", f"{B} {D}" if known[D].primary or known[D].failed else B, D), known)


@pytest.mark.parametrize(
    "line",
    [
        f"{D} :0@0 slave,fail,noaddr {A} 0 0 1 disconnected",
        f"{D} 127.0.0.1:7003@17003 slave,fail {A} 0 0 1 disconnected",
    ],
)
def test_former_id_is_found(line: str) -> None:
    """A dead node without an address, or with that of a live node, is a former id."""
    assert [member.identity for member in stale_ids(nodes(line))] == [D]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([f"{D} 127.0.0.1:7004@17004 slave {E} 0 0 1 connected"], f"follows {E}, a node that is not known"),
        (
            [
                f"{D} 127.0.0.1:7004@17004 slave {E} 0 0 1 connected",
                f"{E} 127.0.0.1:7005@17005 master,fail - 0 0 0 disconnected",
            ],
            f"follows {E}, which is dead",
        ),
        ([f"{D} 127.0.0.1:7004@17004 slave {C} 0 0 1 connected"], f"follows {C}, which is a replica, too"),
    ],
)
def test_stuck_replica_is_found(lines: list[str], why: str) -> None:
    """The reason names the node that the replica follows, and the primary that lacks a replica."""
    known = nodes(*lines)
    assert stuck_replicas(known) == [(known[D], f"{why}; 127.0.0.1:7002, {B}, has no replica")]


def test_rival_is_the_primary_without_slots() -> None:
    """Of two primaries in a shard the one without slots is the rival, in any order."""
    known = nodes(PASSING["a primary that has just joined"])
    for group in (f"{A} {D} {C}", f"{D} {A}"):
        assert rival_primaries(shards(group, B), known) == [(known[D], known[A])]


def test_copy_grows() -> None:
    """A copy under way grows; one that begins again, or waits, does not."""
    assert is_copying({"master_sync_read_bytes": 10}, {"master_sync_read_bytes": 20})
    assert is_copying({"current_save_keys_processed": 0}, {"current_save_keys_processed": 7})
    assert not is_copying({"master_sync_read_bytes": 20}, {"master_sync_read_bytes": 10})
    assert not is_copying({"master_sync_read_bytes": 0}, {"master_link_status": "down"})
