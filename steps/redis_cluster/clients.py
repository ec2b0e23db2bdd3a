"""The sentences about clients of a cluster: writes while nodes are away, redirections, channels, functions, users."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from operator import not_
from typing import Any

from pytest_bdd import given, parsers, then, when
from redis.exceptions import AskError, MovedError, RedisError

from fixtures.bdd.vocabulary import records, register
from fixtures.context import Context
from fixtures.redis_cluster.nodes import by_holder, holder, is_copied, node_at, owner_of, primaries, ranges
from fixtures.redis_cluster.workload import ClusterWorkload
from fixtures.reporting.measurements import Bound
from fixtures.run.keys import Unsupported
from fixtures.stacks.protocols import Node, need_command
from redis_practices.cli import shortened
from redis_practices.polling import eventually, poll, seconds_until
from redis_practices.redis_cluster.every_node import Asked, answers, count_keys, itself
from redis_practices.redis_cluster.topology import SlotRange, owner, slot_of, slot_ranges
from redis_practices.server_info import Refused
from steps.common.judgements import PATIENCE
from steps.common.keys import WORKLOADS, Data
from steps.common.vocabulary import TYPES, Duration
from steps.redis_cluster.audit import SETTLES, lasting
from steps.redis_cluster.nodes import NamedNodes


class Probe:
    """Writes a key that no other step uses, at every node that answers and is not isolated."""

    def __init__(self, context: Context, key: str) -> None:
        """Connect; the key has the slot of `key`."""
        name, nodes = context.key(key), context.part(NamedNodes)
        self.key = f"{name}:probe" if "{" in name else f"{{{name}}}:probe"
        reached = [node for node in nodes.present() if node not in nodes.isolated]
        self.clients = [context.ending.enter_context(node.client(socket_timeout=1.0)) for node in reached]

    def write(self) -> list[str]:
        """Return what each node replies; one that does not own the key says so at once."""
        replies = []
        for client in self.clients:
            try:
                replies.append(str(client.set(self.key, "probe", ex=60)))
            except RedisError as error:
                replies.append(str(error))
        return replies

    def owners(self) -> set[SlotRange | None]:
        """Return the range of slots that each node says the key is in."""
        return {owner(slot_of(self.key), slot_ranges(client)) for client in self.clients}

    def require_accepted(self) -> None:
        """Write, and raise AssertionError if no node accepts it."""
        replies = self.write()
        assert "True" in replies, f"no node accepts the write: {'; '.join(sorted(set(replies)))}"


@then(parsers.parse('a write to "{key}" is accepted within {duration:Duration}', extra_types=TYPES))
def check_accepted(context: Context, key: str, duration: Duration) -> None:
    """Probe the slot of a key at every node until one acknowledges a write; the time counts from the last fault.

    Example: ``Then a write to "user:1" is accepted within 2 node timeouts and 2 seconds``
    """
    probe, most = Probe(context, key), duration.seconds(context.cluster.node_timeout)
    seen = seconds_until(probe.require_accepted, 3 * most, since=context.since)
    # From here on no node redirects a step to the former owner.
    eventually(lambda: len(probe.owners()) == 1, within=10.0)
    context.measure("writes accepted again", unit="s", bound=Bound.at_most(most), seen=round(seen, 3))


@then(parsers.parse('no write to "{key}" is accepted for {duration:Duration}', extra_types=TYPES))
def check_refused(context: Context, key: str, duration: Duration) -> None:
    """Probe the slot of a key at every node for the whole time; each write must be refused.

    Example: ``Then no write to "user:1" is accepted for 1 node timeout``
    """
    probe, end = Probe(context, key), time.monotonic() + duration.seconds(context.cluster.node_timeout)
    while time.monotonic() < end:
        assert "True" not in probe.write(), f"a node accepts a write to {key}"
        time.sleep(0.05)


@then(parsers.parse("{replica:Target} replicates {primary:Target} within {duration:Duration}", extra_types=TYPES))
def check_replication(context: Context, replica: str, primary: str, duration: Duration) -> None:
    """Require that a node is a replica of another one, with a link that is up; the time counts from the last fault.

    Example: ``Then that primary replicates the owner of "user:1" within 5 seconds``
    """
    node, most = context.target(replica), duration.seconds(context.cluster.node_timeout)

    def follows() -> None:
        with node.client(socket_timeout=1.0) as client:
            said = client.info("replication")
        upstream = f"{said.get('master_host')}:{said.get('master_port')} {said.get('master_link_status')}"
        expected = f"{context.target(primary).address} up"
        assert upstream == expected, f"{node.address} is {said['role']} of {upstream}, not of {expected}"

    seen = seconds_until(follows, 3 * most, since=context.since, also=(RedisError,))
    context.measure(f"{replica} replicates {primary}", unit="s", bound=Bound.at_most(most), seen=round(seen, 3))


for name, meaning, unit in (
    ("stale reads", "reads of a value older than one that was acknowledged before", "reads"),
    ("errors", "commands of the workload that ended in an error of any kind", "errors"),
    ("longest gap", "longest time in which a shard acknowledged no write", "s"),
):
    register("measurement", name, meaning, unit=unit)(ClusterWorkload.seen)


def start_workload(context: Context, writers: int, readers: int, options: Mapping[str, str]) -> ClusterWorkload:
    """Start clients of the whole cluster."""
    confirm = int(options.get("replicas to wait for", 0)) > 0
    workload = ClusterWorkload(context.cluster, context.key_prefix, writers, readers, confirm=confirm)
    context.ending.callback(workload.end)
    return workload


WORKLOADS["cluster"] = start_workload


@dataclass
class Subscriber:
    """A connection that listens at one node, and what it has heard."""

    address: str
    listener: Any
    heard: list[str] = field(default_factory=list)

    def listen(self) -> list[str]:
        """Read the messages that arrived, and return all messages so far."""
        take = self.listener.get_sharded_message if self.listener.shard_channels else self.listener.get_message
        while message := take():
            self.heard.append(message["data"])
        return self.heard


CHANNELS: Mapping[str, tuple[str, str]] = {"sharded": ("ssubscribe", "SPUBLISH"), "classic": ("subscribe", "PUBLISH")}
"""By kind of channel, redis-py's word for its subscription, and the command that publishes."""

KEYSPACE = "__keyevent@0__:"
"""What the names of channels begin with that tell of keys."""


@given(parsers.parse('a subscriber of the {kind:w} channel "{name}" on {target:Target}', extra_types=TYPES))
@records("messages missed", "messages that a subscriber did not hear", unit="messages")
@records("messages misdirected", "messages about keys of another node", unit="messages")
def subscribe(context: Context, kind: str, name: str, target: str) -> None:
    """Subscribe on each node that a target stands for, and return when the nodes have confirmed it.

    The channel is ``sharded``, ``classic`` or ``keyspace``. The name of a keyspace channel is an event such as "set",
    and its messages are the written keys of the node.

    Example: ``Given a subscriber of the sharded channel "orders:1" on every replica of "orders:1"``
    """
    subscribers: list[Subscriber] = context.named.setdefault("subscribers", [])
    for node in context.targets(target):
        if kind == "sharded":
            need_command(node, "SSUBSCRIBE", "Redis 7.0 or Valkey: sharded channels")
        listener = node.client().pubsub()
        word, channel = ("subscribe", KEYSPACE + name) if kind == "keyspace" else (CHANNELS[kind][0], context.key(name))
        getattr(listener, word)(channel)
        heard = (listener.get_sharded_message if kind == "sharded" else listener.get_message)(timeout=5)
        assert heard, f"{node.address} does not confirm the subscription"
        assert heard["type"] == word, f"{node.address} confirms {heard}"
        subscribers.append(Subscriber(node.address, listener))
    if kind == "keyspace":
        context.record("messages missed", lambda _: _missed(subscribers, partial(_own_keys, context)))
        context.record("messages misdirected", lambda _: _misdirected(context, subscribers))


def _own_keys(context: Context, address: str) -> list[str]:
    """Return the written keys of one primary."""
    held = by_holder(context.cluster, context.part(Data).written)
    return [key for one, keys in held.items() if one.primary == address for key in keys]


def _missed(subscribers: Sequence[Subscriber], wanted: Callable[[str], Sequence[str]]) -> int:
    """Listen until every subscriber has heard what is meant for its node, and count what it has not."""
    expected = {one.address: Counter(wanted(one.address)) for one in subscribers}

    def missing() -> int:
        return sum((expected[one.address] - Counter(one.listen())).total() for one in subscribers)

    return poll(missing, PATIENCE, until=lambda number: not number)


def _misdirected(context: Context, subscribers: Sequence[Subscriber]) -> int:
    """Count what subscribers have heard of keys of other nodes."""
    return sum(len(set(one.listen()) - set(_own_keys(context, one.address))) for one in subscribers)


Received = tuple[int, int]
"""How many sharded and how many classic messages."""


@when(parsers.parse('{count:Count} messages are published to the {kind:w} channel "{name}"', extra_types=TYPES))
@records("sharded messages", "sharded messages that a node received over the cluster bus", unit="messages")
@records("classic messages", "classic messages that a node received over the cluster bus", unit="messages")
def publish(context: Context, count: int, kind: str, name: str) -> None:
    """Publish numbered messages at the owner of the channel's slot.

    Records what the nodes received over the bus: ``the replicas of the owner``, ``the nodes of other shards``.

    Example: ``When 100 messages are published to the sharded channel "orders:1"``
    """
    channel, nodes = context.key(name), context.cluster.nodes
    need_command(nodes[0], CHANNELS[kind][1], "Redis 7.0 or Valkey: sharded channels")
    before = context.named.setdefault("received", {node.address: _received(node) for node in nodes})
    with owner_of(context.cluster, channel).client() as client, client.pipeline(transaction=False) as pipe:
        for number in range(count):
            pipe.execute_command(CHANNELS[kind][1], channel, f"message {number}")
        pipe.execute()
    wanted = [f"message {number}" for number in range(count)]
    context.record("messages missed", lambda _: _missed(context.named["subscribers"], lambda _: wanted))
    shard = holder(context.cluster, channel)
    rest = [node for node in nodes if node.address not in (shard.primary, *shard.replicas)]
    replicas = [node for node in nodes if node.address in shard.replicas]
    for place, part in (("the replicas of the owner", replicas), ("the nodes of other shards", rest)):
        for which, what in enumerate(("sharded messages", "classic messages")):
            context.record(what, partial(_worst, part, before, which), place)


def _received(node: Node) -> Received:
    """Return how many sharded and classic messages a node has received over the bus (``CLUSTER INFO``)."""
    with node.client() as client:
        said = client.execute_command("CLUSTER INFO")
    sharded, classic = (
        int(said.get(f"cluster_stats_messages_{kind}_received", 0)) for kind in ("publishshard", "publish")
    )
    return sharded, classic


def _worst(nodes: Sequence[Node], before: Mapping[str, Received], which: int, bound: Bound | None) -> int:
    """Return how many messages of a kind a node received; of several nodes, the number that breaks the bound."""

    def seen() -> list[int]:
        return [_received(node)[which] - before[node.address][which] for node in nodes]

    numbers = poll(seen, PATIENCE, until=lambda found: all(bound is None or bound.allows(one) for one in found))
    return next((one for one in numbers if bound and not bound.allows(one)), numbers[0])


CODE = """#!lua name=practices_{name}
redis.register_function{{function_name='{name}', callback=function() return 'hello' end, flags={{'no-writes'}}}}
"""


@when(parsers.parse('the {kind:w} "{name}" is created on {target:Target}', extra_types=TYPES))
def create(context: Context, kind: str, name: str, target: str) -> None:
    """Create a ``function`` that returns hello, or a ``user`` with the right to read, until the scenario ends.

    Example: ``When the function "greet" is created on every primary``
    """
    for node in context.targets(target):
        if kind == "function":
            _load(context, node, name)
        else:
            _add_user(node, name)


def _load(context: Context, node: Node, name: str) -> None:
    """Load a function, and wait until a replica has it (``FUNCTION LOAD``)."""
    need_command(node, "FUNCTION", "Redis 7.0 or Valkey: functions")
    with node.client() as client:
        client.execute_command("FUNCTION LOAD", "REPLACE", CODE.format(name=name))
        is_copied(client, 1)

    def unload() -> None:
        with node.client() as client:
            if client.execute_command("FUNCTION LIST", "LIBRARYNAME", f"practices_{name}"):
                client.execute_command("FUNCTION DELETE", f"practices_{name}")

    if context.stack.lends:
        context.ending.callback(unload)


def _add_user(node: Any, name: str) -> None:
    with node.client() as client:
        if name in client.execute_command("ACL USERS"):
            raise Unsupported(f"a user {name} is there already, and is not ours to change")
        client.execute_command("ACL SETUSER", name, "on", "nopass", "~*", "+@read")
    node.undo("ACL", "DELUSER", name)


SAMPLE, FEWEST = 6000, 30
"""Keys that all primaries are asked for, and the fewest of each: 20 primaries are asked for all of 300 keys."""

HOPS = 6
"""The most redirections that are followed."""

WRONG = 0.05
"""The share of wrong redirections of a primary whose chance to be missed is reported."""


def sampled(keys: Sequence[str], nodes: int) -> list[list[str]]:
    """Return the keys that each node is asked for, in turns: the samples hold each key equally often, within one."""
    number = min(len(keys), max(FEWEST, SAMPLE // nodes))
    return [[keys[(node * number + place) % len(keys)] for place in range(number)] for node in range(nodes)]


class Redirections:
    """The most redirections from each primary to the owner of a key, of a sample of the written keys.

    The samples of the primaries follow each other, so each key is asked for, and each owner is the end of redirections.
    """

    def __init__(self, context: Context) -> None:
        """Ask all primaries, and follow their redirections side by side (AssertionError if one leads nowhere)."""
        self.cluster, self.known = context.cluster, {node.address for node in context.cluster.nodes}
        starts = [node.address for node in context.own_nodes(primaries(self.cluster))]
        samples = sampled(list(context.part(Data).written), len(starts))
        number = len(samples[0])
        self.hops: dict[str, int] = {}
        self.samples = dict(zip(starts, samples, strict=True))
        context.measure(
            f"chance to miss a primary with {WRONG:.0%} wrong redirections", unit="%", seen=100 * (1 - WRONG) ** number
        )
        self._walk(starts)
        # A slot that moves meanwhile redirects twice.
        poll(lambda: self._walk([start for start, hops in self.hops.items() if hops > 1]), SETTLES, until=not_)

    def _walk(self, starts: Sequence[str]) -> Sequence[str]:
        """Count the redirections from these primaries, and return the primaries."""
        self.hops |= dict.fromkeys(starts, 0)
        waiting = {start: {key: {start} for key in self.samples[start]} for start in starts}
        for _ in range(HOPS):
            waiting = self._follow(waiting)
            if not waiting:
                return starts
        raise AssertionError(f"requests go round in circles: {shortened([*waiting])}")

    def _follow(self, waiting: Mapping[str, Mapping[str, set[str]]]) -> dict[str, dict[str, set[str]]]:
        """Ask nodes for keys, each of which comes from some primaries; return the same for the next nodes."""
        moved: dict[str, dict[str, set[str]]] = {}

        async def look(asked: Asked) -> None:
            keys = waiting[asked.name]
            replies = await asked.all([("EXISTS", key) for key in keys])
            for (key, starts), reply in zip(keys.items(), replies, strict=True):
                if isinstance(reply, MovedError):
                    to = f"{reply.host}:{reply.port}"
                    assert reply.slot_id == slot_of(key), f"{asked.name} says MOVED {reply.slot_id} of {slot_of(key)}"
                    assert to in self.known, f"{asked.name} replies MOVED to {to}, an unknown node"
                    moved.setdefault(to, {}).setdefault(key, set()).update(starts)
                else:  # the owner of a migrating slot replies ASK for a key that has moved
                    assert isinstance(reply, int | AskError), f"{asked.name} replies {reply!r}"

        answers({address: node_at(self.cluster, address).client() for address in waiting}, look)
        for start in {start for keys in moved.values() for starts in keys.values() for start in starts}:
            self.hops[start] += 1
        return moved


@register("measurement", "redirections to a written key", "most redirections between a node and the owner of a key")
def redirections(context: Context, node: Node) -> int:
    """Follow the redirections from a node to written keys; each names the slot of the key."""
    return context.part(Redirections).hops[node.address]


@register("finding", "misplaced keys", "written keys that a node of their slot lacks, or slots of them at other nodes")
def misplaced_keys(context: Context) -> list[dict[str, Any]]:
    """Ask the nodes of each slot for its keys (EXISTS), and all other nodes for theirs (CLUSTER COUNTKEYSINSLOT).

    A node with as many keys as its slots has none of another node, see `foreign_keys`; a replica has the slots of its
    primary. What a later look does not see is a slot that moved.
    """
    seen = lasting(context, lambda: _misplaced(context), every=0.5)
    return [{"NODE": node, "PROBLEM": problem, "KEY": key} for node, problem, key in seen]


def _misplaced(context: Context) -> list[tuple[str, str, str | int]]:
    """Return each misplaced key: the node, what is wrong there, and the key or its slot."""
    found: list[tuple[str, str, str | int]] = []
    held_keys = by_holder(context.cluster, context.part(Data).written)
    owned: dict[str, set[int]] = {node.address: set() for node in context.cluster.nodes}
    due: dict[str, list[str]] = {address: [] for address in owned}
    for held in ranges(context.cluster):
        for address in (held.primary, *held.replicas):
            node_at(context.cluster, address)
            owned[address].update(range(held.first, held.last + 1))
            due[address] += held_keys.get(held, [])

    written = {slot_of(key) for keys in held_keys.values() for key in keys}

    async def look(asked: Asked) -> None:
        keys, slots = due[asked.name], owned[asked.name] | {*(await itself(asked)).arriving}
        seen = (await asked.all([("READONLY",), *(("EXISTS", key) for key in keys)]))[1:]
        # ASK is the reply for a key that has moved ahead of its slot.
        lost = [key for key, said in zip(keys, seen, strict=True) if said != 1 and not isinstance(said, AskError)]
        found.extend((asked.name, "lacks", key) for key in lost)
        foreign = sorted(written - slots)
        assert foreign, f"{asked.name} has every slot: there is no other node"
        if await holds_its_slots_alone(asked, slots):
            return
        counts = await asked.all([("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in foreign])
        strays = [slot for slot, count in zip(foreign, counts, strict=True) if count != 0]
        found.extend((asked.name, "holds keys of another node", slot) for slot in strays)

    answers({node.address: node.client() for node in context.own_nodes(context.cluster.nodes)}, look)
    return found


async def holds_its_slots_alone(asked: Asked, slots: set[int]) -> bool:
    """Tell whether a node has as many keys as these slots; False also if it refuses to count by a script."""
    with suppress(Refused):
        size, own = await count_keys(asked, slots)
        return size == sum(own.values())
    return False
