"""Set a server's persistence, threads and replication.

None of it is a recommendation without your own measurement. An append-only file costs what its disk costs. I/O threads
pay on machines with idle processors, for many clients with large values. On two processors four such threads slowed
Redis 7.0 down to a fiftieth of its speed, since they spin while they wait.

If a replica misses more writes than the backlog holds, it copies everything again. A short ``cluster-node-timeout``
replaces a dead primary sooner. It also replaces one that was only paused for a moment: by a slow disk, a long command
or the migration of its virtual machine. Below some 500 ms a busy machine gives false alarms. The default of 15 s is
safe from nearly all of them, and costs 20 seconds of errors when a primary dies.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from redis import Redis

from redis_practices.polling import poll
from redis_practices.redis_cluster.topology import slot_ranges
from redis_practices.servers.server import Config, Server
from redis_practices.tuning.load import RawReads
from redis_practices.tuning.measuring import PLAIN, Servers

Work = Callable[[], object]

NOT_WRITTEN: Config = PLAIN
"""Naive or not: no persistence, so all data ends with the process."""

LEFT_TO_SYSTEM: Config = {**PLAIN, "appendonly": "yes", "appendfsync": "no"}
"""The system decides when to write: up to half a minute is lost with the machine, nothing with the process."""

EACH_SECOND: Config = {**PLAIN, "appendonly": "yes", "appendfsync": "everysec"}
"""The usual choice: a second is lost with the machine."""

EACH_WRITE: Config = {**PLAIN, "appendonly": "yes", "appendfsync": "always"}
"""No acknowledged write is lost; every client waits for the disk."""

ONE_THREAD: Config = PLAIN
THREADS: Config = {**PLAIN, "io-threads": 2}


def writing_with(settings: Config, servers: Servers) -> Work:
    """Start a server with these settings, and return 100 single writes to it."""
    return partial(write_each, servers.server(settings).client())


def write_each(client: Redis, number: int = 100) -> None:
    """Write values of 100 bytes one after the other."""
    for index in range(number):
        client.set(f"persisted:{index % 10}", "x" * 100)


def reading_with(settings: Config, servers: Servers) -> Work:
    """Start a server with these settings, and return 4000 reads of it that cost the client nearly nothing."""
    client = servers.server(settings).client()
    keys = [f"read:{index}" for index in range(200)]
    client.mset(dict.fromkeys(keys, "x" * 1000))
    reads = RawReads([(client, keys)], size=1000)
    return lambda: [reads() for _ in range(10)]


def over_tcp(servers: Servers) -> Work:
    """Naive or not: 200 single reads over the loopback."""
    client = servers.server(PLAIN).client()
    return lambda: [client.get("key") for _ in range(200)]


def over_unix_socket(servers: Servers) -> Work:
    """Tuned, by common advice: the same over a unix socket."""
    path = "server.sock"
    server = servers.server({**PLAIN, "unixsocket": path})
    client = Redis(unix_socket_path=str(server.folder / path), decode_responses=True)
    return lambda: [client.get("key") for _ in range(200)]


QUICK_COPY: Config = {**PLAIN, "repl-diskless-sync": "no", "repl-diskless-sync-delay": "0"}

SHORT_BACKLOG: Config = {**QUICK_COPY, "repl-backlog-size": "16kb"}
"""Naive: the last 16 KB of writes (1 MB by default)."""

LONG_BACKLOG: Config = {**QUICK_COPY, "repl-backlog-size": "20mb"}
"""Tuned: more than the writes during the longest disconnection that you expect."""


def full_copies(servers: Servers, settings: Config, size: int = 5_000_000) -> int:
    """Disconnect a replica, write `size` bytes, let it return, and return the number of full copies."""
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
    """Pause a replica until it has lost its connection."""
    replica.pause()
    cut()


def copies(servers: Servers) -> tuple[float, float]:
    """Return the full copies after a short disconnection, with a short and with a long backlog."""
    return full_copies(servers, SHORT_BACKLOG), full_copies(servers, LONG_BACKLOG)


def seconds_replaced(cluster: Any, hang: float) -> float | None:
    """Pause the owner of slot 0 for at most `hang` seconds. Return the seconds until it was replaced, or None."""
    with cluster.nodes[0].client() as first:
        owner = slot_ranges(first)[0].primary
    hung = next(node for node in cluster.nodes if node.address == owner)
    asked = next(node for node in cluster.nodes if node is not hung).client()
    begun = time.monotonic()
    hung.pause()
    try:
        replaced = poll(lambda: slot_ranges(asked)[0].primary != hung.address, hang)
        took = time.monotonic() - begun
        return took if replaced and took < hang else None
    finally:
        hung.resume()


def replacing(servers: Servers) -> tuple[float, float]:
    """Return the seconds until a paused primary is replaced, with node timeouts of 2 and of 0.5 seconds."""
    seen = [seconds_replaced(servers.cluster(3, 1, node_timeout_ms=timeout), 20.0) for timeout in (2000, 500)]
    return seen[0] or 20.0, seen[1] or 20.0


def _await(done: Callable[[], bool], timeout: float = 20.0) -> None:
    """Return when `done` holds.

    Raises:
        TimeoutError: it does not hold within `timeout` seconds.
    """
    if not poll(done, timeout, every=0.01):
        raise TimeoutError(f"the replica is not there after {timeout:g} s")
