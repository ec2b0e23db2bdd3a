"""Send one kind of load to a deployment, and record what was lost, changed, stale or late on the way."""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count as numbers
from itertools import zip_longest
from threading import BoundedSemaphore
from typing import Any, TypeVar, cast

import pytest
from pytest_bdd import parsers, when
from redis.exceptions import AskError, MovedError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.utils import str_if_bytes

from fixtures.bdd.vocabulary import find, records, register
from fixtures.context import Context
from fixtures.reporting.measurements import Bound
from fixtures.run.keys import Unsupported
from fixtures.run.options import OPTIONS, PRACTICES, share_of
from fixtures.run.own_time import Moment, Sampler, Stopwatch, first_certain, schedule_here
from fixtures.stacks.protocols import Node
from redis_practices.redis_cluster.every_node import Asked, hold_open
from redis_practices.redis_cluster.topology import SlotRange, owner, slot_of, slot_ranges
from redis_practices.server_info import Refused, facts, is_loopback
from steps.common.vocabulary import TYPES

KEEP = 60
"""Seconds after which every key of a load has expired, however the scenario ends."""

BATCH = 200
"""Commands a pipeline."""

PATIENCE = 5.0
"""Seconds to wait beyond a bound, so that a failure says what was seen."""

Watched = TypeVar("Watched")


@dataclass
class Way:
    """The way to a deployment: one client that writes and one that reads, and a prefix for their keys."""

    context: Context
    writer: Any
    reader: Any
    prefix: str
    connect: Callable[..., Any]
    """Opens one more client, options as redis-py names them."""
    place: str = ""
    """The address of the node, if several are tried."""

    def connected(self) -> None:
        """Have both clients connected before a clock starts."""
        self.writer.ping()
        self.reader.ping()

    def batches(self, client: Any, commands: list[tuple[Any, ...]]) -> Iterator[Any]:
        """Run commands in pipelines and yield their replies in order."""
        for first in range(0, len(commands), BATCH):
            pipeline = client.pipeline(transaction=False)
            for command in commands[first : first + BATCH]:
                pipeline.execute_command(*command)
            yield from pipeline.execute()

    def record_each(self, name: str, count: int, seen: Callable[[], Any]) -> None:
        """Measure `count` times one after another, and record each."""
        for number in range(count):
            self.context.record(name, seen(), self.place or (f"number {number + 1}" if count > 1 else ""))


def certain(measured: Callable[[], Moment], digits: int) -> Callable[[Bound | None], float]:
    """Measure now, and return what tells it for a bound.

    It measures again if the judge's own time hides whether the bound is kept; see `first_certain`.
    """
    first = [measured()]

    def told(bound: Bound | None) -> float:
        again = lambda: first.pop() if first else measured()  # noqa: E731 - one expression
        return round(first_certain(again, bound) if bound else first[0].most, digits)

    return told


@when(parsers.parse("{target:Target} serves {count:Count} {load:Load}", extra_types=TYPES))
def send_load(context: Context, target: str, count: int, load: str) -> None:
    """Send one kind of load through one client that writes and one that reads, and record what came back.

    Several targets, such as every primary, are tried at the same time, each with keys of its slots.

    Example: ``When the cache serves 2000 writes``
    """
    entry, words = find("load", load)
    things = context.targets(target)
    shared: list[SlotRange] = []
    if len(things) > 1:
        with things[0].client() as client:
            shared = slot_ranges(client)
    ways = [way_to(context, thing, shared) for thing in things]

    def send(way: Way, thing: Any) -> None:
        for _ in range(MOVES):
            try:
                entry.functions[0](way, count, **words)
            except AssertionError as error:
                raise AssertionError(f"{way.place}: {error}") from error
            except (MovedError, AskError):  # the slot of its keys has moved meanwhile
                way = way_to(context, thing, slot_ranges(way.writer))
            else:
                return
        raise Unsupported(f"{way.place}: the slots of {MOVES} keys moved: judge again when the slots stay")

    if len(ways) == 1:
        entry.functions[0](ways[0], count, **words)
        return
    with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
        list(pool.map(send, ways, things))


MOST_AT_ONCE = 128
"""Targets of a load that are tried at the same time; most of them wait."""

MOVES = 3
"""Keys of a target whose slots may move away during its load."""


def way_to(context: Context, thing: Any, shared: Sequence[SlotRange]) -> Way:
    """Connect to a target; a node among others, with a map that they share, gets keys of its slots."""
    connect, prefix, place = thing.client, context.key_prefix, ""
    writer, reader = context.ending.enter_context(connect()), context.ending.enter_context(connect())
    if shared:
        place, ranges = thing.address, shared
        if place not in {held.primary for held in shared}:
            ranges = slot_ranges(writer)
        owners = ((tag, owner(slot_of(str(tag)), ranges)) for tag in numbers())
        prefix = next(f"{prefix}{{{tag}}}" for tag, held in owners if held and held.primary == place)
    return Way(context, writer, reader, prefix, connect, place)


@register("load", "writes", "keys that one client writes in pipelines and the other one reads back")
@records("writes lost", "acknowledged writes that no reader gets", unit="writes")
def send_writes(way: Way, count: int) -> None:
    """Write keys with different values, read each with the other client, and count what differs."""
    keys = [f"{way.prefix}{number}" for number in range(count)]
    replies = list(way.batches(way.writer, [("SET", key, key[::-1], "EX", KEEP) for key in keys]))
    refused = [reply for reply in replies if reply not in (True, "OK", b"OK")]
    assert not refused, f"{len(refused)} of {count} writes were not acknowledged: {refused[0]!r}"
    read = list(way.batches(way.reader, [("GET", key) for key in keys]))
    list(way.batches(way.writer, [("DEL", key) for key in keys]))
    way.context.record("writes lost", sum(value != key[::-1] for key, value in zip(keys, read, strict=True)))


@register("load", "bytes in one value", "one value of random text, written by one client and read by the other one")
@records("bytes changed", "bytes of a value that came back changed, or did not come back", unit="bytes")
def send_value(way: Way, count: int) -> None:
    """Write random text of this size, and compare what is read."""
    record_changes(way, secrets.token_hex((count + 1) // 2)[:count].encode())


@register("load", "different bytes", "one value of bytes 0, 1, 2 and so on, which is no text")
def send_bytes(way: Way, count: int) -> None:
    """Write bytes, and compare what a client reads that decodes nothing."""
    record_changes(way, bytes(number % 256 for number in range(count)))


def record_changes(way: Way, value: bytes) -> None:
    """Write a value, read it with a client that decodes nothing, and count the bytes that differ."""
    with is_carried(value):
        way.writer.set(way.prefix, value, ex=KEEP)
        with way.connect(decode_responses=False) as client:
            seen = client.get(way.prefix) or b""
    way.writer.delete(way.prefix)
    way.context.record("bytes changed", difference(value, seen))


@contextmanager
def is_carried(value: bytes) -> Iterator[None]:
    """Say the size of a value whose connection ends in the block (AssertionError)."""
    try:
        yield
    except RedisConnectionError as error:
        raise AssertionError(f"the connection ends at a command or reply of {len(value)} bytes: {error}") from None


def difference(sent: bytes, seen: bytes) -> int:
    """Return the number of bytes that differ, are missing or were added."""
    return 0 if seen == sent else sum(one != other for one, other in zip_longest(seen, sent))


@register("load", "reads after a write", "reads of a key by one client, each right after the other one has written it")
@records("reads stale", "reads that returned an older value than the last acknowledged write", unit="reads")
def send_reads(way: Way, count: int) -> None:
    """Change one key again and again, and read it each time with the other client."""
    stale = 0
    for number in range(count):
        way.writer.set(way.prefix, number, ex=KEEP)
        stale += way.reader.get(way.prefix) != str(number)
    way.writer.delete(way.prefix)
    way.context.record("reads stale", stale)


@register("load", "deletions", "keys that one client writes and deletes, and the other one looks for")
@records("deleted keys found", "keys that a client finds after their deletion was acknowledged", unit="keys")
def send_deletions(way: Way, count: int) -> None:
    """Write and delete keys one by one, and look each time with the other client."""
    found = 0
    for number in range(count):
        key = f"{way.prefix}{number}"
        way.writer.set(key, "x", ex=KEEP)
        way.writer.delete(key)
        found += way.reader.exists(key)
    way.context.record("deleted keys found", found)


@register("load", "competing locks", "requests for one lock (SET NX) from eight threads at once")
@records("locks granted", "requests for one lock that the server granted", unit="locks")
def send_locks(way: Way, count: int) -> None:
    """Set one key on the condition that it does not exist, all at once."""
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda number: way.writer.set(way.prefix, number, nx=True, ex=KEEP), range(count)))
    way.writer.delete(way.prefix)
    way.context.record("locks granted", sum(map(bool, got)))


@register("load", "increments by two clients", "increments of one counter, by two clients in turns")
@records("increments lost", "acknowledged increments that are missing in the counter", unit="increments")
def send_increments(way: Way, count: int) -> None:
    """Increment one counter with both clients in turns, and read it at the end."""
    way.writer.set(way.prefix, 0, ex=KEEP)
    for number in range(count):
        (way.reader if number % 2 else way.writer).incr(way.prefix)
    way.context.record("increments lost", count - int(way.reader.get(way.prefix)))
    way.writer.delete(way.prefix)


@register("load", "list items", "items that one client pushes and the other one pops, as a worker does")
@records("items lost or out of order", "items that came out lost, twice or at another place", unit="items")
def send_items(way: Way, count: int) -> None:
    """Push items with one client, and take them with the other one (BRPOP)."""
    pushed = [str(number) for number in range(count)]
    list(way.batches(way.writer, [("LPUSH", way.prefix, item) for item in pushed]))
    way.writer.expire(way.prefix, KEEP)
    popped = list(way.batches(way.reader, [("BRPOP", way.prefix, 0.01)] * count))
    way.writer.delete(way.prefix)
    wrong = sum(not taken or taken[1] != item for item, taken in zip(pushed, popped, strict=True))
    way.context.record("items lost or out of order", wrong)


@dataclass
class Idle:
    """Connections that are left alone from now on, in a worker's three ways; `prefix` names its key and channel."""

    prefix: str
    silent: Any
    waiting: Any
    subscriber: Any
    login: object
    """What the credential provider gave, None without one."""
    since: float = field(default_factory=time.monotonic)

    @classmethod
    def opened(cls, connect: Callable[..., Any], prefix: str, ending: ExitStack) -> Idle:
        """Open the connections, which end with `ending`."""
        silent, waiting = (ending.enter_context(connect()).connection_pool.get_connection() for _ in range(2))
        login = _login(silent)
        subscriber = ending.enter_context(ending.enter_context(connect()).pubsub(ignore_subscribe_messages=True))
        subscriber.subscribe(prefix)
        subscriber.get_message(timeout=PATIENCE)
        waiting.send_command("BRPOP", prefix, 0, check_health=False)
        return cls(prefix, silent, waiting, subscriber, login)

    def cut(self, writer: Any) -> dict[str, bool]:
        """Use each connection without a second try, and tell whether it was cut off (Unsupported with its login)."""

        def pings() -> bool:
            self.silent.send_command("PING", check_health=False)
            return str_if_bytes(self.silent.read_response(timeout=PATIENCE)) == "PONG"

        def pops() -> bool:
            writer.lpush(self.prefix, "x")
            said = self.waiting.read_response(timeout=PATIENCE)
            return bool(said) and str_if_bytes(said[1]) == "x"

        def hears() -> bool:
            writer.publish(self.prefix, "x")
            return _next_message(self.subscriber) is not None

        found = {}
        for kind, works in (("the silent one", pings), ("the waiting one", pops), ("the subscriber", hears)):
            try:
                found[kind] = not works()
            except (RedisConnectionError, RedisTimeoutError):
                found[kind] = True
        writer.delete(self.prefix)
        if any(found.values()) and _login(self.silent) != self.login:
            raise Unsupported("the login changed meanwhile: a server ends the connections of a user that it deletes")
        return found


def _login(connection: Any) -> object:
    """Return the user and password that the connection's credential provider gives now, None without a provider."""
    return connection.credential_provider and connection.credential_provider.get_credentials()


def _next_message(subscriber: Any) -> Any:
    """Return the data of the next message, None if there is none in time; a reconnection may come first."""
    until = time.monotonic() + PATIENCE
    while (left := until - time.monotonic()) > 0:
        if (message := subscriber.get_message(timeout=left)) and message["type"] == "message":
            return message["data"]
    return None


EARLY = pytest.StashKey[dict[tuple[str, type], Any]]()
"""On the configuration: by role and type, what a quick run watches since its first scenario; None once taken."""


def watch_early(context: Context) -> None:
    """Begin to watch a deployment in a quick run, so that the seconds pass while other scenarios run."""
    config, role = context.request.config, context.role
    early, items = config.stash.setdefault(EARLY, {}), context.request.session.items
    idle = [
        item for item in items if item.get_closest_marker("idle") and item.get_closest_marker(PRACTICES.get(role, role))
    ]
    if (role, Sampler) in early or not idle or not config.stash[OPTIONS].quick:
        return
    ending = ExitStack()
    config.add_cleanup(ending.close)
    with suppress(RedisError, OSError, Unsupported):  # the scenarios that judge it try again
        if nodes := share_of(idle[0], "each_node").nodes(context.nodes(role)):
            early[role, Sampler] = sampler_of(context, nodes, ending)
        if role == "broker":
            # Not a key of the first scenario: the waiting connection would take its items.
            early[role, Idle] = Idle.opened(context.nodes(role)[0].client, f"{context.key_prefix}idle", ending)
            early[role, Log] = Log.of(context)


def watched(context: Context, kind: type[Watched]) -> Watched | None:
    """Return what is watched since the first scenario of a quick run; only the first asker gets it."""
    early = context.request.config.stash.get(EARLY, {})
    found, early[context.role, kind] = (
        early.get((context.role, kind)),
        None,
    )  # the key stays: what ended does not begin again
    return cast("Watched | None", found)


def let_pass(seconds: float, since: float) -> None:
    """Wait until `seconds` have passed since a moment."""
    time.sleep(max(0.0, since + seconds - time.monotonic()))


def sampler_of(context: Context, servers: Iterable[Node], ending: ExitStack) -> Sampler:
    """Begin to send small reads to every one of some servers, over connections that end with `ending`."""
    nodes = {node.address: ending.enter_context(node.client()) for node in servers}
    schedules = {}
    for address, client in nodes.items():
        with suppress(RedisError):  # INFO is refused
            schedules[address] = schedule_here(client.info("server"))
    connections = {address: client.connection_pool.get_connection() for address, client in nodes.items()}
    options = context.request.config.stash[OPTIONS]
    most = max(1, options.max_ops // options.shard.of) if options.max_ops else None  # all judges share the limit
    hidden = {one for one in nodes if not schedules.get(one) and is_loopback(f"//{one}")}
    sampler = Sampler(connections, ("GET", context.key_prefix), most, schedules, hidden)
    ending.callback(sampler.stop)  # before the connections end
    return sampler


LATE, FEWEST = 0.15, 100
"""Seconds beyond the median that make an answer late, and the fewest answers of a share."""


@register("load", "seconds of reads", "a small read every 20 ms, of each server, beside all other commands")
@records("late answers", "answers later than most by more than 150 ms, as a share of all and of 100 at least", unit="%")
@records("longest wait", "the longest time that an answer certainly took", unit="s")
def sample_reads(way: Way, count: int) -> None:
    """Sample now, or take what a quick run has sampled since its first scenario."""
    with ExitStack() as ending:
        nodes = way.context.own_nodes(way.context.nodes(way.context.role))
        sampler = watched(way.context, Sampler) or sampler_of(way.context, nodes, ending)
        let_pass(count, sampler.since)
        sampled = sampler.stop()
    assert any(one.seconds for one in sampled.values()), f"no server answers: {next(iter(sampled.values())).error}"
    for address, seconds in ((address, one.seconds) for address, one in sampled.items() if one.seconds):
        late = sum(one > statistics.median(seconds) + LATE for one in seconds)
        way.context.record("late answers", round(100 * late / max(len(seconds), FEWEST), 1), address)
        way.context.record("longest wait", round(max(seconds), 3), address)


@dataclass
class Log:
    """The number of writes to the append-only file that have waited for the disk, at a moment."""

    delayed: int
    since: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, context: Context) -> Log:
        """Ask the first server (Unsupported if it keeps no log, or does not tell)."""
        try:
            with context.nodes(context.role)[0].client() as client:
                told = facts(client)
        except Refused as refusal:
            raise Unsupported(f"needs to know: {refusal}") from None
        if "aof_delayed_fsync" not in told:
            raise Unsupported("the server keeps no append-only file, or does not tell of it (aof_delayed_fsync)")
        return cls(int(told["aof_delayed_fsync"]))


AGAIN = 5.0
"""Seconds for a second look at a log with a delayed write: a server counts at most one in 2 seconds."""


@register("load", "seconds of its log", "time in which the server writes its append-only file")
@records("writes delayed", "writes that waited 2 s or longer for the disk (aof_delayed_fsync)", unit="writes")
def watch_log(way: Way, count: int) -> None:
    """Compare the server's count with the one before, which a quick run has asked for with its first scenario.

    A delayed write may be the only one, of a snapshot or a neighbour, so the log is then watched for longer.
    """
    before = watched(way.context, Log) or Log.of(way.context)
    let_pass(count, before.since)
    if delayed := Log.of(way.context).delayed - before.delayed:
        let_pass(count + AGAIN, before.since)
        delayed = Log.of(way.context).delayed - before.delayed
    way.context.record("writes delayed", delayed)


@register(
    "load",
    "idle connections of each kind for {seconds} seconds",
    "a wait for an item (BRPOP), a subscriber, and one that sends nothing, each silent for so long",
)
@records("connections cut off", "idle connections that did not work at their next use", unit="connections")
def leave_idle(way: Way, count: int, seconds: str) -> None:
    """Leave connections alone, or take those of the run's first scenario, and use each at the end."""
    for _ in range(count):
        with ExitStack() as ending:
            idle = watched(way.context, Idle) or Idle.opened(way.connect, way.prefix, ending)
            let_pass(float(seconds), idle.since)
            for kind, is_cut in idle.cut(way.writer).items():
                way.context.record("connections cut off", int(is_cut), kind)


@register("load", "bytes in one message", "one message of random text, published by one client to the other one")
def send_message(way: Way, count: int) -> None:
    """Publish random text of this size, and compare what the subscriber gets."""
    value = secrets.token_hex((count + 1) // 2)[:count].encode()
    with way.connect(decode_responses=False) as client, client.pubsub(ignore_subscribe_messages=True) as subscriber:
        subscriber.subscribe(way.prefix)
        subscriber.get_message(timeout=PATIENCE)
        with is_carried(value):
            way.writer.publish(way.prefix, value)
        seen = _next_message(subscriber)
    assert seen is not None, f"a message of {count} bytes reached no subscriber within {PATIENCE:g} s"
    way.context.record("bytes changed", difference(value, seen))


@register("load", "messages", "messages that one client publishes on a channel and the other one receives")
@records("message", "time of a message from the publisher to its subscriber", unit="s")
def send_messages(way: Way, count: int) -> None:
    """Subscribe with one client, and publish with the other one."""
    way.connected()
    with way.reader.pubsub(ignore_subscribe_messages=False) as subscriber:
        subscriber.subscribe(way.prefix)
        assert subscriber.get_message(timeout=PATIENCE), f"the subscription was not confirmed within {PATIENCE:g} s"

        def took() -> float:
            way.writer.publish(way.prefix, "hello")
            watch = Stopwatch()
            message = subscriber.get_message(timeout=PATIENCE)
            seconds = watch.seconds()
            assert message, f"no message reached its subscriber within {PATIENCE:g} s"
            assert message["data"] == "hello", f"another message came: {message['data']!r}"
            return round(seconds, 3)

        way.record_each("message", count, took)


@register("load", "readings of the clock", "readings of the server's clock (TIME)")
@records("difference of the clocks", "time between the clock of the server and that of its client", unit="s")
def read_clock(way: Way, count: int) -> None:
    """Compare the clocks; the server's reading lies between the request and the reply."""
    way.connected()

    def apart() -> Moment:
        asked = time.time()
        seconds, microseconds = way.reader.time()
        came, said = time.time(), seconds + microseconds / 1e6
        return Moment(max(asked - said, said - came, 0.0), max(came - said, said - asked))

    way.record_each("difference of the clocks", count, lambda: certain(apart, 2))


@register("load", "round trips", "reads one after another, each with its time")
@records("median round trip", "half of the round trips are faster", unit="s")
@records("90th percentile of the round trips", "90 % of the round trips are faster", unit="s")
def send_round_trips(way: Way, count: int) -> None:
    """Time single reads one after another, without the judge's own time."""
    way.connected()
    seen = []
    for _ in range(count):
        watch = Stopwatch()
        way.reader.get(way.prefix)
        seen.append(watch.seconds())
    way.context.record("median round trip", round(statistics.median(seen), 5))
    way.context.record("90th percentile of the round trips", round(sorted(seen)[count * 90 // 100 - 1], 4))


ROOM = BoundedSemaphore(2)
"""Targets to which connections are held open at the same time: a process may have as few as 1,024 open files."""


@register("load", "connections at once", "connections that are open at the same time, with a command on each")
@records("connections refused", "connections that were not accepted, or closed before a reply", unit="connections")
def open_connections(way: Way, count: int) -> None:
    """Open connections, read on each, and close none before each has its reply or its refusal."""

    async def read(asked: Asked) -> None:
        await asked("GET", way.prefix)

    with ROOM:
        errors = hold_open(way.connect(), count, read)
    for error in errors.values():
        if not isinstance(error, RedisConnectionError):
            raise error
    way.context.record("connections refused", len(errors), way.place)
