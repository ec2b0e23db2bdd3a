"""The nodes of a cluster, as sentences name them, and the faults that are applied to them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from pytest_bdd import given, parsers, when
from redis.cluster import RedisCluster
from redis.exceptions import RedisError

from fixtures.bdd.vocabulary import register
from fixtures.context import Context, Plan, apply_to, target
from fixtures.proxies.streams import BusProxy
from fixtures.redis_cluster.nodes import (
    clients_of,
    empty_node,
    holder,
    node_at,
    other_primaries,
    owner_of,
    primaries,
    ranges,
    replicas_of,
)
from fixtures.run.keys import Unsupported
from fixtures.stacks.protocols import Cluster, Node
from redis_practices.polling import eventually
from redis_practices.redis_cluster.failover import fail_over
from redis_practices.redis_cluster.formation import wait_until_ready, why_not_ready
from redis_practices.redis_cluster.growth import add_node, drain_node
from redis_practices.redis_cluster.topology import ClusterError, bus_port, itself, members, slot_of
from redis_practices.servers.server import Server
from steps.common.deployments import setting
from steps.common.keys import CLIENTS, TTL, ClientUnderTest, await_copies
from steps.common.vocabulary import TYPES, Duration, duration

OLD_ENOUGH = 2.1
"""Seconds that a node has to run before it may lose its primary, see `wait_until_electable`."""


class NamedNodes:
    """The cluster of a scenario, its named nodes, and the faults that were applied to them."""

    def __init__(self, context: Context) -> None:
        """Begin with a healthy cluster."""
        self.context, self.cluster = context, context.cluster
        self.before = ranges(self.cluster)
        self.away: list[Node] = []
        """Nodes that do not answer."""
        self.paused: list[Node] = []
        """The paused ones of them."""
        self.isolated: list[Node] = []
        """Nodes that answer, and hear no other node."""
        self.bus: BusProxy | None = None
        self.empty: list[NodeUnderTest] = []
        """Nodes that belong to no cluster."""

    def shard(self, key: str) -> dict[str, NodeUnderTest]:
        """Return primary and first replica of a key; they are "that primary" and "that replica" from now on."""
        found = holder(self.cluster, self.context.key(key))
        named = {"that primary": node_at(self.cluster, found.primary)}
        if found.replicas:
            named["that replica"] = node_at(self.cluster, found.replicas[0])
        nodes = {name: self.node(node) for name, node in named.items()}
        self.context.named.update(nodes)
        return nodes

    def node(self, node: Node) -> NodeUnderTest:
        """Return a node as a target of sentences."""
        return NodeUnderTest(self, node)

    def present(self) -> list[Node]:
        """Return the nodes that answer."""
        return [node for node in self.cluster.nodes if node not in self.away]

    def wait_until_electable(self) -> None:
        """Return when every node has run for 2 seconds.

        Until then (``CLUSTER_WRITABLE_DELAY`` in the server's source) a primary that found its cluster down stays down.
        A primary of Valkey 9.1 does not vote: "it is not safe to vote in this moment". A lost election is repeated
        after 4 seconds (twice the 2 seconds, or 2 node timeouts, that it runs).
        """
        eventually(lambda: min(map(_age, self.present())) >= OLD_ENOUGH, within=10.0, every=0.02)


def _age(node: Node) -> float:
    """Return the seconds for which a node has answered; a lower limit for a node that this run did not start."""
    if isinstance(node, Server):
        return time.monotonic() - node.ready_at
    with node.client() as client:
        return float(client.info("server")["uptime_in_seconds"]) - 1  # its count is of whole ones


for option, meaning in {
    "give up after": "longest time that a failover may take",
    "replica of": "a key, whose primary the node replicates",
    "first copy": "refused, if the primary does not let the node have its data",
}.items():
    register("setting", option, meaning)(apply_to)


class NodeUnderTest:
    """One node of a cluster."""

    def __init__(self, nodes: NamedNodes, node: Node) -> None:
        """Take a node of the scenario's cluster."""
        self.nodes, self.node, self.context, self.cluster = nodes, node, nodes.context, nodes.cluster
        self.address, self.client, self.log_tail = node.address, node.client, node.log_tail

    def kill(self) -> None:
        """End it at once."""
        self._leave(self.node.kill)

    def pause(self) -> None:
        """Stop it with its connections open, at most until the scenario ends."""
        self._leave(self.node.pause)
        self.nodes.paused.append(self.node)
        self.context.ending.callback(self._end_pause)

    def _end_pause(self) -> None:
        if self.node in self.nodes.paused:
            self.resume()

    def _leave(self, act: Callable[[], None]) -> None:
        """Take the node away; "that primary" only when the cluster can elect another one."""
        if (primary := self.context.named.get("that primary")) and primary.node is self.node:
            self.nodes.wait_until_electable()
        self.context.since = time.monotonic()
        act()
        self._return()
        self.nodes.away.append(self.node)

    def resume(self) -> None:
        """Continue it."""
        self.node.resume()
        self._return()

    def restart(self) -> None:
        """Start it again."""
        self.node.restart()
        self._return()

    def _return(self) -> None:
        """Count the node among those that answer."""
        for nodes in (self.nodes.away, self.nodes.paused):
            if self.node in nodes:
                nodes.remove(self.node)

    def promote(self, give_up_after: str = "10 seconds") -> None:
        """Make it primary of its shard; an error is that of "the failover"."""
        limit: Duration = duration(give_up_after)
        with self.context.attempt("failover", ClusterError), self.client() as client:
            fail_over(client, limit.seconds())

    def restart_after_failover(self) -> None:
        """Restart it in the role of a replica, and wait until the cluster is ready."""
        for held in ranges(self.cluster):
            if held.primary == self.address:
                with node_at(self.cluster, held.replicas[0]).client() as replica:
                    fail_over(replica)
        self.node.restart()
        with clients_of(self.cluster.nodes) as clients:
            wait_until_ready(clients)

    def add(self, replica_of: str = "", first_copy: str = "complete") -> None:
        """Join the cluster, as a primary without slots, or as a replica of the primary of a key."""
        if first_copy == "refused":
            self._follow_in_vain(owner_of(self.cluster, self.context.key(replica_of)))
        else:
            with clients_of(self.cluster.nodes) as clients, self.client() as joining:
                if replica_of:
                    with owner_of(self.cluster, self.context.key(replica_of)).client() as primary:
                        add_node(joining, clients, replica_of=primary)
                else:
                    add_node(joining, clients)
        self.cluster.add(self.node)  # type: ignore[arg-type] # an empty node is a server of our own

    def _follow_in_vain(self, node: Node) -> None:
        """Follow a primary that does not let it have its data."""
        with node.client() as primary, self.client() as replica:
            primary.execute_command("ACL SETUSER", "default", "-psync", "-sync")
            host, port = self.address.split(":")
            primary.execute_command("CLUSTER MEET", host, port, bus_port(replica))
            identity = itself(primary).identity
            eventually(lambda: bool(replica.execute_command("CLUSTER REPLICATE", identity)), 5.0, also=(RedisError,))
        wanted = {"cluster_known_nodes": str(len(self.cluster.nodes) + 1), "cluster_state": "ok"}
        with clients_of([*self.cluster.nodes, self.node]) as clients:

            def all_know() -> bool:
                return all(wanted.items() <= client.execute_command("CLUSTER INFO").items() for client in clients)

            eventually(all_know, within=10.0)

    def drain(self) -> None:
        """Give its slots to the other primaries, and leave the cluster."""
        self.cluster.remove(self.address)
        with clients_of(self.cluster.nodes) as clients, self.client() as leaver:
            drain_node(leaver, clients)

    def replace(self) -> None:
        """Let an empty node take over as its replica, leave the cluster, and end."""
        new = self.nodes.empty.pop()
        with clients_of(self.cluster.nodes) as clients, new.client() as joining, self.client() as leaver:
            add_node(joining, clients, replica_of=leaver)
            fail_over(joining)
        self.cluster.add(new.node)  # type: ignore[arg-type] # an empty node is a server of our own
        self.drain()
        self.node.kill()

    def unlink(self) -> None:
        """Let it log in to its primary with a wrong password, and end the link that it has.

        The primary must not refuse PSYNC instead: the replica would try SYNC, a protocol without offsets, and with it
        acknowledge nothing.
        """
        with self.context.named["that primary"].client() as primary, self.client() as replica:
            replica.execute_command("CONFIG SET", "masteruser", "nobody", "masterauth", "wrong")
            self.undo("CONFIG SET", "masteruser", "", "masterauth", "")
            primary.execute_command("CLIENT KILL", "TYPE", "replica")
            eventually(lambda: replica.info("replication")["master_link_status"] == "down", within=10.0)

    def leave_behind(self) -> None:
        """Pause it while its primary writes 12 MB: the kernel holds up to 4 MB of them, and sends them even later."""
        self.pause()
        with self.context.named["that primary"].client() as primary:
            key = f"{self.context.key_prefix}big"
            slots = itself(primary).slots
            number = next(number for number in range(10**6) if slot_of(f"{key}{number}") in slots)
            primary.set(f"{key}{number}", "x" * 12_000_000, ex=TTL)

    def isolate(self, others: list[NodeUnderTest]) -> None:
        """Cut its connections to other nodes: all of them on the bus, or those to replicas that are paused."""
        with self.client() as client:
            if self.nodes.bus:
                self.nodes.wait_until_electable()
                self.nodes.isolated.append(self.node)
                self.nodes.bus.part([client])
            else:
                assert all(other.node in self.nodes.away for other in others), "a replica would link itself again"
                client.execute_command("CLIENT KILL", "TYPE", "replica")
        self.context.since = time.monotonic()

    def reconnect(self) -> None:
        """Let all nodes talk to each other again."""
        assert self.nodes.bus, "the cluster has no network that can be partitioned"
        self.nodes.bus.heal()
        self.nodes.isolated.clear()

    def forget_migration(self) -> None:
        """Close its half of every open slot, so that the migration is half known."""
        with self.client() as client:
            member = itself(client)
            for slot in member.opened:
                client.execute_command("CLUSTER SETSLOT", slot, "STABLE")

    def undo(self, *command: str) -> None:
        """Send it a command when the scenario ends, if it answers: a lent cluster is to be left as it was."""

        def send() -> None:
            with suppress(RedisError, OSError), self.client(socket_timeout=1.0) as client:
                client.execute_command(*command)

        self.context.ending.callback(send)


class TheCluster:
    """A whole cluster, as a target of sentences."""

    def __init__(self, context: Context) -> None:
        """Take the cluster of a scenario."""
        self.context, self.cluster, self.client = context, context.cluster, context.cluster.client

    def hold(self, key: str, value: str) -> None:
        """Store a value at the primary of its key, and wait until the replicas have it."""
        name = self.context.key(key)
        with owner_of(self.cluster, name).client() as client:
            client.set(name, value, ex=TTL)
        await_copies(self.context, name, len(holder(self.cluster, name).replicas))

    def is_ready(self) -> bool:
        """Tell whether all nodes serve, know each other, and have linked replicas."""
        with suppress(RedisError), clients_of(self.cluster.nodes) as clients:
            assert not (reason := why_not_ready(clients)), reason
            return True
        return False


@target("the cluster", "the cluster under test, or the isolated one of the scenario")
def the_cluster(context: Context) -> TheCluster:
    """Return the cluster."""
    return TheCluster(context)


@target('the primary of "{key}"', 'the node that owns the slot of a key; "that primary" from then on')
def primary_of(context: Context, key: str) -> NodeUnderTest:
    """Return the primary, and name it."""
    return context.part(NamedNodes).shard(key)["that primary"]


@target('a replica of "{key}"', 'the first replica of the primary of a key; "that replica" from then on')
def replica_of(context: Context, key: str) -> NodeUnderTest:
    """Return the replica, and name it."""
    found = context.part(NamedNodes).shard(key)
    if "that replica" not in found:
        raise Unsupported(f"{found['that primary'].address} has no replica; cluster-003 says why that matters")
    return found["that replica"]


def _named(name: str, context: Context) -> Any:
    """Return what an earlier step has named."""
    assert name in context.named, f"no step of this scenario has named {name}"
    return context.named[name]


for name, meaning in {
    "that primary": "the primary that a step named last; it stays this node when its role changes",
    "that replica": "the replica that a step named last; it stays this node when its role changes",
    "the new node": "the empty node of the scenario, also when it has joined or left the cluster",
    "their old primary": "the node that owned the migrating slots before",
    "their new primary": "the node that the slots migrate to",
    "the migration": 'the migration that "one side paused" holds half done',
    "the target of the migration": "the node that the slots of this migration go to",
}.items():
    target(name, meaning)(partial(_named, name))


def leading_last(nodes: NamedNodes) -> list[Node]:
    """Return all nodes, those that were primaries at the beginning last."""
    leading = {held.primary for held in nodes.before}
    return sorted(nodes.cluster.nodes, key=lambda node: node.address in leading)


def _all_but_that_primary(nodes: NamedNodes, _: str) -> list[Node]:
    that = nodes.context.named["that primary"].address
    return [node for node in leading_last(nodes) if node.address != that]


def replicas_at(nodes: NamedNodes, address: str) -> list[Node]:
    """Return the replicas of the primary at an address."""
    held_by = [held for held in ranges(nodes.cluster) if held.primary == address]
    return [node_at(nodes.cluster, one) for held in held_by for one in held.replicas]


def _find(find: Callable[[NamedNodes, str], list[Node]], context: Context, key: str = "") -> list[NodeUnderTest]:
    """Return nodes as targets of sentences, found by the full name of a key."""
    nodes = context.part(NamedNodes)
    return [nodes.node(node) for node in find(nodes, context.key(key))]


for name, meaning, find in (
    ('the owner of "{key}"', "the node that owns the slot of a key now",
     lambda nodes, key: [owner_of(nodes.cluster, key)]),
    ('every replica of "{key}"', "each node that has a copy of the slot of a key",
     lambda nodes, key: replicas_of(nodes.cluster, key)),
    ('every primary other than that of "{key}"', "each node that owns slots, but not the slot of a key",
     lambda nodes, key: other_primaries(nodes.cluster, key)),
    ('a primary other than that of "{key}"', "the first node that owns slots, but not the slot of a key",
     lambda nodes, key: other_primaries(nodes.cluster, key)[:1]),
    ("its replicas", "the replicas of that primary",
     lambda nodes, _: replicas_at(nodes, nodes.context.named["that primary"].address)),
    ("every primary", "each node that owns slots",
     lambda nodes, _: nodes.context.own_nodes(primaries(nodes.cluster))),
    ("every node", "each node of the cluster, replicas first", lambda nodes, _: leading_last(nodes)),
    ("every remaining node", "each node of the cluster that answers", lambda nodes, _: nodes.present()),
    ("all other nodes", "each node of the cluster but that primary", _all_but_that_primary),
):  # fmt: skip
    target(name, meaning)(partial(_find, find))


@target('a replica of a primary other than that of "{key}"', 'it and its primary are "that replica", "that primary"')
def another_replica(context: Context, key: str) -> NodeUnderTest:
    """Return the replica, and name both."""
    nodes, primary = context.part(NamedNodes), context.target(f'a primary other than that of "{key}"')
    context.named["that primary"] = primary
    context.named["that replica"] = nodes.node(replicas_at(nodes, primary.address)[0])
    return _named("that replica", context)  # type: ignore[no-any-return]


@given(parsers.parse("{count:EmptyNodes}", extra_types=TYPES))
def start_empty_nodes(context: Context, count: int) -> None:
    """Start nodes that belong to no cluster; the last one is "the new node".

    Example: ``Given an empty node``
    """
    nodes = context.part(NamedNodes)
    for _ in range(count):
        nodes.empty.append(nodes.node(empty_node(context.private, nodes.cluster)))
    context.named["the new node"] = nodes.empty[-1]


@when(parsers.parse("{target:Target} is isolated from {others:Target}", extra_types=TYPES))
def isolate(context: Context, target: str, others: str) -> None:
    """Cut the cluster bus between one node and others, in both directions, until it "is reconnected".

    Without a network that can be partitioned, end the replication of paused replicas instead.

    Example: ``When the primary of "user:1" is isolated from all other nodes``
    """
    context.target(target).isolate(context.targets(others))


@setting("network", '"can be partitioned" leads the cluster bus through a proxy; replication is direct')
def make_partitionable(plan: Plan, value: str) -> None:
    """Put the proxy between the nodes."""
    assert value == "can be partitioned", f"a network {value!r} is not known"

    def intercept(context: Context, cluster: Cluster) -> None:
        if not hasattr(cluster.nodes[0], "pid"):
            raise Unsupported("needs nodes that reach a proxy of this process: the embedded stack's")
        with clients_of(cluster.nodes) as clients:
            bus = context.part(NamedNodes).bus = BusProxy(clients)
        context.ending.callback(bus.close)

    plan.after.append(intercept)


@setting("hosts", "the host names that primaries and replicas announce, such as left and right")
def announce_hosts(plan: Plan, value: str) -> None:
    """Let all nodes announce a host, and wait until all know: on one machine, names stand for machines."""
    first, second = value.split(" and ")

    def announce(context: Context, cluster: Cluster) -> None:
        leading = primaries(cluster)
        for node in context.part(NamedNodes).present():
            with node.client() as client:
                client.config_set("cluster-announce-hostname", first if node in leading else second)
            context.part(NamedNodes).node(node).undo("CONFIG SET", "cluster-announce-hostname", "")
        with clients_of(cluster.nodes) as clients:

            def all_know() -> bool:
                known = [{member.host for member in members(client).values()} for client in clients]
                return all(hosts == {first, second} for hosts in known)

            eventually(all_know, within=10.0)

    plan.after.append(announce)


def _plain_client(context: Context) -> RedisCluster:
    """Return a client as redis-py makes it by default."""
    host, port = context.cluster.nodes[0].address.split(":")
    return RedisCluster(host, int(port), decode_responses=True)


CLIENTS["redis-py"] = _plain_client


class StaleClient(ClientUnderTest):
    """A client with a slot map from before a migration."""

    def read(self, key: str) -> Any:
        """Return the value of a key that the client expects at another node, and require that it learns."""
        name, cluster = self.context.key(key), self.context.cluster
        with self.client() as client:
            wrong = client.get_node(node_name=other_primaries(cluster, name)[0].address)
            # redis-py has no public way to make its map old.
            client.nodes_manager.slots_cache[slot_of(name)] = [wrong]
            assert client.get_node_from_key(name) == wrong, "redis-py keeps its map elsewhere: the check proves nothing"
            value = client.get(name)
            learnt, owner = client.get_node_from_key(name), owner_of(cluster, name).address
            # redis-py writes an address in place of the name "localhost".
            assert learnt == client.get_node(node_name=owner), f"the map of the client names {learnt.name}, not {owner}"
        return value


target("a client with a stale slot map", "a client that takes another primary for the owner of the key")(StaleClient)
