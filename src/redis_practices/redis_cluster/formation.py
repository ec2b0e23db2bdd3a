"""Form a Redis Cluster with its own commands, tell when it is ready, and find nodes that should not be there."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from operator import not_
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from redis.utils import str_if_bytes

from redis_practices.polling import poll
from redis_practices.redis_cluster.topology import (
    ABSENT,
    SLOTS,
    ClusterError,
    Member,
    address,
    bus_port,
    endpoint,
    members,
    ranges_of,
)
from redis_practices.server_info import by_name


def even_ranges(primaries: int) -> list[tuple[int, int]]:
    """Return first and last slot of `primaries` shares of all slots, as even as possible."""
    edges = [SLOTS * index // primaries for index in range(primaries + 1)]
    return [(first, after - 1) for first, after in pairwise(edges)]


def form(nodes: Sequence[Redis], primaries: int, timeout: float = 30.0) -> None:
    """Make a cluster of empty `nodes`.

    The first `primaries` share the slots, the rest become replicas in turn.

    Commands: ``CLUSTER ADDSLOTS``, ``CLUSTER MEET`` of every node with every other (gossip alone needs seconds),
    ``CLUSTER REPLICATE``. `timeout` (seconds) bounds the whole.

    Raises:
        ClusterError: the cluster is not ready in time.
        redis.exceptions.RedisError: a node refuses a command, for example because it is not empty.
    """
    for node, (first, last) in zip(nodes, even_ranges(primaries), strict=False):
        node.execute_command("CLUSTER ADDSLOTS", *range(first, last + 1))
    buses = [bus_port(node) for node in nodes]
    for node in nodes:
        for other, bus in zip(nodes, buses, strict=True):
            if other is not node:
                node.execute_command("CLUSTER MEET", *endpoint(other), bus)
    ids = [str_if_bytes(node.execute_command("CLUSTER MYID")) for node in nodes[:primaries]]
    deadline = time.monotonic() + timeout
    for index, replica in enumerate(nodes[primaries:]):
        _replicate(replica, ids[index % primaries], deadline)
    wait_until_ready(nodes, timeout=deadline - time.monotonic())


def _replicate(replica: Redis, primary_id: str, deadline: float) -> None:
    """Make `replica` follow the primary as soon as the two know each other (``CLUSTER REPLICATE``)."""
    while True:
        try:
            replica.execute_command("CLUSTER REPLICATE", primary_id)
        except RedisError as error:
            if "Unknown node" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def wait_until_ready(nodes: Sequence[Redis], timeout: float = 30.0) -> None:
    """Return when the cluster is ready, see `why_not_ready`.

    Raises:
        ClusterError: it is not ready after `timeout` seconds.
    """
    if reason := poll(lambda: why_not_ready(nodes), timeout, every=0.002, until=not_):
        raise ClusterError(f"the cluster is not ready after {timeout:.1f} s: {reason}")


def why_not_ready(nodes: Sequence[Redis]) -> str | None:
    """Return the reason why the cluster of exactly these `nodes` is not ready; None if it is.

    ``cluster_state:ok`` alone is not enough: a replica may not have finished its first sync, and a primary killed then
    is never replaced. A cluster is ready when every node reports state ok, knows every node, and marks none as failed.
    All nodes must share one slot map that covers all slots, and every replica's link must be up at both ends.

    Raises:
        redis.exceptions.RedisError: a node does not answer.
    """
    maps = []
    for node in nodes:
        where = address(node)
        if (state := node.execute_command("CLUSTER INFO")["cluster_state"]) != "ok":
            return f"{where} reports cluster_state:{state}"
        known = members(node)
        if reason := _why_not_known(known, len(nodes)):
            return f"{where} {reason}"
        listed = members(node, "SLOTS")
        maps.append(ranges_of(listed))
        if maps[-1] != maps[0]:
            return f"{where} has another slot map than the first node"
        if reason := _why_not_listed(listed, known):
            return f"{where} {reason}"
        if reason := _why_not_linked(node.info("replication"), known):
            return f"{where} {reason}"
    covered = sum(slots.last - slots.first + 1 for slots in maps[0])
    return None if covered == SLOTS else f"only {covered} of {SLOTS} slots are covered"


def disputes(own: Iterable[Member], view: Mapping[str, Member]) -> list[tuple[str, str]]:
    """Return the id of each node that a view shows otherwise than the node itself, and the difference.

    `own` has what each node says of itself, and `view` all nodes by their ids, as one node knows them (``CLUSTER
    NODES``). A peer that takes a replica for a primary never votes for it (valkey#2811). One with an old host name
    sends clients to it (valkey#304). A change reaches a peer with the next answer to a ping, so a dispute counts if it
    is older than `Member.heard`.
    """
    known = {one.identity: one for one in own}
    places = {one.identity: one.address for one in known.values()}
    return [
        (identity, why)
        for identity, seen in view.items()
        if identity in known and (why := _dispute(known[identity], seen, places))
    ]


def _dispute(me: Member, seen: Member, places: Mapping[str, str]) -> str:
    """Return what a peer says otherwise than the node itself; "" if nothing, or if it does not reach the node."""
    if not ABSENT.isdisjoint(seen.flags):
        return ""
    if me.primary != seen.primary:
        says, heard = (
            f"follows {places.get(one.primary, one.primary)}" if one.primary else "is a primary" for one in (me, seen)
        )
        return f"says that it {says}, and {heard}"
    if me.hostname != seen.hostname:
        return f"has the host name {me.hostname or 'none'}, and {seen.hostname or 'none'}"
    return ""


def astray(me: Member, shards: Mapping[str, Member]) -> bool:
    """Tell whether a replica has another shard id than its primary; `shards` are of its ``CLUSTER SHARDS``, since 7.0.

    Before Valkey 8.1.2 such a node does not start again: "corrupted cluster config file" (valkey#2171).
    """
    return bool(me.primary and me.identity in shards and shards[me.identity].primary == "")


def _why_not_known(known: Mapping[str, Member], nodes: int) -> str | None:
    """Return the problem with the nodes that one node knows, or None. It should know `nodes`."""
    if len(known) != nodes or any("handshake" in member.flags for member in known.values()):
        return f"knows {len(known)} of {nodes} nodes"
    failed = [member.address for member in known.values() if member.failed]
    return f"takes {failed[0]} for failed" if failed else None


def _why_not_listed(listed: Mapping[str, Member], known: Mapping[str, Member]) -> str | None:
    """Return the replicas that a slot map lacks, or None. A client that asks for replicas would miss them."""
    primaries = {identity for identity, member in known.items() if member.ranges}
    replicas = {identity for identity, member in known.items() if member.primary in primaries}
    missing = replicas - {identity for identity, member in listed.items() if member.primary}
    names = ", ".join(sorted(known[identity].address for identity in missing))
    return f"does not list the replica {names}" if missing else None


def _why_not_linked(replication: Mapping[str, Any], known: Mapping[str, Member]) -> str | None:
    """Return the problem with one node's replication (``INFO replication``), or None."""
    if replication["role"] == "slave":
        link = replication.get("master_link_status")
        return None if link == "up" else f"is a replica whose link to its primary is {link}"
    me = next(identity for identity, member in known.items() if "myself" in member.flags)
    expected = sum(member.primary == me for member in known.values())
    online = sum(
        1
        for index in range(replication["connected_slaves"])
        if replication.get(f"slave{index}", {}).get("state") == "online"
    )
    return None if online == expected else f"is a primary with {online} of {expected} replicas online"


def stale_ids(known: Mapping[str, Member]) -> list[Member]:
    """Return the nodes that are the former ids of live ones, from the nodes by id (``CLUSTER NODES``).

    A node that was reset, or that has lost its ``nodes.conf``, gets a new id. Its peers keep the old one for ever
    (valkey-io/valkey#1757). Its address answers with another id, so they drop the address (``noaddr``). ``CLUSTER
    FORGET`` on every node removes it.
    """
    live = {member.address for member in known.values() if ABSENT.isdisjoint(member.flags)}
    return [
        member
        for member in known.values()
        if "handshake" not in member.flags and ("noaddr" in member.flags or (member.failed and member.address in live))
    ]


def rival_primaries(shards: Iterable[Any], known: Mapping[str, Member]) -> list[tuple[Member, Member]]:
    """Return each primary without slots whose shard has another primary, with that one.

    `shards` is the reply to ``CLUSTER SHARDS``, and `known` has the nodes by id (``CLUSTER NODES``). A primary that
    missed two failovers returns as such a rival, and no node makes it a replica (valkey-io/valkey#2261). A node that
    has just joined is alone in its shard. During a failover a shard has two primaries for a moment: look twice.
    """
    found = []
    for shard in map(by_name, shards):
        nodes = [known.get(str_if_bytes(by_name(node)["id"])) for node in shard["nodes"]]
        leading = [node for node in nodes if node and node.primary is None and ABSENT.isdisjoint(node.flags)]
        owners = [node for node in leading if node.slots]
        found += [(node, owners[0]) for node in leading if owners and not node.slots]
    return found
