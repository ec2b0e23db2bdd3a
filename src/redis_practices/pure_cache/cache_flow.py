"""How `cache_aside` decides, step by step; a driver does what the steps ask for, with threads or with asyncio.

No input or output in here: both drivers run the same decisions, and a specification can stop between any two steps.
`cache_rules.Unavailable` is thrown in where the cache does not answer, and the origin's error where it fails.

``redis.lock.Lock`` was not used for the single flight: its key is another key. The lease stands in the very key that
is to be filled, so that deleting the key ends the lease too, and a value computed before that is not stored after it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from redis_practices.pure_cache.cache_entry import LEASE, Entry, decoded, new_lease
from redis_practices.pure_cache.cache_rules import COMPUTE, Flow, Refused, Rules, Unavailable
from redis_practices.pure_cache.compare_and_set import NATIVE, SCRIPT, delete_if_equal, set_if_equal
from redis_practices.pure_cache.early_refresh import is_due
from redis_practices.pure_cache.ttl_jitter import jittered


class Flows:
    """The decisions of one cache."""

    def __init__(self, rules: Rules) -> None:
        """Decide by `rules`."""
        self.rules = rules
        self.known_dialect = ""

    def get_or_compute(self, key: str) -> Flow:
        """Return the value of `key`; on a miss one caller computes it, and the others wait for that."""
        try:
            entry, held = yield from self._look(key)
        except Unavailable:
            entry = held = None
        if entry and not held:
            return entry.value
        return (yield from self._fill(key, held, entry))

    def _look(self, key: str) -> Flow:
        """Return what was found, if anything, and what now stands in the key for this caller if it is to compute."""
        give_up, pause = self.rules.clock() + self.rules.patience, 0.005
        while True:
            raw = yield ("GET", key)
            entry = decoded(raw) if raw else None
            if entry and not self._is_due(entry):
                return entry, None
            if raw is None or not raw.startswith(LEASE):
                held = yield from self._claim(key, raw, entry)
                if held or entry:
                    return entry, held
            if self.rules.clock() >= give_up:
                return None, None
            # Jittered, so that the waiting do not all ask at the same moment.
            yield jittered(pause, 0.5, self.rules.draw)
            pause = min(pause * 2, 0.05)

    def _is_due(self, entry: Entry) -> bool:
        """Tell whether this caller is the one to refresh an entry before its end."""
        return is_due(entry.cost, entry.until - self.rules.clock(), self.rules.beta, self.rules.draw)

    def _claim(self, key: str, raw: bytes | None, entry: Entry | None) -> Flow:
        """Put something of this caller's into the key and return it, or None if another was faster."""
        until, lease = self.rules.clock() + self.rules.lease, round(self.rules.lease * 1000)
        # The others go on reading an old value, marked so that one of them tries if this caller dies.
        held = entry.fresh_until(until).encoded() if entry else new_lease()
        if raw is None:
            won = yield ("SET", key, held, "NX", "PX", lease)
        else:
            options = ("KEEPTTL",) if entry else ("PX", lease)
            won = yield set_if_equal((yield from self.dialect()), key, raw, held, *options)
        return held if won else None

    def _fill(self, key: str, held: bytes | None, old: Entry | None) -> Flow:
        """Compute the value, and store it if nothing has happened to the key meanwhile; `old` serves if that fails."""
        begun = self.rules.clock()
        try:
            value = yield COMPUTE
            life = self.rules.life_of(value)
            raw = self.encoded(value, life, self.rules.clock() - begun)
        except GeneratorExit:
            # Given up by its driver, which is as if it had died: its lease ends by itself.
            raise
        except BaseException as error:
            if old and isinstance(error, Exception):
                return old.value
            yield from self._drop(key, held)
            raise
        if held and life:
            with suppress(Unavailable):
                yield set_if_equal((yield from self.dialect()), key, held, raw, "PX", max(1, round(life * 1000)))
        else:
            yield from self._drop(key, held)
        return value

    def encoded(self, value: Any, life: float, cost: float = 0.0) -> bytes:
        """Return a value as it is stored (TypeError or ValueError for what JSON cannot hold)."""
        return Entry(value, max(0.0, cost), self.rules.clock() + life).encoded()

    def _drop(self, key: str, held: bytes | None) -> Flow:
        """Let the next caller compute at once."""
        if held:
            with suppress(Unavailable):
                yield delete_if_equal((yield from self.dialect()), key, held)

    def dialect(self) -> Flow:
        """Return how this engine spells compare-and-set; asked once (``COMMAND INFO``)."""
        for name in () if self.known_dialect else NATIVE:
            with suppress(Refused):
                answer = yield ("COMMAND INFO", name)
                if answer and any(answer.values() if isinstance(answer, dict) else answer):
                    self.known_dialect = name
        self.known_dialect = self.known_dialect or SCRIPT
        return self.known_dialect
