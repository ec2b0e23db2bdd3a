"""Memory: small values packed, large ones compressed, and big keys freed in the background.

A key costs some 50 to 90 bytes beside its value. Hashes of up to ``hash-max-listpack-entries`` fields (128 by default
in older servers, 512 in newer) are kept in one piece without that cost. Not for values that need a ttl each.
"""

from __future__ import annotations

import statistics
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from redis import Redis

from redis_practices.tuning.bulk import pipelined

FIELDS = 100


def keys_each(server: Redis, numbers: Sequence[int]) -> None:
    """Naive: a key for each small value (``SET``)."""
    pipelined(server, [("SET", f"name:{number}", str(number)) for number in numbers])


def keys_packed(server: Redis, numbers: Sequence[int]) -> None:
    """Tuned: a hundred small values share a hash (``HSET``; read by ``HGET``)."""
    pipelined(server, [("HSET", f"names:{number // FIELDS}", str(number % FIELDS), str(number)) for number in numbers])


def bytes_of(server: Redis, write: Callable[[Redis, Sequence[int]], None], count: int) -> int:
    """Return the bytes that `count` values take in a server, which is emptied before; clients' buffers are left out."""
    taken = []
    for number in (0, count):
        server.execute_command("FLUSHALL", "SYNC")
        write(server, range(number))
        seen: Any = server.info("memory")
        taken.append(int(seen["used_memory"]) - int(seen["mem_clients_normal"]))
    return taken[1] - taken[0]


def document(number: int) -> bytes:
    """Return a text of some 4 KB as programs cache them: JSON with the same names over and over."""
    return "".join(
        f'{{"id": {number + index}, "name": "product {index}", "price": 1.5}},' for index in range(80)
    ).encode()


def plain_texts(server: Redis, numbers: Sequence[int]) -> None:
    """Naive: texts as they are."""
    for number in numbers:
        server.set(f"text:{number}", document(number))


def compressed_texts(server: Redis, numbers: Sequence[int]) -> None:
    """Tuned: texts of a kilobyte and more compressed; below that it gains nothing, and it costs the client's time."""
    for number in numbers:
        server.set(f"text:{number}", zlib.compress(document(number), 1))


def delete_at_once(server: Redis, key: str) -> None:
    """Naive: free a big key while everybody waits (``DEL``; Valkey >= 8 frees in the background by default)."""
    server.delete(key)


def delete_lazily(server: Redis, key: str) -> None:
    """Tuned: take the key away and free its memory in the background (``UNLINK``)."""
    server.unlink(key)


def busy_with(server: Redis, command: str, listing: Callable[[Redis, str], object]) -> float:
    """Return how many ms the server is busy with one call of a command: the median of 3 (``INFO commandstats``)."""
    seen = []
    for _ in range(3):
        server.config_resetstat()
        listing(server, "key:*")
        stats: Any = server.info("commandstats")
        seen.append(float(stats[f"cmdstat_{command.lower()}"]["usec_per_call"]) / 1000)
    return statistics.median(seen)


def list_at_once(server: Redis, pattern: str) -> list[str]:
    """Naive: ask for all keys; the server answers nobody else until it has looked at every one (``KEYS``)."""
    return [str(key) for key in server.keys(pattern)]


def list_in_steps(server: Redis, pattern: str) -> list[str]:
    """Tuned: ask for some keys at a time; others are served in between (``SCAN``; keys may come twice)."""
    return [str(key) for key in server.scan_iter(pattern, count=500)]
