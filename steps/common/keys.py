"""The sentences that write and read keys, and that keep writers and readers at work in the background."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count as count_from
from itertools import islice
from statistics import median
from typing import Any

from pytest_bdd import given, parsers, then, when
from redis.exceptions import RedisError, ResponseError

from fixtures.bdd.vocabulary import records, register
from fixtures.context import Context, target
from fixtures.redis_cluster.nodes import by_holder, clients_of, holder, is_copied, node_at, owner_of, primaries
from fixtures.run.keys import Unsupported
from fixtures.run.own_time import Moment, Stopwatch, moment_of
from redis_practices.redis_cluster.key_distribution import HotKey, batches, hottest_keys, read, write
from redis_practices.redis_cluster.topology import slot_of
from redis_practices.tuning.bulk import bulk
from steps.common.data_path import Way, certain
from steps.common.judgements import check_measurements, usual_client
from steps.common.vocabulary import TYPES, Table, duration, options, rows

TTL = 600
"""Seconds after which nothing of a scenario is left on a deployment that others use too."""


@dataclass
class Data:
    """What a scenario has written, with its clients."""

    context: Context
    written: dict[str, str] = field(default_factory=dict)
    """The keys of "keys are written", with their values."""
    these: list[str] = field(default_factory=list)
    """The keys of "these keys"."""
    read: list[str] = field(default_factory=list)
    """The keys that were read, as the feature names them."""
    hot: list[HotKey] = field(default_factory=list)
    """The hottest keys meanwhile, if they were counted."""
    acknowledged: list[str] = field(default_factory=list)
    """The keys of the last `When` that wrote."""
    clients: dict[str, Any] = field(default_factory=dict)

    def client(self, name: str = "") -> Any:
        """Return the client of that name, which keeps its connections and its slot map until the scenario ends."""
        if name not in self.clients:
            self.clients[name] = self.context.ending.enter_context(CLIENTS[name](self.context))
        return self.clients[name]


CLIENTS: dict[str, Callable[[Context], Any]] = {"": usual_client}
"""What makes a client, by its name in an OPTION table; the usual one has none."""


@dataclass
class ClientUnderTest:
    """A client, as a target of sentences."""

    context: Context
    name: str = ""

    def client(self) -> Any:
        """Return a new client."""
        return CLIENTS[self.name](self.context)

    def read(self, key: str) -> Any:
        """Return the value of a key, or None."""
        return self.context.part(Data).client(self.name).get(self.context.key(key))


target("a client", "a client as redis_practices makes it; it keeps connections and slot map for the whole scenario")(
    ClientUnderTest
)


@given(parsers.parse("{count:Count} keys are written", extra_types=TYPES))
def write_random_keys(context: Context, count: int) -> None:
    """Write keys with random names, and wait until the replicas of a cluster have them.

    Example: ``Given 300 keys are written``
    """
    data = context.part(Data)
    # A counter would not do: CRC16 spreads one better than chance.
    numbers = random.Random(f"{context.request.config.option.hypothesis_seed} {context.request.node.nodeid}")
    names = (f"{context.key_prefix}{numbers.randbytes(8).hex()}" for _ in count_from())
    own = (name for name in names if slot_of(name) in context.slots)
    data.written = {name: str(number) for number, name in enumerate(islice(own, count))}
    if context.role != "cluster":
        with usual_client(context) as client:
            return write(client, data.written, TTL)
    for held, keys in by_holder(context.cluster, data.written).items():
        with node_at(context.cluster, held.primary).client() as client:
            for some in batches(keys, BATCH):
                pipe = client.pipeline(transaction=False)
                for key in some:
                    pipe.set(key, data.written[key], ex=TTL)
                pipe.execute()
            copies = len(held.replicas)
            assert is_copied(client, copies), f"not all of {copies} replicas follow {held.primary}"
    return None


def await_copies(context: Context, key: str, copies: int) -> None:
    """Wait until this number of replicas has all writes of a key's owner."""
    with owner_of(context.cluster, key).client() as client:
        client.expire(key, TTL)  # a write of this connection: WAIT counts from the last one of its client
        assert is_copied(client, copies), f"not all of {copies} replicas have {key} after 5 s"


KEY_TYPES: Mapping[str, Callable[[Any, str, str], Any]] = {
    "hash": lambda client, key, value: client.hset(key, mapping=dict.fromkeys(value.split(), "1")),
    "list": lambda client, key, value: client.rpush(key, *value.split()),
    "set": lambda client, key, value: client.sadd(key, *value.split()),
    "sorted set": lambda client, key, value: client.zadd(key, dict.fromkeys(value.split(), 1)),
    "stream": lambda client, key, value: client.xadd(key, dict.fromkeys(value.split(), "1")),
    "hyperloglog": lambda client, key, value: client.pfadd(key, *value.split()),
}
"""What writes a key of each type; a value is words, which are members, fields or items."""


@given("these keys")
def write_these_keys(context: Context, datatable: Table) -> None:
    """Write keys of any TYPE; a VALUE is words, which are the members, fields or items.

    COUNT writes numbered items in place of a VALUE, and BYTES a text of that size. TTL is seconds, of the key,
    or with FIELD of this field of a hash; ``none`` is no ttl. PLACE ``beside "k"`` gives the key another slot of the
    node that owns "k".

    Example: a table of KEY, TYPE and VALUE
    """
    with usual_client(context) as client:
        for row in rows(datatable, ("KEY", "TYPE"), ("VALUE", "COUNT", "BYTES", "TTL", "FIELD", "PLACE")):
            if beside := row.get("PLACE"):
                context.aliases[row["KEY"]] = _neighbour(context, row["KEY"], beside.split('"')[1])
            elif slot_of(context.key(row["KEY"])) not in context.slots:
                context.aliases[row["KEY"]] = _in_share(context, row["KEY"])
            key, ttl = context.key(row["KEY"]), row.get("TTL") or str(TTL)
            text = "x" * int(row.get("BYTES") or 0) or " ".join(map(str, range(int(row.get("COUNT") or 0))))
            context.part(Data).these.append(key)
            if row["TYPE"] == "string":  # in one command, as applications do
                client.set(key, row.get("VALUE") or text, ex=None if ttl == "none" else int(ttl))
                continue
            KEY_TYPES[row["TYPE"]](client, key, row.get("VALUE") or text)
            if part := row.get("FIELD"):
                assert client.hpexpire(key, int(ttl) * 1000, part) == [1], f"{key} has no field {part}"
            if ttl != "none":
                assert client.expire(key, TTL if part else int(ttl)), f"{key} was not written"


def _in_share(context: Context, name: str) -> str:
    """Return a name for a key in one of the slots that the scenario asks."""
    return next(key for number in count_from() if slot_of(key := f"{context.key(name)}{number}") in context.slots)


def _neighbour(context: Context, name: str, other: str) -> str:
    """Return a name for a key in another slot of the node that owns another key."""
    held, taken = holder(context.cluster, context.key(other)), slot_of(context.key(other))
    names = (f"{context.key(name)}{number}" for number in range(10**6))
    return next(key for key in names if held.first <= slot_of(key) <= held.last and slot_of(key) != taken)


@when(parsers.parse('{count:Count} keys "{key}" are written', extra_types=TYPES))
@records("writes acknowledged", "writes that the server acknowledged", unit="writes")
@records("writes refused", "writes that the server answered with an error", unit="writes")
@records("writes lost", "acknowledged writes that no reader gets", unit="writes")
def write_keys(context: Context, count: int, key: str, datatable: Table | None = None) -> None:
    """Write numbered keys with this prefix, of 1,000 bytes each; one with a hash tag puts them into one slot.

    With ``replicas to wait for`` a write is acknowledged when this number of replicas has it (WAIT). The ``ttl`` is 10
    minutes unless an option says otherwise; ``none`` is no ttl.

    Example: ``When 500 keys "{user:1}" are written``
    """
    wanted = options(datatable)
    data, copies, ttl = (
        context.part(Data),
        int(wanted.get("replicas to wait for", 0)),
        wanted.get("ttl", f"{TTL} seconds"),
    )
    px = None if ttl == "none" else round(duration(ttl).seconds() * 1000)
    keys = [f"{context.key(key)}:{number}" for number in range(count)]
    tagged = context.role == "cluster" and "{" in key
    with owner_of(context.cluster, keys[0]).client() if tagged else usual_client(context) as client:
        pipe, said = client.pipeline(transaction=False), list[Any]()
        for number, name in enumerate(keys, 1):
            pipe.set(name, "x" * 1000, px=px)
            if copies and number == count:
                pipe.execute_command("WAIT", copies, PATIENCE)
            if number % BATCH == 0 or number == count:
                said += pipe.execute(raise_on_error=False)
    missing = bool(copies) and said.pop() < copies
    data.acknowledged = [name for name, one in zip(keys, said, strict=True) if one is True and not missing]
    refusals = [one for one in said if isinstance(one, RedisError)]
    context.record("writes acknowledged", len(data.acknowledged))
    context.record("writes refused", lambda _: (context.errors.pop("write", None), len(refusals))[1])
    context.record("writes lost", lambda _: _lost(context, data.acknowledged))
    with context.attempt("write", RedisError):
        if missing:
            raise ResponseError(f"WAIT: fewer than {copies} replicas have the writes")
        for refusal in refusals:
            raise refusal


BATCH = 500
"""Writes a round trip: the timeout of a client is for all that it writes at once."""

PATIENCE = 1500
"""Milliseconds that a writer waits for replicas."""

register("setting", "replicas to wait for", "replicas that must have a write before it counts as acknowledged (WAIT)")(
    write_keys
)


def _lost(context: Context, keys: Sequence[str]) -> int:
    """Count the keys that a new client does not find."""
    with usual_client(context) as client:
        return read(client, keys).count(None)


@contextmanager
def counted_keys(context: Context) -> Iterator[list[HotKey]]:
    """Let the primaries of the cluster count keys, or slots, in a block (`hottest_keys`)."""
    with clients_of(primaries(context.cluster)) as clients, ExitStack() as counting:
        try:
            found = counting.enter_context(hottest_keys(clients))
        except ResponseError as error:
            raise Unsupported(f"needs HOTKEYS or CLUSTER SLOT-STATS: {error}") from None
        yield found


@when(parsers.parse('"{key}" is read {repeats:Repeats}', extra_types=TYPES))
@records("slowest read", "longest time of one read", unit="s")
@records("median read", "time of the read in the middle of all reads, from the fastest to the slowest", unit="s")
@records("median of the last 20 reads", "time of the middle one of the last 20 reads", unit="s")
@records("reads delayed", "reads that took 200 milliseconds or more", unit="reads")
def read_often(context: Context, key: str, repeats: int, datatable: Table | None = None) -> None:
    """Read one key, one time after another, through the cache of the scenario if it has one, else through a client.

    The option ``client`` names another client. ``meanwhile`` ``hot keys are counted`` lets the primaries of the
    cluster count. An error of any kind is the one of "the read".

    Example: ``When "user:1" is read 30 times``
    """
    chosen = options(datatable)
    reader = context.named.get("reader") or ClientUnderTest(context, chosen.get("client", ""))
    context.part(Data).read.append(key)
    took = [0.0]
    with ExitStack() as counting, context.attempt("read", RedisError, OSError, AttributeError, RuntimeError):
        if chosen.get("meanwhile") == "hot keys are counted":
            context.part(Data).hot = counting.enter_context(counted_keys(context))
        for _ in range(repeats):
            watch = Stopwatch()
            reader.read(key)
            took.append(watch.seconds())
    context.record("slowest read", round(max(took), 3))
    context.record("median read", round(median(took[1:] or took), 4))
    context.record("median of the last 20 reads", round(median(took[-20:]), 4))
    context.record("reads delayed", sum(seconds >= DELAYED for seconds in took))


DELAYED = 0.2
"""Seconds from which a read counts as delayed."""

register("setting", "ttl", "how long a value stays in the cache")(write_keys)
register("setting", "client", "the client that reads or writes, by its name")(read_often)


@then("every written key is readable")
def check_written(context: Context) -> None:
    """Require that a new client reads the value of every key that was written.

    Example: ``Then every written key is readable``
    """
    written = context.part(Data).written
    assert written, "this scenario has not written keys"
    with usual_client(context) as client:
        seen = dict(zip(written, read(client, list(written)), strict=True))
    assert seen == written, f"{sum(seen[key] != written[key] for key in written)} of {len(written)} keys read otherwise"


WORKLOADS: dict[str, Callable[[Context, int, int, Mapping[str, str]], Any]] = {}
"""By kind of deployment, or of cache in front of it, what starts writers and readers with the options of the table.

It returns a thing whose `seen` ends them and returns the measurements, and whose `report` shows the rest.
"""


@given(parsers.parse("a workload of {clients:Clients}", extra_types=TYPES))
@records("writes acknowledged", "writes that the server acknowledged", unit="writes")
def start_workload(context: Context, clients: tuple[int, int], datatable: Table | None = None) -> None:
    """Start writers and readers in the background; they stop at "the workload measured".

    Example: ``Given a workload of 2 writers and 1 reader``
    """
    kind = next((name for name in WORKLOADS if name in context.named), context.role)
    context.named["workload"] = WORKLOADS[kind](context, *clients, options(datatable))


@then("the workload measured")
def check_workload(context: Context, datatable: Table) -> None:
    """Stop the workload some operations later, and compare what it measured with the bounds.

    Example: a table of MEASUREMENT and BOUND
    """
    workload = context.named["workload"]
    for name, seen in workload.seen().items():
        context.record(name, seen)
    workload.report(context.measure, context.chart)
    check_measurements(context, datatable)


def send_by_redis_py(client: Any, commands: Sequence[tuple[str, ...]]) -> list[Any]:
    """Send commands in one pipeline of redis-py, and return their replies."""
    with client.pipeline() as pipe:
        for command in commands:
            pipe.execute_command(*command)
        return list(pipe.execute(raise_on_error=False))


def send_by_node(client: Any, commands: Sequence[tuple[str, ...]]) -> list[Any]:
    """Send commands in one packed pipeline to each node of a cluster, and return their replies."""
    return [reply == "OK" or reply for reply in bulk(client, commands, batch=100)]


PIPELINES = {"": send_by_redis_py, "one pipeline a node": send_by_node}
"""By the option ``client`` of a pipeline, what sends it."""


@when(parsers.parse("a pipeline of {count:Count} commands is sent", extra_types=TYPES))
@records("replies out of order", "replies that are not those of the command at their place", unit="replies")
@records("commands refused", "commands of the pipeline that were answered with an error", unit="commands")
def send_pipeline(context: Context, count: int, datatable: Table | None = None) -> None:
    """Send writes, each followed by its read, over all nodes; one INCR of a text in the middle cannot succeed.

    The option ``client`` names another client than the usual one.

    Example: ``When a pipeline of 600 commands is sent``
    """
    commands, expected = list[tuple[str, ...]](), list[object]()
    for number in range(count // 2):
        key, text = f"{context.key_prefix}{number}", f"text {number}"
        commands += [("SET", key, text, "EX", str(TTL)), ("GET", key)]
        expected += [True, text]
        if number == count // 4:
            commands.append(("INCR", key))
            expected.append(None)
    said = PIPELINES[options(datatable).get("client", "")](context.part(Data).client(), commands)
    wrong = [one for one, wanted in zip(said, expected, strict=True) if wanted is not None and one != wanted]
    refusals = [one for one in said if isinstance(one, RedisError)]
    context.record("replies out of order", len(wrong))
    context.record("commands refused", len(refusals))
    with context.attempt("pipeline", RedisError):
        for refusal in refusals:
            raise refusal


# Loads of data_path.feature about the life of a key


@register("load", "keys with a ttl of 100 seconds", "keys whose ttl one client sets and the other one reads at once")
@records("reported ttl", "share of the ttl that the server reports right after it was set", unit="%")
def send_ttls(way: Way, count: int) -> None:
    """Set a ttl of 100 seconds, and ask for it."""
    way.connected()

    def reported() -> float:
        way.writer.set(way.prefix, "x", px=100_000)
        left = way.reader.pttl(way.prefix)
        way.writer.delete(way.prefix)
        return round(float(left) / 1000, 1)

    way.record_each("reported ttl", count, reported)


GONE = 6.0
"""Seconds of looks for a key with a ttl of 1 second."""
FAR = 0.06
"""Seconds of a round trip beyond which two looks are too far apart for the life of a key."""


@register("load", "keys with a ttl of 1 second", "keys that one client writes and the other one reads to their end")
@records("life of a key", "time from the write of a key to the first read that does not find it", unit="s")
def send_expirations(way: Way, count: int) -> None:
    """Set a ttl, and look until the key is gone; a late look makes nothing of its life certain (Unsupported if far)."""
    way.connected()
    trips = []
    for _ in range(3):
        watch = Stopwatch()
        way.reader.get(way.prefix)
        trips.append(watch.seconds())
    if min(trips) > FAR:
        raise Unsupported(f"needs answers within {FAR:g} s to see the end of a ttl: they take {min(trips):.2f} s")

    def life() -> Moment:
        begun = time.monotonic()
        way.writer.set(way.prefix, "x", px=1000)
        done = time.monotonic()
        # Each look costs a command; an earlier end shows at the first one.
        time.sleep(max(0.0, begun + 0.9 - time.monotonic()))
        return moment_of(lambda: way.reader.get(way.prefix) is None, GONE, begun, done)

    way.record_each("life of a key", count, lambda: certain(life, 3))
