"""Judge a cluster by the answers of all its nodes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, pairwise
from operator import not_
from typing import Any, TypeVar

from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from fixtures.bdd.vocabulary import register
from fixtures.context import Context
from fixtures.redis_cluster.nodes import clients_of
from fixtures.run.keys import Unsupported
from fixtures.stacks.external.deployments import QUICKLY
from redis_practices.cli import shortened
from redis_practices.polling import poll
from redis_practices.redis_cluster import topology
from redis_practices.redis_cluster.every_node import PARSERS, Asked, Maps, ask_every, facts, foreign_keys, itself
from redis_practices.redis_cluster.failover import NO_FILES, is_copying, keeps_nothing, stuck_replicas
from redis_practices.redis_cluster.formation import rival_primaries, stale_ids
from redis_practices.redis_cluster.slot_migration import open_slots
from redis_practices.redis_cluster.topology import ABSENT, SLOTS, Member
from redis_practices.server_info import asking
from steps.common.audit import KINDS, Audited, copies

Findings = list[dict[str, Any]]

T = TypeVar("T", bound=Hashable)

SETTLES = 3.0
"""Seconds in which nodes agree again: after a node joined, left or answered late, a failover, or a moved slot."""


def lasting(context: Context, look: Callable[[], Iterable[T]], every: float = 0.25) -> list[T]:
    """Return what each look sees until `SETTLES` is over; a state that passes before is no fault.

    One look is enough for an isolated cluster: its scenario knows what it did, and asks again.
    """
    seen = list(dict.fromkeys(look()))

    def still() -> list[T]:
        now = set(look())
        seen[:] = [one for one in seen if one in now]
        return seen

    return poll(still, SETTLES, every, until=not_) if seen and not context.own else seen


def maps(context: Context) -> Maps:
    """Return the maps of all nodes that answer (CLUSTER NODES)."""
    found = Maps()
    # Its peers tell of a node that does not answer.
    require_away(ask_every({node.address: node.client(**QUICKLY) for node in context.cluster.nodes}, found.ask))
    assert found.views, "no node of the cluster answers"
    return found


AWAY = (RedisConnectionError, RedisTimeoutError)
"""The errors of a node that does not answer, or refuses the login."""


def require_away(errors: Mapping[str, RedisError]) -> None:
    """Raise the first error of nodes that is none of `AWAY`."""
    for error in errors.values():
        if not isinstance(error, AWAY):
            raise error


def first_maps(context: Context) -> Maps:
    """Return the maps of this moment; those of the whole run if all its scenarios judge one moment."""
    audited = context.part(Audited)
    return audited.once("maps", lambda: maps(context)) if audited.is_kept else maps(context)


def looks(context: Context) -> Callable[[], Maps]:
    """Return a function that gives `first_maps`, then new ones."""
    seen = iter([first_maps(context)])
    return lambda: next(seen, None) or maps(context)


def lasting_in_maps(context: Context, look: Callable[[Maps], Iterable[T]]) -> list[T]:
    """Return what each look at the maps of all nodes sees until `SETTLES` is over (`lasting`)."""
    new = looks(context)
    return lasting(context, lambda: look(new()))


def known(context: Context) -> list[Member]:
    """Return every node of the cluster that any node knows, with the flags that most nodes give it."""
    seen = list(first_maps(context).views.values())
    found = []
    for identity in dict.fromkeys(chain.from_iterable(view.members for view in seen)):
        entries = [(view.members[identity], len(view.viewers)) for view in seen if identity in view.members]
        flags: Counter[str] = Counter()
        for entry, viewers in entries:
            flags.update(dict.fromkeys(entry.flags, viewers))
        most = sum(viewers for _, viewers in entries)
        usual = frozenset(flag for flag, number in flags.items() if 2 * number >= most)
        found.append(replace(entries[0][0], flags=usual))
    return found


async def state(asked: Asked) -> dict[str, str]:
    """Return the fields of CLUSTER INFO."""
    with asking("CLUSTER INFO"):
        return dict(PARSERS["CLUSTER INFO"](await asked("CLUSTER", "INFO")))


KINDS["state"] = ("CLUSTER INFO", state)


@register("finding", "failed nodes", "nodes that CLUSTER NODES marks as failed, unreachable or without address")
def failed_nodes(context: Context) -> list[dict[str, object]]:
    """Return these nodes with their flags and the number of nodes that say so, after some time to answer again.

    The former id of a live node is no node: see `find_stale_ids`.
    """

    def failed(found: Maps) -> Counter[tuple[str, str]]:
        number: Counter[tuple[str, str]] = Counter()
        for view in found.views.values():
            stale = stale_ids(view.members)
            for member in view.members.values():
                if ABSENT & member.flags and member not in stale:
                    number[member.address or member.identity, " ".join(sorted(member.flags))] += len(view.viewers)
        return number

    new = looks(context)
    bad = poll(lambda: failed(new()), SETTLES, every=0.25, until=not_)
    return [{"NODE": node, "FLAGS": flags, "NODES": f"{said} nodes say so"} for (node, flags), said in bad.items()]


def find_stale_ids(context: Context) -> Findings:
    """Look at the nodes that each node knows (`stale_ids`)."""

    def old(found: Maps) -> list[str]:
        return [member.identity for view in found.views.values() for member in stale_ids(view.members)]

    return [{"NODE": identity, "WHY": "is the former id of a live node"} for identity in lasting_in_maps(context, old)]


def find_stuck_replicas(context: Context) -> Findings:
    """Look at the nodes that each node knows (`stuck_replicas`)."""

    def stuck(found: Maps) -> list[tuple[str, str]]:
        seen = (one for view in found.views.values() for one in stuck_replicas(view.members))
        return [(replica.address, why) for replica, why in seen]

    return [{"NODE": address, "WHY": why} for address, why in lasting_in_maps(context, stuck)]


def find_rival_primaries(context: Context) -> Findings:
    """Look at the shards that each node knows (`rival_primaries`)."""

    def rivals(seen: Maps) -> list[tuple[str, str, str]]:
        view_of = {name: view.members for view in seen.views.values() for name in view.viewers}

        async def shards(asked: Asked) -> list[tuple[Member, Member]]:
            try:
                return rival_primaries(await asked("CLUSTER", "SHARDS"), view_of.get(asked.name, {}))
            except ResponseError as error:
                raise Unsupported(f"needs CLUSTER SHARDS of Redis 7.0 or Valkey: {error}") from None

        found = (one for pairs in context.part(Audited).each("CLUSTER SHARDS", shards).values() for one in pairs)
        return [(rival.address, owner.address, owner.identity) for rival, owner in found]

    return [
        {"NODE": rival, "WHY": f"is a second primary, without slots, in the shard of {owner}, {identity}"}
        for rival, owner, identity in lasting_in_maps(context, rivals)
    ]


@register("finding", "open slots", "slots that a node says are migrating from it or importing to it")
def find_open_slots(context: Context) -> list[dict[str, str]]:
    """Ask every node (`open_slots`); a migration under way closes its slots, or moves keys between any two looks."""
    left: list[int] = []

    def opened() -> list[str]:
        asked = context.part(Audited).each("CLUSTER NODES", itself)
        if not any(one.opened for one in asked.values()):
            return []
        with clients_of(context.cluster.nodes) as clients:
            if lines := open_slots(clients):
                left.append(keys_to_move(clients))
            return lines

    lines = lasting(context, opened)
    moving = len(left) > 1 and all(after < before for before, after in pairwise(left))
    return [] if moving else [{"NODE": line} for line in lines]


def keys_to_move(clients: Iterable[Any]) -> int:
    """Return the number of keys in slots that their owners give away; 0 for a user without the right to count."""
    number = 0
    for client in clients:
        with suppress(ResponseError):
            leaving = topology.itself(client).leaving
            number += sum(client.execute_command("CLUSTER COUNTKEYSINSLOT", slot) for slot in leaving)
    return number


class Links:
    """The links of all replicas: two looks at INFO, and the replicas that had no link in between."""

    def __init__(self, context: Context) -> None:
        """Look once, and if a link is missing at one end, again until it is there or `SETTLES` is over."""
        self.audited = context.part(Audited)
        self.before = self.after = self.audited.told("field")
        self.nodes = self.audited.now("member")
        self.addresses = {node.identity: address for address, node in self.nodes.items()}
        replicas = (one for one in known(context) if one.primary and not ABSENT & one.flags)
        self.replicas = Counter(one.primary for one in replicas)
        self.down = list(self._unlinked(self.before))
        if self.down or self.short():
            self.before = self.audited.each("INFO", facts)
            poll(self._look, SETTLES, every=0.5, until=not_)
            # A primary hears of the end of a copy with the replica's next report, a second later.
            poll(lambda: self._look() or self.short(), 0 if self.down else SETTLES, every=0.5, until=not_)

    @staticmethod
    def _unlinked(told: Mapping[str, Any]) -> Iterator[str]:
        return (address for address, fields in told.items() if fields.get("master_link_status", "up") != "up")

    def _look(self) -> list[str]:
        self.after = self.audited.each("INFO", facts)
        now = set(self._unlinked(self.after))
        self.down[:] = [address for address in self.down if address in now]
        return self.down

    def short(self, copying: Collection[str] = ()) -> dict[str, str]:
        """Return the primaries that count fewer linked replicas than CLUSTER NODES names, each with both numbers.

        The replicas at the addresses `copying` are not due.
        """
        due = self.replicas.copy()
        due.subtract(self.nodes[address].primary for address in copying)
        linked = {one: sum(copy["state"] == "online" for copy in copies(self.after[one])) for one in self.nodes}
        pairs = {address: (linked[address], due[node.identity]) for address, node in self.nodes.items()}
        return {
            one: f"{seen} of its {wanted} replicas are linked" for one, (seen, wanted) in pairs.items() if seen < wanted
        }

    def primary_of(self, address: str) -> str:
        """Return the address of a replica's primary, "" if it is none of the nodes."""
        return self.addresses.get(self.nodes[address].primary or "", "")

    def is_copying(self, address: str) -> bool:
        """Tell whether a replica receives or loads its copy, or its primary saves it."""
        pair = (address, self.primary_of(address))
        return any(is_copying(self.before[one], self.after[one]) for one in pair if one)


@register("finding", "unlinked replicas", "replicas without a link to their primary, which cannot take over")
def unlinked_replicas(context: Context) -> list[dict[str, object]]:
    """Return these replicas with the state of their link, and primaries with fewer linked replicas than they have.

    A replica that never had a copy has no link, and its primary counts fewer than CLUSTER NODES names. A copy under way
    is the reason of a skip.
    """
    links = Links(context)
    copying = [address for address in links.down if links.is_copying(address)]
    found: list[dict[str, object]] = [
        {"NODE": address, "LINK": links.after[address]["master_link_status"]}
        for address in links.down
        if address not in copying
    ]
    found += [{"NODE": address, "LINK": why} for address, why in links.short(copying).items()]
    if copying and not found:
        raise Unsupported(f"{copying[0]} copies its primary: judge again when it has its copy")
    return found


def failing_copies(context: Context) -> Findings:
    """Compare the full copies that primaries began (``sync_full``) with the replicas that wait for one."""
    links = Links(context)
    waiting = Counter(links.primary_of(address) for address in links.down)
    found: Findings = []
    for address in links.down:
        if primary := links.primary_of(address):
            begun = int(links.after[primary]["sync_full"]) - int(links.before[primary]["sync_full"])
            if begun > waiting[primary]:
                found.append({"NODE": address, "WHY": f"has no link; its primary began {begun} full copies meanwhile"})
    return found


@register("finding", "membership differences", "nodes of the cluster that another node of it does not know")
def membership_differences(context: Context) -> Findings:
    """Compare CLUSTER NODES of all nodes; a node that joins or leaves has some time to be known everywhere."""

    def unknown(seen: Maps) -> Findings:
        views = seen.views.values()
        named = {identity: member for view in views for identity, member in view.members.items()}
        strangers = {
            identity: [address for view in views if identity not in view.members for address in view.viewers]
            for identity, member in named.items()
            if "handshake" not in member.flags
        }
        return [
            {"NODE": named[identity].address or identity, "WHY": f"is unknown to {shortened(others)}"}
            for identity, others in strangers.items()
            if others
        ]

    new = looks(context)
    return poll(lambda: unknown(new()), SETTLES, every=0.25, until=not_)


@register("finding", "refused logins", "nodes that refuse the user or the password of the URL")
def refused_logins(context: Context) -> Findings:
    """Log in on every node, replicas included: after a failover they serve the application."""

    async def ping(asked: Asked) -> None:
        await asked("PING")

    errors = ask_every({node.address: node.client() for node in context.cluster.nodes}, ping)
    refused = {node: error for node, error in errors.items() if isinstance(error, AuthenticationError)}
    require_away(errors)  # other scenarios judge a node that does not answer
    return [{"NODE": node, "WHY": f"refuses the login: {error}"} for node, error in refused.items()]


@register("finding", "hidden endpoints", "nodes that send clients to others without an address or a name")
def hidden_endpoints(context: Context) -> Findings:
    """Read the endpoints in CLUSTER SLOTS of every node: a null or ``?`` stands for an unknown one."""
    found: Findings = []

    async def look(asked: Asked) -> None:
        places = [place for _, _, *listed in await asked("CLUSTER", "SLOTS") for place in listed]
        if hidden := sum(place[0] in {None, b"?"} for place in places):
            found.append({"NODE": asked.name, "WHY": f"gives no host for {hidden} of {len(places)} endpoints"})

    # Other scenarios judge a node that does not answer.
    require_away(ask_every({node.address: node.client() for node in context.cluster.nodes}, look))
    return found


@register("finding", "unreachable keys", "keys that a primary holds in slots of another primary, where no client asks")
def unreachable_keys(context: Context) -> Findings:
    """Count the keys of foreign slots; a slot whose count changes within some seconds is on its way."""

    def held() -> set[tuple[str, int, int]]:
        seen = context.part(Audited).each("EVAL", foreign_keys)
        return {(address, slot, keys) for address, slots in seen.items() for slot, keys in slots.items()}

    if lasting := held():

        def still() -> set[tuple[str, int, int]]:
            lasting.intersection_update(held())
            return lasting

        poll(still, SETTLES, every=0.5, until=not_)
    numbers: Counter[str] = Counter()
    for address, _, keys in lasting:
        numbers[address] += keys
    first = {address: min(slot for node, slot, _ in lasting if node == address) for address in numbers}
    return [
        {"NODE": address, "WHY": f"holds {keys} keys in slots of others, the first in slot {first[address]}"}
        for address, keys in numbers.items()
    ]


@register("measurement", "clock difference", "certain difference between the earliest and the latest clock", unit="s")
def clock_difference(context: Context, _: object) -> float:
    """Ask every node for its clock (TIME), three times; what the answers took makes nothing certain."""

    async def ahead(asked: Asked) -> tuple[float, float]:
        least, most = -float("inf"), float("inf")
        for _ in range(3):
            sent = time.monotonic()
            with asking("TIME"):
                seconds, microseconds = await asked("TIME")
            came, said = time.monotonic(), int(seconds) + int(microseconds) / 1e6
            least, most = max(least, said - came), min(most, said - sent)
        return least, most

    seen = context.part(Audited).each("TIME", ahead)
    latest = max(least for least, _ in seen.values())
    earliest = min(most for _, most in seen.values())
    return round(max(0.0, latest - earliest), 2)


@register("finding", "primaries without files", "primaries that keep neither a log nor snapshots, and evict nothing")
def primaries_without_files(context: Context) -> Findings:
    """Compare roles and settings of all nodes (`keeps_nothing`)."""
    audited = context.part(Audited)
    told, roles = audited.told("setting"), audited.values("field", "role")
    return [{"NODE": f"{node} {NO_FILES}"} for node, role in roles.items() if keeps_nothing(role, told[node])]


@register("finding", "crowded places", "hosts and zones whose loss takes a majority of the primaries or a whole shard")
def crowded_places(context: Context) -> Findings:
    """Compare the places of all nodes.

    A host is the announced name of a node, else the host of its address. A zone is its `availability_zone` (INFO). If
    all nodes have one host, it may be a proxy before many machines, so nothing is said of it. The name localhost is
    that of every machine.
    """
    nodes = [member for member in known(context) if not member.failed]
    hosts = {node.identity: node.host for node in nodes if node.host != "localhost"}
    zones = dict(zones_of(context))
    if len({*hosts.values()}) < 2 and len({*zones.values()}) < 2:  # noqa: PLR2004 - two are different
        raise Unsupported(f"all nodes are on one host, {nodes[0].host}, so nothing tells their machines apart")
    few = len({*zones.values()}) <= 2  # noqa: PLR2004 - in one of two zones is always a majority of an odd number
    return [*crowds("host", hosts, nodes), *crowds("zone", zones, nodes, votes=not few)]


def zones_of(context: Context) -> Iterator[tuple[str, str]]:
    """Yield the id of each node that tells its zone, with the zone."""
    audited = context.part(Audited)
    with suppress(Unsupported):
        told = audited.values("field", "availability_zone")
        for address, node in audited.now("member").items():
            if told.get(address):
                yield node.identity, told[address]


def crowds(kind: str, places: Mapping[str, str], nodes: Sequence[Member], *, votes: bool = True) -> Iterator[Any]:
    """Yield the places that hold too much, where there is more than one place; `votes` includes the majority."""
    primaries = [node for node in nodes if node.slots]
    majority = len(primaries) // 2 + 1
    if len({*places.values()}) < 2:  # noqa: PLR2004 - two are different
        return
    for place, number in Counter(places[node.identity] for node in primaries if node.identity in places).items():
        if votes and len(primaries) > 2 and len(primaries) - number < majority:  # noqa: PLR2004 - two have no majority
            yield {"PLACE": f"{kind} {place}", "WHY": f"holds {number} of {len(primaries)} primaries"}
    for node in primaries:
        copies = [one.identity for one in nodes if one.primary == node.identity]
        home = places.get(node.identity)
        if home and copies and {places.get(identity) for identity in copies} == {home}:
            yield {"PLACE": f"{kind} {home}", "WHY": f"holds {node.address} and all its replicas"}


register("measurement", "primaries", "nodes that own slots", unit="")(
    lambda context, _: sum(bool(member.slots) for member in known(context))
)


@register("measurement", "live replicas", "replicas of a primary that are not marked as failed", unit="")
def count_live_replicas(context: Context, node: Any) -> int:
    """Count those of one primary, as most nodes of the cluster know them."""
    seen = context.part(first_maps).own
    assert node.address in seen, f"{node.address} does not answer"
    identity = seen[node.address].identity  # its address may be another one to other nodes
    return sum(member.primary == identity and not member.failed for member in context.part(known))


@register("measurement", "slot imbalance", "largest deviation of a primary from an even share of the slots", unit="%")
def slot_imbalance(context: Context, _: object) -> float:
    """Compare the slots of each primary with the mean, and report its share of the commands of the last second."""
    report_traffic(context)
    shares = [len(member.slots) for member in known(context) if member.slots]
    even = SLOTS / len(shares)
    return round(max(abs(slots - even) / even * 100 for slots in shares), 1)


def report_traffic(context: Context) -> None:
    """Report the share of each primary in the commands of all; traffic follows the keys, so it has no bound."""
    audited = context.part(Audited)
    with suppress(Unsupported):
        roles, rates = audited.values("field", "role"), audited.numbers("field", "instantaneous_ops_per_sec")
        rates = {address: rate for address, rate in rates.items() if roles.get(address) == "master"}
        for address, rate in rates.items():
            share = 100 * rate / (sum(rates.values()) or 1)
            context.measure(f"share of the commands, {address}", unit="%", seen=round(share, 1))
