"""Detectors of a cluster's problems, and numbers that a cluster is asked for."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import count as numbers
from itertools import pairwise
from operator import not_
from typing import Any

from redis import Redis
from redis.exceptions import RedisError, ResponseError
from redis.utils import str_if_bytes

from fixtures.bdd.vocabulary import register, restrict
from fixtures.context import Context
from fixtures.redis_cluster.nodes import (
    Ownerships,
    answer,
    clients_of,
    differing,
    in_words,
    node_at,
    primaries,
    ranges,
)
from fixtures.reporting.measurements import Bound
from fixtures.run.keys import Unsupported
from fixtures.stacks.external.deployments import QUICKLY, elsewhere
from redis_practices.clients import redis_client
from redis_practices.polling import poll
from redis_practices.redis_cluster import topology
from redis_practices.redis_cluster.every_node import (
    PARSERS,
    Asked,
    Maps,
    answers,
    ask_every,
    facts,
    itself,
    setting_differences,
    user_differences,
)
from redis_practices.redis_cluster.failover import (
    FULL,
    elections,
    fork_needs,
    lagging,
    pressed,
    why_not_failover_ready,
)
from redis_practices.redis_cluster.formation import astray, disputes, wait_until_ready
from redis_practices.redis_cluster.key_distribution import biggest_keys, distribution, hottest_slots, p_value
from redis_practices.redis_cluster.topology import (
    SLOTS,
    Member,
    SlotRange,
    members,
    owner,
    read_nodes,
    read_shards,
    read_slots,
    same_host_as_primary,
    slot_of,
)
from redis_practices.server_info import Refused, asking
from steps.common.audit import Audited
from steps.common.keys import Data
from steps.redis_cluster.audit import (
    SETTLES,
    failing_copies,
    find_rival_primaries,
    find_stale_ids,
    find_stuck_replicas,
    first_maps,
    lasting,
    lasting_in_maps,
    looks,
    maps,
    require_away,
    state,
)
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
        told = answers(clients, state)
    seen = {address: {field: said.get(field) for field in WELL} for address, said in told.items()}
    return [{"NODE": address, **said} for address, said in seen.items() if said != WELL]


@register("finding", "slot map differences", "nodes and commands that give another slot map than the first node")
def slot_map_differences(context: Context) -> Findings:
    """Compare CLUSTER SLOTS, SHARDS and NODES of all nodes; a slot that moves differs for a moment."""

    def different() -> list[tuple[str, str, int, tuple[str, ...], tuple[str, ...]]]:
        with _present(context) as clients:
            asked = answers(clients, Ownerships().ask)
        maps = [(node, name, owned) for node, said in asked.items() for name, owned in said.items()]
        found = {owned: differing(maps[0][2], owned) for owned in {owned for _, _, owned in maps}}
        return [(node, name, *one) for node, name, owned in maps for one in found[owned]]

    found: dict[tuple[str, str], list[str]] = {}
    for node, name, slot, first, one in lasting(context, different):
        found.setdefault((node, name), []).append(f"slot {slot}: {first}, {one}")
    return [
        {"NODE": node, "COMMAND": name, "DIFFERENCE": f"{len(lines)} slots differ, the first is {lines[0]}"}
        for (node, name), lines in found.items()
    ]


@register("finding", "wrong addresses", "announced addresses at which another node answers, or none")
def wrong_addresses(context: Context) -> Findings:
    """Connect to every address that any node announces (CLUSTER SLOTS), and ask for its id (CLUSTER MYID).

    Of two nodes that announce one address, one does not answer there.
    """
    announced: set[tuple[str, str]] = set()
    ids: dict[str, str] = {}

    async def announce(asked: Asked) -> None:
        announced.update((member.address, member.identity) for member in read_slots(await asked("CLUSTER", "SLOTS")))

    async def identify(asked: Asked) -> None:
        ids[asked.name] = str_if_bytes(await asked("CLUSTER", "MYID"))

    # Its peers announce a node that does not answer.
    require_away(ask_every({node.address: node.client() for node in context.cluster.nodes}, announce))
    assert announced, "no node answers"
    places = {address: node_at(context.cluster, address).client() for address, _ in announced}
    errors = ask_every(places, identify)
    require_away(errors)
    ids |= {address: f"no answer from here: {error}" for address, error in errors.items()}
    found = []
    twice = [address for address, number in Counter(address for address, _ in announced).items() if number > 1]
    for address, identity in sorted(announced):
        if (seen := ids[address]) != identity:
            says = f"answers as {seen}, and two nodes announce it" if address in twice else seen
            found.append({"ADDRESS": address, "ANNOUNCED": identity, "SEEN": says})
    return found


def mistaken(context: Context) -> Findings:
    """Compare what each node says of itself with the view of its peers, as far as they have heard of it meanwhile."""
    heard: list[dict[tuple[str, str], Member]] = []

    def look(seen: Maps) -> list[tuple[str, str, str]]:
        own = seen.own.values()
        found = [
            (viewer, identity, why)
            for view in seen.views.values()
            for identity, why in disputes(own, view.members)
            for viewer in view.viewers
            if viewer not in seen.own or seen.own[viewer].identity != identity
        ]
        heard.append(entries(context, [(viewer, identity) for viewer, identity, _ in found]))
        return found

    found: Findings = []
    for viewer, identity, why in lasting_in_maps(context, look):
        first, last = (at.get((viewer, identity)) for at in (heard[0], heard[-1]))
        if last and (context.own or (first and last.heard > first.heard)):
            found.append({"NODE": last.address, "WHY": f"{why} at {viewer}"})
    with suppress(Unsupported):
        shards = context.part(Audited).each("CLUSTER SHARDS", in_wrong_shard)
        wrong = [node for node, is_so in shards.items() if is_so]
        found += [{"NODE": node, "WHY": "has not the shard id of its primary"} for node in wrong]
    return found


def entries(context: Context, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Member]:
    """Return what viewers know of nodes, by viewer and id, with the time when they heard of them."""
    found: dict[tuple[str, str], Member] = {}

    async def ask(asked: Asked) -> None:
        for member in read_nodes(await asked("CLUSTER", "NODES")):
            if (asked.name, member.identity) in of_interest:
                found[asked.name, member.identity] = member

    of_interest = set(wanted)
    viewers = {viewer for viewer, _ in wanted}
    ask_every({node.address: node.client() for node in context.cluster.nodes if node.address in viewers}, ask)
    return found


async def in_wrong_shard(asked: Asked) -> bool:
    """Ask a node (`astray`)."""
    me = await itself(asked)
    if not me.primary:
        return False
    with asking("CLUSTER SHARDS"):
        return astray(me, {member.identity: member for member in read_shards(await asked("CLUSTER", "SHARDS"))})


def endless_handshakes(context: Context) -> Findings:
    """Look for nodes in a handshake that answer to clients and know the cluster, but do not become members of it.

    A handshake needs two messages. It ends after a node timeout without an answer on the bus port. The next one begins
    a moment later, so more introductions than nodes are a reason to look for a second.
    """
    new = looks(context)

    def greeted() -> dict[str, int | None]:
        nodes = (member for view in new().views.values() for member in view.members.values())
        return {node.address: node.bus_port for node in nodes if "handshake" in node.flags}

    told = context.part(Audited).now("state").values()
    met = (int(one.get(MET, 0)) > int(one["cluster_known_nodes"]) for one in told)
    found: Findings = []
    for place, bus in poll(greeted, 1.0 if any(met) else 0.0, every=0.25).items():
        # Nothing is known of a node that answers to no client from here: it may still start.
        with suppress(RedisError), redis_client(elsewhere(context.cluster.url, place), **QUICKLY) as joining:
            me, knows = topology.itself(joining).identity, len(members(joining)) > 1
            strange = partial(
                lambda one: [view for view in maps(context).views.values() if one not in view.members], me
            )
            if knows and poll(strange, SETTLES, every=0.25, until=not_):
                found.append({"NODE": place, "WHY": f"stays in its handshake: no answer on its bus port {bus}"})
    return found


MET = "cluster_stats_messages_meet_received"
"""The field of CLUSTER INFO with the number of introductions."""


def late(context: Context) -> Findings:
    """Compare each primary's offset with that of its replicas some seconds later, and read its output buffers."""
    audited = context.part(Audited)
    before = audited.told("field")

    def lag() -> list[tuple[str, str]]:
        now = audited.each("INFO", partial(facts, section="replication"))
        return [(primary, replica) for primary, told in now.items() for replica in lagging(before[primary], told)]

    found: Findings = [
        {"NODE": replica, "WHY": f"lacks 1 MB that {primary} wrote {SETTLES:g} s ago"}
        for primary, replica in lasting(context, lag)
    ]
    with suppress(Unsupported):
        limits = audited.values("setting", "client-output-buffer-limit")
        backlogs = audited.numbers("setting", "repl-backlog-size")

        def full() -> list[str]:
            waiting = audited.each("CLIENT LIST", output_buffers)
            return [node for node, one in waiting.items() if pressed(one, limits[node], int(backlogs[node])) >= FULL]

        found += [
            {"NODE": node, "WHY": f"an output buffer for a replica has {FULL:.0%} of its limit, {limits[node]}"}
            for node in lasting(context, full)
        ]
    return found


async def output_buffers(asked: Asked) -> list[int]:
    """Return the bytes that wait for each replica of a primary; none while a replica copies the primary."""
    with asking("CLIENT LIST"):
        clients = PARSERS["CLIENT LIST"](await asked("CLIENT", "LIST", "TYPE", "replica"))
    waiting, said = [int(one["omem"]) for one in clients], await facts(asked, "replication")
    states = {said[f"slave{number}"]["state"] for number in range(said.get("connected_slaves", 0))}
    return waiting if states <= {"online"} else []


OFTEN = 20
"""Elections an hour: an upgrade and its way back need four, a dispute has one every few minutes or seconds."""


def elected_often(context: Context) -> Findings:
    """Count the elections that the nodes of each shard began (CLUSTER INFO), and report those that there were."""
    if context.stack.lends and "disrupt" not in context.stack.cannot:
        raise Unsupported("the failovers of a run with --allow-disruption count as well")
    audited, begun = context.part(Audited), defaultdict[str, float](float)
    lives, told = audited.numbers("field", "uptime_in_seconds"), audited.now("state")
    named = {}
    for node, me in audited.now("member").items():
        begun[me.primary or me.identity] += elections(told[node], lives[node])
        named[me.identity] = node
    for shard, number in begun.items():
        context.measure(f"elections an hour, {named.get(shard, shard)}", unit="", seen=round(number, 1))
    return [
        {"NODE": named.get(shard, shard), "WHY": f"{number:.0f} elections an hour in its shard, more than {OFTEN}"}
        for shard, number in begun.items()
        if number > OFTEN
    ]


def without_room_to_fork(context: Context) -> Findings:
    """Compare the memory limit, and the share that the last fork copied, with the machine's memory (INFO)."""
    needs = {node: fork_needs(told) for node, told in context.part(Audited).told("field").items()}
    return [
        {"NODE": node, "WHY": f"needs {share:.0%} of its machine's memory when it is full and forks"}
        for node, share in needs.items()
        if share > 1
    ]


DEFECTS: dict[str, tuple[str, Callable[[Context], Findings]]] = {
    "peers know them otherwise": ("nodes with another role, primary, shard or host name at a peer", mistaken),
    "handshake never ends": ("nodes that wait for ever to become members", endless_handshakes),
    "writes arrive late": ("replicas without the writes of some seconds ago, and full output buffers for them", late),
    "shard elects again and again": ("primaries of shards with an election every few minutes", elected_often),
    "former id is kept": ("former ids of live nodes, which their peers keep as dead nodes", find_stale_ids),
    "primary is dead": ("replicas that follow a dead or unknown node, or another replica", find_stuck_replicas),
    "shard has another primary": ("primaries without slots in the shard of another primary", find_rival_primaries),
    "copies never end": ("replicas without a link whose primary begins one full copy after another", failing_copies),
    "machine is too small for a fork": ("nodes whose keys and a fork's copies exceed the memory", without_room_to_fork),
}
"""Defects of a node, each with its meaning and its detector."""


@register("finding", "nodes whose {defect}", "nodes of the cluster with a defect that operators have reported")
def defective(context: Context, defect: str) -> Findings:
    """Return the nodes with a defect."""
    return DEFECTS[defect][1](context)


restrict("finding", "nodes whose {defect}", {name: meaning for name, (meaning, _) in DEFECTS.items()})


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
    found, seen = set(), Maps()
    with _present(context) as clients:
        answers(clients, seen.ask)
    for view in seen.views.values():
        hosts = {member.host for member in view.members.values()}
        if len(hosts) == 1:
            raise Unsupported(f"all nodes are on one host, {hosts.pop()}: a replica has no other to be on")
        found |= {(replica, host) for _, replica, host in same_host_as_primary(view.members)}
    return [{"NODE": _named(context, replica), "HOST": host} for replica, host in sorted(found)]


@register("finding", "database differences", "nodes that let a client select other databases than they are set to have")
def database_differences(context: Context) -> Findings:
    """Try to select each database of the setting `cluster-databases`, and the one after the last."""
    found = []

    async def select(asked: Asked) -> None:
        try:
            told = dict(pairwise(await asked("CONFIG", "GET", "cluster-databases")))
        except ResponseError as error:
            raise Unsupported(f"needs to know the setting cluster-databases: {error}") from None
        databases = int(told.get(b"cluster-databases", 1))
        replies = await asked.all([("SELECT", number) for number in range(databases + 1)])
        seen = ["OK" if one == b"OK" else in_words(one) for one in replies]
        if seen != ["OK"] * databases + ["ERR"]:
            found.append({"NODE": asked.name, "DATABASES": databases, "REPLIES": " ".join(seen)})

    with _present(context) as clients:
        answers(clients, select)
    return found


@register("finding", "remnants of the removed node", "nodes that know the removed node, and its keys, slots and peers")
def remnants(context: Context) -> Findings:
    """Ask all nodes and the removed one."""
    removed: NodeUnderTest = context.named["the new node"]
    with _present(context) as clients, removed.client() as leaver:
        mine, seen = topology.itself(leaver), Maps()
        answers(clients, seen.ask)
        knowing = [name for view in seen.views.values() if mine.identity in view.members for name in view.viewers]
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


@register("finding", "hot keys", "the key with most network traffic while hot keys were counted")
def hot_keys(context: Context) -> Findings:
    """Name the hottest key that the reads of the scenario left (`hottest_keys`)."""
    return [{"KEY": key.name.decode().removeprefix(context.key_prefix)} for key in context.part(Data).hot[:1]]


BIG = 50_000
"""Bytes of a big key."""


@register("finding", "big keys", f"keys of at least {BIG} bytes, the biggest first")
def big_keys(context: Context) -> Findings:
    """Walk over all keys of the primaries (SCAN, MEMORY USAGE)."""
    with clients_of(primaries(context.cluster, context.slots)) as clients:
        if (most := max(client.dbsize() for client in clients)) > MOST:
            raise Unsupported(f"a node holds {most} keys: walking over all of them takes too long")
        try:
            found = biggest_keys(clients, 2, f"{context.key_prefix}*")
        except ResponseError as error:
            raise Unsupported(f"needs MEMORY USAGE: {error}") from None
    context.measure("size of the biggest key", unit="bytes", seen=found[0][0])
    return [{"KEY": context.name_of(key.decode()), "BYTES": size} for size, key in found if size >= BIG]


@register("measurement", "slots with one primary", "slots to which a node gives exactly one primary", unit="slots")
def slots_with_one_primary(context: Context, node: NodeUnderTest) -> int:
    """Count them in the map of one node (CLUSTER NODES)."""
    seen = first_maps(context) if context.part(Audited).is_kept else Maps()
    if not any(node.address in view.viewers for view in seen.views.values()):
        answers({node.address: node.client()}, seen.ask)
    view = next(view for view in seen.views.values() if node.address in view.viewers)
    return [*view.owners.values()].count(1)


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
