"""The sentences about a full cache, big values and the keys that it holds."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import Any

from pytest_bdd import given, parsers, then, when
from redis.exceptions import NoPermissionError, OutOfMemoryError, ResponseError

from fixtures.reporting.measurements import Bound
from fixtures.run.keys import Unsupported
from fixtures.run.practices_file import AuditBounds, change, changeable
from fixtures.stacks.protocols import Cache, Private
from redis_practices.polling import eventually, seconds_until
from redis_practices.pure_cache.key_audit import Hygiene, Key, judge, look_at, sample, shown
from redis_practices.servers.server import CACHE, Config, Server
from steps.common.vocabulary import TYPES, assert_table, at_most, name_pattern, rows

VALUE = "x" * 1000


@given(
    parsers.parse('a server with a memory limit of {megabytes:d} MB and the policy "{policy}"'), target_fixture="server"
)
def have_limited_server(private: Private, megabytes: int, policy: str) -> Server:
    """Start a small server; it samples 10 keys an eviction, which comes near to the true order."""
    limit: Config = {"maxmemory": f"{megabytes}mb", "maxmemory-policy": policy, "maxmemory-samples": 10}
    return private.server({**CACHE, **limit})


def _piped(client: Any, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Return the answers to commands, errors as exceptions, 500 a round trip.

    A client's time-out is for all that it writes at once: on a busy machine 5 s were too short for 20 MB.
    """
    answers, waiting = [], iter(commands)
    while some := list(islice(waiting, 500)):
        pipeline = client.pipeline(transaction=False)
        for command in some:
            pipeline.execute_command(*command)
        answers += pipeline.execute(raise_on_error=False)
    return answers


def _write(client: Any, names: Iterable[str]) -> int:
    """Write keys of 1,000 bytes and return how many were refused for lack of memory."""
    answers = _piped(client, (("SET", name, VALUE) for name in names))
    other = [answer for answer in answers if isinstance(answer, ResponseError) and not _is_full(answer)]
    assert not other, f"a write failed for another reason: {other[0]}"
    return sum(isinstance(answer, ResponseError) for answer in answers)


def _is_full(error: ResponseError) -> bool:
    """Tell whether the server refused for lack of memory."""
    return isinstance(error, OutOfMemoryError) or str(error).startswith("OOM")


def _left(client: Any, kind: str, count: int) -> int:
    """Return how many keys of a kind are there, without touching them (EXISTS would count as a use)."""
    answers = _piped(client, (("OBJECT ENCODING", f"{kind}:{number}") for number in range(count)))
    return sum(not isinstance(answer, ResponseError) and answer is not None for answer in answers)


@when(parsers.parse('{count:d} keys "{kind}" are written'))
def write_keys(server: Server, count: int, kind: str) -> None:
    """Write keys without a ttl."""
    with server.client() as client:
        _write(client, (f"{kind}:{number}" for number in range(count)))


@when(parsers.parse('{count:d} keys "{kind}" are written to live {ttl:d} seconds and more'))
def write_expiring(server: Server, count: int, kind: str, ttl: int) -> None:
    """Write keys with a ttl, each a second longer than the one before."""
    with server.client() as client:
        written = _piped(client, (("SET", f"{kind}:{number}", VALUE, "EX", ttl + number) for number in range(count)))
    assert set(written) == {True}, f"{count} writes were answered with {set(written)}"


@when(parsers.parse('{count:d} keys "{kind}" are read {times:d} times'))
def read_keys(server: Server, count: int, kind: str, times: int) -> None:
    """Read keys again and again."""
    with server.client() as client:
        for _ in range(times):
            assert VALUE in _piped(client, (("GET", f"{kind}:{number}") for number in range(count)))


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


FILL = "for i = 1, tonumber(ARGV[1]) do redis.call('SADD', KEYS[1], 'member:' .. i) end"
"""Makes a big set in one round trip."""

FILLING = 30.0
"""Seconds that the server may take to fill its memory: a tenth of one, where nothing else goes on."""

SLACK = 1_000_000
"""Bytes by which the memory of an empty server may differ: buffers of clients, pages kept by the allocator."""


def _fastest(client: Any, command: str, members: int, rounds: int = 5) -> float:
    """Return the seconds of the fastest of some rounds, as the server counts them; each frees that many members."""
    took: list[float] = []
    client.eval(FILL, 1, "source", members)
    for _ in range(rounds):
        client.sunionstore("big", "source")
        client.config_resetstat()
        client.execute_command(command, "big")
        # The server's own clock: ours would count the waiting for a processor, too.
        took.append(client.info("commandstats")[f"cmdstat_{command.lower()}"]["usec"] / 1e6)
        eventually(lambda: client.info("memory")["lazyfree_pending_objects"] == 0, within=20)
    return min(took)


@then(
    parsers.cfparse('"{command}" of {members:Count} members takes {bound:Bound}', extra_types=TYPES),
    target_fixture="freed",
)
def check_unlink(
    server: Server, command: str, members: int, bound: Bound, measure: Callable[..., None]
) -> tuple[int, float]:
    """Free a big set; return its size and the seconds."""
    with server.client() as client:
        took = _fastest(client, command, members)
    measure(command, unit="s", bound=bound, seen=round(took, 6))
    return members, took


@then(
    parsers.cfparse('"{command}" of them takes {bound:Bound} times as long, if it frees them itself', extra_types=TYPES)
)
def check_del(
    server: Server, freed: tuple[int, float], command: str, bound: Bound, measure: Callable[..., None]
) -> None:
    """Free a set of the same size by the other command, and compare."""
    with server.client() as client:
        client.config_set("lazyfree-lazy-user-del", "no")
        took = _fastest(client, command, freed[0])
    measure(command, unit="s", seen=round(took, 6))
    measure(f"{command} compared", unit="times", bound=bound, seen=round(took / max(freed[1], 1e-6), 1))


@then(
    parsers.cfparse('the memory of {members:Count} members is free {bound:Bound} after "{command}"', extra_types=TYPES),
    target_fixture="members",
)
def check_later(server: Server, members: int, bound: Bound, command: str, measure: Callable[..., None]) -> int:
    """Flush, and wait until the memory in use is what it was when the server was empty."""
    with server.client(socket_timeout=FILLING) as client:
        empty = client.info("memory")["used_memory"]
        client.eval(FILL, 1, "big", members)
        assert client.info("memory")["used_memory"] > empty + SLACK, "the set takes no memory: nothing can be measured"
        client.execute_command(*command.split())
        took = seconds_until(lambda: client.info("memory")["used_memory"] < empty + SLACK, 20)
    measure(f"memory free after {command}", unit="s", bound=bound, seen=round(took, 3))
    return members


@then(parsers.parse('it is free at once after "{command}"'))
def check_at_once(server: Server, members: int, command: str) -> None:
    """Flush, and look once."""
    with server.client(socket_timeout=FILLING) as client:
        empty = client.info("memory")["used_memory"]
        client.eval(FILL, 1, "big", members)
        client.execute_command(*command.split())
        left = client.info("memory")["used_memory"] - empty
    assert left < SLACK, f"{left} bytes are still in use right after {command}"


@when(parsers.parse("{readers:d} readers read a value of {megabytes:d} MB all the time"))
def read_big(server: Server, readers: int, megabytes: int, ending: ExitStack) -> None:
    """Read a big value in threads until the scenario ends."""
    ended, reading = threading.Event(), threading.Semaphore(0)

    def read() -> None:
        """Read again and again; the pause leaves the processor to this process' other threads."""
        with server.client(decode_responses=False) as client:
            while not ended.is_set():
                client.get("big")
                reading.release()
                ended.wait(0.005)

    with server.client() as client:
        client.set("big", "x" * megabytes * 1_000_000)
        client.set("small", "x")
    threads = [threading.Thread(target=read) for _ in range(readers)]
    for thread in threads:
        ending.callback(thread.join)
        thread.start()
    ending.callback(ended.set)
    for _ in threads:
        assert reading.acquire(timeout=10), "a reader of the big value got no answer"


@then(parsers.cfparse("half of {number:Count} small reads beside them take {bound:Bound}", extra_types=TYPES))
def check_small(server: Server, number: int, bound: Bound, measure: Callable[..., None]) -> None:
    """Read a small value and take the middle of the times."""
    took = []
    with server.client() as client:
        for _ in range(number):
            begun = time.monotonic()
            assert client.get("small") == "x", "the small value is gone"
            took.append(time.monotonic() - begun)
    measure("small read", unit="s", bound=bound, seen=round(statistics.median(took), 5))


OWN = b"practices:"
"""How the keys of this suite begin."""


@given(parsers.parse("a sample of at most {limit:d} keys of the cache"), target_fixture="keys")
def take_sample(cache: Cache, key_prefix: str, limit: int) -> list[Key]:
    """Look at keys that are there, those of other scenarios left out, and at one of ours that must be found."""
    ours = f"{key_prefix}seen".encode()
    with cache.client() as client:
        client.set(ours, "x", ex=60)
        try:
            found = [*sample(client, limit), *look_at(client, [ours])]
        except NoPermissionError as error:
            raise Unsupported(f"needs to look at keys: {error}") from None
    assert found[-1].name == ours, "the look does not find a key that was just written"
    return [key for key in found if key.name == ours or not key.name.startswith(OWN)]


def _check(keys: list[Key], rules: Hygiene, kinds: tuple[str, ...], wanted: str, bound: str) -> None:
    """Require that nothing of these kinds is wrong with any key."""
    found = judge(keys, rules)
    told = "; ".join(f"{kind}: {', '.join(found[kind])}" for kind in kinds if kind in found)
    assert not told, f"of {len(keys)} keys these have no {wanted}: {told}{change(bound)}"


@then(parsers.parse("every key of the sample has a ttl of at most {seconds:d} seconds"))
@changeable("key-ttl", "at most {seconds}", at_most)
def check_ttls(keys: list[Key], seconds: int, audit_bounds: AuditBounds, measure: Callable[..., None]) -> None:
    """Require a ttl, and none that is longer."""
    longest = at_most(audit_bounds.text("key-ttl", f"at most {seconds}"))
    _check(keys, Hygiene(longest_ttl=longest), ("no ttl", "ttl"), f"ttl of at most {longest} seconds", "key-ttl")
    measure("keys looked at", unit="keys", seen=len(keys))


@then(parsers.parse('keys of the sample that do not match "{pattern}" are reported'))
@changeable("key-pattern", "{pattern}", name_pattern)
def check_names(keys: list[Key], pattern: str, audit_bounds: AuditBounds, measure: Callable[..., None]) -> None:
    """Report names of another style; a pattern that the user asks for is held against them."""
    if wanted := audit_bounds.text("key-pattern", ""):
        _check(keys, Hygiene(pattern=wanted), ("name",), f'name like "{wanted}"', "key-pattern")
    others = [key for key in keys if "name" in Hygiene(pattern=wanted or pattern).wrong(key)]
    measure("names of another style", unit="keys", seen=len(others))
    for key in others[:3]:
        measure("a name of another style", unit="", seen=shown(key.name))


@then(parsers.parse("every key of the sample takes at most {size:d} bytes"))
@changeable("key-size", "at most {size}", at_most)
def check_sizes(keys: list[Key], size: int, audit_bounds: AuditBounds, measure: Callable[..., None]) -> None:
    """Require a bounded size, the key's name included."""
    largest = at_most(audit_bounds.text("key-size", f"at most {size}"))
    measure("largest key", unit="B", seen=max(key.size for key in keys))
    _check(keys, Hygiene(largest=largest), ("size",), f"size of at most {largest} bytes", "key-size")


@given(parsers.parse("{number:d} proper keys and these ones"))
def write_proper_keys(server: Server, number: int, datatable: Sequence[Sequence[str]]) -> None:
    """Write keys that keep to everything, and those of the table."""
    with server.client() as client, client.pipeline(transaction=False) as pipeline:
        for index in range(number):
            pipeline.set(f"proper:{index}", "x", ex=60)
        for row in rows(datatable, ("KEY", "TTL", "BYTES")):
            ttl = None if row["TTL"] == "none" else int(row["TTL"])
            pipeline.set(row["KEY"], "x" * int(row["BYTES"]), ex=ttl)
        pipeline.execute()


@then("a look at all its keys finds exactly")
def check_found(server: Server, datatable: Sequence[Sequence[str]]) -> None:
    """Judge every key by the rules as they come."""
    with server.client() as client:
        found = judge(sample(client, 10_000), Hygiene())
    seen = sorted((name, kind) for kind, names in found.items() for name in names)
    assert_table(datatable, [{"KEY": name, "WRONG": kind} for name, kind in seen])


@then("a look at all its keys uses only SCAN, TTL and MEMORY USAGE, and makes none of them more recent")
def check_harmless(server: Server) -> None:
    """Compare what the server counted, and how long a key was idle, before and after."""
    with server.client() as client, server.client() as other:
        # The clock of the idle time ticks in seconds.
        eventually(lambda: client.object("idletime", "user:1") >= 1, within=5)
        other.config_resetstat()
        seen = len([*sample(client, 10_000)])
        used = {name.removeprefix("cmdstat_") for name in other.info("commandstats")}
        idle = client.object("idletime", "user:1")
        there = client.dbsize()
    assert seen == there, f"{seen} of {there} keys were looked at"
    # Before Redis 7.0 a server did not count subcommands apart.
    memory = "memory" if "memory" in used else "memory|usage"
    assert used - {"config", "config|resetstat", "info"} == {"scan", "ttl", memory}, f"the look used {used}"
    assert idle >= 1, "the look made a key more recent"
