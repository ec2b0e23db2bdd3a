"""Change a cluster while it serves: move a slot, promote a replica, take in an empty node."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from redis import Redis
from redis.exceptions import ResponseError

from cluster_admin import ClusterError
from key_slots import SLOTS, slot_ranges

BATCH = 100
"""Keys that move at once; the source answers nobody meanwhile."""

GIVES_UP = 5.5
"""Seconds until a planned failover that has not come to an end is over for the server (``CLUSTER_MF_TIMEOUT``, 5 s)."""


def node_id(node: Redis) -> str:
    """Return the id by which other nodes know `node` (``CLUSTER MYID``)."""
    return str(node.execute_command("CLUSTER MYID"))


def address(node: Redis) -> tuple[str, int]:
    """Return host and port that the client `node` was made for."""
    options = node.connection_pool.connection_kwargs
    return options["host"], options["port"]


def name(node: Redis) -> str:
    """Return host and port as errors show them."""
    return "{}:{}".format(*address(node))


def _until(check: Callable[[], bool], deadline: float, complaint: str) -> None:
    """Return when `check` holds; raise ClusterError with `complaint` after `deadline`, a time of `time.monotonic`."""
    while not check():
        if time.monotonic() > deadline:
            raise ClusterError(f"{complaint}, and the time for that is over")
        time.sleep(0.005)


def move_slot(slot: int, source: Redis, target: Redis, primaries: Sequence[Redis], timeout: float = 10.0) -> None:
    """Move a slot with its keys, ttls included, from one primary to another, then tell all `primaries`.

    Clients are served all the time: whatever has moved already they are sent for to the target (``ASK``). Commands:
    ``CLUSTER SETSLOT`` IMPORTING and MIGRATING, ``CLUSTER GETKEYSINSLOT`` and ``MIGRATE`` until the slot is empty,
    ``CLUSTER SETSLOT`` NODE, at the target first: if this ends in between, no slot is without an owner. `timeout` in
    seconds is that of each batch.

    Raises:
        redis.exceptions.RedisError: a node does not answer or refuses, as a target without memory does; the slot is
            then left open (``redis-cli --cluster fix`` closes it), and every key is at one of the two.
    """
    new_owner = node_id(target)
    target.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", node_id(source))
    source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", new_owner)
    while keys := source.execute_command("CLUSTER", "GETKEYSINSLOT", slot, BATCH):
        source.execute_command("MIGRATE", *address(target), "", 0, round(timeout * 1000), "KEYS", *keys)
    told = {address(node): node for node in (target, source, *primaries)}
    for node in told.values():
        try:
            node.execute_command("CLUSTER SETSLOT", slot, "NODE", new_owner)
        except ResponseError:
            # A source that hears of the loss of its last slot follows the target at once, and has nothing to be told.
            if node is target or node.info("replication")["role"] == "master":
                raise


def promote(replica: Redis, primary: Redis, timeout: float = 15.0) -> None:
    """Make a replica the primary of its slots, with the consent of the `primary` it follows (``CLUSTER FAILOVER``).

    The primary stops writes until the replica has all of them, so that none is lost. Returns when the former primary
    follows the new one.

    "OK" is no success: other primaries may refuse their votes, as they do when the same primary was replaced less than
    two node timeouts ago, and the server gives up after 5 s without a word. So it is asked again, until `timeout`
    seconds have passed.

    Raises:
        ClusterError: it is not done in time.
        redis.exceptions.RedisError: a node does not answer, or the server refuses, as it does at a primary.
    """
    deadline = time.monotonic() + timeout
    # A primary that has not heard yet who follows it drops the request, also without a word.
    _until(lambda: _follows(replica, primary), deadline, f"{name(primary)} does not know its replica {name(replica)}")
    while True:
        replica.execute_command("CLUSTER FAILOVER")
        attempt = min(deadline, time.monotonic() + GIVES_UP)
        try:
            _until(lambda: _leads(replica), attempt, f"{name(replica)} is no primary with replicas")
        except ClusterError:
            if attempt == deadline:
                raise
        else:
            return


def _follows(replica: Redis, primary: Redis) -> bool:
    """Return whether `primary` knows that `replica` follows it."""
    known = str(primary.execute_command("CLUSTER", "NODES")).splitlines()
    return any(line.split()[0] == node_id(replica) and line.split()[3] == node_id(primary) for line in known)


def _leads(node: Redis) -> bool:
    """Return whether a node is a primary with a replica that is connected."""
    seen = node.info("replication")
    return bool(seen["role"] == "master" and seen["connected_slaves"])


def take_in(newcomer: Redis, nodes: Sequence[Redis], timeout: float = 10.0) -> None:
    """Let an empty node join the cluster of `nodes` as a primary without slots (``CLUSTER MEET``).

    Returns when every node knows it and it knows the owner of each slot.

    Raises:
        ClusterError: that takes longer than `timeout` seconds.
        redis.exceptions.RedisError: a node does not answer.
    """
    host, port = address(newcomer)
    # Servers before 7.0 do not have the setting, and always use port + 10000.
    bus_port = int(newcomer.config_get("cluster-port").get("cluster-port") or 0) or port + 10000
    for node in nodes:
        node.execute_command("CLUSTER MEET", host, port, bus_port)
    deadline = time.monotonic() + timeout
    _until(
        lambda: all(_known(newcomer, node) for node in (*nodes, newcomer)), deadline, f"{name(newcomer)} has not joined"
    )


def _known(newcomer: Redis, node: Redis) -> bool:
    """Return whether `node` knows the newcomer's id, for good, and an owner of every slot."""
    lines = str(node.execute_command("CLUSTER", "NODES")).splitlines()
    known = any(line.startswith(node_id(newcomer)) and "handshake" not in line for line in lines)
    return known and sum(held.last - held.first + 1 for held in slot_ranges(node)) == SLOTS
