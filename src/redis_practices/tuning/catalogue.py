"""List the practices that `tuning_example.py` compares and measures, and show the results."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain
from statistics import median
from typing import Any, Literal

from redis_practices.tuning import bulk, connections, memory, round_trips, scaling
from redis_practices.tuning.bulk import pipelined
from redis_practices.tuning.connections import read_again, read_near, tasks_of
from redis_practices.tuning.measuring import PLAIN, EmbeddedServers, Servers, compare, counted, reads_by_node


def bytes_taken(
    naive: Callable[..., None], tuned: Callable[..., None], count: int
) -> Callable[[Servers], tuple[float, float]]:
    """Return the function that measures the KB of the same values, written both ways."""

    def seen(servers: Servers) -> tuple[float, float]:
        """Write them to a fresh server each."""
        with servers.server(PLAIN).client() as client:
            one, other = (memory.bytes_of(client, way, count) / 1024 for way in (naive, tuned))
        return one, other

    return seen


def evicting(servers: Servers) -> tuple[float, float]:
    """Return the hit ratios in % of LRU and of LFU under scans."""
    lru, lfu = memory.hit_ratios(servers, [memory.LRU, memory.LFU])
    return lru, lfu


def listing(servers: Servers) -> tuple[float, float]:
    """Return the ms for which one KEYS, and one SCAN, of 100,000 keys delays other clients."""
    with servers.server(PLAIN).client(socket_timeout=60) as client:
        pipelined(client, [("SET", f"key:{number}", "1") for number in range(100_000)])
        return (
            memory.busy_with(client, "KEYS", memory.list_at_once),
            memory.busy_with(client, "SCAN", memory.list_in_steps),
        )


def freeing(servers: Servers) -> tuple[float, float]:
    """Return the ms for which DEL, and UNLINK, of 100,000 fields delay other clients. Both are medians of five."""
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
    """Return the share in % of 300 reads that the busiest of 3 primaries and 3 replicas answers."""

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
    """Return the connections of 16 threads that read 200 keys: one each, and a pool of 4."""
    with servers.server(PLAIN).client() as client:
        seen = []
        for most in (16, 4):
            with counted(client) as cost:
                connections.pool_of(client, [f"key:{number}" for number in range(200)], most)
            seen.append(cost.connections)
    return seen[0], seen[1]


def sharding(servers: Servers) -> tuple[float, float]:
    """Return the seconds of 20 requests of 20 ms each, by one server and by the owners of their keys."""
    nodes = scaling.slow_cluster(servers)
    return middle_of(nodes, scaling.on_one(nodes)), middle_of(nodes, scaling.on_owners(nodes))


def sharing_badly(servers: Servers) -> tuple[float, float]:
    """Return the same seconds for three primaries: one with 80 % of the slots, then with even shares."""
    nodes = scaling.slow_cluster(servers)
    even = middle_of(nodes, scaling.on_owners(nodes))
    scaling.give_most_to_first(nodes)
    return middle_of(nodes, scaling.on_owners(nodes)), even


def middle_of(nodes: Sequence[Any], requests: Sequence[int]) -> float:
    """Return the median of three times in seconds that the nodes need for the requests."""
    return statistics.median(scaling.seconds_of(nodes, requests, 0.02) for _ in range(3))


def isolating(servers: Servers) -> tuple[float, float]:
    """Return the wait in ms of a busy shard's client, and of the other shards' clients."""
    own, others = scaling.busy_and_bystanders(scaling.slow_cluster(servers), 0.5)
    return 1000 * own, 1000 * statistics.median(chain(*others))


def parsing(commands: connections.Commands) -> Callable[[Servers], tuple[float, float]]:
    """Return the function that measures the ms of a client's processor without hiredis and with it."""

    def seen(servers: Servers) -> tuple[float, float]:
        """Run them on a fresh server with a value and a list of 1000 items."""
        with servers.server(PLAIN).client() as client:
            client.set("key", "x" * 100)
            client.rpush("list", *["x" * 100] * 1000)
            return connections.parsing(client, commands)

    return seen


@dataclass(frozen=True)
class Setting:
    """A practice whose two ways are timed in turn, each on a fresh server."""

    name: str
    naive: Callable[[Servers], Callable[[], object]]
    tuned: Callable[[Servers], Callable[[], object]]
    not_when: str


@dataclass(frozen=True)
class Effect:
    """A practice with a count, or a time measured once, for each way: naive, then tuned."""

    name: str
    seen: Callable[[Servers], tuple[float, float]]
    unit: str
    not_when: str
    more_is_better: bool = False


WRITING, READING = scaling.writing_with, scaling.reading_with
ON_DISK = "losing the last writes does no harm"
STALE = "reads must see the last write"
OFTEN = "the key is written often"

SETTINGS = (
    Setting("appendfsync no", partial(WRITING, PLAIN), partial(WRITING, scaling.LEFT_TO_SYSTEM), ON_DISK),
    Setting("appendfsync everysec", partial(WRITING, PLAIN), partial(WRITING, scaling.EACH_SECOND), ON_DISK),
    Setting("appendfsync always", partial(WRITING, PLAIN), partial(WRITING, scaling.EACH_WRITE), ON_DISK),
    Setting("io-threads 2", partial(READING, PLAIN), partial(READING, scaling.THREADS), "processors are few"),
    Setting("unix socket", scaling.over_tcp, scaling.over_unix_socket, "the client is on another machine"),
)

EFFECTS = (
    Effect(
        "values packed in hashes", bytes_taken(memory.keys_each, memory.keys_packed, 20_000), "KB", "they need ttls"
    ),
    Effect(
        "texts compressed",
        bytes_taken(memory.plain_texts, memory.compressed_texts, 100),
        "KB",
        "texts are below 1 KB, or the client's processor is the limit",
    ),
    Effect("short names", bytes_taken(memory.long_names, memory.short_names, 20_000), "KB", "people must read them"),
    Effect("hiredis, 1000 items", parsing([("LRANGE", "list", "0", "-1")]), "ms CPU", "answers are short"),
    Effect("hiredis, 200 single reads", parsing([("GET", "key")] * 200), "ms CPU", "the processor has time left"),
    Effect("LFU, not LRU", evicting, "% hits", "new values are the hot ones", more_is_better=True),
    Effect("SCAN, not KEYS", listing, "ms", "never: a bystander waits"),
    Effect("UNLINK, not DEL", freeing, "ms", "values are small; it is the default of Valkey >= 8"),
    Effect("time-outs in the client", connections.blocked, "s", "a command may take longer"),
    Effect("keepalive 1 s, not none", lambda _: connections.vanished(), "kept", "connections are few and well kept"),
    Effect("queue of 511, not 8", connections.connected_in_burst, "clients", "never", more_is_better=True),
    Effect("backlog of 20 MB, not 16 KB", scaling.copies, "full", "memory is short"),
    Effect("node timeout 0.5 s, not 2", scaling.replacing, "s", "a hang that long shall cost no failover"),
    Effect("pool of 4 for 16 threads", pooling, "connections", "each thread blocks its connection"),
    Effect("cluster: reads from all nodes", busiest(bulk.read_each, bulk.read_from_all), "% on one", STALE),
    Effect("cluster: a hot key in copies", busiest(bulk.read_hot_key, bulk.read_hot_copies), "% on one", OFTEN),
    Effect("three shards, not one", sharding, "s", "one server has time left"),
    Effect("even shares of slots", sharing_badly, "s", "the keys of most slots are hardly used"),
    Effect("a shard that is not busy", isolating, "ms", "all shards get the slow command"),
)


Work = Callable[[], object]


def timed(naive: Work, tuned: Work, budget: float) -> dict[str, Any]:
    """Time two ways in turn for about `budget` seconds, at least 5 rounds, and return the columns of a row."""
    begun = time.perf_counter()
    naive(), tuned()
    rounds = max(5, min(51, round(budget / (time.perf_counter() - begun))))
    seen = compare(naive, tuned, rounds=rounds)
    return {
        "naive": round(1000 * median(seen.naive), 3),
        "tuned": round(1000 * median(seen.tuned), 3),
        "unit": "ms",
        "ratio": round(seen.ratio, 2),
        "spread_percent": round(seen.spread, 1),
        "rounds": rounds,
        "verdict": seen.verdict,
    }


def counted_row(effect: Effect, servers: EmbeddedServers) -> dict[str, Any]:
    """Measure both sides of an effect once, and return the columns of a row. There is no ratio to zero."""
    naive, tuned = effect.seen(servers)
    worse, better = (tuned, naive) if effect.more_is_better else (naive, tuned)
    return {
        "naive": round(naive, 3),
        "tuned": round(tuned, 3),
        "unit": effect.unit,
        "ratio": round(worse / better, 2) if better else None,
        "spread_percent": None,
        "rounds": 1,
        "verdict": "pays" if worse > better * 1.05 else "costs" if worse < better / 1.05 else "no difference",
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as aligned text."""
    lines = [f"{'practice':32} {'naive':>9} {'tuned':>9} {'':7} {'ratio':>6} {'spread':>7}  verdict; does not pay when"]
    for row in rows:
        seen = f"{row['naive']:>9.2f} {row['tuned']:>9.2f} {row['unit']:7} {shown(row['ratio'], '', 1):>6}"
        spread = shown(row["spread_percent"], " %", 0)
        lines.append(f"{row['practice']:32} {seen} {spread:>7}  {row['verdict']}; {row['not_when']}")
    return "\n".join(lines)


def shown(value: float | None, unit: str, digits: int) -> str:
    """Return a number, or a dash for None."""
    return "-" if value is None else f"{value:.{digits}f}{unit}"


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a table in Markdown."""
    lines = [
        "| practice | naive | tuned | times better | spread | verdict | does not pay when |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        both = f"{row['naive']:.4g} {row['unit']} | {row['tuned']:.4g} {row['unit']}"
        numbers = f"{shown(row['ratio'], '', 1)} | {shown(row['spread_percent'], ' %', 0)}"
        lines.append(f"| {row['practice']} | {both} | {numbers} | {row['verdict']} | {row['not_when']} |")
    return "\n".join(lines)


Way = Callable[[Any, Sequence[str]], object]
"""A way to work on keys with a client."""

Prepared = Callable[[Any], AbstractContextManager[Callable[[Sequence[str]], object]]]
"""From a client to such a way; the preparation is not timed."""


@dataclass(frozen=True)
class Pair:
    """A practice: its two ways, their needs, and when the tuned way does not pay."""

    name: str
    naive: Prepared
    tuned: Prepared
    not_when: str
    needs: Literal["cache", "cluster"] = "cache"
    keys: int | None = None
    """A smaller number of keys, for ways that would take long with all of them."""


def plain(way: Way) -> Prepared:
    """Return a way without preparation."""
    return lambda client: nullcontext(partial(way, client))


EACH, BY_TEN, BY_HUNDRED, BY_THOUSAND = (
    plain(round_trips.one_at_a_time),
    *(plain(partial(round_trips.in_pipelines, depth=depth)) for depth in (10, 100, 1000)),
)

PAIRS = (
    Pair("pipeline of 10", EACH, BY_TEN, "a command needs an earlier reply"),
    Pair("pipeline of 100", EACH, BY_HUNDRED, "the same"),
    Pair("pipeline of 1000, not 100", BY_HUNDRED, BY_THOUSAND, "memory counts: answers wait on both sides"),
    Pair("MGET of 100", EACH, plain(round_trips.read_together), "keys lie in different slots"),
    Pair("MSET of 100", plain(round_trips.write_each), plain(round_trips.write_together), "values need a ttl"),
    Pair("connection kept", plain(connections.connect_each_time), EACH, "never", keys=30),
    Pair("20 asyncio tasks, loopback", EACH, tasks_of, "there is no network between: a loop is as fast", keys=200),
    Pair(
        "SET with EX",
        plain(round_trips.set_then_expire),
        plain(round_trips.set_with_ttl),
        "never",
        keys=200,
    ),
    Pair(
        "script, not WATCH",
        plain(round_trips.read_modify_write),
        plain(round_trips.by_script),
        "the work is long: other clients wait",
        keys=200,
    ),
    Pair(
        "function, not WATCH",
        plain(round_trips.read_modify_write),
        plain(round_trips.by_function),
        "the same; servers before 7.0",
        keys=200,
    ),
    Pair("one field of a document", memory.whole_document, memory.one_field, "all of it is read each time", keys=200),
    Pair(
        "cache in the client",
        plain(read_again),
        plain(read_near),
        "values change as often as they are read",
        keys=200,
    ),
    Pair(
        "cluster: client kept",
        plain(connections.cluster_each_time),
        plain(bulk.read_each),
        "never",
        "cluster",
        keys=10,
    ),
    Pair(
        "cluster: client's pipeline",
        plain(bulk.read_each),
        plain(bulk.read_by_pipeline),
        "a command needs an answer",
        "cluster",
        keys=300,
    ),
    Pair(
        "cluster: a pipeline a node",
        plain(bulk.read_by_pipeline),
        plain(bulk.read_by_node),
        "there are few keys, or commands with several",
        "cluster",
    ),
    Pair(
        "cluster: MGET, one hash tag",
        plain(bulk.read_fields_apart),
        plain(bulk.read_fields_together),
        "all keys would share it: one node does it all",
        "cluster",
        keys=50,
    ),
    Pair(
        "cluster: pipeline, one hash tag",
        plain(bulk.read_by_pipeline),
        plain(bulk.read_tagged_by_pipeline),
        "the servers are the limit: one of them does it all",
        "cluster",
        keys=300,
    ),
)
