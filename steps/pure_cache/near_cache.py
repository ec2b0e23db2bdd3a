"""The sentences about copies in the memory of this process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

from pytest_bdd import given, parsers, then, when
from redis.exceptions import MaxConnectionsError, RedisError

from fixtures.reporting.measurements import Bound
from fixtures.run.keys import Unsupported
from fixtures.run.own_time import moment_of
from fixtures.stacks.protocols import Cache, Private
from redis_practices.polling import eventually
from redis_practices.pure_cache.near_cache import NearCache
from redis_practices.servers.server import CACHE, Server
from steps.common.vocabulary import TYPES, Duration

HEARTBEAT, SOON = 2.0, 0.4
"""Seconds of silence after which a near cache asks for the server: as usual, and where its end is to be noticed soon.

A judge that waits for a processor would take its own silence for the server's.
"""


PUSHES = 3
"""The version of the protocol with messages that nobody asked for."""


@dataclass
class Near:
    """A near cache, another client of its server, and the prefix of this scenario's keys."""

    cache: NearCache
    client: Any
    """Its own client of the server."""
    other: Any
    prefix: str


def _near(client: Any, other: Any, prefix: str, ending: ExitStack, heartbeat: float) -> Near:
    """Start a near cache that ends with the scenario, and return when it is told of changes."""
    if int(client.connection_pool.get_protocol() or 3) < PUSHES:
        raise Unsupported("needs RESP3, in which a server pushes messages: the URL says protocol=2")
    other.execute_command("CLIENT TRACKING", "OFF")  # where it is refused, that is the reason of a skip
    cache = ending.enter_context(NearCache(client, prefix, limit=50, heartbeat=heartbeat))
    eventually(lambda: cache.listening, within=10)
    client.ping()
    other.ping()
    return Near(cache, client, other, prefix)


@given("a server of its own that frees expired keys only when they are read", target_fixture="server")
def have_lazy_server(private: Private) -> Server:
    """Start a server and turn off its search for expired keys (``DEBUG SET-ACTIVE-EXPIRE``)."""
    server = private.server({**CACHE, "enable-debug-command": "local"})
    server.client().execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    return server


@given("a near cache of this scenario's keys", target_fixture="near")
def have_near(cache: Cache, key_prefix: str, ending: ExitStack) -> Near:
    """Keep copies of the keys below this scenario's prefix."""
    return _near(cache.client(protocol=3), cache.client(), key_prefix, ending, HEARTBEAT)


@given("a near cache of all its keys", target_fixture="near")
def have_near_of_all(server: Server, ending: ExitStack) -> Near:
    """Keep copies of whatever is read from a private server."""
    client = server.client(protocol=3, socket_timeout=0.2)
    return _near(client, server.client(), "", ending, SOON)


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


@then(parsers.cfparse("it holds {bound:Bound} values", extra_types=TYPES))
def check_size(near: Near, bound: Bound, measure: Callable[..., None]) -> None:
    """Count the copies."""
    measure("copies", unit="values", bound=bound, seen=len(near.cache))


@then(parsers.parse('{number:d} reads of "{key}" through it cost the server nothing'))
def check_free(near: Near, number: int, key: str, measure: Callable[..., None]) -> None:
    """Read while all connections of the near cache's own client are taken: a read that asks the server is refused one.

    What other clients of the server read is not counted so.
    """
    pool, taken, got, asked = near.client.connection_pool, list[Any](), set[Any](), 0
    pool.max_connections = 2  # one is for notices
    with suppress(MaxConnectionsError):
        while True:
            taken.append(pool.get_connection())
    for _ in range(number):
        try:
            got.add(near.cache.get(near.prefix + key))
        except MaxConnectionsError:
            asked += 1
    for connection in taken:
        pool.release(connection)
    assert len(got) <= 1, f"the reads gave {got}"
    measure("reads that asked the server", unit="reads", bound=Bound.exactly(0), seen=asked)


@then(parsers.cfparse('the near cache reads "{value}" as "{key}" {bound:Bound}', extra_types=TYPES))
@then(parsers.cfparse('the near cache reads nothing as "{key}" {bound:Bound}', extra_types=TYPES))
def check_soon(near: Near, key: str, bound: Bound, measure: Callable[..., None], value: str | None = None) -> None:
    """Read until it is so; what the reads get meanwhile is the old value."""
    seen = moment_of(lambda: near.cache.get(near.prefix + key) == value, 10, also=(RedisError,)).within(bound)
    measure("seen by the near cache", unit="s", bound=bound, seen=round(seen, 4))


@then(parsers.cfparse("the near cache has dropped everything {bound:Bound}", extra_types=TYPES))
def check_dropped(near: Near, bound: Bound, measure: Callable[..., None]) -> None:
    """Wait until nothing is held, without asking the server."""
    seen = moment_of(lambda: not near.cache.listening and len(near.cache) == 0, 10).within(bound)
    measure("silence noticed", unit="s", bound=bound, seen=round(seen, 3))


@then(parsers.cfparse("the near cache listens again {bound:Bound}", extra_types=TYPES))
def check_again(near: Near, bound: Bound, measure: Callable[..., None]) -> None:
    """Wait until it is told of changes again, and a copy is kept again."""
    seen = moment_of(lambda: near.cache.listening, 10).within(bound)
    measure("heard again", unit="s", bound=bound, seen=round(seen, 3))
    hold_copy(near, "again", "user:2")
