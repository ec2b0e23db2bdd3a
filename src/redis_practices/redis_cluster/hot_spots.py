"""Where a cluster is hot, and where it is heavy: a single slot or a single key cannot be shared out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from heapq import nlargest
from operator import itemgetter

from redis import Redis


@dataclass(frozen=True)
class SlotUse:
    """What one slot has cost its node since the node keeps count."""

    slot: int
    keys: int
    cpu: float
    """Seconds that its commands took."""
    bytes_in: int
    bytes_out: int


def hottest_slots(primaries: Iterable[Redis], limit: int = 10, by: str = "CPU-USEC") -> list[SlotUse]:
    """Return the `limit` slots of a cluster that took most, first of all (``CLUSTER SLOT-STATS ORDERBY``).

    `by` is ``CPU-USEC``, ``NETWORK-BYTES-IN``, ``NETWORK-BYTES-OUT`` or ``KEY-COUNT``. All but the last need the
    setting ``cluster-slot-stats-enabled``. Valkey 8.0 and Redis 8.2 have the command.

    Raises:
        redis.exceptions.RedisError: a node does not answer, or does not know the command.
    """
    found = []
    for node in primaries:
        for slot, told in node.execute_command("CLUSTER", "SLOT-STATS", "ORDERBY", by, "LIMIT", limit, "DESC"):
            use = told if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=True))
            found.append((use[by.lower()], slot, use))
    return [
        SlotUse(
            slot,
            use["key-count"],
            use.get("cpu-usec", 0) / 1e6,
            use.get("network-bytes-in", 0),
            use.get("network-bytes-out", 0),
        )
        for _, slot, use in nlargest(limit, found, key=itemgetter(0))
    ]


def biggest_keys(nodes: Iterable[Redis], limit: int = 10, match: str = "*") -> list[tuple[int, str | bytes]]:
    """Return bytes and name of the `limit` keys that take most memory, biggest first (``SCAN``, ``MEMORY USAGE``).

    Reads every key of `nodes` once, in steps of 1000, beside other work: take the replicas, which have less to do, and
    send them ``READONLY`` first. A key's size is estimated from five of its elements.

    Raises:
        redis.exceptions.RedisError: a node does not answer.
    """
    biggest: list[tuple[int, str | bytes]] = []
    for node in nodes:
        cursor = -1
        while cursor:
            cursor, keys = node.scan(max(cursor, 0), match=match, count=1000)
            with node.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.memory_usage(key)
                # A key that went away meanwhile has no size.
                sizes = [(size, key) for size, key in zip(pipe.execute(), keys, strict=True) if size]
            biggest = nlargest(limit, [*biggest, *sizes], key=itemgetter(0))
    return biggest
