"""What `tuning_example.py` measures on servers of its own: settings timed in turn, and what is counted or seen once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from redis_practices.tuning import hanging, memory, parsing, replication, seen_once, settings, sharing, sizes, vanishing
from redis_practices.tuning.lab import PLAIN, Servers
from redis_practices.tuning.seen_once import busiest, bytes_taken


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


WRITING, READING = settings.writing_with, settings.reading_with
ON_DISK = "losing the last writes does no harm"
STALE = "what was just written must be read"
OFTEN = "the key is written often"

SETTINGS = (
    Setting(
        "hiredis, 1000 items (CPU)",
        lambda servers: partial(parsing.parse_in_python, seen_once.long_answer(servers)),
        lambda servers: partial(parsing.parse_compiled, seen_once.long_answer(servers)),
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
        "values packed in hashes", bytes_taken(memory.keys_each, memory.keys_packed, 20_000), "KB", "they need ttls"
    ),
    Effect(
        "texts compressed",
        bytes_taken(memory.plain_texts, memory.compressed_texts, 100),
        "KB",
        "texts are below 1 KB, or the client's processor is the limit",
    ),
    Effect("short names", bytes_taken(sizes.long_names, sizes.short_names, 20_000), "KB", "people must read them"),
    Effect("LFU, not LRU", seen_once.evicting, "% hits", "what is new is what will be read", more_is_better=True),
    Effect("SCAN, not KEYS", seen_once.listing, "ms", "never: a bystander waits"),
    Effect("UNLINK, not DEL", seen_once.freeing, "ms", "values are small; Valkey >= 8 does it by itself"),
    Effect("time-outs in the client", hanging.stuck, "s", "a command may take longer"),
    Effect("keepalive 1 s, not none", lambda _: vanishing.vanished(), "kept", "connections are few and well kept"),
    Effect("queue of 511, not 8", hanging.turned_away, "clients", "never", more_is_better=True),
    Effect("backlog of 20 MB, not 16 KB", replication.copies, "full", "memory is short"),
    Effect("node timeout 0.5 s, not 2", replication.replacing, "s", "a hang that long shall cost no failover"),
    Effect("pool of 4 for 16 threads", seen_once.pooling, "connections", "each thread blocks its connection"),
    Effect("cluster: reads from all nodes", busiest(sharing.read_each, sharing.read_from_all), "% on one", STALE),
    Effect("cluster: a hot key in copies", busiest(sharing.read_hot_key, sharing.read_hot_copies), "% on one", OFTEN),
    Effect("three shards, not one", seen_once.sharding, "s", "one server has time left"),
    Effect("even shares of slots", seen_once.sharing_badly, "s", "the keys of most slots are hardly used"),
    Effect("a shard that is not busy", seen_once.isolating, "ms", "all shards get the slow command"),
)
