"""The sentences about copies in the memory of this process."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from pytest_bdd import given, parsers, when

from embedded import CACHE
from fixtures.waiting import eventually
from near_cache import NearCache
from steps.vocabulary import TYPES, Duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from embedded import Server
    from fixtures.deployments import Cache, Private

HEARTBEAT = 0.4
"""Seconds of silence after which the near caches of these scenarios ask whether the server is there."""


@dataclass
class Near:
    """A near cache, another client of its server, and the prefix of this scenario's keys."""

    cache: NearCache
    other: Any
    prefix: str


@pytest.fixture
def ending() -> Iterator[ExitStack]:
    """Give a stack of what ends with the scenario."""
    with ExitStack() as stack:
        yield stack


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
    """Write a value and read it, again while the notice of the write is under way, until it is kept."""
    near.other.set(near.prefix + key, value, px=round(ttl.seconds() * 1000) if ttl else 60_000)

    def kept() -> bool:
        """Read without a command being counted."""
        near.cache.get(near.prefix + key)
        return near.cache.holds(near.prefix + key)

    eventually(kept, within=5, every=0.01)


@when(parsers.parse('another client sets "{key}" to "{value}"'))
def set_elsewhere(near: Near, key: str, value: str) -> None:
    """Write past the near cache."""
    near.other.set(near.prefix + key, value, ex=60)


@when(parsers.parse('another client deletes "{key}"'))
def delete_elsewhere(near: Near, key: str) -> None:
    """Delete past the near cache."""
    near.other.delete(near.prefix + key)


@when("the server is flushed")
def flush(near: Near) -> None:
    """Delete everything."""
    near.other.flushall()


@when("the server cuts the connection of the near cache")
def cut(near: Near) -> None:
    """Cut every connection but the one that asks for it."""
    near.other.client_kill_filter(_type="normal", skipme=True)


@when("the server hangs")
def hang(server: Server) -> None:
    """Stop the process."""
    server.pause()


@when("the server goes on")
def go_on(server: Server) -> None:
    """Let the process go on."""
    server.resume()


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
