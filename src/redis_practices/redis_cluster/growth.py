"""Add nodes to a cluster, remove nodes, and rebalance slots, while clients are served.

Functions and users belong to nodes and do not migrate with slots: `add_node` copies them.
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
    """Share the slots evenly over all primaries of `nodes`, new ones included. Return the number of moved slots.

    As few slots as possible move, by `move_slots`: see there for the commands and for `timeout`, which is that of each
    pair of nodes.

    Raises:
        ClusterError, redis.exceptions.RedisError: as `move_slots` does.
    """
    known = by_identity(nodes)
    held = {identity: itself(node) for identity, node in known.items()}
    return share_out({identity: member for identity, member in held.items() if not member.primary}, known, timeout)


def share_out(held: Mapping[str, Member], known: Mapping[str, Redis], timeout: float, leaving: str = "") -> int:
    """Move slots until the primaries `held` have their shares and `leaving` has no slot. Return the number of moves.

    `known` has a client for each id. `timeout` (seconds) is that of the moves of each pair.

    Raises:
        ClusterError, redis.exceptions.RedisError: as `move_slots` does.
    """
    moves = even_moves({identity: sorted(member.slots) for identity, member in held.items()}, leaving)
    for (source, target), slots in moves.items():
        move_slots(slots, known[source], known[target], list(known.values()), timeout=timeout)
    return sum(map(len, moves.values()))


def even_moves(held: Mapping[str, Sequence[int]], leaving: str = "") -> dict[tuple[str, str], list[int]]:
    """Return the fewest moves, by source and target, that make the numbers of slots differ by at most one.

    The node `leaving`, if given, then holds none. Each node gives its last slots away.
    """
    stay = sorted((name for name in held if name != leaving), key=lambda name: -len(held[name]))
    total = sum(map(len, held.values()))
    # The nodes with most slots keep the remainder, which saves one move each.
    share = {name: total // len(stay) + (place < total % len(stay)) for place, name in enumerate(stay)}
    spare = [(name, slot) for name, slots in held.items() for slot in slots[share.get(name, 0) :]]
    moves: dict[tuple[str, str], list[int]] = {}
    for target in stay:
        for _ in range(share[target] - len(held[target])):
            source, slot = spare.pop()
            moves.setdefault((source, target), []).append(slot)
    return moves


def copy_functions(source: Redis, target: Redis) -> None:
    """Copy the functions of `source` to `target` (``FUNCTION DUMP``, ``FUNCTION RESTORE``; none before Redis 7.0).

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
    """Copy the users of `source` to `target`, passwords as hashes (``ACL LIST``, ``ACL DELUSER``, ``ACL SETUSER``).

    The default user stays as it is, since the client of `target` may use it.

    Raises:
        redis.exceptions.RedisError: a node does not answer or refuses.
    """
    for line in source.acl_list():
        # A selector, in parentheses, is one rule.
        _, name, *rules = re.findall(r"\([^)]*\)|\S+", str(line))
        if name != "default":
            # Without "reset", which writes defaults out, so that two equal users would look different.
            target.execute_command("ACL DELUSER", name)
            target.execute_command("ACL SETUSER", name, *rules)


TIMEOUT = 30.0
"""Seconds for a node to join or leave."""


def add_node(joining: Redis, nodes: Sequence[Redis], *, replica_of: Redis | None = None) -> None:
    """Let an empty node join the cluster of `nodes`.

    It becomes a primary without slots, or the replica of a primary.

    Every node gets ``CLUSTER MEET``, since gossip alone needs seconds. Returns when all nodes know each other, and
    the new node serves (not before 2 s after its start). A replica also has its first copy by then.
    The new node gets the functions and users of the first of `nodes`. Call `rebalance` next.

    Raises:
        ClusterError: the new node holds keys, is in a cluster already, or has not joined after `TIMEOUT` seconds.
        redis.exceptions.RedisError: a node does not answer.
    """
    if len(members(joining)) > 1 or joining.dbsize():
        raise ClusterError(f"{address(joining)} is not empty: FLUSHALL and CLUSTER RESET make it so")
    host, _, port = address(joining).rpartition(":")
    for node in nodes:
        node.execute_command("CLUSTER MEET", host, int(port), bus_port(joining))
    everyone = {*by_identity([joining, *nodes])}
    for node in (joining, *nodes):
        _await(lambda node=node: _met(node, everyone), f"{address(joining)} and {address(node)} do not meet")  # type: ignore[misc]
    copy_users(nodes[0], joining)
    if replica_of:
        joining.execute_command("CLUSTER REPLICATE", known_to(joining, replica_of).identity)
        unlinked = f"{address(joining)} is not linked to its primary"
        _await(lambda: joining.info("replication").get("master_link_status") == "up", unlinked)
    else:
        copy_functions(nodes[0], joining)
    _await(
        lambda: joining.execute_command("CLUSTER INFO")["cluster_state"] == "ok",
        f"{address(joining)} does not report cluster_state:ok",
    )


def _met(node: Redis, identities: set[str]) -> bool:
    """Tell whether a node knows all of these nodes, handshake completed."""
    known = members(node)
    return identities <= set(known) and not any("handshake" in known[identity].flags for identity in identities)


def drain_node(leaver: Redis, nodes: Sequence[Redis], *, timeout: float = 60.0) -> None:
    """Move all slots of a node to the other primaries, its replicas too, and make all nodes forget it.

    `nodes` are those of the whole cluster, with or without the leaver. The leaver may be a replica, which has no slots
    to move. At the end it is empty and alone (``CLUSTER RESET``); the cluster refuses it for 60 s (``CLUSTER FORGET``).

    Raises:
        ClusterError: it is the last primary, or `move_slots` failed; then it has not left.
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
        # Keys of moved slots may still await their deletion, and a primary with keys refuses the reset.
        known[me].flushall()
    known[me].execute_command("CLUSTER RESET")


def forget_node(identity: str, nodes: Sequence[Redis]) -> None:
    """Make all `nodes` forget a node by its id, dead or alive, and refuse it for 60 s (``CLUSTER FORGET``).

    Raises:
        ClusterError: a node still follows it after `TIMEOUT` seconds.
        redis.exceptions.RedisError: a node does not answer or refuses.
    """
    for node in nodes:
        _await(lambda node=node: _forgets(node, identity), f"{address(node)} still follows {identity}")  # type: ignore[misc]


def _forgets(node: Redis, identity: str) -> bool:
    """Make a node forget another; it refuses while it follows that node, which changes within moments."""
    try:
        node.execute_command("CLUSTER FORGET", identity)
    except ResponseError as error:
        if "nknown node" not in str(error) and "master" not in str(error) and "primary" not in str(error):
            raise
    return identity not in members(node)


def _await(done: Callable[[], bool], problem: str) -> None:
    """Return when `done` holds; raise ClusterError with the problem after `TIMEOUT` seconds."""
    if not poll(done, TIMEOUT, every=0.005):
        raise ClusterError(f"{problem}, after {TIMEOUT:g} s")
