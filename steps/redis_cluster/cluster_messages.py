"""The sentences about channels and notifications about keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_bdd import given, parsers, then, when

from fixtures.redis_cluster.nodes import owner_of, primaries, ranges, replicas_of
from fixtures.stacks.protocols import need_command
from redis_practices.polling import eventually
from redis_practices.redis_cluster.topology import owner, slot_of
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from fixtures.stacks.protocols import Cluster, Node
    from steps.common.vocabulary import Duration

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
