"""Make a replica the primary of its slots on purpose, without losing a write."""

from __future__ import annotations

import time

from redis import Redis
from redis.exceptions import ResponseError

from redis_practices.redis_cluster.formation import ClusterError, address

LINK_TIMEOUT = 2.0
"""Seconds in which a node that has just learned of another has a link to it: one is made each 0.1 s."""


def fail_over(replica: Redis, timeout: float = 10.0) -> None:
    """Make `replica` the primary of its slots, with the consent of the primary it follows (``CLUSTER FAILOVER``).

    The primary stops writes until the replica has them all, and clients that wait go on at the new primary. Returns
    when the former primary follows. `timeout` is in seconds; the server itself gives up after 5.

    Raises:
        ClusterError: the node is a primary, its own primary does not answer, or the other primaries do not agree in
            time, as they do not while most of them are gone.
        redis.exceptions.RedisError: the node does not answer.
    """
    deadline = time.monotonic() + timeout
    _ask(replica, time.monotonic() + LINK_TIMEOUT)
    while True:
        seen = replica.info("replication")
        if seen["role"] == "master" and seen["connected_slaves"]:
            return
        if time.monotonic() > deadline:
            why = "its primary, or most primaries, do not answer"
            raise ClusterError(f"{address(replica)} has not taken over after {timeout:g} s: {why}")
        time.sleep(0.005)


def _ask(replica: Redis, deadline: float) -> None:
    """Ask for the failover, again while the replica has merely no link to its primary, until `deadline`."""
    while True:
        try:
            replica.execute_command("CLUSTER FAILOVER")
        except ResponseError as error:
            gone = "down or failed" in str(error)
            if gone and not _has_failed_primary(replica) and time.monotonic() < deadline:
                time.sleep(0.02)
                continue
            why = ": its primary does not answer, and the cluster replaces it by itself" if gone else ""
            raise ClusterError(f"{address(replica)} cannot take over as planned{why}: {error}") from error
        return


def _has_failed_primary(replica: Redis) -> bool:
    """Tell whether the primary of a replica is marked as failed (``CLUSTER NODES``)."""
    nodes = replica.execute_command("CLUSTER NODES").values()
    mine = next(node["master_id"] for node in nodes if "myself" in node["flags"])
    return any("fail" in node["flags"] for node in nodes if node["node_id"] == mine)
