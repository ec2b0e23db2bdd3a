"""What is counted or seen once on servers of one's own: each function returns the naive side and the tuned one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from redis_practices.tuning import connecting, eviction, memory, parsing, service
from redis_practices.tuning.bulk import pipelined
from redis_practices.tuning.counters import counted, reads_by_node
from redis_practices.tuning.lab import PLAIN, Servers


def bytes_taken(
    naive: Callable[..., None], tuned: Callable[..., None], count: int
) -> Callable[[Servers], tuple[float, float]]:
    """Return how many KB the same values take both ways."""

    def seen(servers: Servers) -> tuple[float, float]:
        """Write them to a server of its own."""
        with servers.server(PLAIN).client() as client:
            one, other = (memory.bytes_of(client, way, count) / 1024 for way in (naive, tuned))
        return one, other

    return seen


def evicting(servers: Servers) -> tuple[float, float]:
    """Return the hits in % of LRU and of LFU under scans."""
    lru, lfu = eviction.hit_ratios(servers, [eviction.LRU, eviction.LFU])
    return lru, lfu


def listing(servers: Servers) -> tuple[float, float]:
    """Return for how many ms one KEYS, and one SCAN, of 100,000 keys keeps others waiting."""
    with servers.server(PLAIN).client(socket_timeout=60) as client:
        pipelined(client, [("SET", f"key:{number}", "1") for number in range(100_000)])
        return (
            memory.busy_with(client, "KEYS", memory.list_at_once),
            memory.busy_with(client, "SCAN", memory.list_in_steps),
        )


def freeing(servers: Servers) -> tuple[float, float]:
    """Return for how many ms DEL, and UNLINK, of a hash of 100,000 fields keeps others waiting: medians of five."""
    with servers.server({**PLAIN, "lazyfree-lazy-user-del": "no"}).client(socket_timeout=60) as client:
        client.eval("for i = 1, 100000 do redis.call('HSET', KEYS[1], i, 'value ' .. i) end", 1, "big")
        seen: list[list[float]] = [[], []]
        for times, way in zip(seen * 5, (memory.delete_at_once, memory.delete_lazily) * 5, strict=True):
            client.copy("big", "copy", replace=True)
            begun = time.perf_counter()
            way(client, "copy")
            times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(seen[0]), statistics.median(seen[1])


def busiest(naive: Callable[..., object], tuned: Callable[..., object]) -> Callable[[Servers], tuple[float, float]]:
    """Return what share of 300 reads the busiest node of a cluster of 3 primaries and 3 replicas answers, in %."""

    def seen(servers: Servers) -> tuple[float, float]:
        """Read both ways."""
        cluster = servers.cluster(3, 1)
        client = cluster.client()
        keys = [f"key:{number}" for number in range(300)]
        shares = []
        for way in (naive, tuned):
            before = reads_by_node(cluster.nodes)
            way(client, keys)
            counts = [count - before[address] for address, count in reads_by_node(cluster.nodes).items()]
            shares.append(100 * max(counts) / sum(counts))
        return shares[0], shares[1]

    return seen


def pooling(servers: Servers) -> tuple[float, float]:
    """Return how many connections 16 threads make to read 200 keys, with one each and with a pool of 4."""
    with servers.server(PLAIN).client() as client:
        seen = []
        for most in (16, 4):
            with counted(client) as cost:
                connecting.pool_of(client, [f"key:{number}" for number in range(200)], most)
            seen.append(cost.connections)
    return seen[0], seen[1]


def sharding(servers: Servers) -> tuple[float, float]:
    """Return the seconds of 20 requests that take 20 ms each, by one server and by the owners of their keys."""
    nodes = service.slow_cluster(servers)
    return middle_of(nodes, service.on_one(nodes)), middle_of(nodes, service.on_owners(nodes))


def sharing_badly(servers: Servers) -> tuple[float, float]:
    """Return the same of three primaries of which one has 80 % of the slots, and of three with even shares."""
    nodes = service.slow_cluster(servers)
    even = middle_of(nodes, service.on_owners(nodes))
    service.give_most_to_first(nodes)
    return middle_of(nodes, service.on_owners(nodes)), even


def middle_of(nodes: Sequence[Any], requests: Sequence[int]) -> float:
    """Return the median of three times that the nodes take for so many requests, in seconds."""
    return statistics.median(service.seconds_of(nodes, requests, 0.02) for _ in range(3))


def isolating(servers: Servers) -> tuple[float, float]:
    """Return how many ms the client of a busy shard waits, and those of the others."""
    own, others = service.busy_and_bystanders(service.slow_cluster(servers), 0.5)
    return 1000 * own, 1000 * statistics.median(chain(*others))


def long_answer(servers: Servers) -> bytes:
    """Return the bytes of an answer with 1000 items."""
    with servers.server(PLAIN).client() as client:
        client.rpush("list", *["x" * 100] * 1000)
        return parsing.raw_answer(client, "LRANGE", "list", "0", "-1")
