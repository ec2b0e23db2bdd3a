"""What a key of `cache_aside` holds: a value with its cost and its end as JSON, or the lease of whoever computes it.

JSON, never pickle: who can write to the cache must not be able to run code in its readers.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace
from typing import Any

LEASE = b"lease:"
"""How a lease begins. No JSON does, and a reader of another program sees at once that it is no value."""


@dataclass(frozen=True)
class Entry:
    """A cached value: computing it took `cost` seconds, and it is fresh `until` a moment in seconds since 1970."""

    value: Any
    cost: float
    until: float

    def encoded(self) -> bytes:
        """Return it as the bytes to store (TypeError or ValueError for what JSON cannot hold)."""
        return json.dumps([self.value, round(self.cost, 4), round(self.until, 3)], allow_nan=False).encode()

    def fresh_until(self, until: float) -> Entry:
        """Return the same value, fresh until another moment."""
        return replace(self, until=until)


def decoded(raw: bytes) -> Entry | None:
    """Return the entry in `raw`, or None for what is none: a lease, another program's value, half a value."""
    try:
        value, cost, until = json.loads(raw)
        return Entry(value, float(cost), float(until))
    except (ValueError, TypeError):
        return None


def new_lease() -> bytes:
    """Return a lease that nobody else has."""
    return LEASE + secrets.token_hex(8).encode()
