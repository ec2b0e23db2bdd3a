"""The sentences about channels, keyspace notifications and the cluster bus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_bdd import given, parsers, then, when

from fixtures.redis_cluster.nodes import holder, owner_of, primaries, ranges, replicas_of
from fixtures.stacks.protocols import Cluster, Node, need_command
from redis_practices.polling import eventually
from redis_practices.redis_cluster.topology import owner, slot_of
from steps.common.vocabulary import TYPES, Duration, assert_table

Listeners = dict[str, tuple[Any, list[str]]]
"""By address of the node: the connection that listens there, and what it has heard."""


def _listen(node: Node, kind: str, channel: str) -> tuple[Any, list[str]]:
    """Subscribe at a node and return, once the node has confirmed it, the connection and what it hears."""
    listener = node.client().pubsub()
    getattr(listener, kind)(channel)
    # redis-py has a word of its own for each kind of channel.
    heard = listener.get_sharded_message(timeout=5) if kind == "ssubscribe" else listener.get_message(timeout=5)
    assert heard, f"{node.address} does not confirm the subscription"
    assert heard["type"] == kind, heard
    return listener, []


@given(
    parsers.cfparse('a subscriber of the sharded channel "{channel}" at its owner and at each replica'),
    target_fixture="listeners",
)
def subscribe(cluster: Cluster, key_prefix: str, channel: str) -> Listeners:
    """Subscribe at every node of the channel's shard."""
    need_command(cluster.nodes[0], "SSUBSCRIBE", "Redis 7.0 or Valkey: sharded channels")
    name = key_prefix + channel
    shard = [owner_of(cluster, name), *replicas_of(cluster, name)]
    return {node.address: _listen(node, "ssubscribe", name) for node in shard}


@when(parsers.cfparse('"{message}" is published to the sharded channel "{channel}"'))
def publish(cluster: Cluster, key_prefix: str, message: str, channel: str) -> None:
    """Publish at the owner of the channel."""
    with owner_of(cluster, key_prefix + channel).client() as client:
        client.execute_command("SPUBLISH", key_prefix + channel, message)


@then(parsers.cfparse('every subscriber hears "{message}" within {limit:Duration}', extra_types=TYPES))
def hear(listeners: Listeners, message: str, limit: Duration) -> None:
    """Wait for the message at each subscriber."""
    for address, (listener, _) in listeners.items():
        heard = listener.get_sharded_message(timeout=limit.seconds())
        assert heard, f"the subscriber at {address} hears nothing within {limit.seconds():g} s"
        assert heard["data"] == message, f"the subscriber at {address} hears {heard['data']!r}"


@given("a listener for written keys at every primary", target_fixture="listeners")
def listen(cluster: Cluster) -> Listeners:
    """Subscribe to the event "set" at every primary."""
    return {node.address: _listen(node, "subscribe", "__keyevent@0__:set") for node in primaries(cluster)}


@then(
    parsers.cfparse(
        "each listener hears of exactly the keys of its own node within {limit:Duration}", extra_types=TYPES
    )
)
def hear_of_keys(cluster: Cluster, listeners: Listeners, written: dict[str, str], limit: Duration) -> None:
    """Listen until every key was heard of, and compare who heard of which."""
    expected: dict[str, set[str]] = {address: set() for address in listeners}
    slots = ranges(cluster)
    for key in written:
        held = owner(slot_of(key), slots)
        assert held, f"no node owns the slot of {key}"
        expected[held.primary].add(key)

    def compare() -> None:
        """Take in what has come, and compare."""
        for listener, heard in listeners.values():
            while message := listener.get_message():
                heard.append(message["data"])
        seen = {address: set(heard) for address, (_, heard) in listeners.items()}
        counts = {address: (len(heard), len(expected[address])) for address, heard in seen.items()}
        assert seen == expected, f"keys heard of, and keys of the node: {counts}"

    eventually(compare, within=limit.seconds())


Counts = tuple[int, int]
"""How many sharded and how many classic messages."""


@dataclass(frozen=True)
class Published:
    """What was published, and what each node had received before, by address."""

    channel: str
    before: dict[str, Counts]


@when(
    parsers.cfparse(
        '{number:Count} sharded and {classic:Count} classic messages are published at the owner of "{channel}"',
        extra_types=TYPES,
    ),
    target_fixture="published",
)
def publish_many(cluster: Cluster, key_prefix: str, number: int, classic: int, channel: str) -> Published:
    """Publish both kinds at one node, the sharded ones first."""
    need_command(cluster.nodes[0], "SPUBLISH", "Redis 7.0 or Valkey: sharded channels")
    name = key_prefix + channel
    published = Published(name, {node.address: _received(node) for node in cluster.nodes})
    with owner_of(cluster, name).client() as client, client.pipeline(transaction=False) as pipe:
        for _ in range(number):
            pipe.execute_command("SPUBLISH", name, "message")
        for _ in range(classic):
            pipe.publish(name, "message")
        pipe.execute()
    return published


@then(parsers.cfparse("the nodes received over the bus within {limit:Duration}", extra_types=TYPES))
def check_received(cluster: Cluster, published: Published, limit: Duration, datatable: Sequence[Sequence[str]]) -> None:
    """Hold what each kind of node received against the table; nodes of a kind must not differ."""
    kinds = {node.address: _kind(cluster, node, published.channel) for node in cluster.nodes}

    def compare() -> None:
        """Compare now: sharded messages went first, so where the classic ones are, they are."""
        seen: dict[str, set[Counts]] = {}
        for node in cluster.nodes:
            now, before = _received(node), published.before[node.address]
            seen.setdefault(kinds[node.address], set()).add((now[0] - before[0], now[1] - before[1]))
        for kind, counts in seen.items():
            assert len(counts) == 1, f"nodes of the kind {kind!r} differ: {counts}"
        lines = [(row[0], *next(iter(seen[row[0]]))) for row in datatable[1:]]
        assert_table(datatable, [dict(zip(datatable[0], line, strict=True)) for line in lines])

    eventually(compare, within=limit.seconds())


def _kind(cluster: Cluster, node: Node, channel: str) -> str:
    """Return the name that the table has for a node."""
    shard = holder(cluster, channel)
    if node.address in (shard.primary, *shard.replicas):
        return "owner" if node.address == shard.primary else "replica of the owner"
    return f"{'primary' if node in primaries(cluster) else 'replica'} of other shards"


def _received(node: Node) -> Counts:
    """Return how many sharded and classic messages a node has received over the bus (``CLUSTER INFO``)."""
    with node.client() as client:
        said = client.execute_command("CLUSTER INFO")
    sharded, classic = (
        int(said.get(f"cluster_stats_messages_{kind}_received", 0)) for kind in ("publishshard", "publish")
    )
    return sharded, classic
