"""Reads of a cluster of 1, 3 and 6 primaries by two clients, with who was the limit: a number for a reader, no claim.

On few processors more primaries serve no more: they share what there is. What tells how a cluster would do on machines
of its own is the processor time of an operation, which is nearly the same for any number of primaries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis_practices.tuning.bulk import write_bulk
from redis_practices.tuning.lab import Servers
from redis_practices.tuning.load import Load, RawReads, loaded, owned
from redis_practices.tuning.sharing import read_by_pipeline

SIZE = 100
"""Bytes of a value."""


def by_raw_bytes(cluster: Any, keys: list[str]) -> tuple[Callable[[], int], Callable[[], None]]:
    """Return reads that cost the client nearly nothing, and what ends them: the servers are to be the limit."""
    reads = RawReads(owned(cluster, keys), size=SIZE)
    return reads, reads.close


def by_redis_py(cluster: Any, keys: list[str]) -> tuple[Callable[[], int], Callable[[], None]]:
    """Return reads by redis-py's pipeline of a cluster, and what ends them: the client is to be the limit."""
    return lambda: len(read_by_pipeline(cluster, keys)), lambda: None


CLIENTS: dict[str, Callable[[Any, list[str]], tuple[Callable[[], int], Callable[[], None]]]] = {
    "raw bytes": by_raw_bytes,
    "redis-py's pipeline": by_redis_py,
}


def reads_of(servers: Servers, primaries: int, seconds: float = 0.15) -> dict[str, Load]:
    """Start so many primaries, read 600 keys of them again and again for `seconds` by each client, and return both."""
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
