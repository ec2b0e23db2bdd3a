"""The sentences about copies in the memory of this process."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_bdd import given, parsers, when
from redis.exceptions import RedisError

from redis_practices.polling import eventually
from redis_practices.pure_cache.near_cache import NearCache
from redis_practices.servers.server import CACHE
from steps.common.vocabulary import TYPES, Duration

if TYPE_CHECKING:
    from fixtures.stacks.protocols import Cache, Private
    from redis_practices.servers.server import Server

HEARTBEAT = 0.4
"""Seconds of silence after which the near caches of these scenarios ask whether the server is there."""


@dataclass
class Near:
    """A near cache, another client of its server, and the prefix of this scenario's keys."""

    cache: NearCache
    other: Any
    prefix: str


def _near(client: Any, other: Any, prefix: str, ending: ExitStack, limit: int = 50) -> Near:
    """Start a near cache that ends with the scenario, and return when it is told of changes."""
    cache = ending.enter_context(NearCache(client, prefix, limit=limit, heartbeat=HEARTBEAT))
    eventually(lambda: cache.listening, within=10)
    return Near(cache, other, prefix)


@given("a server of its own that frees expired keys only when they are read", target_fixture="server")
def have_lazy_server(private: Private) -> Server:
    """Start a server and turn off its search for expired keys (``DEBUG SET-ACTIVE-EXPIRE``)."""
    server = private.server({**CACHE, "enable-debug-command": "local"})
    server.client().execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    return server


@given("a near cache of this scenario's keys", target_fixture="near")
def have_near(cache: Cache, key_prefix: str, ending: ExitStack) -> Near:
    """Keep copies of the keys below this scenario's prefix."""
    return _near(cache.client(protocol=3), cache.client(), key_prefix, ending)


@given("a near cache of all its keys", target_fixture="near")
def have_near_of_all(server: Server, ending: ExitStack) -> Near:
    """Keep copies of whatever is read from a private server."""
    client = server.client(protocol=3, socket_timeout=0.2)
    return _near(client, server.client(), "", ending)


@given(parsers.parse('the near cache holds "{value}" as "{key}"'))
@given(parsers.cfparse('the near cache holds "{value}" as "{key}" for {ttl:Duration}', extra_types=TYPES))
def hold_copy(near: Near, value: str, key: str, ttl: Duration | None = None) -> None:
    """Write a value and read it until it is kept: notice of the write may be under way, or its ttl be over already."""

    def kept() -> bool:
        """Read without a command being counted."""
        if near.cache.get(near.prefix + key) is None:
            near.other.set(near.prefix + key, value, px=round(ttl.seconds() * 1000) if ttl else 60_000)
            _hear(near)
            near.cache.get(near.prefix + key)
        return near.cache.holds(near.prefix + key)

    eventually(kept, within=5, every=0.01, also=(RedisError,))


def _hear(near: Near) -> None:
    """Return when the near cache has heard of all writes so far: notices come in the order of the writes."""
    last = f"{near.prefix}last"
    near.other.set(last, "old")
    near.cache.get(last)
    near.other.set(last, "new")
    eventually(lambda: near.cache.get(last) == "new", within=5, every=0.001)
    near.other.delete(last)


@when(parsers.parse("{number:d} keys are read through it, which holds at most {limit:d}"))
def read_many(near: Near, number: int, limit: int) -> None:
    """Write and read more keys than it may hold."""
    assert near.cache.limit == limit, f"the near cache may hold {near.cache.limit}"
    names = [f"{near.prefix}{index}" for index in range(number)]
    for name in names:
        near.other.set(name, "x", ex=60)
    # Notices of the writes may still come in; a key that is named is read again.
    eventually(lambda: sum(near.cache.get(name) == "x" for name in names) == number, within=5)
    eventually(lambda: [near.cache.get(name) for name in names] and len(near.cache) == limit, within=5)
