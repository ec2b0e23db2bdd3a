"""The sentences about the moment at which a key is gone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pytest_bdd import given, parsers, then

from fixtures.reporting.measurements import MOST_POINTS, Bound
from redis_practices.polling import eventually
from redis_practices.servers.server import CACHE
from steps.common.vocabulary import TYPES, Duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.stacks.protocols import Cache, Private
    from redis_practices.servers.server import Server

TTL = 0.3
"""Seconds: long enough to be told from none at all, short enough not to be waited for."""


@then(parsers.parse('a ttl that is set with "{option}" ends at most {milliseconds:d} milliseconds late'))
def check_lateness(cache: Cache, key_prefix: str, option: str, milliseconds: int, measure: Callable[..., None]) -> None:
    """Read a key without pause until it is gone; it may not be gone too early either."""
    with cache.client() as client:
        client.ping()
        asked, deadline = _set(client, key_prefix, option)
        seen = begun = time.time()
        while client.get(key_prefix) is not None:
            # When it was asked, not when the answer was read: this process may have had to wait in between.
            seen, begun = begun, time.time()
        gone = time.time()
    assert gone >= deadline - 0.002, f"the key was gone {deadline - gone:.3f} s before its time ({asked})"
    late = max(0.0, seen - deadline)
    measure(f"lateness, {option}", unit="s", bound=Bound.at_most(milliseconds / 1000, "s"), seen=round(late, 4))


def _set(client: Any, key: str, option: str) -> tuple[str, float]:
    """Set a key with one of the four options, and return the command and the earliest moment at which it may go."""
    now = time.time()
    server, micros = client.time()
    # The two clocks are one on this machine, but not on somebody's deployment.
    offset = server + micros / 1e6 - now
    whole = int(now + offset) + 1
    arguments = {
        "EX": 1,
        "PX": round(TTL * 1000),
        "EXAT": whole,
        "PXAT": round((now + offset + TTL) * 1000),
    }
    deadline = {"EX": now + 1, "PX": now + TTL, "EXAT": whole - offset, "PXAT": now + TTL}[option]
    client.execute_command("SET", key, "x", option, arguments[option])
    return f"SET {option} {arguments[option]}", deadline


@given("a server of its own", target_fixture="server")
def have_server(private: Private) -> Server:
    """Start a server that is used as a cache by this scenario alone."""
    return private.server(CACHE)


@given("a replica of it", target_fixture="replica")
def have_replica(private: Private, server: Server) -> Server:
    """Start a replica and wait until its first copy is done."""
    host, port = server.address.split(":")
    with server.client() as primary:
        # By default it waits 5 s for further replicas before it makes the copy.
        primary.config_set("repl-diskless-sync-delay", 0)
    replica = private.server({**CACHE, "replicaof": [host, port]})
    with replica.client() as client, server.client() as primary:
        eventually(lambda: client.info("replication")["master_link_status"] == "up", within=10)
        # Redis 7.0 holds writes back until the replica's first acknowledgement, which it sends once a second.
        primary.set("first", "write")
        assert primary.wait(1, 10_000) == 1, "the replica does not acknowledge a write within 10 s"
    return replica


@then(parsers.cfparse("a key that expired is gone on the replica too {bound:Bound}", extra_types=TYPES))
def check_replica(server: Server, replica: Server, bound: Bound, measure: Callable[..., None]) -> None:
    """Read a key with a ttl on the replica until it is gone there; the primary, left unread, need not have noticed."""
    with server.client() as writer, replica.client() as reader:
        writer.set("username", "qiross")
        eventually(lambda: reader.get("username") == "qiross", within=10, every=0.001)
        writer.pexpire("username", round(TTL * 1000))
        seen = begun = deadline = time.time() + TTL
        while reader.get("username") is not None:
            # When it was asked, as above.
            seen, begun = begun, time.time()
            assert seen < deadline + 10, "10 s after its time it is still there"
    measure("lateness on a replica", unit="s", bound=bound, seen=round(max(0.0, seen - deadline), 4))


@then(parsers.cfparse("{count:Count} expired keys that nobody reads are gone {bound:Bound}", extra_types=TYPES))
def check_active_expiry(server: Server, count: int, bound: Bound, measure: Callable[..., None]) -> None:
    """Let keys expire and ask only how many there are."""
    with server.client() as client:
        pipeline = client.pipeline(transaction=False)
        for number in range(count):
            pipeline.set(f"session:{number}", "x" * 100, px=100)
        pipeline.execute()
        begun = time.monotonic()
        eventually(lambda: client.dbsize() == 0, within=30, every=0.02)
        measure("expired keys freed unread", unit="s", bound=bound, seen=round(time.monotonic() - begun - 0.1, 3))


@then(
    parsers.cfparse(
        "of {due:Count} expired events {bound:Bound} come within {limit:Duration} while {rest:Count} other keys wait",
        extra_types=TYPES,
    )
)
def check_events(  # noqa: PLR0913, PLR0917 - the words of the sentence
    server: Server,
    due: int,
    bound: Bound,
    limit: Duration,
    rest: int,
    measure: Callable[..., None],
    chart: Callable[..., None],
) -> None:
    """Let keys with one deadline expire among others, read none, and count the events that say so in time."""
    with server.client() as client, client.pubsub(ignore_subscribe_messages=True) as events:
        client.config_set("notify-keyspace-events", "Ex")
        pipeline = client.pipeline(transaction=False)
        for number in range(rest):
            pipeline.set(f"other:{number}", "x", ex=3600)
        events.subscribe("__keyevent@0__:expired")
        for number in range(due):
            pipeline.set(f"due:{number}", "x", px=300)
        pipeline.execute()
        gone = time.monotonic() + 0.3
        late = []
        while (left := gone + limit.seconds() - time.monotonic()) > 0:
            if events.get_message(timeout=left):
                late.append(1000 * (time.monotonic() - gone))
    if late:
        chart("how late keys expire", unit="ms", kind="spread", points=late[:MOST_POINTS])
    measure(f"expired events in time, of {due}", unit="events", bound=bound, seen=len(late))
