"""The sentences about ways to do the same work, told apart by what the server counted and by what they take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_bdd import given, parsers, then
from redis import Redis

from fixtures.stacks.protocols import need_command
from redis_practices.tuning import connections, memory, round_trips
from redis_practices.tuning.bulk import pipelined
from redis_practices.tuning.connections import tasks_of
from redis_practices.tuning.latency_proxy import Far, far_away
from redis_practices.tuning.measuring import counted
from steps.common.vocabulary import TYPES, bound, rows
from steps.tuning._ratios import hold

if TYPE_CHECKING:
    from fixtures.stacks.protocols import Cache
    from redis_practices.servers.server import Server
    from steps.common.vocabulary import Duration

Table = Sequence[Sequence[str]]
Way = Callable[[Sequence[str]], object]
"""Works on keys."""


def packed_pipelines(server: Redis, keys: Sequence[str]) -> list[Any]:
    """Read keys by 100 commands in flight, as `redis_practices.tuning.bulk` packs them."""
    return pipelined(server, [("GET", key) for key in keys], batch=100)


WAYS: dict[str, Callable[[Any, Sequence[str]], object]] = {
    "GET one at a time": round_trips.one_at_a_time,
    **{f"GET by pipelines of {depth}": partial(round_trips.in_pipelines, depth=depth) for depth in (1, 10, 50, 1000)},
    "GET by pipelines of 100": round_trips.in_pipelines,
    "packed pipelines of 100": packed_pipelines,
    "MGET of 50": partial(round_trips.read_together, size=50),
    "MGET of 100": round_trips.read_together,
    "SET one at a time": round_trips.write_each,
    "MSET of 100": round_trips.write_together,
    "GET, connecting each time": connections.connect_each_time,
    "GET by 16 threads, 4 connections": connections.pool_of,
    "SET, then EXPIRE": round_trips.set_then_expire,
    "SET with EX": round_trips.set_with_ttl,
    "WATCH, GET, SET": round_trips.read_modify_write,
    "a script": round_trips.by_script,
    "a function": round_trips.by_function,
    "GET without hiredis": connections.without_hiredis,
}
"""The ways that features name; naive and tuned ones stand side by side in src/tuning/."""

PREPARED: dict[str, Callable[[Redis], AbstractContextManager[Way]]] = {
    "asyncio, 1 task": partial(tasks_of, tasks=1),
    "asyncio, 20 tasks": tasks_of,
    "asyncio, 50 tasks": partial(tasks_of, tasks=50),
    "GET of a whole document": memory.whole_document,
    "HGET of one field": memory.one_field,
}
"""Ways that need something made ready, which is not timed: from a client to a function of keys."""


@dataclass
class Site:
    """Where ways are tried: a client, and the keys to work on."""

    client: Redis
    keys: list[str]
    far: Far | None = None
    """The way there, if it takes its time."""


def filled(client: Redis, prefix: str, number: int, size: int) -> Site:
    """Write `number` values of `size` characters that are gone after ten minutes, and return where they are."""
    keys = [f"{prefix}{index}" for index in range(number)]
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.set(key, "1" * size, ex=600)
        pipe.execute()
    return Site(client, keys)


@given(parsers.cfparse("{number:Count} values of {size:Count} bytes on it", extra_types=TYPES), target_fixture="site")
def fill_server(server: Server, number: int, size: int) -> Site:
    """Write values to the scenario's own server."""
    return filled(server.client(), "value:", number, size)


@given(
    parsers.cfparse("{number:Count} values of {size:Count} bytes in the cache", extra_types=TYPES),
    target_fixture="site",
)
def fill_cache(cache: Cache, key_prefix: str, number: int, size: int) -> Site:
    """Write values to the shared cache."""
    return filled(cache.client(), key_prefix, number, size)


@given(parsers.cfparse("the way there takes {delay:Duration} there and back", extra_types=TYPES), target_fixture="site")
def move_away(site: Site, delay: Duration) -> Iterator[Site]:
    """Put a round trip between the client and the cache."""
    options = connections.address(site.client)
    with far_away(options["host"], options["port"], delay.seconds()) as far:
        client = Redis(**{**options, "host": "127.0.0.1", "port": far.port})
        yield Site(client, site.keys, far)
        client.close()


@then("the server counts for these ways")
def check_counts(server: Server, site: Site, datatable: Table, measure: Callable[..., None]) -> None:
    """Try each way once, warmed up, and hold what the server counted against the table."""
    observer = server.client()
    columns = ("COMMANDS", "READS", "CONNECTIONS", "SENT")
    for row in rows(datatable, ["WAY"], columns):
        if row["WAY"] == "a function":
            need_command(server, "FCALL", "functions, as servers have from version 7.0 on")
        with ExitStack() as stack:
            way = prepared(row["WAY"], site, stack)
            way(site.keys[:2])
            with counted(observer) as cost:
                way(site.keys)
        for column in [name for name in columns if row.get(name)]:
            seen = getattr(cost, column.lower())
            measure(f"{row['WAY']}: {column.lower()}", unit="", bound=bound(row[column]), seen=seen)


@then("so many reads are on their way at the same time")
def check_waiting_together(site: Site, datatable: Table, measure: Callable[..., None]) -> None:
    """Try each way, warmed up, and hold the most connections that waited at the same time against the table."""
    assert site.far, "nothing is far away here: say how long the way there takes"
    for row in rows(datatable, ["WAY", "READS"]):
        with ExitStack() as stack:
            way = prepared(row["WAY"], site, stack)
            way(site.keys)
            site.far.most_waiting = 0
            way(site.keys)
        measure(f"{row['WAY']}: at once", unit="", bound=bound(row["READS"]), seen=site.far.most_waiting)


@then("these ways pay")
def check_ratios(site: Site, datatable: Table, measure: Callable[..., None]) -> None:
    """Time two ways a row in turn and hold the ratio of their medians against the table; "reported" claims nothing."""
    for row in rows(datatable, ["NAIVE", "TUNED", "TIMES FASTER"], ["LESS PROCESSOR TIME", "ROUNDS"]):
        with ExitStack() as stack:
            naive, tuned = (partial(prepared(row[name], site, stack), site.keys) for name in ("NAIVE", "TUNED"))
            hold(measure, row, naive, tuned)


def prepared(name: str, site: Site, stack: ExitStack) -> Way:
    """Return a way as a function of keys; what it holds open is closed with `stack`."""
    if name in PREPARED:
        return stack.enter_context(PREPARED[name](site.client))
    return partial(WAYS[name], site.client)
