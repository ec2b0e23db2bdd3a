"""What `tuning_example.py` measures on servers of its own: settings timed in turn, and what is counted or seen once."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain

from tuning import eviction, hanging, memory, parsing, replication, service, settings, sizes, vanishing
from tuning.bulk import pipelined
from tuning.lab import PLAIN, Servers


@dataclass(frozen=True)
class Setting:
    """A practice whose two ways are timed in turn, each on a server that it starts."""

    name: str
    naive: Callable[[Servers], Callable[[], object]]
    tuned: Callable[[Servers], Callable[[], object]]
    not_when: str
    clock: Callable[[], float] = time.perf_counter


@dataclass(frozen=True)
class Effect:
    """A practice of which something else than time is counted, or time that is seen once: naive, then tuned."""

    name: str
    seen: Callable[[Servers], tuple[float, float]]
    unit: str
    not_when: str
    more_is_better: bool = False


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
    """Return for how many ms DEL, and UNLINK, of a hash of 300,000 fields keeps others waiting."""
    with servers.server({**PLAIN, "lazyfree-lazy-user-del": "no"}).client(socket_timeout=60) as client:
        seen = []
        for way in (memory.delete_at_once, memory.delete_lazily):
            client.eval("for i = 1, 300000 do redis.call('HSET', KEYS[1], i, 'value ' .. i) end", 1, "big")
            begun = time.perf_counter()
            way(client, "big")
            seen.append(1000 * (time.perf_counter() - begun))
    return seen[0], seen[1]


def sharding(servers: Servers) -> tuple[float, float]:
    """Return the seconds of 20 requests that take 20 ms each, by one server and by the owners of their keys."""
    nodes = service.slow_cluster(servers)
    return service.seconds_of(nodes, service.on_one(nodes), 0.02), service.seconds_of(
        nodes, service.on_owners(nodes), 0.02
    )


def sharing_badly(servers: Servers) -> tuple[float, float]:
    """Return the same of three primaries of which one has 80 % of the slots, and of three with even shares."""
    nodes = service.slow_cluster(servers)
    even = service.seconds_of(nodes, service.on_owners(nodes), 0.02)
    service.give_most_to_first(nodes)
    return service.seconds_of(nodes, service.on_owners(nodes), 0.02), even


def isolating(servers: Servers) -> tuple[float, float]:
    """Return how many ms the client of a busy shard waits, and those of the others."""
    own, others = service.busy_and_bystanders(service.slow_cluster(servers), 0.5)
    return 1000 * own, 1000 * statistics.median(chain(*others))


def long_answer(servers: Servers) -> bytes:
    """Return the bytes of an answer with 1000 items."""
    with servers.server(PLAIN).client() as client:
        client.rpush("list", *["x" * 100] * 1000)
        return parsing.raw_answer(client, "LRANGE", "list", "0", "-1")


WRITING, READING = settings.writing_with, settings.reading_with
ON_DISK = "losing the last writes does no harm"

SETTINGS = (
    Setting(
        "hiredis, 1000 items (CPU)",
        lambda servers: partial(parsing.parse_in_python, long_answer(servers)),
        lambda servers: partial(parsing.parse_compiled, long_answer(servers)),
        "answers are short",
        time.thread_time,
    ),
    Setting("appendfsync no", partial(WRITING, PLAIN), partial(WRITING, settings.LEFT_TO_SYSTEM), ON_DISK),
    Setting("appendfsync everysec", partial(WRITING, PLAIN), partial(WRITING, settings.EACH_SECOND), ON_DISK),
    Setting("appendfsync always", partial(WRITING, PLAIN), partial(WRITING, settings.EACH_WRITE), ON_DISK),
    Setting("io-threads 2", partial(READING, PLAIN), partial(READING, settings.THREADS), "processors are few"),
    Setting("unix socket", settings.over_tcp, settings.over_unix_socket, "the client is on another machine"),
)

EFFECTS = (
    Effect(
        "values packed in hashes", bytes_taken(memory.keys_each, memory.keys_packed, 20_000), "KB", "each has a ttl"
    ),
    Effect(
        "texts compressed",
        bytes_taken(memory.plain_texts, memory.compressed_texts, 100),
        "KB",
        "texts are below 1 KB, or the client's processor is the limit",
    ),
    Effect("short names", bytes_taken(sizes.long_names, sizes.short_names, 20_000), "KB", "people must read them"),
    Effect("LFU, not LRU", evicting, "% hits", "what is new is what will be read", more_is_better=True),
    Effect("SCAN, not KEYS", listing, "ms", "never: a bystander waits"),
    Effect("UNLINK, not DEL", freeing, "ms", "values are small; Valkey >= 8 does it by itself"),
    Effect("time-outs in the client", hanging.stuck, "s", "a command may take longer"),
    Effect("keepalive 1 s, not none", lambda _: vanishing.vanished(), "clients", "connections are few and well kept"),
    Effect("queue of 511, not 8", hanging.turned_away, "clients", "never", more_is_better=True),
    Effect("backlog of 20 MB, not 16 KB", replication.copies, "copies", "memory is short"),
    Effect("node timeout 0.5 s, not 2", replication.replacing, "s", "a hang that long shall cost no failover"),
    Effect("three shards, not one", sharding, "s", "one server has time left"),
    Effect("even shares of slots", sharing_badly, "s", "the keys of most slots are hardly used"),
    Effect("a shard that is not busy", isolating, "ms", "all shards get the slow command"),
)
