"""Make a replica the primary of its slots on purpose, without losing a write."""

from __future__ import annotations

import time

from redis import Redis
from redis.exceptions import ResponseError

from cluster_admin import ClusterError, address


def fail_over(replica: Redis, timeout: float = 10.0) -> None:
    """Make `replica` the primary of its slots, with the consent of the primary it follows (``CLUSTER FAILOVER``).

    The primary stops writes until the replica has them all, and clients that wait go on at the new primary. Returns
    when the former primary follows. `timeout` is in seconds; the server itself gives up after 5.

    Raises:
        ClusterError: the node is a primary, its own primary does not answer, or the other primaries do not agree in
            time, as they do not while most of them are gone.
        redis.exceptions.RedisError: the node does not answer.
    """
    try:
        replica.execute_command("CLUSTER FAILOVER")
    except ResponseError as error:
        gone = (
            ": its primary does not answer, and the cluster replaces it by itself"
            if "down or failed" in str(error)
            else ""
        )
        raise ClusterError(f"{address(replica)} cannot take over as planned{gone}: {error}") from error
    deadline = time.monotonic() + timeout
    while True:
        seen = replica.info("replication")
        if seen["role"] == "master" and seen["connected_slaves"]:
            return
        if time.monotonic() > deadline:
            why = "its primary, or most primaries, do not answer"
            raise ClusterError(f"{address(replica)} has not taken over after {timeout:g} s: {why}")
        time.sleep(0.005)
