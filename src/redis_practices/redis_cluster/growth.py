"""Add nodes to a cluster, remove nodes, and rebalance slots, while clients are served.

Functions and users belong to nodes, not to keys, so they do not move with slots: `add_node` copies them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from redis import Redis
from redis.exceptions import ResponseError

from redis_practices.polling import poll
from redis_practices.redis_cluster.slot_migration import move_slots
from redis_practices.redis_cluster.topology import (
    ClusterError,
    Member,
    address,
    bus_port,
    by_identity,
    itself,
    known_to,
    members,
)


def rebalance(nodes: Sequence[Redis], *, timeout: float = 60.0) -> int:
    """Share the slots evenly over all primaries of `nodes`, those without any included; return how many moved.

    As few slots move as possible, by `move_slots`, which tells of the commands and of `timeout` for each pair of nodes.

    Raises:
        ClusterError, redis.exceptions.RedisError: as `move_slots` does.
    """
    known = by_identity(nodes)
    held = {identity: itself(node) for identity, node in known.items()}
    return share_out({identity: member for identity, member in held.items() if not member.primary}, known, timeout)


def share_out(held: Mapping[str, Member], known: Mapping[str, Redis], timeout: float, leaving: str = "") -> int:
    """Move slots until each of the primaries `held` has its share, and `leaving` none; return how many moved.

    `known` has a client for each id. `timeout` in seconds is that of the moves of each pair.

    Raises:
        ClusterError, redis.exceptions.RedisError: as `move_slots` does.
    """
    moves = even_moves({identity: sorted(member.slots) for identity, member in held.items()}, leaving)
    for (source, target), slots in moves.items():
        move_slots(slots, known[source], known[target], list(known.values()), timeout=timeout)
    return sum(map(len, moves.values()))


def even_moves(held: Mapping[str, Sequence[int]], leaving: str = "") -> dict[tuple[str, str], list[int]]:
    """Return the fewest moves, by source and target, after which no node holds more than one slot more than another.

    The node `leaving`, if given, then holds none. Each node gives away its last slots.
    """
    stay = sorted((name for name in held if name != leaving), key=lambda name: -len(held[name]))
    total = sum(map(len, held.values()))
    # Who holds most keeps the odd ones: one move less each.
    share = {name: total // len(stay) + (place < total % len(stay)) for place, name in enumerate(stay)}
    spare = [(name, slot) for name, slots in held.items() for slot in slots[share.get(name, 0) :]]
    moves: dict[tuple[str, str], list[int]] = {}
    for target in stay:
        for _ in range(share[target] - len(held[target])):
            source, slot = spare.pop()
            moves.setdefault((source, target), []).append(slot)
    return moves


def copy_functions(source: Redis, target: Redis) -> None:
    """Give `target` the functions of `source` (``FUNCTION DUMP``, ``FUNCTION RESTORE``; none before Redis 7.0).

    Raises:
        redis.exceptions.RedisError: a node does not answer, or the target has a function of the same name.
    """
    try:
        payload = source.function_dump()
    except ResponseError as error:
        if "unknown command" in str(error):
            return
        raise
    target.execute_command("FUNCTION RESTORE", payload)


def copy_users(source: Redis, target: Redis) -> None:
    """Give `target` the users of `source`, passwords as hashes (``ACL LIST``, ``ACL DELUSER``, ``ACL SETUSER``).

    Not the default user, as whom whoever set up the target may have connected.

    Raises:
        redis.exceptions.RedisError: a node does not answer or refuses.
    """
    for line in source.acl_list():
        # A selector, in parentheses, is one rule.
        _, name, *rules = re.findall(r"\([^)]*\)|\S+", str(line))
        if name != "default":
            # Not "reset", which makes explicit what is usual, so that two equal users look different.
            target.execute_command("ACL DELUSER", name)
            target.execute_command("ACL SETUSER", name, *rules)


TIMEOUT = 30.0
"""Seconds until a node that does not join or leave counts as failed."""


def add_node(newcomer: Redis, nodes: Sequence[Redis], *, replica_of: Redis | None = None) -> None:
    """Let an empty node join the cluster of `nodes`, as a primary without slots or as the replica of a primary.

    Every node is told (``CLUSTER MEET``), since gossip alone takes seconds; returns when all know each other, the
    newcomer serves, which it does not before 2 s after its start, and a replica has its first copy (``CLUSTER
    REPLICATE``). It gets the functions and users of the first of `nodes`. Follow it up with `rebalance`.

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
    if not poll(done, TIMEOUT, every=0.005):
        raise ClusterError(f"{problem}, after {TIMEOUT:g} s")
