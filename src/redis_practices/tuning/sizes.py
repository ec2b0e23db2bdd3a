"""Names and values as small as their use: what is not stored takes no memory, and what is not sent takes no time.

A name is stored with each key, so 60 characters of it cost 60 bytes a key; a document of which one field is read is
better a hash. Short names pay for millions of keys alone, and nobody can read them; fields do not pay where the whole
is read each time, since a hash of many fields is slower to read than one string.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis import Redis

from redis_practices.tuning.bulk import pipelined

FIELDS: dict[Any, Any] = {f"field{number}": "x" * 40 for number in range(100)}
"""A document of some 5 KB."""


@contextmanager
def whole_document(server: Redis) -> Iterator[Callable[[Sequence[str]], list[Any]]]:
    """Naive: one text for the document; who needs a field reads and parses all of it (``GET``)."""
    name = "{document}:whole"
    server.set(name, json.dumps(FIELDS), ex=600)
    yield lambda keys: [json.loads(server.get(name) or "")["field7"] for _ in keys]
    server.unlink(name)


@contextmanager
def one_field(server: Redis) -> Iterator[Callable[[Sequence[str]], list[Any]]]:
    """Tuned: a hash for the document; who needs a field reads that one (``HGET``)."""
    name = "{document}:fields"
    server.hset(name, mapping=FIELDS)
    server.expire(name, 600)
    yield lambda keys: [server.hget(name, "field7") for _ in keys]
    server.unlink(name)


def long_names(server: Redis, numbers: Sequence[int]) -> None:
    """Naive: names that tell a whole story."""
    name = "production:shop:customers:by-id:profile:display-name"
    pipelined(server, [("SET", f"{name}:{number:08}", "1") for number in numbers])


def short_names(server: Redis, numbers: Sequence[int]) -> None:
    """Tuned: names as short as can still be told apart."""
    pipelined(server, [("SET", f"c:{number:08}:n", "1") for number in numbers])
