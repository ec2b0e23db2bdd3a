"""The sentences about the keys that a cache keeps: their ttl and expiry, eviction, big keys, key hygiene."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pytest_bdd import parsers, then, when
from redis.exceptions import NoPermissionError

from fixtures.bdd.vocabulary import records, register
from fixtures.context import Context, target
from fixtures.reporting.measurements import MOST_POINTS, Bound
from fixtures.run.keys import Unsupported
from fixtures.run.own_time import busy_seconds
from fixtures.run.practices_file import change, changeable
from redis_practices.polling import eventually
from redis_practices.pure_cache.key_audit import Key, KeyRules, bad_keys, large_replies, look_at, sample, shown
from redis_practices.servers.server import CACHE
from steps.common.keys import WORKLOADS
from steps.common.vocabulary import TYPES, Table, at_most, name_pattern, options, rows
from steps.pure_cache.cache_aside import LookAside


@when(parsers.parse('{count:Count} keys "{key}" are read', extra_types=TYPES))
@records("shortest ttl", "the least time that a value gets in the cache", unit="s")
@records("longest ttl", "the most time that a value gets in the cache", unit="s")
@records("values in the fullest tenth", "largest share that expires in one tenth of the jitter's window", unit="%")
def read_keys(context: Context, count: int, key: str, datatable: Table | None = None) -> None:
    """Read numbered keys with this prefix.

    They are read through the cache of the scenario if it has one, else through a client. The origin behind a look-aside
    cache has a value for each. The option ``times`` reads all of them so often.

    Example: ``When 100 keys "hot" are read``
    """
    names = [f"{key}:{number}" for number in range(count)]
    reader = context.named.get("reader") or context.target("a client")
    if isinstance(reader, LookAside):
        read_batch(reader, names)
        return
    for _ in range(int(options(datatable).get("times", 1))):
        missing = [name for name in names if reader.read(name) is None]
        assert len(missing) < count, "none of the keys is there"


register("setting", "times", "how often each of the keys is read")(read_keys)


def read_batch(reader: LookAside, names: list[str]) -> None:
    """Cache values, and record their ttls.

    A read takes time, so a ttl lies between two values: the bound gets the value in its favour.
    """
    cached = list[tuple[float, float]]()
    for name in names:
        reader.origin.hold(name, name)
        begun = time.monotonic()
        reader.read(name)
        cached.append((begun, time.monotonic()))
    with reader.client.pipeline(transaction=False) as ask:
        for name in names:
            ask.pttl(reader.context.key(name))
        asked = time.monotonic()
        left = [ttl / 1000 for ttl in ask.execute()]
        answered = time.monotonic()
    least = [ttl + asked - end for ttl, (_, end) in zip(left, cached, strict=True)]
    most = [ttl + answered - begun for ttl, (begun, _) in zip(left, cached, strict=True)]
    high, window = reader.aside.rules.ttl, reader.aside.rules.ttl * reader.aside.rules.spread
    tenths = [min(9, max(0, int(10 * (high - ttl) / (window or 1)))) for ttl in least]
    fullest = max(tenths.count(tenth) for tenth in range(10))
    reader.context.record("shortest ttl", round(min(most), 3))
    reader.context.record("longest ttl", round(max(least), 3))
    reader.context.record("values in the fullest tenth", round(100 * fullest / len(names), 1))


TTL, SUSPECT = 0.3, 0.05
"""Seconds: a ttl long enough to differ from none, and a lateness that a busy machine may cause."""


@dataclass
class ExpiringKey:
    """A key of the cache with a ttl, set by an option of SET; without an option it is read on a replica."""

    context: Context
    option: str = ""

    @records("lateness of the expiry", "time from the end of a ttl to the last read that finds the key", unit="s")
    def expire(self) -> None:
        """Read the key until it is gone, and record how late; a busy machine measures up to three times."""
        for _ in range(3):
            busy = busy_seconds()
            late = self._lateness()
            if late < SUSPECT or busy_seconds() - busy < late:
                break  # no process of this machine waited for a processor as long as the key was late
        self.context.record("lateness of the expiry", round(late, 4))

    def _lateness(self) -> float:
        """Set the key, read it until it is gone, and return the seconds from its end to the last read that found it."""
        key = self.context.key("expiring")
        with self.context.cache.client() as client:
            if self.option:
                asked, earliest, latest = set_key(client, key, self.option)
                gone, last = read_until_gone(client, key)
                assert gone >= earliest - 0.002, f"it was gone {earliest - gone:.3f} s before its time ({asked})"
            else:  # the primary is not read, and need not have noticed
                with start_replica(self.context).client() as reader:
                    latest = set_key_on_replica(client, reader, key)
                    _, last = read_until_gone(reader, key)
        return max(0.0, last - latest)


def read_until_gone(client: Any, key: str) -> tuple[float, float]:
    """Read a key until it is gone; return when it was gone, and found.

    The second moment is the beginning of the last read that found it. Before its answer came, this process may have
    waited for a processor.
    """
    found = begun = time.time()
    until = begun + 15
    while client.get(key) is not None:
        found, begun = begun, time.time()
        assert begun < until, "15 s later the key is still there"
    return time.time(), found


def set_key(client: Any, key: str, option: str) -> tuple[str, float, float]:
    """Set a key; return the command, and between which moments its ttl ends."""
    client.ping()
    before = time.time()
    server, micros = client.time()
    after, said = time.time(), server + micros / 1e6
    # The clock of the server may differ: it is ahead of this machine's by as much as one of these.
    most, least = said - before, said - after
    whole, exact = int(before + most) + 1, round((before + most + TTL) * 1000)
    command = {"EX": 1, "PX": round(TTL * 1000), "EXAT": whole, "PXAT": exact}
    begun = time.time()
    client.execute_command("SET", key, "x", option, command[option])
    done = time.time()
    earliest = {"EX": begun + 1, "PX": begun + TTL, "EXAT": whole - most, "PXAT": exact / 1000 - most}[option]
    latest = {"EX": done + 1, "PX": done + TTL, "EXAT": whole - least, "PXAT": exact / 1000 - least}[option]
    return f"SET {option} {command[option]}", earliest, latest


target('a key set with "{option}"', "a key with a ttl, set by this option of SET")(ExpiringKey)


def set_key_on_replica(writer: Any, reader: Any, key: str) -> float:
    """Set a key at the primary, give it a ttl when the replica has it, and return when that ends."""
    writer.set(key, "x")
    eventually(lambda: reader.get(key) == "x", within=10, every=0.001)
    writer.pexpire(key, round(TTL * 1000))
    return time.time() + TTL


def start_replica(context: Context) -> Any:
    """Start a replica of the isolated cache, in step with it."""
    host, port = context.cache.node.address.split(":")
    with context.cache.client() as primary:
        # By default it waits 5 s for further replicas before it makes the copy.
        primary.config_set("repl-diskless-sync-delay", 0)
        replica = context.private.server({**CACHE, "replicaof": [host, port]})
        with replica.client() as client:
            eventually(lambda: client.info("replication")["master_link_status"] == "up", within=10)
        # Redis 7.0 holds writes back until the replica's first acknowledgement, which it sends once a second.
        primary.set("first", "write")
        assert primary.wait(1, 10_000) == 1, "the replica does not acknowledge a write within 10 s"
    return replica


target("a key on a replica", "a key with a ttl, as a replica of the isolated cache shows it")(ExpiringKey)


@register("load", "expired events", "keys with one ttl of 300 ms and no reader, among 10,000 keys with a long ttl")
@records("expired events on time", "events that came at most 1 second after the end of the ttl", unit="events")
def send_expired_events(way: Any, count: int) -> None:
    """Write all keys, and count the expired events of the first second."""
    way.writer.config_set("notify-keyspace-events", "Ex")
    with (
        way.reader.pubsub(ignore_subscribe_messages=True) as events,
        way.writer.pipeline(transaction=False) as pipeline,
    ):
        events.subscribe("__keyevent@0__:expired")
        for number in range(10_000):
            pipeline.set(f"{way.prefix}other:{number}", "x", ex=3600)
        for number in range(count):
            pipeline.set(f"{way.prefix}due:{number}", "x", px=300)
        pipeline.execute()
        gone, late = time.monotonic() + 0.3, list[float]()
        while (left := gone + 1 - time.monotonic()) > 0:
            if events.get_message(timeout=left):
                late.append(1000 * (time.monotonic() - gone))
    if late:
        way.context.chart("how late keys expire", unit="ms", kind="spread", points=late[:MOST_POINTS])
    way.context.record("expired events on time", len(late))


@register("load", "freed sets of {members:d} members", "sets freed by UNLINK, then by a DEL that frees at once")
@records("time of UNLINK", "the fastest of these commands, by the clock of the server", unit="s")
@records("DEL as a multiple of UNLINK", "the fastest DEL, compared with the fastest UNLINK", unit="times")
def free_sets(way: Any, count: int, members: int) -> None:
    """Free copies of one set by each command."""
    way.writer.config_set("lazyfree-lazy-user-del", "no")
    source, big, batch = f"{way.prefix}source", f"{way.prefix}big", 10_000
    for first in range(0, members, batch):
        way.writer.sadd(source, *range(first, first + batch))
    fastest: dict[str, float] = {}
    for command in ("UNLINK", "DEL"):
        took = list[float]()
        for _ in range(count):
            way.writer.sunionstore(big, source)
            way.writer.config_resetstat()
            way.writer.execute_command(command, big)
            # The clock of the server: ours would count the wait for a processor, too.
            took.append(way.writer.info("commandstats")[f"cmdstat_{command.lower()}"]["usec"] / 1e6)
            eventually(lambda: way.writer.info("memory")["lazyfree_pending_objects"] == 0, within=20)
        fastest[command] = max(min(took), 1e-6)
    way.context.record("time of UNLINK", fastest["UNLINK"])
    way.context.record("DEL as a multiple of UNLINK", round(fastest["DEL"] / fastest["UNLINK"], 1))


def read_big_value(context: Context, _writers: int, readers: int, _options: Mapping[str, str]) -> None:
    """Start readers of a value of 2 MB in the background, and wait until each has read it."""
    ended, reading, key = threading.Event(), threading.Semaphore(0), context.key("big")

    def read() -> None:
        with context.cache.client(decode_responses=False) as client:
            while not ended.wait(0.005):  # this pause leaves the processor to further threads of this process
                client.get(key)
                reading.release()

    with context.cache.client() as client:
        client.set(key, "x" * 2_000_000)
    threads = [threading.Thread(target=read, daemon=True) for _ in range(readers)]
    for thread in threads:
        context.ending.callback(thread.join)
        thread.start()
    context.ending.callback(ended.set)
    for _ in threads:
        assert reading.acquire(timeout=10), "a reader of the big value got no reply"


WORKLOADS["cache"] = read_big_value


@then(parsers.parse('{bound:Bound} keys "{key}" are left', extra_types=TYPES))
def check_left(context: Context, bound: Bound, key: str) -> None:
    """Count the keys with this prefix (SCAN), which is no use of them.

    Example: ``Then at least 90 keys "hot" are left``
    """
    with context.cache.client() as client:
        seen = sum(1 for _ in client.scan_iter(f"{context.key(key)}:*", count=1000))
    context.measure(f"keys {key} left", unit="", bound=bound, seen=seen)


def asked(name: str, meaning: str, unit: str, section: str, read: Callable[[dict[str, Any]], float]) -> None:
    """Register a measurement that a section of INFO tells of a server."""

    def ask(_: Context, thing: Any) -> float:
        with thing.client() as client:
            return read(client.info(section))

    register("measurement", name, meaning, unit=unit)(ask)


asked("of maxmemory in use", "used_memory as a share of maxmemory", "%", "memory",
      lambda told: round(100 * told["used_memory"] / told["maxmemory"], 1))  # fmt: skip
asked("bytes of data", "used_memory without what an empty server uses", "", "memory",
      lambda told: told["used_memory"] - told["used_memory_startup"])  # fmt: skip
asked("evicted keys", "keys that were evicted since the start", "", "stats", lambda told: told["evicted_keys"])
asked("read hits", "reads that found their key since the start", "", "stats", lambda told: told["keyspace_hits"])
asked("read misses", "reads that found no key since the start", "", "stats", lambda told: told["keyspace_misses"])
asked("connections", "clients without two: this one, and the client that watches the server", "", "clients",
      lambda told: told["connected_clients"] - 2)  # fmt: skip


@register("measurement", "keys", "keys of a server")
def count_keys(_: Context, thing: Any) -> int:
    """Ask for the number (DBSIZE)."""
    with thing.client() as client:
        return int(client.dbsize())


@register("measurement", "files on disk", "files that a server has written, but for its log and its settings")
def count_files(_: Context, thing: Any) -> int:
    """Look into its data folder."""
    return len({path.name for path in thing.folder.iterdir()} - {"log", "server.conf"})


LIMITS: dict[str, Callable[[str], object]] = {"key-ttl": at_most, "key-size": at_most, "key-pattern": name_pattern}
"""By limit, what reads its bound."""


@then("the keys of the cache keep these limits")
@changeable("{LIMIT}", "{BOUND}", LIMITS)
def check_limits(context: Context, datatable: Table) -> None:
    """Judge a sample of at most 1000 keys by ttl, size and name.

    Ttls are seconds, sizes bytes; `practices.toml` changes the bounds. Keys of this suite are left out, but for one
    that shows that the sample finds keys. The name is reported, unless the user asks for a pattern.

    Example: a table of LIMIT and BOUND
    """
    default = {row["LIMIT"]: row["BOUND"] for row in rows(datatable, ("LIMIT", "BOUND"))}
    bounds = {limit: context.bounds.text(limit, bound) for limit, bound in default.items()}
    wanted = context.bounds.text("key-pattern", "")
    rules = KeyRules(
        longest_ttl=at_most(bounds["key-ttl"]), largest=at_most(bounds["key-size"]), pattern=bounds["key-pattern"]
    )
    keys = take_sample(context, 1000)
    others = [key for key in keys if "name" in rules.violations(key)]
    context.measure("keys looked at", unit="keys", seen=len(keys))
    context.measure("largest key", unit="B", seen=max(key.size for key in keys))
    context.measure("names of another style", unit="keys", seen=len(others))
    for key in others[:3]:
        context.measure("a name of another style", unit="", seen=shown(key.name))
    found = bad_keys(keys, rules)
    for limit, kinds in {"key-ttl": ("no ttl", "ttl"), "key-size": ("size",), "key-pattern": ("name",)}.items():
        told = "; ".join(f"{kind}: {', '.join(found[kind])}" for kind in kinds if kind in found)
        if limit != "key-pattern" or wanted:
            assert not told, f"of {len(keys)} keys these break {limit} {bounds[limit]}: {told}{change(limit)}"


def take_sample(context: Context, limit: int) -> list[Key]:
    """Look at keys of the cache, without those of other scenarios.

    One key of this scenario is written and must be found.
    """
    ours = context.key("seen").encode()
    with context.cache.client() as client:
        client.set(ours, "x", ex=60)
        try:
            found = [*sample(client, limit), *look_at(client, [ours])]
        except NoPermissionError as error:
            raise Unsupported(f"needs to look at keys: {error}") from None
    assert found[-1].name == ours, "the look does not find a key that was just written"
    return [key for key in found if key.name == ours or not key.name.startswith(b"practices:")]


@register("finding", "key findings", "keys without a ttl, with a long one, of another style of name, or big")
def key_findings(context: Context) -> list[dict[str, str]]:
    """Judge all keys of the isolated cache by the default rules."""
    prefix = context.key_prefix.encode()
    with context.cache.client() as client:
        keys = [replace(key, name=key.name.removeprefix(prefix)) for key in sample(client, 10_000)]
    return [{"KEY": name, "PROBLEM": kind} for name, kind in sorted(
        (name, kind) for kind, names in bad_keys(keys, KeyRules()).items() for name in names)]  # fmt: skip


@register("finding", "large replies", "keys of the last commands with a large reply, by the server's log")
def found_large_replies(context: Context) -> list[dict[str, Any]]:
    """Read the log of the isolated cache (`large_replies`)."""
    with context.cache.client() as client:
        found = large_replies(client)
    return [{"KEY": one.command[1].decode().removeprefix(context.key_prefix), "BYTES": one.size} for one in found]
