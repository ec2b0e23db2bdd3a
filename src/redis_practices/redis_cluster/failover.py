"""Fail over to a replica without a lost write; check readiness for a primary's death.

``cluster_state:ok`` does not tell: a cluster whose replicas are dead or empty reports it too.
`why_not_failover_ready` returns every reason why a dead primary would not be replaced. `stuck_replicas` finds replicas
that follow a node which is no primary any more, and `is_copying` tells a slow first copy from one that never ends.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from redis import Redis
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from redis_practices.polling import poll
from redis_practices.redis_cluster.topology import (
    ABSENT,
    ClusterError,
    Member,
    address,
    members,
    same_host_as_primary,
)
from redis_practices.server_info import settings

LINK_TIMEOUT = 2.0
"""Seconds in which a node links to a node that it has just met: it tries every 0.1 s."""


def fail_over(replica: Redis, timeout: float = 10.0) -> None:
    """Make `replica` the primary of its slots, with its primary's consent (``CLUSTER FAILOVER``).

    The primary stops writes until the replica has all of them; waiting clients continue at the new primary. Returns
    when the former primary follows. `timeout` is in seconds; the server itself gives up after 5.

    Raises:
        ClusterError: the node is a primary, its primary does not answer, or a majority of primaries does not agree in
            time.
        redis.exceptions.RedisError: the node does not answer.
    """
    deadline = time.monotonic() + timeout
    _ask(replica, time.monotonic() + LINK_TIMEOUT)
    if not poll(lambda: _is_followed(replica.info("replication")), deadline - time.monotonic(), every=0.005):
        why = "its primary, or most primaries, do not answer"
        raise ClusterError(f"{address(replica)} has not taken over after {timeout:g} s: {why}")


def _is_followed(said: Mapping[str, Any]) -> bool:
    """Tell from ``INFO replication`` whether a node is a primary with a replica."""
    return bool(said["role"] == "master" and said["connected_slaves"])


def _ask(replica: Redis, deadline: float) -> None:
    """Ask for the failover; ask again while the replica is not linked yet, until `deadline`."""
    while True:
        try:
            replica.execute_command("CLUSTER FAILOVER")
        except ResponseError as error:
            gone = "down or failed" in str(error)
            if gone and not _has_failed_primary(replica) and time.monotonic() < deadline:
                time.sleep(0.02)
                continue
            why = ": its primary does not answer, and the cluster elects a replica without this command" if gone else ""
            raise ClusterError(f"{address(replica)} cannot take over as planned{why}: {error}") from error
        return


def _has_failed_primary(replica: Redis) -> bool:
    """Tell whether the replica's primary is marked as failed (``CLUSTER NODES``)."""
    known = members(replica)
    mine = next(member.primary for member in known.values() if "myself" in member.flags)
    return mine in known and known[mine].failed


NODE_TIMEOUT = 15.0
"""Seconds. Writes to a dead primary's slots fail for up to twice that and 2 seconds."""

LAG = 1_000_000
"""Bytes of writes that a replica may lack; they are lost with the primary."""

MAJORITY_OF = 3
"""The fewest primaries that leave a majority when one dies."""


def why_not_failover_ready(
    nodes: Sequence[Redis], *, node_timeout: float = NODE_TIMEOUT, lag: int = LAG, hosts: bool = True
) -> list[str]:
    """Return why writes would not resume in time after a primary's death; [] if the cluster is ready.

    `nodes` are all nodes of the cluster; a dead node is a reason, not an error. `node_timeout` is the longest allowed
    ``cluster-node-timeout`` in seconds, `lag` the most bytes that a replica may be behind. Without `hosts`, a primary
    and its replica may share a host. Commands: ``CLUSTER NODES``, ``CLUSTER INFO``, ``INFO``, ``CONFIG GET``.
    """
    reasons: list[str] = []
    answering = []
    for node in nodes:
        try:
            reasons += _of_node(node, node_timeout, lag)
            answering.append(node)
        except NoPermissionError as error:
            reasons.append(f"{address(node)} refuses the command to this user: {error}")
        except RedisError as error:
            reasons.append(f"{address(node)} does not answer: {error}")
    for node in answering:
        known = members(node)
        reasons += _of_map(known)
        reasons += [
            f"{primary} and its replica {replica} are on one host, {host}"
            for primary, replica, host in (same_host_as_primary(known) if hosts else [])
        ]
    return list(dict.fromkeys(reasons))


def _of_node(node: Redis, node_timeout: float, lag: int) -> list[str]:
    """Return the problems that a node reports about itself and its links."""
    where, reasons = address(node), []
    if (state := node.execute_command("CLUSTER INFO")["cluster_state"]) != "ok":
        reasons.append(f"{where} reports cluster_state:{state}")
    seconds = int(node.config_get("cluster-node-timeout")["cluster-node-timeout"] or 0) / 1000
    if seconds > node_timeout:
        reasons.append(
            f"{where} notices a failure only after {seconds:g} s (cluster-node-timeout), not {node_timeout:g} s"
        )
    said = node.info("replication")
    if said["role"] == "slave":
        upstream = f"{said['master_host']}:{said['master_port']}"
        if said["master_link_status"] != "up":
            reasons.append(f"the replica {where} is not linked to its primary {upstream}: its data is old, or none")
    else:
        reasons += _behind(where, said, lag)
    return reasons


def _behind(primary: str, said: Mapping[str, Any], lag: int) -> list[str]:
    """Return a line for each replica that lacks more than `lag` bytes of its primary's writes."""
    replicas = [said[f"slave{number}"] for number in range(said["connected_slaves"])]
    missing = {f"{one['ip']}:{one['port']}": said["master_repl_offset"] - one["offset"] for one in replicas}
    return [
        f"the replica {name} is {count} bytes behind its primary {primary}, more than {lag}"
        for name, count in missing.items()
        if count > lag
    ]


def _of_map(known: Mapping[str, Member]) -> list[str]:
    """Return the problems of the nodes that one node knows."""
    primaries = [member for member in known.values() if member.slots]
    reasons = []
    if len(primaries) < MAJORITY_OF:
        reasons.append(f"there are {len(primaries)} primaries: when one dies, no majority is left to vote")
    for primary in primaries:
        replicas = [member for member in known.values() if member.primary == primary.identity]
        able = []
        for replica in replicas:
            if "fail" in replica.flags:
                reasons.append(f"the replica {replica.address} of {primary.address} is dead")
            elif "nofailover" in replica.flags:
                reasons.append(f"the replica {replica.address} must not take over (cluster-replica-no-failover)")
            else:
                able.append(replica)
        if not able:
            reasons.append(f"{primary.address} has no replica that could take over")
    return reasons


def lagging(before: Mapping[str, Any], now: Mapping[str, Any], lag: int = LAG) -> dict[str, int]:
    """Return the bytes of old writes that replicas lack, by address; {} if no replica lacks more than `lag`.

    Both are the primary's ``INFO replication``, some seconds apart: a burst of writes has reached a replica by then. A
    replica that lags loses these writes where it is promoted without its primary: ``CLUSTER FAILOVER TAKEOVER`` or
    ``FORCE``, ``REPLICAOF NO ONE`` (valkey#2587). Left out are a replica that still copies everything, and a primary
    with another history than before.
    """
    if before.get("master_replid") != now.get("master_replid"):
        return {}
    replicas = [now[f"slave{number}"] for number in range(int(now.get("connected_slaves", 0)))]
    missing = {
        f"{one['ip']}:{one['port']}": before.get("master_repl_offset", 0) - one["offset"]
        for one in replicas
        if one["state"] == "online"
    }
    return {name: count for name, count in missing.items() if count > lag}


FULL = 0.6
"""The share of an output buffer's limit from which on a burst of writes may end the link of the replica."""


def pressed(buffers: Iterable[int], limit: str, backlog: int) -> float:
    """Return the share of its limit that the fullest output buffer for a replica has; 0.0 without a limit.

    `buffers` are the ``omem`` of ``CLIENT LIST TYPE replica``, `limit` is ``client-output-buffer-limit``. Since 7.0 a
    limit below the replication backlog counts as the backlog. At the limit the primary ends the link, and the replica
    copies everything again (valkey#3963).
    """
    words = limit.replace("slave", "replica").split()
    place = words.index("replica")
    limits = [max(int(number), backlog) for number in words[place + 1 : place + 3] if int(number)]
    return max(buffers, default=0) / min(limits) if limits else 0.0


COPIED = 64 * 2**20
"""Bytes that a fork must have copied to tell of the keys rather than of the process."""


def fork_needs(told: Mapping[str, Any]) -> float:
    """Return the memory that a node with as many keys as it may hold needs during a fork, as a share of its machine's.

    It reads the fields of ``INFO``. A snapshot, a rewrite of the log and a replica's copy need a fork (valkey#3609).
    The next one is assumed to copy the share of the memory that the last one copied. Without a limit, or if the last
    fork copied less than `COPIED`, nothing is known: 0.0.
    """
    copied = max(int(told.get(f"{kind}_last_cow_size", 0)) for kind in ("rdb", "aof"))
    machine, limit = int(told.get("total_system_memory", 0)), int(told.get("maxmemory", 0))
    if copied < COPIED or not machine:
        return 0.0
    # The peak is at least what the node held then: the share is never made too large.
    share = min(1.0, copied / int(told["used_memory_peak"]))
    return limit * (1 + share) / machine


def elections(told: Mapping[str, Any], seconds: float) -> float:
    """Return how often an hour a node has asked its peers for votes since its start, `seconds` ago.

    It reads the fields of ``CLUSTER INFO``. A younger process counts as an hour old. A planned failover is one
    election, and a lost election is repeated (valkey#3996, valkey#2169).
    """
    # The request goes to each peer, and each counts.
    asked = int(told.get("cluster_stats_messages_auth-req_sent", 0)) / max(1, int(told["cluster_known_nodes"]) - 1)
    return asked / max(1.0, seconds / 3600)


def restarts_empty(nodes: Iterable[Redis]) -> list[str]:
    """Return a line for each primary that would come back empty from a restart; [] if there is none.

    A known limit: a primary without files that restarts before it is replaced is still the primary. Its replica follows
    it, and all its keys are lost. Set ``appendonly yes``. Or let the service manager wait before it starts a node
    again, for more than twice the node timeout and 2 seconds (systemd's ``RestartSec``). A planned restart begins with
    `fail_over`. A primary that evicts any key is a cache, and left out. Commands: ``INFO replication``, ``CONFIG GET``.

    Raises:
        redis.exceptions.RedisError: a node does not answer, or refuses a command to this user.
    """
    return [
        f"{address(node)} {NO_FILES}"
        for node in nodes
        if keeps_nothing(node.info("replication")["role"], settings(node))
    ]


NO_FILES = "keeps no files: restarted before a replica takes over, it loses all its keys"


def keeps_nothing(role: str, settings: Mapping[str, str]) -> bool:
    """Tell whether a node is a primary without files that evicts no key; see `restarts_empty`."""
    return (
        role == "master"
        and settings.get("appendonly") == "no"
        and not settings.get("save")
        and not str(settings.get("maxmemory-policy")).startswith("allkeys")
    )


def stuck_replicas(known: Mapping[str, Member]) -> list[tuple[Member, str]]:
    """Return each replica that follows no live primary, with the reason, from the nodes by id (``CLUSTER NODES``).

    A failover gives a replica a new primary within moments. A replica that still follows a dead node was not elected,
    and no other replica was: an empty node has taken the slots (valkey-io/valkey#2090). Its data may be the only copy.
    The reason names a primary without a replica, if there is one. Look twice, some seconds apart.
    """
    followed = {member.primary for member in known.values()}
    alone = [member for member in known.values() if member.slots and member.identity not in followed]
    rest = f"; {alone[0].address}, {alone[0].identity}, has no replica" if alone else ""
    found = []
    for replica in known.values():
        if replica.primary is None or not ABSENT.isdisjoint(replica.flags):
            continue
        primary = known.get(replica.primary)
        if primary is None:
            found.append((replica, f"follows {replica.primary}, a node that is not known{rest}"))
        elif not ABSENT.isdisjoint(primary.flags):
            found.append((replica, f"follows {primary.identity}, which is dead{rest}"))
        elif primary.primary:
            found.append((replica, f"follows {primary.identity}, which is a replica, too{rest}"))
    return found


PROGRESS = ("master_sync_read_bytes", "loading_loaded_bytes", "current_save_keys_processed")
"""Fields of INFO that grow while a replica receives and loads a copy, and while its primary saves it."""


def is_copying(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Tell whether a replica received more of its copy, or its primary saved more of it, between two looks (``INFO``).

    A replica that begins its copy again and again has received less the second time, or nothing.
    """
    return any(float(before.get(field) or 0) < float(after.get(field) or 0) for field in PROGRESS)
