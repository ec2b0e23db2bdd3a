"""The sentences about a cache that is full."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pytest_bdd import given, parsers, then, when
from redis.exceptions import OutOfMemoryError, ResponseError

from fixtures.reporting.measurements import Bound
from redis_practices.servers.server import CACHE
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fixtures.stacks.protocols import Private
    from redis_practices.servers.server import Config, Server

VALUE = "x" * 1000


@given(
    parsers.parse('a server with a memory limit of {megabytes:d} MB and the policy "{policy}"'), target_fixture="server"
)
def have_limited_server(private: Private, megabytes: int, policy: str) -> Server:
    """Start a small server; it samples 10 keys an eviction, which comes near to the true order."""
    limit: Config = {"maxmemory": f"{megabytes}mb", "maxmemory-policy": policy, "maxmemory-samples": 10}
    return private.server({**CACHE, **limit})


def _write(client: Any, names: Iterable[str], **options: Any) -> int:
    """Write keys of 1,000 bytes in a pipeline and return how many were refused for lack of memory."""
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.set(name, VALUE, **options)
    answers = pipeline.execute(raise_on_error=False)
    other = [answer for answer in answers if isinstance(answer, ResponseError) and not _is_full(answer)]
    assert not other, f"a write failed for another reason: {other[0]}"
    return sum(isinstance(answer, ResponseError) for answer in answers)


def _is_full(error: ResponseError) -> bool:
    """Tell whether the server refused for lack of memory."""
    return isinstance(error, OutOfMemoryError) or str(error).startswith("OOM")


def _left(client: Any, kind: str, count: int) -> int:
    """Return how many keys of a kind are there, without touching them (EXISTS would count as a use)."""
    pipeline = client.pipeline(transaction=False)
    for number in range(count):
        pipeline.object("ENCODING", f"{kind}:{number}")
    return sum(
        not isinstance(answer, ResponseError) and answer is not None
        for answer in pipeline.execute(raise_on_error=False)
    )


@when(parsers.parse('{count:d} keys "{kind}" are written'))
def write_keys(server: Server, count: int, kind: str) -> None:
    """Write keys without a ttl."""
    with server.client() as client:
        _write(client, (f"{kind}:{number}" for number in range(count)))


@when(parsers.parse('{count:d} keys "{kind}" are written to live {ttl:d} seconds and more'))
def write_expiring(server: Server, count: int, kind: str, ttl: int) -> None:
    """Write keys with a ttl, each a second longer than the one before."""
    with server.client() as client:
        pipeline = client.pipeline(transaction=False)
        for number in range(count):
            pipeline.set(f"{kind}:{number}", VALUE, ex=ttl + number)
        pipeline.execute()


@when(parsers.parse('{count:d} keys "{kind}" are read {times:d} times'))
def read_keys(server: Server, count: int, kind: str, times: int) -> None:
    """Read keys again and again."""
    with server.client() as client:
        for _ in range(times):
            pipeline = client.pipeline(transaction=False)
            for number in range(count):
                pipeline.get(f"{kind}:{number}")
            pipeline.execute()


@when("the clock of the eviction has moved on")
def wait_for_clock() -> None:
    """Let two seconds pass: what is read within one second counts as equally recent."""
    time.sleep(2)


@when(parsers.parse("a flood of {count:d} keys is written"))
@then(parsers.cfparse("a flood of {count:Count} keys is written and {bound:Bound} of them refused", extra_types=TYPES))
def write_flood(server: Server, measure: Callable[..., None], count: int, bound: Bound | None = None) -> None:
    """Write more than there is room for; unless the sentence says otherwise, nothing is refused."""
    with server.client() as client:
        refused = _write(client, (f"flood:{number}" for number in range(count)))
    measure(f"writes refused, of {count}", unit="keys", bound=bound or Bound.exactly(0, "keys"), seen=refused)


@then(parsers.cfparse('of {count:Count} keys "{kind}" {bound:Bound} are still there', extra_types=TYPES))
def check_left(server: Server, count: int, kind: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Count the keys of a kind that were not evicted."""
    with server.client() as client:
        measure(f"keys {kind} left, of {count}", unit="keys", bound=bound, seen=_left(client, kind, count))


@then(parsers.cfparse("the memory in use is {bound:Bound} of the limit", extra_types=TYPES))
def check_memory(server: Server, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold used_memory against maxmemory."""
    with server.client() as client:
        told = client.info("memory")
    seen = round(100 * told["used_memory"] / told["maxmemory"], 1)
    measure("memory in use", unit="%", bound=bound, seen=seen)


@then("reads are still answered")
def check_reads(server: Server) -> None:
    """Read a key while the server is full."""
    with server.client() as client:
        assert client.get("flood:0") == VALUE, "a full server no longer answers reads"


@then("the server says how many keys it evicted and how often a read hit")
def check_counters(server: Server) -> None:
    """Require that the counters of INFO stats move as what happens does."""
    with server.client() as client:
        before = client.info("stats")
        client.get("flood:-1")
        client.set("sure", "1")
        client.get("sure")
        after = client.info("stats")
    assert after["evicted_keys"] > 0, "evicted_keys is 0 after a flood"
    moved = {name: after[name] - before[name] for name in ("keyspace_hits", "keyspace_misses")}
    assert moved == {"keyspace_hits": 1, "keyspace_misses": 1}, f"one hit and one miss were counted as {moved}"
