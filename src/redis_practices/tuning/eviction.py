"""Which keys a full cache gives up: those not used lately (LRU), those seldom used (LFU), or any (random).

LFU keeps the keys that are read again and again while a scan goes through, which pushes them out of an LRU cache. Not
where what is new is what will be read, such as news: LFU holds on to yesterday's favourites until they have decayed.
LRU's clock ticks in seconds: what a test does within one second is all equally recent, and LRU looks no better than
random. So the trace here pauses between its parts.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from redis import Redis

from redis_practices.servers.embedded import Config
from redis_practices.tuning.lab import PLAIN, Servers

LRU: Config = {**PLAIN, "maxmemory-policy": "allkeys-lru"}
LFU: Config = {**PLAIN, "maxmemory-policy": "allkeys-lfu"}
RANDOM: Config = {**PLAIN, "maxmemory-policy": "allkeys-random"}

ROOM = 1_500_000
"""Bytes for values of 1000 bytes: the keys that are used would fit, but not beside those of a scan."""

PARTS, READS, SCANNED, USED = 3, 1500, 1500, 800


def hit_ratios(servers: Servers, policies: Sequence[Config]) -> list[float]:
    """Return the hits in % of each policy: the same reads, in the same order, at the same time on a server each."""
    caches = []
    for policy in policies:
        caches.append(servers.server(policy).client())
        caches[-1].config_set("maxmemory", int(caches[-1].info("memory")["used_memory"]) + ROOM)
    hits = [0] * len(policies)
    for part in range(PARTS):
        chance = random.Random(part)
        reads = [f"used:{int(USED * chance.random() ** 2)}" for _ in range(READS)]
        for place, cache in enumerate(caches):
            found = read_through(cache, reads)
            hits[place] += found if part else 0  # the first part finds the caches empty
            read_through(cache, [f"scanned:{part}:{index}" for index in range(SCANNED)])
        if part < PARTS - 1:
            time.sleep(1.1)  # the clock of the eviction ticks
    return [100 * count / (READS * (PARTS - 1)) for count in hits]


def read_through(cache: Redis, keys: Sequence[str]) -> int:
    """Read keys and write those that are missing, as a cache is used; return how many were there."""
    hits = 0
    for first in range(0, len(keys), 100):
        some = keys[first : first + 100]
        missing = [key for key, value in zip(some, cache.mget(some), strict=True) if value is None]
        hits += len(some) - len(missing)
        if missing:
            cache.mset(dict.fromkeys(missing, "x" * 1000))
    return hits
