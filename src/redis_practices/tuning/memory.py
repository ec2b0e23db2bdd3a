"""Use less memory: packed and compressed values, short names, eviction policies.

A key costs some 50 to 90 bytes beside its value. Hashes of up to ``hash-max-listpack-entries`` fields (128 by default
in older servers, 512 in newer) are stored in one piece without that cost. Values that need a ttl each need
``HSETEX`` for that.

A name is stored with each key, so 60 characters of it cost 60 bytes a key. Short names pay for millions of keys only.
A document of which one field is read is better a hash; this does not pay if every read needs the whole document.

LFU keeps hot keys during a scan, which pushes them out of an LRU cache. Not if new values are the hot ones, such as
news: LFU keeps yesterday's favourites until their counters have decayed. LRU's clock ticks in seconds: within one
second all keys are equally recent, and LRU looks no better than random. So the trace here pauses between its parts.
"""

from __future__ import annotations

import json
import random
import statistics
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis import Redis

from redis_practices.servers.server import Config
from redis_practices.tuning.bulk import pipelined
from redis_practices.tuning.measuring import PLAIN, Servers

FIELDS = 100

TTL = "600"
"""Seconds."""


def keys_each(server: Redis, numbers: Sequence[int]) -> None:
    """Naive: a key for each small value (``SET``)."""
    pipelined(server, [("SET", f"name:{number}", str(number)) for number in numbers])


def keys_packed(server: Redis, numbers: Sequence[int]) -> None:
    """Tuned: a hundred small values share a hash (``HSET``; read by ``HGET``)."""
    pipelined(server, [("HSET", f"names:{number // FIELDS}", str(number % FIELDS), str(number)) for number in numbers])


def keys_each_with_ttl(server: Redis, numbers: Sequence[int]) -> None:
    """Naive: a key with a ttl for each small value (``SET ... EX``)."""
    pipelined(server, [("SET", f"name:{number}", str(number), "EX", TTL) for number in numbers])


def keys_packed_with_ttl(server: Redis, numbers: Sequence[int]) -> None:
    """Tuned: a hundred small values share a hash, each with its ttl (``HSETEX``: Redis 8.0, Valkey 9.0)."""
    names = [(f"names:{number // FIELDS}", str(number % FIELDS), str(number)) for number in numbers]
    pipelined(server, [("HSETEX", name, "EX", TTL, "FIELDS", "1", field, value) for name, field, value in names])


def bytes_of(server: Redis, write: Callable[[Redis, Sequence[int]], None], count: int) -> int:
    """Return the bytes of `count` values in a server, which is emptied before, without the clients' buffers."""
    taken = []
    for number in (0, count):
        server.execute_command("FLUSHALL", "SYNC")
        write(server, range(number))
        seen: Any = server.info("memory")
        taken.append(int(seen["used_memory"]) - int(seen["mem_clients_normal"]))
    return taken[1] - taken[0]


def document(number: int) -> bytes:
    """Return a text of some 4 KB as programs cache them: JSON with the same names many times."""
    return "".join(
        f'{{"id": {number + index}, "name": "product {index}", "price": 1.5}},' for index in range(80)
    ).encode()


def plain_texts(server: Redis, numbers: Sequence[int]) -> None:
    """Naive: texts as they are."""
    for number in numbers:
        server.set(f"text:{number}", document(number))


def compressed_texts(server: Redis, numbers: Sequence[int]) -> None:
    """Tuned: texts of a kilobyte and more compressed; below that it only costs the client time."""
    for number in numbers:
        server.set(f"text:{number}", zlib.compress(document(number), 1))


def delete_at_once(server: Redis, key: str) -> None:
    """Naive: free a big key while all clients wait (``DEL``; Valkey >= 8 frees in the background by default)."""
    server.delete(key)


def delete_lazily(server: Redis, key: str) -> None:
    """Tuned: remove the key, and free its memory in the background (``UNLINK``)."""
    server.unlink(key)


def busy_with(server: Redis, command: str, listing: Callable[[Redis, str], object], pattern: str = "key:*") -> float:
    """Return the ms for which one call of a command keeps the server busy: the median of 3 (``INFO commandstats``)."""
    seen = []
    for _ in range(3):
        server.config_resetstat()
        listing(server, pattern)
        stats: Any = server.info("commandstats")
        seen.append(float(stats[f"cmdstat_{command.lower()}"]["usec_per_call"]) / 1000)
    return statistics.median(seen)


def list_at_once(server: Redis, pattern: str) -> list[str]:
    """Naive: list all keys; the server serves no other client until it has visited every key (``KEYS``)."""
    return [str(key) for key in server.keys(pattern)]


def list_in_steps(server: Redis, pattern: str) -> list[str]:
    """Tuned: list some keys at a time (``SCAN``). Other clients are served in between; keys may come twice."""
    return [str(key) for key in server.scan_iter(pattern, count=500)]


DOCUMENT: dict[Any, Any] = {f"field{number}": "x" * 40 for number in range(100)}
"""A document of some 5 KB."""


@contextmanager
def whole_document(server: Redis) -> Iterator[Callable[[Sequence[str]], list[Any]]]:
    """Naive: one text for the document (``GET``). A reader of one field fetches and parses all of it."""
    name = "{document}:whole"
    server.set(name, json.dumps(DOCUMENT), ex=600)
    yield lambda keys: [json.loads(server.get(name) or "")["field7"] for _ in keys]
    server.unlink(name)


@contextmanager
def one_field(server: Redis) -> Iterator[Callable[[Sequence[str]], list[Any]]]:
    """Tuned: a hash for the document (``HGET``). A reader of one field fetches only that field."""
    name = "{document}:fields"
    server.hset(name, mapping=DOCUMENT)
    server.expire(name, 600)
    yield lambda keys: [server.hget(name, "field7") for _ in keys]
    server.unlink(name)


def long_names(server: Redis, numbers: Sequence[int]) -> None:
    """Naive: long, descriptive names."""
    name = "production:shop:customers:by-id:profile:display-name"
    pipelined(server, [("SET", f"{name}:{number:08}", "1") for number in numbers])


def short_names(server: Redis, numbers: Sequence[int]) -> None:
    """Tuned: the shortest names that still differ."""
    pipelined(server, [("SET", f"c:{number:08}:n", "1") for number in numbers])


LRU: Config = {**PLAIN, "maxmemory-policy": "allkeys-lru"}
LFU: Config = {**PLAIN, "maxmemory-policy": "allkeys-lfu"}
RANDOM: Config = {**PLAIN, "maxmemory-policy": "allkeys-random"}

ROOM = 1_500_000
"""Bytes for values of 1000 bytes: the hot keys fit, but not beside the keys of a scan."""

PARTS, READS, SCANNED, USED = 3, 1500, 1500, 800


def hit_ratios(servers: Servers, policies: Sequence[Config]) -> list[float]:
    """Return the hit ratio in % of each policy. Each has a server, and all get the same reads at the same time."""
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
            hits[place] += found if part else 0  # in the first part the caches are empty
            read_through(cache, [f"scanned:{part}:{index}" for index in range(SCANNED)])
        if part < PARTS - 1:
            time.sleep(1.1)  # the eviction's clock ticks
    return [100 * count / (READS * (PARTS - 1)) for count in hits]


def read_through(cache: Redis, keys: Sequence[str]) -> int:
    """Read keys and write missing ones, as a cache is used; return the number of hits."""
    hits = 0
    for first in range(0, len(keys), 100):
        some = keys[first : first + 100]
        missing = [key for key, value in zip(some, cache.mget(some), strict=True) if value is None]
        hits += len(some) - len(missing)
        if missing:
            cache.mset(dict.fromkeys(missing, "x" * 1000))
    return hits
