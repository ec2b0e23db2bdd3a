"""What a client should promise: each case brings one client into trouble, and sees what its calls return.

A case starts its own servers, so that no client sees what another one left.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from itertools import count

from redis import Redis

from lib.clients_under_test import LOST, Caller, Kind, Outcome

from fixtures.proxies.streams import Mutation, RespProxy
from fixtures.proxies.tampering import LostReply
from redis_practices.cli import Failure
from redis_practices.polling import poll
from redis_practices.redis_cluster.failover import fail_over
from redis_practices.redis_cluster.growth import add_node, rebalance
from redis_practices.redis_cluster.topology import slot_of, slot_ranges
from redis_practices.servers.cluster import EmbeddedCluster, start_cluster
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import CACHE, Server, start_server
from tests.cases.proxies import TcpProxy

BLOCKED = 6.0
"""Seconds of a blocking read: longer than redis-py's timeout of 5 s."""
SOON = 1.0
"""Seconds in which a call that waits for nothing must end on a busy machine, too."""
RECOVERED = 10.0
"""Seconds in which a client must notice a dead connection."""
CALLERS = 200
"""Calls at once: more than redis-py's 100 connections."""


class BusyError(Exception):
    """Calls of a healthy cluster are slow already: other programs keep all cores busy."""


@dataclass(frozen=True)
class Seen:
    """Whether a client kept a promise, and what was seen."""

    kept: bool
    text: str


def said(outcome: Outcome) -> str:
    """Return the end of a call as text."""
    if outcome.error:
        return f"{type(outcome.error).__name__.removesuffix('Error')} after {outcome.seconds:.1f} s"
    return f"{'nothing' if outcome.value is None else outcome.value} after {outcome.seconds:.1f} s"


def named(errors: Counter[str]) -> str:
    """Return the number of errors, and their most frequent kind."""
    if not errors:
        return "no error"
    number, kind = errors.total(), errors.most_common(1)[0][0]
    return f"{number} error{'s' * (number > 1)} ({kind})"


@contextmanager
def served(kind: Kind, group: ProcessGroup, mutation: Mutation | None = None) -> Iterator[tuple[Caller, Redis]]:
    """Start a server, and give a connected client of it, behind a proxy if there is a mutation; and an observer."""
    server = start_server(group, CACHE)
    with server.client() as observer, closing(RespProxy(server.port, mutation or Mutation())) as proxy:
        observer.set("key", "value")
        with connected(kind, [proxy.port if mutation else server.port]) as caller:
            answered(caller.do("get", "key"))
            yield caller, observer
    server.kill()


@contextmanager
def connected(kind: Kind, ports: Sequence[int], *, cluster: bool = False) -> Iterator[Caller]:
    """Make a client of a healthy server. On a busy machine, valkey-glide's first attempts may time out."""
    with ExitStack() as ending:
        for left in range(9, -1, -1):
            try:
                caller = ending.enter_context(kind.connect(ports, cluster=cluster))
            except Exception:
                if not left:
                    raise
            else:
                break
        yield caller


def answered(outcome: Outcome, value: object = "value") -> None:
    """Require the first answer of a client (Failure): without it a case shows nothing."""
    if outcome.error or outcome.value != value:
        raise Failure(f"a client of a healthy server got {said(outcome)}: {outcome.error}")


def long_blocking_read(kind: Kind, group: ProcessGroup) -> Seen:
    """Wait 6 s for an item of an empty list."""
    with served(kind, group) as (caller, _):
        outcome = caller.do("blpop", ["none"], BLOCKED)
    kept = not outcome.error and outcome.value is None and BLOCKED - 0.1 < outcome.seconds < BLOCKED + SOON
    return Seen(kept, said(outcome))


def reads_beside_a_blocking_one(kind: Kind, group: ProcessGroup) -> Seen:
    """Read a key while another call of this client waits 2 s for an item."""
    with served(kind, group) as (caller, observer):
        [waiting] = caller.begin("blpop", ["none"], 2.0)
        if not poll(lambda: observer.info("clients")["blocked_clients"], SOON, every=0.005):
            raise Failure(f"{kind.name} sends no BLPOP")
        outcome = caller.do("get", "key")
        waiting.wait()
    return Seen(outcome.value == "value" and outcome.seconds < SOON, said(outcome))


def half_open(kind: Kind, group: ProcessGroup) -> Seen:
    """Read after the network has dropped the connection: its bytes are taken, and nothing comes back."""
    server = start_server(group, CACHE)
    with server.client() as observer, closing(TcpProxy(server.port)) as proxy, connected(kind, [proxy.port]) as caller:
        observer.set("key", "value")
        answered(caller.do("get", "key"))
        proxy.forget()
        begun, errors = time.monotonic(), Counter[str]()
        while (outcome := caller.do("get", "key")).error and time.monotonic() - begun < 3 * RECOVERED:
            errors[type(outcome.error).__name__] += 1
        took = time.monotonic() - begun
    if outcome.error:
        return Seen(kept=False, text=f"no answer in {took:.0f} s, {named(errors)}")
    return Seen(took < RECOVERED, f"answers after {took:.1f} s, {named(errors)}")


def idle_connection_closed(kind: Kind, group: ProcessGroup) -> Seen:
    """Read after the server has closed the idle connection, as its `timeout` or a failover does."""
    with served(kind, group) as (caller, observer):
        observer.client_kill_filter(_type="normal", skipme=True)
        time.sleep(0.2)  # the end of a connection reaches a client that looks for it
        outcome = caller.do("get", "key")
    return Seen(outcome.value == "value" and outcome.seconds < SOON, said(outcome))


def increments(observer: Redis, outcome: Outcome) -> Seen:
    """Return how often one INCR was done, once its call has ended."""
    outcome.wait()
    done = int(observer.get("counter") or 0)
    return Seen(done <= 1, f"done {'once' if done == 1 else f'{done} times'}, the caller got {said(outcome)}")


def reply_lost(kind: Kind, group: ProcessGroup) -> Seen:
    """Lose the reply to INCR together with its connection."""
    losing = LostReply()
    with served(kind, group, losing) as (caller, observer):
        losing.lose(b"counter")
        return increments(observer, caller.do("incr", "counter"))


def reply_late(kind: Kind, group: ProcessGroup) -> Seen:
    """Delay the reply to INCR by 7 s."""
    late = Mutation()
    with served(kind, group, late) as (caller, observer):
        late.delay = 7.0
        [outcome] = caller.begin("incr", "counter")
        if not poll(lambda: observer.get("counter"), SOON, every=0.005):
            raise Failure(f"{kind.name} sends no INCR")
        time.sleep(0.1)  # the proxy has looked at the delay of this reply by then
        late.delay = 0.0
        return increments(observer, outcome)


def many_callers(kind: Kind, group: ProcessGroup) -> Seen:
    """Read by 200 callers at once, while the server holds all replies for 60 % of the client's timeout."""
    with served(kind, group) as (caller, observer):
        before = observer.info("stats")["total_connections_received"]
        observer.client_pause(round(600 * kind.timeout))
        outcomes = caller.begin("get", "key", number=CALLERS)
        errors = Counter(type(one.wait().error).__name__ for one in outcomes if one.wait().error)
        wrong = sum(not one.error and one.value != "value" for one in outcomes)
        made = observer.info("stats")["total_connections_received"] - before
    slowest = max(one.seconds for one in outcomes)
    text = f"{CALLERS - errors.total() - wrong} of {CALLERS} served, {named(errors)}, {made} new connections"
    return Seen(not errors and not wrong, f"{text}, slowest {slowest:.1f} s")


# Clusters


@dataclass
class Shards:
    """A cluster, and a key of each of its shards, in the order of its first primaries."""

    cluster: EmbeddedCluster
    keys: Sequence[str] = field(init=False)

    def __post_init__(self) -> None:
        """Find and write the keys."""
        primaries = self.cluster.nodes[: self.cluster.primaries]
        with self.cluster.nodes[0].client() as node:
            held = {one.primary: one for one in slot_ranges(node)}
        self.keys = [
            next(
                key
                for key in map("key:{}".format, count())
                if held[node.address].first <= slot_of(key) <= held[node.address].last
            )
            for node in primaries
        ]
        with self.cluster.client() as client:
            for key in self.keys:
                client.set(key, "value")

    @property
    def seeds(self) -> list[int]:
        """The port of the first node, which stays: a client is given it alone."""
        return [self.cluster.nodes[0].port]


@contextmanager
def sharded(kind: Kind, group: ProcessGroup, replicas: int) -> Iterator[tuple[Caller, Shards]]:
    """Start a cluster of 3 primaries, and give a client that has read from each."""
    config = {} if replicas else {"cluster-require-full-coverage": "no"}
    shards = Shards(start_cluster(group, replicas=replicas, config=config))
    with connected(kind, shards.seeds, cluster=True) as caller:
        for key in shards.keys:
            answered(caller.do("get", key))
        yield caller, shards
    for node in shards.cluster.nodes:
        node.kill()


def read_for(caller: Caller, keys: Sequence[str], seconds: float) -> tuple[int, float, Counter[str]]:
    """Read keys in turn, one call after another; return the number of reads, the slowest, and the errors."""
    ends, errors, slowest = time.monotonic() + seconds, Counter[str](), 0.0
    for number in count():
        if time.monotonic() > ends:
            break
        outcome = caller.do("get", keys[number % len(keys)])
        slowest = max(slowest, outcome.seconds)
        if outcome.error or outcome.value != "value":
            errors[type(outcome.error).__name__] += 1
    return number, slowest, errors


def beside_a_dead_shard(kind: Kind, group: ProcessGroup, harm: Callable[[Server], None]) -> Seen:
    """Read from the healthy shards for 4 s, while four callers ask for a key of the dead one."""
    with sharded(kind, group, replicas=0) as (caller, shards):
        over, harmed = threading.Event(), shards.keys[2]

        def keep_asking() -> None:
            while not over.wait(0.01):
                caller.do("get", harmed)

        if read_for(caller, shards.keys, 1.0)[1] > SOON / 4:
            raise BusyError
        harm(shards.cluster.nodes[2])
        for _ in range(4):
            threading.Thread(target=keep_asking, daemon=True).start()
        time.sleep(0.2)  # all four wait, or failed
        number, slowest, errors = read_for(caller, shards.keys[:2], 4.0)
        over.set()
        shards.cluster.nodes[2].resume()
    return Seen(not errors and slowest < SOON, f"{number} reads, slowest {slowest:.2f} s, {named(errors)}")


def beside_a_killed_shard(kind: Kind, group: ProcessGroup) -> Seen:
    """Kill the primary: it refuses connections."""
    return beside_a_dead_shard(kind, group, Server.kill)


def beside_a_paused_shard(kind: Kind, group: ProcessGroup) -> Seen:
    """Pause the primary: its connections stay open, and nothing answers."""
    return beside_a_dead_shard(kind, group, Server.pause)


def new_client_beside_a_paused_shard(kind: Kind, group: ProcessGroup) -> Seen:
    """Make a client while one primary is paused, and read from another one."""
    shards = Shards(start_cluster(group, replicas=0, config={"cluster-require-full-coverage": "no"}))
    shards.cluster.nodes[2].pause()
    begun = time.monotonic()
    try:
        with kind.connect(shards.seeds, cluster=True) as caller:
            outcome = caller.do("get", shards.keys[0])
            took = time.monotonic() - begun
            seen = Seen(outcome.value == "value" and took < SOON, f"{said(outcome)}; {took:.1f} s with its making")
    except Exception as error:  # noqa: BLE001 - any error is a result
        took = time.monotonic() - begun
        seen = Seen(kept=False, text=f"{type(error).__name__.removesuffix('Error')} after {took:.1f} s")
    shards.cluster.nodes[2].resume()
    return seen


def primary_killed(kind: Kind, group: ProcessGroup) -> Seen:
    """Write to a shard until its replica has replaced the killed primary."""
    with sharded(kind, group, replicas=1) as (caller, shards):
        killed, key = shards.cluster.nodes[2], shards.keys[2]
        with killed.client() as node:
            address = next(one.replicas[0] for one in slot_ranges(node) if one.primary == killed.address)
        replica = next(node for node in shards.cluster.nodes if node.address == address)
        elected: list[float] = []

        def watch() -> None:
            with replica.client() as client:
                poll(lambda: client.role()[0] in {"master", b"master"}, LOST, every=0.01)
            elected.append(time.monotonic())

        killed.kill()
        begun, errors = time.monotonic(), Counter[str]()
        threading.Thread(target=watch, daemon=True).start()
        while (outcome := caller.do("set", key, "new")).error and time.monotonic() - begun < 3 * RECOVERED:
            errors[type(outcome.error).__name__] += 1
            time.sleep(0.01)
        ended = time.monotonic()
    if outcome.error or not elected:
        return Seen(kept=False, text=f"no write in {ended - begun:.0f} s, {named(errors)}")
    after = max(0.0, ended - elected[0])
    return Seen(after < 2 * SOON, f"writes {after:.1f} s after the election, {named(errors)}")


def under_load(kind: Kind, group: ProcessGroup, change: Callable[[Shards, ProcessGroup], None]) -> Seen:
    """Write and read back numbered values over all slots while the topology changes."""
    with sharded(kind, group, replicas=1) as (caller, shards):
        over, errors, done = threading.Event(), Counter[str](), Counter[str]()

        def keep_writing(writer: int) -> None:
            for number in count():
                if over.is_set():
                    return
                key = f"load:{writer}:{number % 500}"
                written, outcome = caller.do("set", key, str(number)), caller.do("get", key)
                for one in (written, outcome):
                    done["calls"] += 1
                    done["slowest, ms"] = max(done["slowest, ms"], round(1000 * one.seconds))
                    if one.error:
                        errors[type(one.error).__name__] += 1
                if not (written.error or outcome.error) and outcome.value != str(number):
                    done["wrong"] += 1

        writers = [threading.Thread(target=keep_writing, args=(writer,), daemon=True) for writer in range(2)]
        for writer in writers:
            writer.start()
        poll(lambda: done["calls"] > 200, RECOVERED, every=0.01)  # noqa: PLR2004 - all connections are made by then
        if done["slowest, ms"] > 500 * SOON:
            raise BusyError
        change(shards, group)
        time.sleep(0.5)
        over.set()
        for writer in writers:
            writer.join(LOST)
    text = f"{done['calls']} calls, slowest {done['slowest, ms'] / 1000:.2f} s, {named(errors)}"
    kept = not errors and not done["wrong"] and done["slowest, ms"] < 2000 * SOON
    return Seen(kept, text + (f", {done['wrong']} wrong values" if done["wrong"] else ""))


def fail_over_all(shards: Shards, _: ProcessGroup) -> None:
    """Promote the replica of each primary, one after another."""
    for node in shards.cluster.nodes[shards.cluster.primaries :]:
        with node.client() as replica:
            fail_over(replica)


def add_primary(shards: Shards, group: ProcessGroup) -> None:
    """Let a node join, and share the slots out."""
    new = start_server(group, {"cluster-enabled": "yes", "cluster-node-timeout": 500, "save": ""})
    nodes = [node.client() for node in shards.cluster.nodes]
    with new.client() as joining:
        add_node(joining, nodes)
        rebalance([*nodes, joining])
    shards.cluster.add(new)
    for node in nodes:
        node.close()


def planned_failovers(kind: Kind, group: ProcessGroup) -> Seen:
    """Promote all replicas under load."""
    return under_load(kind, group, fail_over_all)


def grown_cluster(kind: Kind, group: ProcessGroup) -> Seen:
    """Move slots to a new primary under load."""
    return under_load(kind, group, add_primary)


@dataclass(frozen=True)
class Case:
    """A promise, what checks it, and what to do where a client breaks it."""

    promise: str
    run: Callable[[Kind, ProcessGroup], Seen]
    todo: str
    cluster: bool = False


CASES = (
    Case(
        "a blocking read of 6 s ends after 6 s",
        long_blocking_read,
        "redis-py: give clients of blocking reads a `socket_timeout` above the longest wait, or take `redis_client`",
    ),
    Case(
        "a blocking read delays no other call of its client",
        reads_beside_a_blocking_one,
        "valkey-glide: a separate client for blocking reads, or `client.scoped_connection()`",
    ),
    Case(
        "a half-open connection is given up within 10 s",
        half_open,
        "valkey-glide: make a new client after several timeouts in a row",
    ),
    Case(
        "a read whose idle connection was closed succeeds",
        idle_connection_closed,
        "read again after a connection error",
    ),
    Case(
        "an INCR whose reply is lost is not repeated",
        reply_lost,
        "redis-py: `retry=Retry(NoBackoff(), 0)`, or `redis_client`, which repeats only what may be repeated",
    ),
    Case(
        "an INCR whose reply is late is not repeated",
        reply_late,
        "as for a lost reply; after a timeout the command is perhaps done",
    ),
    Case(
        "200 calls at once are all served",
        many_callers,
        "redis-py: `BlockingConnectionPool`; that of `redis_client` has `max_connections` of your choice",
    ),
    Case(
        "a killed shard delays no call to the other shards",
        beside_a_killed_shard,
        "a client for each kind of work",
        cluster=True,
    ),
    Case(
        "a paused shard delays no call to the other shards",
        beside_a_paused_shard,
        "a short timeout for replies",
        cluster=True,
    ),
    Case(
        "a new client is ready at once while a shard is paused",
        new_client_beside_a_paused_shard,
        "redis-py asyncio, valkey-glide: make clients at the start, and keep them",
        cluster=True,
    ),
    Case(
        "writes continue within 2 s after a replica was elected",
        primary_killed,
        "write again after an error, for longer than two node timeouts",
        cluster=True,
    ),
    Case(
        "planned failovers cause no error",
        planned_failovers,
        "redis-py asyncio: call again after an error, an AttributeError too",
        cluster=True,
    ),
    Case("slots that move to a new node cause no error", grown_cluster, "redis-py: `cluster_client`", cluster=True),
)
