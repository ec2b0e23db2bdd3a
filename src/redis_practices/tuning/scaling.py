"""Divide the work of a server between shards.

The time of a request is simulated: ``DEBUG SLEEP`` keeps a server busy and costs no processor time. So three servers
beat one even on a machine with fewer processors than servers. Sharding pays when one server's processor is fully used.
Before that it only costs: each further node can fail, and commands with several keys need a common slot.

On few processors more primaries do not serve more: they share the processors. The processor time of an operation,
nearly the same for any number of primaries, predicts a cluster on separate machines.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from redis_practices.redis_cluster.topology import owner, slot_of, slot_ranges
from redis_practices.servers.server import Config
from redis_practices.tuning.bulk import read_by_pipeline, write_bulk
from redis_practices.tuning.load import Load, RawReads, loaded, owned
from redis_practices.tuning.measuring import Servers

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
