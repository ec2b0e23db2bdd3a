"""Let nodes join a cluster and leave it, while clients are served."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from redis import Redis
from redis.exceptions import ResponseError

from redis_practices.redis_cluster.cluster_members import by_identity, itself, known_to, members
from redis_practices.redis_cluster.formation import ClusterError, address, bus_port
from redis_practices.redis_cluster.node_equipment import copy_functions, copy_users
from redis_practices.redis_cluster.slot_balance import share_out

TIMEOUT = 30.0
"""Seconds until a node that does not join or leave counts as failed."""


def add_node(newcomer: Redis, nodes: Sequence[Redis], *, replica_of: Redis | None = None) -> None:
    """Let an empty node join the cluster of `nodes`, as a primary without slots or as the replica of a primary.

    Every node is told (``CLUSTER MEET``), since gossip alone takes seconds; returns when all know each other, the
    newcomer serves, which it does not before 2 s after its start, and a replica has its first copy (``CLUSTER
    REPLICATE``). It gets the functions and users of the first of `nodes`. Follow it up with `slot_balance.rebalance`.

    Raises:
        ClusterError: the newcomer holds keys or is in a cluster already, or has not joined after `TIMEOUT` seconds.
        redis.exceptions.RedisError: a node does not answer.
    """
    if len(members(newcomer)) > 1 or newcomer.dbsize():
        raise ClusterError(f"{address(newcomer)} is not empty: FLUSHALL and CLUSTER RESET make it so")
    host, _, port = address(newcomer).rpartition(":")
    for node in nodes:
        node.execute_command("CLUSTER MEET", host, int(port), bus_port(newcomer))
    everyone = {*by_identity([newcomer, *nodes])}
    for node in (newcomer, *nodes):
        _await(lambda node=node: _met(node, everyone), f"{address(newcomer)} and {address(node)} do not meet")  # type: ignore[misc]
    copy_users(nodes[0], newcomer)
    if replica_of:
        newcomer.execute_command("CLUSTER REPLICATE", known_to(newcomer, replica_of).identity)
        unlinked = f"{address(newcomer)} is not linked to its primary"
        _await(lambda: newcomer.info("replication").get("master_link_status") == "up", unlinked)
    else:
        copy_functions(nodes[0], newcomer)
    _await(
        lambda: newcomer.execute_command("CLUSTER INFO")["cluster_state"] == "ok",
        f"{address(newcomer)} does not say cluster_state:ok",
    )


def _met(node: Redis, identities: set[str]) -> bool:
    """Tell whether a node knows all of these for good."""
    known = members(node)
    return identities <= set(known) and not any("handshake" in known[identity].flags for identity in identities)


def drain_node(leaver: Redis, nodes: Sequence[Redis], *, timeout: float = 60.0) -> None:
    """Move all slots of a node to the other primaries, give its replicas to others, and have all nodes forget it.

    `nodes` are those of the whole cluster, the leaver included or not. It may be a replica, which just leaves. In the
    end it is empty and alone (``CLUSTER RESET``); the others do not take it back for 60 s (``CLUSTER FORGET``).

    Raises:
        ClusterError: it is the last primary; or as `move_slots` does, and then it has not left.
        redis.exceptions.RedisError: a node does not answer.
    """
    known = by_identity([leaver, *nodes])
    me = next(identity for identity, node in known.items() if node is leaver or address(node) == address(leaver))
    held = {identity: itself(node) for identity, node in known.items()}
    primaries = {identity: member for identity, member in held.items() if not member.primary}
    if held[me].slots:
        if len(primaries) == 1:
            raise ClusterError(f"{held[me].address} is the last primary: its slots have nowhere to go")
        share_out(primaries, known, timeout, leaving=me)
    stay = {identity: node for identity, node in known.items() if identity != me}
    heirs = [identity for identity in primaries if identity != me]
    for place, (_, node) in enumerate(sorted(stay.items())):
        if itself(node).primary == me:
            node.execute_command("CLUSTER REPLICATE", heirs[place % len(heirs)])
    forget_node(me, list(stay.values()))
    if not itself(known[me]).primary:
        # Keys of slots that it gave away may still wait for their deletion, and a primary with keys refuses the reset.
        known[me].flushall()
    known[me].execute_command("CLUSTER RESET")


def forget_node(identity: str, nodes: Sequence[Redis]) -> None:
    """Have all `nodes` forget a node by its id, dead or alive; for 60 s they do not take it back (``CLUSTER FORGET``).

    Raises:
        ClusterError: a node still follows it after `TIMEOUT` seconds.
        redis.exceptions.RedisError: a node does not answer or refuses.
    """
    for node in nodes:
        _await(lambda node=node: _forgets(node, identity), f"{address(node)} still follows {identity}")  # type: ignore[misc]


def _forgets(node: Redis, identity: str) -> bool:
    """Let a node forget another; it refuses while it follows the other, which changes at once."""
    try:
        node.execute_command("CLUSTER FORGET", identity)
    except ResponseError as error:
        if "nknown node" not in str(error) and "master" not in str(error) and "primary" not in str(error):
            raise
    return identity not in members(node)


def _await(done: Callable[[], bool], problem: str) -> None:
    """Return when `done` says so, or raise ClusterError with the problem after `TIMEOUT` seconds."""
    deadline = time.monotonic() + TIMEOUT
    while not done():
        if time.monotonic() > deadline:
            raise ClusterError(f"{problem}, after {TIMEOUT:g} s")
        time.sleep(0.005)
