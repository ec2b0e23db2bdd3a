"""Divide work between shards, and set a server's persistence, threads and replication.

The time of a request is simulated: ``DEBUG SLEEP`` keeps a server busy and costs no processor time. So three servers
beat one even on a machine with fewer processors than servers. Sharding pays when one server's processor is fully used.
Before that it only costs: each further node can fail, and commands with several keys need a common slot.

On few processors more primaries do not serve more: they share the processors. The processor time of an operation,
nearly the same for any number of primaries, predicts a cluster on separate machines.

No setting is a recommendation without your own measurement. An append-only file costs what its disk costs. I/O threads
pay on machines with idle processors, for many clients with large values. On two processors four such threads slowed
Redis 7.0 down to a fiftieth of its speed, since they spin while they wait.

If a replica misses more writes than the backlog holds, it copies everything again. A short ``cluster-node-timeout``
replaces a dead primary sooner. It also replaces one that was only paused for a moment: by a slow disk, a long command
or the migration of its virtual machine. Below some 500 ms a busy machine gives false alarms. The default of 15 s is
safe from nearly all of them, and costs 20 seconds of errors when a primary dies.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from redis import Redis

from redis_practices.polling import poll
from redis_practices.redis_cluster.topology import owner, slot_of, slot_ranges
from redis_practices.servers.server import Config, Server
from redis_practices.tuning.bulk import read_by_pipeline, write_bulk
from redis_practices.tuning.load import Load, RawReads, loaded, owned
from redis_practices.tuning.measuring import PLAIN, Servers

SLOW: Config = {"enable-debug-command": "yes"}
"""Servers with ``DEBUG SLEEP``, whose requests can be made slow."""

REQUESTS = [f"request:{number}" for number in range(20)]

MOVED = (range(5461, 9284), range(10923, 14746))
"""Slots of the second and third primary that leave each of the two a tenth of all slots."""


def slow_cluster(servers: Servers) -> Sequence[Any]:
    """Return three primaries with a third of the slots each."""
    return list(servers.cluster(3, 0, config=SLOW).nodes)


def on_one(_: Sequence[Any]) -> list[int]:
    """Naive: one server for all requests."""
    return [len(REQUESTS)]


def on_owners(nodes: Sequence[Any]) -> list[int]:
    """Tuned: each request goes to the owner of its key's slot, so the owners share the work."""
    with nodes[0].client() as client:
        ranges = slot_ranges(client)
    owners = Counter(found.primary for key in REQUESTS if (found := owner(slot_of(key), ranges)))
    return [owners[node.address] for node in nodes]


def give_most_to_first(nodes: Sequence[Any]) -> None:
    """Leave 80 % of the slots with the first primary, as after a reshard that was forgotten halfway.

    The slots hold no keys, so setting their owner is enough (``CLUSTER DELSLOTS``, the old owner first).
    """
    clients = [node.client() for node in nodes]
    for old, moved in zip(clients[1:], MOVED, strict=True):
        for client in (old, *(other for other in clients if other is not old)):
            client.execute_command("CLUSTER DELSLOTS", *moved)
        clients[0].execute_command("CLUSTER ADDSLOTS", *moved)


def seconds_of(nodes: Sequence[Any], requests: Sequence[int], each: float) -> float:
    """Return the seconds that the nodes need for the requests, `each` seconds long, in parallel."""
    shared = [(node, count) for node, count in zip(nodes, requests, strict=False) if count]
    with ThreadPoolExecutor(len(shared)) as threads:
        begun = time.monotonic()
        for done in [threads.submit(serve, node, count, each) for node, count in shared]:
            done.result()
        return time.monotonic() - begun


def serve(node: Any, requests: int, each: float) -> None:
    """Let a node serve requests of `each` seconds, one after the other without a pause."""
    with node.client() as client, client.pipeline(transaction=False) as pipe:
        for _ in range(requests):
            pipe.execute_command("DEBUG SLEEP", each)
        pipe.execute()


def busy_and_bystanders(nodes: Sequence[Any], busy: float) -> tuple[float, list[list[float]]]:
    """Keep the first node busy for `busy` seconds, and ask the other nodes some hundred times a second.

    Returns the wait of the busy node's client, and the waits of each other node's client, in seconds.
    """
    clients = [node.client() for node in nodes]
    for client in clients:
        client.ping()
    waits: list[list[float]] = [[] for _ in clients[1:]]
    with ThreadPoolExecutor(1) as thread:
        begun = time.monotonic()
        working = thread.submit(serve, nodes[0], 1, busy)
        while not working.done():
            for client, seen in zip(clients[1:], waits, strict=True):
                asked = time.monotonic()
                client.ping()
                if not working.done():
                    seen.append(time.monotonic() - asked)
            time.sleep(0.01)
        working.result()
    return time.monotonic() - begun, waits


SIZE = 100
"""Bytes of a value."""


def by_raw_bytes(cluster: Any, keys: list[str]) -> tuple[Callable[[], int], Callable[[], None]]:
    """Return reads that cost the client nearly nothing, and a function that ends them: the servers are the limit."""
    reads = RawReads(owned(cluster, keys), size=SIZE)
    return reads, reads.close


def by_redis_py(cluster: Any, keys: list[str]) -> tuple[Callable[[], int], Callable[[], None]]:
    """Return reads by redis-py's cluster pipeline, and a function that ends them: the client is the limit."""
    return lambda: len(read_by_pipeline(cluster, keys)), lambda: None


CLIENTS: dict[str, Callable[[Any, list[str]], tuple[Callable[[], int], Callable[[], None]]]] = {
    "raw bytes": by_raw_bytes,
    "redis-py's pipeline": by_redis_py,
}


def reads_of(servers: Servers, primaries: int, seconds: float = 0.15) -> dict[str, Load]:
    """Start `primaries`, read 600 keys of them for `seconds` by each client, and return both loads."""
    cluster = servers.cluster(primaries, 0)
    client: Any = cluster.client()
    keys = [f"key:{number}" for number in range(600)]
    write_bulk(client, [(key, "x" * SIZE) for key in keys], ttl=600)
    nodes = [node for node, _ in owned(client, keys)]
    seen = {}
    for kind, make in CLIENTS.items():
        work, end = make(client, keys)
        seen[kind] = loaded(nodes, work, seconds)
        end()
    return seen


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
        primary = slot_ranges(first)[0].primary
    hung = next(node for node in cluster.nodes if node.address == primary)
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
