"""Many commands, few round trips: the server reads a pipeline in large pieces, and one wait serves all of it.

Pays from 2 commands on whenever one does not need the answer of the one before. Stops paying between 100 and 1000 a
batch, where Python's packing and parsing is all that is left; beyond that only memory grows, on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis import Redis


def one_at_a_time(server: Redis, keys: Sequence[str]) -> list[Any]:
    """Naive: read each key and wait for its answer (``GET``)."""
    return [server.get(key) for key in keys]


def in_pipelines(server: Redis, keys: Sequence[str], depth: int = 100) -> list[Any]:
    """Tuned: send `depth` commands, then read their answers (``GET``, no ``MULTI``)."""
    values: list[Any] = []
    for first in range(0, len(keys), depth):
        with server.pipeline(transaction=False) as pipe:
            for key in keys[first : first + depth]:
                pipe.get(key)
            values += pipe.execute()
    return values
