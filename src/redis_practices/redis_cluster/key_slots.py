"""Slot of a key, owner of a slot, spread of keys.

A cluster has 16,384 slots. A key's slot is the CRC16 of the key, or of its hash tag, modulo 16,384 (Redis Cluster
specification, "Key distribution model"), so every client knows it without asking.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from redis import Redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS as SLOTS
from redis.crc import key_slot

__all__ = ["SLOTS", "SlotRange", "owner", "slot_of", "slot_ranges", "widest_deviation"]


@dataclass(frozen=True)
class SlotRange:
    """Slots `first` to `last`, both included, with the addresses (``host:port``) of those that hold them."""

    first: int
    last: int
    primary: str
    replicas: tuple[str, ...]


def slot_of(key: bytes | str) -> int:
    """Return the slot of `key`, 0 to 16383, as ``CLUSTER KEYSLOT`` does; text counts as its UTF-8 bytes.

    Only the part between the first ``{`` and the next ``}`` counts, if there is something between them: keys that
    share this hash tag share a slot.
    """
    return int(key_slot(key.encode() if isinstance(key, str) else key))


def slot_ranges(node: Redis) -> list[SlotRange]:
    """Return who holds which slots, in order of slots, as `node` sees it (``CLUSTER SLOTS``).

    Raises:
        redis.exceptions.RedisError: the node does not answer, or is no cluster node.
    """
    # As two words: redis-py then gives the answer as it came, and not in a shape that depends on the protocol.
    answer = node.execute_command("CLUSTER", "SLOTS")
    return sorted(
        (
            SlotRange(first, last, _address(primary), tuple(sorted(map(_address, replicas))))
            for first, last, primary, *replicas in answer
        ),
        key=lambda slots: slots.first,
    )


def _address(endpoint: Sequence[str | int]) -> str:
    """Return host and port of an endpoint of ``CLUSTER SLOTS``."""
    host, port = (part.decode() if isinstance(part, bytes) else part for part in endpoint[:2])
    return f"{host}:{port}"


def owner(slot: int, ranges: Sequence[SlotRange]) -> SlotRange | None:
    """Return the one of `ranges`, which are in order of slots, that `slot` lies in, or None when no node owns it."""
    before = bisect_right(ranges, slot, key=lambda slots: slots.first)
    return ranges[before - 1] if before and slot <= ranges[before - 1].last else None


def widest_deviation(counts: Sequence[int]) -> tuple[int, float]:
    """Return which of `counts` is farthest from their mean, and by what share of the whole it is off.

    Counts 40, 30, 30 give (0, 0.067): the first holds 6.7 points more of the whole than an even share.

    Raises:
        ValueError: there are no counts, or all are 0.
    """
    total = sum(counts)
    if not total:
        raise ValueError("no keys, no spread")
    shares = [count / total - 1 / len(counts) for count in counts]
    farthest = max(range(len(counts)), key=lambda index: abs(shares[index]))
    return farthest, shares[farthest]
