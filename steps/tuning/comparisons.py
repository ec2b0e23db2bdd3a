"""The sentences that compare two ways on one server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from threading import Timer
from typing import Any

import pytest
from pytest_bdd import given, parsers, then, when
from redis import Redis

from fixtures.reporting.measurements import Bound
from fixtures.run.keys import Unsupported
from fixtures.run.options import OPTIONS
from fixtures.stacks.protocols import Cache, Private, Stack, need, need_command
from redis_practices.polling import eventually, join
from redis_practices.pure_cache.near_cache import NearCache
from redis_practices.servers.server import CACHE, Server
from redis_practices.tuning import connections, load, memory, round_trips, scaling
from redis_practices.tuning.bulk import pipelined
from redis_practices.tuning.connections import another, parsing, tasks_of
from redis_practices.tuning.failures import NoNamespaceError, vanished
from redis_practices.tuning.measuring import Comparison, Far, compare_by, counted, far_away
from steps.common.vocabulary import TYPES, Duration, assert_table, bound, rows


def hold(
    measure: Callable[..., None], row: dict[str, str], naive: Callable[[], object], tuned: Callable[[], object]
) -> None:
    """Hold what two ways take against a row, and what they take of this thread's processor time, if it claims that."""
    rounds = int(row.get("ROUNDS", "5"))
    wall, client = compare_by([time.perf_counter, time.thread_time], naive, tuned, rounds=rounds)
    report(measure, row, wall)
    if less := row.get("LESS PROCESSOR TIME"):
        name = f"{row['TUNED']}: less processor time of the client"
        measure(name, unit="times", bound=bound(less), seen=round(client.ratio, 2))


def report(measure: Callable[..., None], row: dict[str, str], seen: Comparison) -> None:
    """Show spread and verdict, and hold the ratio against the row, if it claims one."""
    name = f"{row['TUNED']} against {row['NAIVE']}"
    measure(f"{name}: spread", unit="%", seen=round(seen.spread, 1))
    claimed = None if row["TIMES FASTER"] == "reported" else bound(row["TIMES FASTER"])
    measure(f"{name}: {seen.verdict}", unit="times", bound=claimed, seen=round(seen.ratio, 2))


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
    with (
        far_away(options["host"], options["port"], delay.seconds()) as far,
        another(site.client, host="127.0.0.1", port=far.port) as client,
    ):
        yield Site(client, site.keys, far)


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


Measure = Callable[..., None]

LOOPS = {"closed": load.closed_loop, "open": load.open_loop}


@then(
    parsers.cfparse(
        "a hang of {hang:Duration} is seen like this by a second of {rate:Count} requests", extra_types=TYPES
    )
)
def check_loops(  # noqa: PLR0913, PLR0917 - what is asked, of whom, and how
    server: Server, site: Site, hang: Duration, rate: int, datatable: Table, measure: Measure
) -> None:
    """Have the server hang in the middle and count, by each loop, the answers that took more than 0.1 s."""
    for row in rows(datatable, ["LOOP", "WAITED 0.1 SECONDS"]):

        def pause() -> None:
            """Let the server hang."""
            server.pause()
            time.sleep(hang.seconds())
            server.resume()

        hanging = Timer(0.3, pause)
        hanging.start()
        times = LOOPS[row["LOOP"]](site.client, site.keys, rate, 1.0)
        join(hanging)
        name = f"{row['LOOP']} loop"
        measure(f"{name}: 99 % took at most", unit="ms", seen=round(1000 * load.percentile(times, 99), 2))
        slow = sum(seconds > 0.1 for seconds in times)  # noqa: PLR2004 - the table's header has it
        measure(f"{name}: waited 0.1 s", unit="requests", bound=bound(row["WAITED 0.1 SECONDS"]), seen=slow)


@then("slices that took so many milliseconds are judged like this")
def check_verdicts(datatable: Table) -> None:
    """Hold the verdict about given slices against the table."""
    seen = []
    for row in rows(datatable, ["NAIVE", "TUNED", "VERDICT"]):
        naive, tuned = (tuple(float(part) / 1000 for part in row[name].split()) for name in ("NAIVE", "TUNED"))
        seen.append({**row, "VERDICT": Comparison(naive, tuned).verdict})
    assert_table(datatable, seen)


@then("a client that vanishes is listed like this after a while")
def check_vanished(pytestconfig: pytest.Config, stack: Stack, datatable: Table, measure: Measure) -> None:
    """Cut a client off from a server without and one with keepalive, and count whom they still list."""
    need(stack, "cut networks")
    try:
        seen = vanished(pytestconfig.stash[OPTIONS].server_binary)
    except NoNamespaceError as error:
        raise Unsupported(str(error)) from None
    for row, count in zip(rows(datatable, ["KEEPALIVE", "CLIENTS"]), seen, strict=True):
        measure(f"clients, keepalive {row['KEEPALIVE']}", unit="", bound=bound(row["CLIENTS"]), seen=int(count))


@then("answers take so long by load")
def show_latency(site: Site, datatable: Table, measure: Measure, chart: Callable[..., None]) -> None:
    """Show percentiles of an open loop at shares of what a loop of single reads reaches; it claims nothing."""
    begun = time.perf_counter()
    for key in site.keys:
        site.client.get(key)
    most = len(site.keys) / (time.perf_counter() - begun)
    shares = [int(row["% OF A LOOP"]) for row in rows(datatable, ["% OF A LOOP"])]
    seen = load.by_load(site.client, site.keys, [most * share / 100 for share in shares], 0.25)
    for percentile in [name for name in seen[0] if name != "rate"]:
        points: list[Any] = [(round(row["rate"]), row[percentile]) for row in seen]
        chart(f"{percentile} by requests a second", unit="ms", kind="line", points=points)
        measure(f"{percentile} at {shares[-1]} % of a loop", unit="ms", seen=seen[-1][percentile])


@then("hiredis saves a client processor time")
def check_parser(server: Server, datatable: Table, measure: Measure) -> None:
    """Read in processes without and with hiredis, and compare the processor time that a read costs them."""
    with server.client() as client:
        client.set("key", "x" * 100)
        client.rpush("list", *["x" * 100] * 1000)
        reads: dict[str, Any] = {"1 value": [("GET", "key")] * 200, "1000 items": [("LRANGE", "list", "0", "-1")] * 5}
        for row in rows(datatable, ["AN ANSWER OF", "TIMES LESS"]):
            naive, tuned = parsing(client, reads[row["AN ANSWER OF"]])
            claimed = None if row["TIMES LESS"] == "reported" else bound(row["TIMES LESS"])
            measure(f"an answer of {row['AN ANSWER OF']}", unit="times", bound=claimed, seen=round(naive / tuned, 2))


@then("this is what so many primaries serve")
def show_scale(private: Private, datatable: Table, measure: Measure, chart: Callable[..., None]) -> None:
    """Show operations a second, processor time for each, and who was the limit; it claims nothing."""
    numbers = [int(row["PRIMARIES"]) for row in rows(datatable, ["PRIMARIES"])]
    seen = {number: scaling.reads_of(private, number) for number in numbers}
    for kind in scaling.CLIENTS:
        for number in numbers:
            measure(f"{number} primaries, {kind}", unit="", seen=str(seen[number][kind]))
        points = [(f"{number} primaries", round(seen[number][kind].rate)) for number in numbers]
        chart(f"reads a second, {kind}", unit="a second", kind="bars", points=points)


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
def have_tracked(server: Server) -> Iterator[NearCache]:
    """Have a client that remembers what it read."""
    with server.client() as client, NearCache(client, "value:") as tracked:
        eventually(lambda: tracked.listening, within=5.0)
        yield tracked


@when("somebody else writes one of the keys")
def write_key(server: Server) -> None:
    """Write by another client."""
    with server.client() as client:
        client.set("value:0", "changed")


@then(parsers.cfparse("5000 reads of 100 keys ask the server {bound:Bound} times", extra_types=TYPES))
def check_asked(server: Server, tracked: NearCache, bound: Bound, measure: Callable[..., None]) -> None:
    """Read through the client's cache and hold the reads that reached the server against the bound."""
    with server.client() as observer, counted(observer) as cost:
        for number in range(5000):
            tracked.get(f"value:{number % 100}")
    measure("reads that reached the server", unit="", bound=bound, seen=cost.calls.get("get", 0))


@then("reading it gives what was written")
def check_changed(tracked: NearCache) -> None:
    """Require that the client's cache notices within a second."""
    eventually(lambda: tracked.get("value:0") == "changed", within=1.0)
