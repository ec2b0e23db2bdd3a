"""The sentences about memory, and about commands that make everybody else wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pytest_bdd import given, parsers, then, when

from redis_practices.polling import eventually
from redis_practices.servers.server import CACHE
from redis_practices.tuning import memory
from redis_practices.tuning.connections import TrackedCache
from redis_practices.tuning.measuring import counted
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from fixtures.reporting.measurements import Bound
    from fixtures.stacks.protocols import Private
    from redis_practices.servers.server import Server

PACKINGS: dict[str, tuple[Callable[[Any, Sequence[int]], None], ...]] = {
    "small values packed in hashes": (memory.keys_each, memory.keys_packed),
    "texts compressed": (memory.plain_texts, memory.compressed_texts),
    "values with short names": (memory.long_names, memory.short_names),
}
"""Naive and tuned by the words of the features."""

LISTS: dict[str, Callable[[Any, str], object]] = {"KEYS": memory.list_at_once, "SCAN": memory.list_in_steps}
FREES: dict[str, Callable[[Any, str], object]] = {"DEL": memory.delete_at_once, "UNLINK": memory.delete_lazily}
"""The ways that features name; a setting of the server makes UNLINK of every DEL."""


@given("a server of its own that frees at once unless told otherwise", target_fixture="server")
def have_eager_server(private: Private) -> Server:
    """Start a server on which DEL and UNLINK differ on every engine."""
    return private.server({**CACHE, "maxmemory": "0", "lazyfree-lazy-user-del": "no"})


@then(parsers.cfparse("{count:Count} {kind} take {bound:Bound} times less memory", extra_types=TYPES))
def check_memory(server: Server, count: int, kind: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Write the values both ways and hold the ratio of what they take against the bound."""
    with server.client() as client:
        plain, packed = (memory.bytes_of(client, write, count) for write in PACKINGS[kind])
    measure(kind, unit="", bound=bound, seen=round(plain / packed, 2))


@given(parsers.cfparse("{count:Count} keys and a hash of {fields:Count} fields on it", extra_types=TYPES))
def fill(server: Server, count: int, fields: int) -> None:
    """Write many keys, and one big one."""
    with server.client(socket_timeout=60) as client:
        script = "for i = 1, ARGV[1] do redis.call('HSET', KEYS[1], i, 'value ' .. i) end"
        client.eval(script, 1, "big", str(fields))
        client.eval("for i = 1, ARGV[1] do redis.call('SET', KEYS[1] .. i, i) end", 1, "key:", str(count))


@then(parsers.cfparse("one {tuned:w} keeps others waiting {bound:Bound} times less than {naive:w}", extra_types=TYPES))
def check_waiting(server: Server, tuned: str, naive: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Compare how long the server does nothing else for a call of each."""
    with server.client(socket_timeout=60) as client:
        seen = {name: memory.busy_with(client, name, LISTS[name]) for name in (naive, tuned)}
    for name, busy in seen.items():
        measure(f"a call of {name}", unit="ms", seen=round(busy, 3))
    measure(f"{tuned} against {naive}", unit="times", bound=bound, seen=round(seen[naive] / max(seen[tuned], 1e-3), 1))


@then(parsers.cfparse("{command:w} frees {bound:Bound} of such hashes in the background", extra_types=TYPES))
def check_background(server: Server, command: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Delete a copy of the big hash and count what was left to the background (``lazyfreed_objects``)."""
    with server.client(socket_timeout=60) as client:
        client.copy("big", "copy")
        before = client.info("memory")["lazyfreed_objects"]
        begun = time.perf_counter()
        FREES[command](client, "copy")
        measure(f"a call of {command}", unit="ms", seen=round((time.perf_counter() - begun) * 1000, 3))
        eventually(lambda: client.info("memory")["lazyfree_pending_objects"] == 0, within=20.0)
        seen = client.info("memory")["lazyfreed_objects"] - before
    measure(f"freed in the background by {command}", unit="", bound=bound, seen=seen)


@when("the server frees in the background whatever it is told")
def set_lazy(server: Server) -> None:
    """Make a DEL what UNLINK is (``lazyfree-lazy-user-del``, the default of Valkey >= 8)."""
    with server.client() as client:
        client.config_set("lazyfree-lazy-user-del", "yes")


@given("a cache in the client that the server keeps true", target_fixture="tracked")
def have_tracked(server: Server) -> Iterator[TrackedCache]:
    """Have a client that remembers what it read."""
    with server.client() as client, TrackedCache(client) as tracked:
        yield tracked


@when("somebody else writes one of the keys")
def write_key(server: Server) -> None:
    """Write by another client."""
    with server.client() as client:
        client.set("value:0", "changed")


@then(parsers.cfparse("5000 reads of 100 keys ask the server {bound:Bound} times", extra_types=TYPES))
def check_asked(server: Server, tracked: TrackedCache, bound: Bound, measure: Callable[..., None]) -> None:
    """Read through the client's cache and hold the reads that reached the server against the bound."""
    with server.client() as observer, counted(observer) as cost:
        for number in range(5000):
            tracked.get(f"value:{number % 100}")
    measure("reads that reached the server", unit="", bound=bound, seen=cost.calls.get("get", 0))


@then("reading it gives what was written")
def check_changed(tracked: TrackedCache) -> None:
    """Require that the client's cache has noticed."""
    assert tracked.get("value:0") == "changed"
