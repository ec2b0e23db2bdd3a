"""Settings of replication and of failure detection: how much a short trouble costs.

A backlog shorter than what is written while a replica is away makes it copy everything again. A short
``cluster-node-timeout`` replaces a dead primary sooner, and also one that only hung for a moment: a slow disk, a long
command, a machine that was moved. Below some 500 ms a busy machine gives false alarms; 15 s, the default, is safe from
nearly all of them and costs 20 seconds of errors on the day a primary dies.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from redis_practices.servers.embedded import Config, Server
from redis_practices.tuning.lab import PLAIN, Servers

QUICK_COPY: Config = {**PLAIN, "repl-diskless-sync": "no", "repl-diskless-sync-delay": "0"}

SHORT_BACKLOG: Config = {**QUICK_COPY, "repl-backlog-size": "16kb"}
"""Naive: the last 16 KB of writes (1 MB by default)."""

LONG_BACKLOG: Config = {**QUICK_COPY, "repl-backlog-size": "20mb"}
"""Tuned: more than what is written in the longest cut that you expect."""


def full_copies(servers: Servers, settings: Config, size: int = 5_000_000) -> int:
    """Cut a replica off, write `size` bytes, let it come back, and return how many full copies that took."""
    primary = servers.server(settings)
    replica = servers.server({**QUICK_COPY, "replicaof": ["127.0.0.1", str(primary.port)]})
    with primary.client() as client:
        _await(lambda: client.info("replication").get("slave0", {}).get("state") == "online")
        before: Any = client.info("stats")
        cut_off(replica, lambda: client.execute_command("CLIENT", "KILL", "TYPE", "REPLICA"))
        with client.pipeline(transaction=False) as pipe:
            for number in range(50):
                pipe.set(f"missed:{number}", "x" * (size // 50))
            pipe.execute()
        replica.resume()
        counters = ("sync_full", "sync_partial_ok")
        _await(lambda: any(client.info("stats")[name] > before[name] for name in counters))
        after: Any = client.info("stats")
        return int(after["sync_full"]) - int(before["sync_full"])


def cut_off(replica: Server, cut: Callable[[], object]) -> None:
    """Have a replica hang and lose its connection."""
    replica.pause()
    cut()


def copies(servers: Servers) -> tuple[float, float]:
    """Return the full copies that a short cut costs with a short and with a long backlog."""
    return full_copies(servers, SHORT_BACKLOG), full_copies(servers, LONG_BACKLOG)


def seconds_replaced(cluster: Any, hang: float) -> float | None:
    """Let the first primary hang for at most `hang` seconds; return after how many it was replaced, or None."""
    hung, *others = cluster.nodes
    asked = others[0].client()
    begun = time.monotonic()
    hung.pause()
    try:
        while (waited := time.monotonic() - begun) < hang:
            if owner_of_first_slot(asked) != hung.address:
                return waited
            time.sleep(0.05)
    finally:
        hung.resume()
    return None


def owner_of_first_slot(client: Any) -> str:
    """Return the address of the node that owns slot 0, as a node sees it (``CLUSTER SLOTS``)."""
    host, port = client.execute_command("CLUSTER", "SLOTS")[0][2][:2]
    return f"{host}:{port}"


def replacing(servers: Servers) -> tuple[float, float]:
    """Return the seconds until a hung primary is replaced with node timeouts of 2 and of 0.5 seconds."""
    seen = [seconds_replaced(servers.cluster(3, 1, node_timeout_ms=timeout), 20.0) for timeout in (2000, 500)]
    return seen[0] or 20.0, seen[1] or 20.0


def _await(done: Callable[[], bool], timeout: float = 20.0) -> None:
    """Return when `done` says so.

    Raises:
        TimeoutError: it does not within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the replica is not there after {timeout:g} s")
        time.sleep(0.01)
