"""Sample the keys of a cache (``SCAN``), and check their names, ttl and size.

    for finding in bad_keys(sample(client, 1000), KeyRules(pattern=r"[a-z]+:.+", largest=100_000)):
        print(finding)

It runs only ``SCAN``, ``TTL`` and ``MEMORY USAGE``, which change no key and do not count as a use for eviction. Where
the server logs large replies, `large_replies` names the big values that are read. Names
are bytes, since not every program writes UTF-8; `shown` makes them readable. It looks at the database of the client.

It writes nothing, so an interrupt or a fork leaves nothing behind. If the server does not answer, it raises. Keys that
are evicted meanwhile are left out.
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
    """One key: `ttl` in seconds (-1 is none) and `size` in bytes, its overhead included."""

    name: bytes
    ttl: int
    size: int


LONGEST = 100
"""Characters of a name that are shown."""


def shown(name: bytes) -> str:
    """Return a name on one line, with escapes for unprintable bytes."""
    text = name.decode("utf-8", "backslashreplace")
    safe = "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
    return safe if len(safe) <= LONGEST else f"{safe[:LONGEST]}…"


@dataclass(frozen=True)
class KeyRules:
    """The rules for every key of a cache."""

    pattern: str = r"[\w.-]+:.+"
    """A regular expression for the whole name; by default an owner's prefix, a colon, and a rest."""
    largest: int = 1_000_000
    """Bytes; a big value delays every other client while it is sent."""
    longest_ttl: int = 30 * 24 * 3600
    """Seconds; a longer ttl hardly ever expires in practice."""

    def violations(self, key: Key) -> list[str]:
        """Return the violations of a key: "no ttl", "ttl", "name", "size"."""
        found = ["no ttl"] if key.ttl == NO_TTL else ["ttl"] if key.ttl > self.longest_ttl else []
        name = key.name.decode("utf-8", "backslashreplace")
        found += [] if re.fullmatch(self.pattern, name, re.DOTALL) else ["name"]
        return [*found, "size"] if key.size > self.largest else found


def sample(client: Redis, limit: int = 1000, *, batch: int = 100) -> Iterator[Key]:
    """Yield up to `limit` keys in the order of ``SCAN``, which is arbitrary.

    Keys that expire meanwhile are left out. It is a generator, so the caller may pause between keys.

    Raises:
        redis.exceptions.RedisError: the server does not answer, or refuses one of the three commands to this user.
    """
    cursor, seen = 0, set[bytes]()
    raw: dict[str, Any] = {NEVER_DECODE: True}
    while len(seen) < limit:
        cursor, names = client.execute_command("SCAN", cursor, "COUNT", batch, **raw)
        # SCAN may return a key twice while the hash table is resized.
        new = [name for name in names if name not in seen][: limit - len(seen)]
        seen.update(new)
        yield from look_at(client, new)
        if cursor == 0:
            return


def look_at(client: Redis, names: list[bytes]) -> Iterator[Key]:
    """Read ttl and size of the keys in one round trip."""
    with client.pipeline(transaction=False) as ask:
        for name in names:
            ask.ttl(name)
            ask.memory_usage(name)
        answers = ask.execute()
    for name, ttl, size in zip(names, answers[::2], answers[1::2], strict=True):
        if ttl != GONE and size is not None:
            yield Key(name, ttl, size)


@dataclass(frozen=True)
class LargeReply:
    """A command with a large reply: bytes, its words, each shortened by the server, and the client's address."""

    size: int
    command: tuple[bytes, ...]
    client: str


def large_replies(client: Redis, limit: int = 10) -> list[LargeReply]:
    """Return the last commands with replies over ``commandlog-reply-larger-than`` (``COMMANDLOG GET``, Valkey 8.1).

    It names big values that are read, at the price of one command; `sample` looks for those that are not.

    Raises:
        redis.exceptions.RedisError: the server does not answer, or has no such log.
    """
    raw: dict[str, Any] = {NEVER_DECODE: True}
    entries = client.execute_command("COMMANDLOG", "GET", limit, "LARGE-REPLY", **raw)
    return [LargeReply(size, tuple(words), address.decode()) for _, _, size, words, address, _ in entries]


def bad_keys(keys: Iterator[Key] | list[Key], rules: KeyRules, examples: int = 3) -> dict[str, list[str]]:
    """Return the names of bad keys by violation, as `shown`.

    Each violation has up to `examples` names, and the number of further ones.
    """
    found: dict[str, list[str]] = {}
    counted: Counter[str] = Counter()
    for key in keys:
        for violation in rules.violations(key):
            counted[violation] += 1
            if counted[violation] <= examples:
                found.setdefault(violation, []).append(shown(key.name))
    for violation, number in counted.items():
        if number > examples:
            found[violation].append(f"and {number - examples} more")
    return found
