"""Detectors of a cluster's problems, and numbers that a cluster is asked for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count as numbers
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.utils import str_if_bytes

from fixtures.bdd.vocabulary import register
from fixtures.context import Context
from fixtures.redis_cluster.nodes import (
    SOURCES,
    answer,
    by_holder,
    clients_of,
    differences,
    in_words,
    node_at,
    pipelined,
    primaries,
    ranges,
    slot_map,
)
from fixtures.reporting.measurements import Bound
from fixtures.run.keys import Unsupported
from redis_practices.redis_cluster.failover import why_not_failover_ready
from redis_practices.redis_cluster.formation import wait_until_ready
from redis_practices.redis_cluster.key_distribution import biggest_keys, distribution, hottest_slots, p_value
from redis_practices.redis_cluster.topology import (
    SLOTS,
    SlotRange,
    itself,
    members,
    owner,
    same_host_as_primary,
    setting_differences,
    slot_of,
    user_differences,
)
from redis_practices.server_info import Refused
from steps.common.keys import Data
from steps.redis_cluster.nodes import NamedNodes, NodeUnderTest
from steps.redis_cluster.slots import MOST

Findings = list[dict[str, Any]]


@contextmanager
def _present(context: Context, **options: Any) -> Iterator[dict[str, Redis]]:
    """Give a client of each node that answers by its address; a refused command is the reason of a skip."""
    with ExitStack() as stack:
        try:
            nodes = context.part(NamedNodes).present()
            yield {node.address: stack.enter_context(node.client(**options)) for node in nodes}
        except Refused as refusal:
            raise Unsupported(f"needs to know: {refusal}") from None


def _named(context: Context, text: str) -> str:
    """Return the name that the scenario has for the node whose address is in a text; else the text."""
    named = (name for name in ("that replica", "that primary") if name in context.named)
    return next((name for name in named if context.named[name].address in text), text)


WELL = {
    "cluster_state": "ok",
    "cluster_slots_assigned": str(SLOTS),
    "cluster_slots_ok": str(SLOTS),
    "cluster_slots_fail": "0",
}


@register("finding", "unhealthy nodes", "nodes that do not say cluster_state:ok with 16,384 slots assigned and ok")
def unhealthy_nodes(context: Context) -> Findings:
    """Ask every node that answers (CLUSTER INFO)."""
    with _present(context) as clients:
        told = {address: client.execute_command("CLUSTER INFO") for address, client in clients.items()}
    seen = {address: {field: said.get(field) for field in WELL} for address, said in told.items()}
    return [{"NODE": address, **said} for address, said in seen.items() if said != WELL]


@register("finding", "slot map differences", "nodes and commands that give another slot map than the first node")
def slot_map_differences(context: Context) -> Findings:
    """Compare CLUSTER SLOTS, SHARDS and NODES of all nodes."""
    with _present(context) as clients:
        maps = [(node, name, slot_map(client, name)) for node, client in clients.items() for name in SOURCES]
    first = maps[0][2]
    return [
        {"NODE": node, "COMMAND": name, "DIFFERENCE": differences(first, one)}
        for node, name, one in maps
        if one != first
    ]


@register("finding", "wrong addresses", "announced addresses at which another node answers, or none")
def wrong_addresses(context: Context) -> Findings:
    """Connect to every address that any node announces (CLUSTER SLOTS), and ask for its id (CLUSTER MYID).

    Of two nodes that announce one address, one does not answer there.
    """
    announced: set[tuple[str, str]] = set()
    for node in context.cluster.nodes:
        # Its peers announce a node that does not answer.
        with suppress(RedisConnectionError, RedisTimeoutError), node.client() as client:
            announced |= {(member.address, identity) for identity, member in members(client, "SLOTS").items()}
    assert announced, "no node answers"
    found = []
    twice = [address for address, number in Counter(address for address, _ in announced).items() if number > 1]
    for address, identity in sorted(announced):
        try:
            with node_at(context.cluster, address).client() as client:
                seen = str_if_bytes(client.execute_command("CLUSTER MYID"))
        except (RedisConnectionError, RedisTimeoutError) as error:
            seen = f"no answer from here: {error}"
        if seen != identity:
            says = f"answers as {seen}, and two nodes announce it" if address in twice else seen
            found.append({"ADDRESS": address, "ANNOUNCED": identity, "SEEN": says})
    return found


@register("finding", "misplaced keys", "written keys that a node of their slot lacks, or slots of them at other nodes")
def misplaced_keys(context: Context) -> Findings:
    """Ask the nodes of each slot for its keys (EXISTS), and all other nodes for theirs (CLUSTER COUNTKEYSINSLOT)."""
    found: Findings = []
    held_keys = by_holder(context.cluster, context.part(Data).written)
    for held, keys in held_keys.items():
        for address in (held.primary, *held.replicas):
            seen = pipelined(node_at(context.cluster, address), "EXISTS", keys, first=["READONLY"])
            lost = [key for key, said in zip(keys, seen, strict=True) if said != 1]
            found += [{"NODE": address, "PROBLEM": "lacks", "KEY": key} for key in lost]
    for node in context.cluster.nodes:
        foreign = {held: keys for held, keys in held_keys.items() if node.address not in (held.primary, *held.replicas)}
        slots = sorted({slot_of(key) for keys in foreign.values() for key in keys})
        assert slots, f"{node.address} has every slot: there is no other node"
        seen = pipelined(node, "CLUSTER COUNTKEYSINSLOT", [str(slot) for slot in slots])
        strays = [slot for slot, count in zip(slots, seen, strict=True) if count != 0]
        found += [{"NODE": node.address, "PROBLEM": "holds keys of another node", "KEY": slot} for slot in strays]
    return found


@register("finding", "failover blockers", "reasons why the death of a primary would not be followed by a failover")
def failover_blockers(context: Context) -> Findings:
    """Ask all nodes (`why_not_failover_ready`)."""
    with clients_of(context.cluster.nodes, socket_timeout=0.5) as clients:
        return [{"BLOCKER": reason} for reason in why_not_failover_ready(clients)]


@register("finding", "node differences", "settings and users that one node has otherwise than most nodes")
def node_differences(context: Context) -> Findings:
    """Compare settings and users of all nodes (CONFIG GET, ACL LIST)."""
    with _present(context) as clients:
        lines = setting_differences(clients) + user_differences(clients)
    return [{"DIFFERENCE": re.split(" is | differs ", line)[0], "NODE": _named(context, line)} for line in lines]


@register("finding", "shared hosts", "replicas on the host of their primary, as any node says")
def shared_hosts(context: Context) -> Findings:
    """Compare the hosts of primaries and replicas, where there is more than one host."""
    found = set()
    with _present(context) as clients:
        for client in clients.values():
            hosts = {member.host for member in members(client).values()}
            if len(hosts) == 1:
                raise Unsupported(f"all nodes are on one host, {hosts.pop()}: a replica has no other to be on")
            found |= {(replica, host) for _, replica, host in same_host_as_primary(client)}
    return [{"NODE": _named(context, replica), "HOST": host} for replica, host in sorted(found)]


@register("finding", "database differences", "nodes that let a client select other databases than they are set to have")
def database_differences(context: Context) -> Findings:
    """Try to select each database of the setting `cluster-databases`, and the one after the last."""
    found = []
    with _present(context) as clients:
        for address, client in clients.items():
            try:
                databases = int(client.config_get("cluster-databases").get("cluster-databases") or 1)
            except ResponseError as error:
                raise Unsupported(f"needs to know the setting cluster-databases: {error}") from None
            seen = [in_words(answer(client, "SELECT", number)) for number in range(databases + 1)]
            if seen != ["OK"] * databases + ["ERR"]:
                found.append({"NODE": address, "DATABASES": databases, "REPLIES": " ".join(seen)})
    return found


@register("finding", "remnants of the removed node", "nodes that know the removed node, and its keys, slots and peers")
def remnants(context: Context) -> Findings:
    """Ask all nodes and the removed one."""
    removed: NodeUnderTest = context.named["the new node"]
    with _present(context) as clients, removed.client() as leaver:
        mine = itself(leaver)
        knowing = [address for address, client in clients.items() if mine.identity in members(client)]
        own = {"peers": len(members(leaver)) - 1, "keys": leaver.dbsize(), "slots": len(mine.slots)}
    left = [{"NODE": removed.address, "PROBLEM": f"{number} {what}"} for what, number in own.items() if number]
    return left + [{"NODE": address, "PROBLEM": "knows it"} for address in knowing]


@register("finding", "hot slots", "the slot of a cluster with most network traffic in each direction, by its key")
def hot_slots(context: Context) -> Findings:
    """Ask for the first two slots (CLUSTER SLOT-STATS); a slot without a key of the scenario has its number."""
    found = []
    named = {slot_of(context.key(key)): key for key in context.part(Data).read}
    with clients_of(primaries(context.cluster)) as clients:
        for by in ("NETWORK-BYTES-IN", "NETWORK-BYTES-OUT"):
            first, _ = hottest_slots(clients, 2, by)
            found.append({"KEY": named.get(first.slot, f"slot {first.slot}"), "TRAFFIC": by})
    return found


BIG = 50_000
"""Bytes of a big key."""


@register("finding", "big keys", f"keys of at least {BIG} bytes, the biggest first")
def big_keys(context: Context) -> Findings:
    """Walk over all keys of the primaries (SCAN, MEMORY USAGE)."""
    with clients_of(primaries(context.cluster)) as clients:
        if (most := max(client.dbsize() for client in clients)) > MOST:
            raise Unsupported(f"a node holds {most} keys: walking over all of them takes too long")
        try:
            found = biggest_keys(clients, 2, f"{context.key_prefix}*")
        except ResponseError as error:
            raise Unsupported(f"needs MEMORY USAGE: {error}") from None
    context.measure("size of the biggest key", unit="bytes", seen=found[0][0])
    return [{"KEY": key.decode().removeprefix(context.key_prefix), "BYTES": size} for size, key in found if size >= BIG]


@register("measurement", "slots with one primary", "slots to which a node gives exactly one primary", unit="slots")
def slots_with_one_primary(_: Context, node: NodeUnderTest) -> int:
    """Count them in the map of one node (CLUSTER NODES)."""
    with node.client() as client:
        return sum(len(owners) == 1 for owners in slot_map(client, "CLUSTER NODES"))


@register("measurement", "linked replicas", "replicas whose link to their primary is up", unit="replicas")
def linked_replicas(context: Context, node: NodeUnderTest) -> int:
    """Count those that the primary has online, without those that were killed."""
    away = {gone.address for gone in context.part(NamedNodes).away}
    with node.client() as client:
        said = client.info("replication")
    found = [said[f"slave{number}"] for number in range(said["connected_slaves"])]
    return sum(one["state"] == "online" and f"{one['ip']}:{one['port']}" not in away for one in found)


@register("measurement", "writable keys", "own keys that a primary accepts; one is tried", unit="keys")
def writable_keys(context: Context, node: NodeUnderTest) -> int:
    """Write a key of one of its slots; the only error allowed is CLUSTERDOWN."""
    slots = next(held for held in context.part(NamedNodes).before if held.primary == node.address)
    names = (f"{context.key_prefix}{number}" for number in numbers())
    key = next(name for name in names if slots.first <= slot_of(name) <= slots.last)
    with node.client() as client:
        said = in_words(answer(client, "SET", key, "1", "EX", "60"))
    assert said in ("OK", "CLUSTERDOWN"), f"{node.address} replies {said}"
    return int(said == "OK")


@register("measurement", "redirections to a written key", "most redirections between a node and the owner of a key")
def redirections(context: Context, node: NodeUnderTest) -> int:
    """Follow the redirections from a node to each written key; each names the slot of the key."""
    waiting, known = {node.address: list(context.part(Data).written)}, {one.address for one in context.cluster.nodes}
    for hops in range(6):
        sent_on: dict[str, list[str]] = {}
        for address, keys in waiting.items():
            said = pipelined(node_at(context.cluster, address), "EXISTS", keys)
            for key, one in zip(keys, said, strict=True):
                if isinstance(one, MovedError):
                    assert one.slot_id == slot_of(key), f"{address} says MOVED {one.slot_id} of slot {slot_of(key)}"
                    to = f"{one.host}:{one.port}"
                    assert to in known, f"{address} replies MOVED to {to}, an unknown node"
                    sent_on.setdefault(to, []).append(key)
                else:
                    assert isinstance(one, int), f"{address} replies {one!r}"
        if not sent_on:
            return hops
        waiting = sent_on
    raise AssertionError(f"requests go round in circles: {waiting}")


@register("measurement", "old nodes", "owners of slots that were nodes of the cluster at the beginning", unit="nodes")
def old_nodes(context: Context, _: object) -> int:
    """Count them in the slot map of every node."""
    before = {held.primary for held in context.part(NamedNodes).before}
    with clients_of(context.cluster.nodes) as clients:
        wait_until_ready(clients, timeout=10.0)
        maps = [{member.address for member in members(client).values() if member.slots} for client in clients]
    return len(before & set().union(*maps))


@register("measurement", "slots on other nodes", "slots that had other nodes when the scenario began", unit="slots")
def moved_slots(context: Context, _: object) -> int:
    """Compare primary and replicas of each slot with those of the beginning."""
    before, now = context.part(NamedNodes).before, ranges(context.cluster)

    def nodes(held: SlotRange | None) -> object:
        return held and (held.primary, held.replicas)

    return sum(nodes(owner(slot, before)) != nodes(owner(slot, now)) for slot in range(SLOTS))


SIGNIFICANCE = 1e-9
"""One false alarm in a thousand million runs; of 3 primaries, one with 13 % more keys than its share is found."""


@register("finding", "crowded primaries", "primaries with more or fewer written keys than chance gives to their slots")
def crowded_primaries(context: Context) -> Findings:
    """Count the written keys on the primaries, and compare the counts with their slots (chi-squared test)."""
    written = list(context.part(Data).written)
    with context.cluster.client() as client:
        nodes = [node for node in distribution(client, written) if node.role == "primary"]
    assert sum(node.keys for node in nodes) == len(written), f"not every key was found: {nodes}"
    context.chart("keys per primary", unit="keys", kind="bars", points=[(node.address, node.keys) for node in nodes])
    seen = p_value([node.keys for node in nodes], [node.slots for node in nodes])
    context.measure("p-value of the spread", unit="", bound=Bound.at_least(SIGNIFICANCE), seen=seen)
    return []
