"""How long things live and are waited for in `cache_aside`, and the words in which its steps ask for something."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from redis_practices.pure_cache.compare_and_set import Command
from redis_practices.pure_cache.ttl_jitter import jittered


class Unavailable(Exception):  # noqa: N818 - it never leaves these modules: the origin is asked instead
    """The cache did not answer, or is not asked at the moment."""


class Refused(Unavailable):
    """The cache answered with an error: it is full, read-only, or does not let this user do that."""


class Ask(Enum):
    """What a flow asks for that is neither a command nor a pause."""

    COMPUTE = "the value, from the origin"


COMPUTE = Ask.COMPUTE

Flow = Generator[Command | float | Ask, Any, Any]
"""Steps that yield a command, seconds to wait, or `COMPUTE`, and are sent the answer."""


@dataclass(frozen=True)
class Rules:
    """All times are in seconds."""

    ttl: float
    """The longest that a value lives in the cache."""
    spread: float = 0.1
    """Each ttl is up to this share shorter, so that a batch does not expire at once; see `ttl_jitter`."""
    absent_ttl: float = 0.0
    """How long it is remembered that the origin has nothing (None); 0 is not at all."""
    lease: float = 10.0
    """How long one caller may compute before another may: above what the origin takes."""
    patience: float = 5.0
    """How long a caller waits for the one who computes, before it asks the origin itself."""
    beta: float = 1.0
    """How early a value is refreshed before it expires, see `early_refresh`; 0 is never."""
    draw: Callable[[], float] = random.random
    """Numbers from 0 up to 1."""
    clock: Callable[[], float] = time.time
    """Seconds since 1970; the machines that share a cache agree on it to a fraction of the ttl."""

    def life_of(self, value: Any) -> float:
        """Return how long this value may live; 0 is not at all."""
        ttl = self.absent_ttl if value is None else self.ttl
        return jittered(ttl, self.spread, self.draw) if ttl else 0.0
