"""Sample the keys of a cache (``SCAN``), and judge their names, ttl and size.

    for finding in judge(sample(client, 1000), Hygiene(pattern=r"[a-z]+:.+", largest=100_000)):
        print(finding)

Only reads that do not count as a use: ``SCAN``, ``TTL``, ``MEMORY USAGE``; no key is changed, and none of them becomes
more recent for the eviction. Names are bytes, since not every program's are UTF-8; `shown` is for people.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.client import NEVER_DECODE

NO_TTL, GONE = -1, -2


@dataclass(frozen=True)
class Key:
    """One key: `ttl` in seconds (-1 is none) and `size` in bytes, with all that belongs to it."""

    name: bytes
    ttl: int
    size: int


LONGEST = 100
"""Characters of a name that are shown."""


def shown(name: bytes) -> str:
    """Return a name on one line, with escapes for what is no printable text."""
    text = name.decode("utf-8", "backslashreplace")
    safe = "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
    return safe if len(safe) <= LONGEST else f"{safe[:LONGEST]}…"


@dataclass(frozen=True)
class Hygiene:
    """What every key of a cache has to keep to."""

    pattern: str = r"[\w.-]+:.+"
    """A regular expression for the whole name; by default a prefix that says whose it is, a colon, and the rest."""
    largest: int = 1_000_000
    """Bytes; a big value holds up everybody else while it is sent."""
    longest_ttl: int = 30 * 24 * 3600
    """Seconds; what lives for months was not meant to expire."""

    def wrong(self, key: Key) -> list[str]:
        """Return what is wrong with a key: "no ttl", "ttl", "name", "size", or nothing."""
        found = ["no ttl"] if key.ttl == NO_TTL else ["ttl"] if key.ttl > self.longest_ttl else []
        name = key.name.decode("utf-8", "backslashreplace")
        found += [] if re.fullmatch(self.pattern, name, re.DOTALL) else ["name"]
        return [*found, "size"] if key.size > self.largest else found


def sample(client: Redis, limit: int = 1000, *, batch: int = 100) -> Iterator[Key]:
    """Yield up to `limit` keys as ``SCAN`` gives them, which is in no order that anybody chose.

    Keys that expire meanwhile are left out. A pause between batches is the caller's: it is a generator.

    Raises:
        redis.exceptions.RedisError: the server does not answer, or refuses one of the three commands to this user.
    """
    cursor, seen = 0, set[bytes]()
    raw: dict[str, Any] = {NEVER_DECODE: True}
    while len(seen) < limit:
        cursor, names = client.execute_command("SCAN", cursor, "COUNT", batch, **raw)
        # SCAN may give a key twice while the table of keys grows or shrinks.
        new = [name for name in names if name not in seen][: limit - len(seen)]
        seen.update(new)
        yield from look_at(client, new)
        if cursor == 0:
            return


def look_at(client: Redis, names: list[bytes]) -> Iterator[Key]:
    """Ask for ttl and size of some keys in one round trip."""
    with client.pipeline(transaction=False) as ask:
        for name in names:
            ask.ttl(name)
            ask.memory_usage(name)
        answers = ask.execute()
    for name, ttl, size in zip(names, answers[::2], answers[1::2], strict=True):
        if ttl != GONE and size is not None:
            yield Key(name, ttl, size)


def judge(keys: Iterator[Key] | list[Key], rules: Hygiene, examples: int = 3) -> dict[str, list[str]]:
    """Return the names of keys, as `shown`, by what is wrong with them: some `examples`, and how many more."""
    found: dict[str, list[str]] = {}
    counted: Counter[str] = Counter()
    for key in keys:
        for wrong in rules.wrong(key):
            counted[wrong] += 1
            if counted[wrong] <= examples:
                found.setdefault(wrong, []).append(shown(key.name))
    for wrong, number in counted.items():
        if number > examples:
            found[wrong].append(f"and {number - examples} more")
    return found
