"""Memory: small values packed, large ones compressed, and big keys freed in the background.

A key costs some 50 to 90 bytes beside its value. Hashes of up to ``hash-max-listpack-entries`` fields (128 by default
in older servers, 512 in newer) are kept in one piece without that cost. Not for values that need a ttl each.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from redis import Redis

FIELDS = 100


def keys_each(server: Redis, numbers: Sequence[int]) -> None:
    """Naive: a key for each small value (``SET``)."""
    with server.pipeline(transaction=False) as pipe:
        for number in numbers:
            pipe.set(f"name:{number}", number)
        pipe.execute()


def keys_packed(server: Redis, numbers: Sequence[int]) -> None:
    """Tuned: a hundred small values share a hash (``HSET``; read by ``HGET``)."""
    with server.pipeline(transaction=False) as pipe:
        for number in numbers:
            pipe.hset(f"names:{number // FIELDS}", str(number % FIELDS), str(number))
        pipe.execute()


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


def list_at_once(server: Redis, pattern: str) -> list[str]:
    """Naive: ask for all keys; the server answers nobody else until it has looked at every one (``KEYS``)."""
    return [str(key) for key in server.keys(pattern)]


def list_in_steps(server: Redis, pattern: str) -> list[str]:
    """Tuned: ask for some keys at a time; others are served in between (``SCAN``; keys may come twice)."""
    return [str(key) for key in server.scan_iter(pattern, count=500)]
