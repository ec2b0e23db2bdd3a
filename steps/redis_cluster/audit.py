"""Judge a cluster by the answers of all its nodes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, pairwise
from operator import not_
from typing import Any, TypeVar

from redis.exceptions import AuthenticationError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.utils import str_if_bytes

from fixtures.bdd.vocabulary import register
from fixtures.context import Context
from fixtures.redis_cluster.nodes import clients_of
from fixtures.run.keys import Unsupported
from redis_practices.polling import poll
from redis_practices.redis_cluster.failover import is_copying, restarts_empty, stuck_replicas
from redis_practices.redis_cluster.formation import rival_primaries, stale_ids
from redis_practices.redis_cluster.slot_migration import open_slots
from redis_practices.redis_cluster.topology import ABSENT, SLOTS, Member, as_ranges, itself, members
from redis_practices.server_info import asking, facts
from steps.common.audit import Audited, copies

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


def views(context: Context) -> dict[str, dict[str, Member]]:
    """Return the nodes of the cluster by their ids, as each node that answers knows them (CLUSTER NODES)."""
    found = {}
    for node in context.cluster.nodes:
        # Its peers tell of a node that does not answer.
        with suppress(RedisConnectionError, RedisTimeoutError), node.client(socket_timeout=2.0) as client:
            found[node.address] = members(client)
    assert found, "no node of the cluster answers"
    return found


def known(context: Context) -> list[Member]:
    """Return every node of the cluster that any node knows, with the flags that most nodes give it."""
    seen = list(views(context).values())
    found = []
    for identity in dict.fromkeys(chain.from_iterable(seen)):
        entries = [view[identity] for view in seen if identity in view]
        flags = Counter(chain.from_iterable(entry.flags for entry in entries))
        usual = frozenset(flag for flag, number in flags.items() if 2 * number >= len(entries)) - {"myself"}
        found.append(replace(entries[0], flags=usual))
    return found


def cluster_info(context: Context) -> dict[str, dict[str, str]]:
    """Return the fields of CLUSTER INFO of every node."""

    def ask(client: Any) -> dict[str, str]:
        with asking("CLUSTER INFO"):
            return dict(client.execute_command("CLUSTER INFO"))

    return dict(context.part(Audited).each("CLUSTER INFO", ask))


@register("finding", "failed nodes", "nodes that CLUSTER NODES marks as failed, unreachable or without address")
def failed_nodes(context: Context) -> list[dict[str, object]]:
    """Return these nodes with their flags and the number of nodes that say so, after some time to answer again.

    The former id of a live node is no node: see `find_stale_ids`.
    """

    def failed() -> Counter[tuple[str, str]]:
        entries = [
            member
            for view in views(context).values()
            for member in view.values()
            if ABSENT & member.flags and member not in stale_ids(view)
        ]
        return Counter((member.address or member.identity, " ".join(sorted(member.flags))) for member in entries)

    bad = poll(failed, SETTLES, every=0.25, until=not_)
    return [{"NODE": node, "FLAGS": flags, "NODES": f"{said} nodes say so"} for (node, flags), said in bad.items()]


def find_stale_ids(context: Context) -> Findings:
    """Look at the nodes that each node knows (`stale_ids`)."""

    def old() -> list[str]:
        return [member.identity for view in views(context).values() for member in stale_ids(view)]

    return [{"NODE": identity, "WHY": "is the former id of a live node"} for identity in lasting(context, old)]


def find_stuck_replicas(context: Context) -> Findings:
    """Look at the nodes that each node knows (`stuck_replicas`)."""

    def stuck() -> list[tuple[str, str]]:
        found = (one for view in views(context).values() for one in stuck_replicas(view))
        return [(replica.address, why) for replica, why in found]

    return [{"NODE": address, "WHY": why} for address, why in lasting(context, stuck)]


def find_rival_primaries(context: Context) -> Findings:
    """Look at the shards that each node knows (`rival_primaries`)."""

    def shards(client: Any) -> list[tuple[Member, Member]]:
        try:
            return rival_primaries(client.execute_command("CLUSTER", "SHARDS"), members(client))
        except ResponseError as error:
            raise Unsupported(f"needs CLUSTER SHARDS of Redis 7.0 or Valkey: {error}") from None

    def rivals() -> list[tuple[str, str, str]]:
        found = (one for _, pairs in context.part(Audited).each("CLUSTER SHARDS", shards) for one in pairs)
        return [(rival.address, owner.address, owner.identity) for rival, owner in found]

    return [
        {"NODE": rival, "WHY": f"is a second primary, without slots, in the shard of {owner}, {identity}"}
        for rival, owner, identity in lasting(context, rivals)
    ]


@register("finding", "open slots", "slots that a node says are migrating from it or importing to it")
def find_open_slots(context: Context) -> list[dict[str, str]]:
    """Ask every node (`open_slots`); a migration under way closes its slots, or moves keys between any two looks."""
    left: list[int] = []

    def opened() -> list[str]:
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
            number += sum(client.execute_command("CLUSTER COUNTKEYSINSLOT", slot) for slot in itself(client).leaving)
    return number


class Links:
    """The links of all replicas: two looks at INFO, and the replicas that had no link in between."""

    def __init__(self, context: Context) -> None:
        """Look once, and if a replica has no link, again until it has one or `SETTLES` is over."""
        self.audited = context.part(Audited)
        self.before = self.after = self.audited.told("field")
        self.down = list(self._unlinked(self.before))
        if self.down:
            self.before = dict(self.audited.each("INFO", facts))
            poll(self._look, SETTLES, every=0.5, until=not_)
        self.nodes = dict(self.audited.each("CLUSTER NODES", itself))

    @staticmethod
    def _unlinked(told: Mapping[str, Any]) -> Iterator[str]:
        return (address for address, fields in told.items() if fields.get("master_link_status", "up") != "up")

    def _look(self) -> list[str]:
        self.after = dict(self.audited.each("INFO", facts))
        now = set(self._unlinked(self.after))
        self.down[:] = [address for address in self.down if address in now]
        return self.down

    def primary_of(self, address: str) -> str:
        """Return the address of a replica's primary, "" if it is none of the nodes."""
        wanted = self.nodes[address].primary
        return next((other for other, node in self.nodes.items() if node.identity == wanted), "")

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
    of = Counter(member.primary for member in known(context) if member.primary and not ABSENT & member.flags)
    of.subtract(links.nodes[address].primary for address in copying)
    for address, node in links.nodes.items():
        linked = sum(one["state"] == "online" for one in copies(links.after[address]))
        if linked < of[node.identity]:
            found.append({"NODE": address, "LINK": f"{linked} of its {of[node.identity]} replicas are linked"})
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

    def unknown() -> Findings:
        seen = views(context)
        named = {identity: member for view in seen.values() for identity, member in view.items()}
        strangers = {
            identity: [address for address, view in seen.items() if identity not in view]
            for identity, member in named.items()
            if "handshake" not in member.flags
        }
        return [
            {"NODE": named[identity].address or identity, "WHY": f"is unknown to {', '.join(others)}"}
            for identity, others in strangers.items()
            if others
        ]

    return poll(unknown, SETTLES, every=0.25, until=not_)


@register("finding", "refused logins", "nodes that refuse the user or the password of the URL")
def refused_logins(context: Context) -> Findings:
    """Log in on every node, replicas included: after a failover they serve the application."""
    found: Findings = []
    for node in context.cluster.nodes:
        # Other scenarios judge a node that does not answer.
        with suppress(RedisTimeoutError), node.client() as client:
            try:
                client.ping()
            except AuthenticationError as error:
                found.append({"NODE": node.address, "WHY": f"refuses the login: {error}"})
            except RedisConnectionError:
                continue
    return found


@register("finding", "hidden endpoints", "nodes that send clients to others without an address or a name")
def hidden_endpoints(context: Context) -> Findings:
    """Read the endpoints in CLUSTER SLOTS of every node: a null or ``?`` stands for an unknown one."""
    found: Findings = []
    for node in context.cluster.nodes:
        # Other scenarios judge a node that does not answer.
        with suppress(RedisConnectionError, RedisTimeoutError), node.client() as client:
            places = [place for _, _, *listed in client.execute_command("CLUSTER", "SLOTS") for place in listed]
            hidden = sum(place[0] is None or str_if_bytes(place[0]) == "?" for place in places)
            if hidden:
                found.append({"NODE": node.address, "WHY": f"gives no host for {hidden} of {len(places)} endpoints"})
    return found


COUNT_KEYS = """
local found = {}
for slot = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local keys = redis.call('CLUSTER', 'COUNTKEYSINSLOT', slot)
  if keys > 0 then
    found[#found + 1] = slot
    found[#found + 1] = keys
  end
end
return found
"""
"""A script that counts the keys of each slot of a range; it names no key, so every node runs it."""

BATCH = 1024
"""Slots that one call of the script counts: a server does nothing else meanwhile, for about a millisecond."""


def keys_elsewhere(client: Any) -> dict[int, int]:
    """Return the number of keys in each slot that a primary neither owns nor imports; empty for a replica."""
    mine = itself(client)
    if not mine.slots:
        return {}
    found: dict[int, int] = {}
    for first, last in as_ranges(set(range(SLOTS)) - mine.slots - set(mine.arriving)):
        for begin in range(first, last + 1, BATCH):
            with asking("CLUSTER COUNTKEYSINSLOT in a script"):
                told = client.eval(COUNT_KEYS, 0, begin, min(begin + BATCH - 1, last))
            found.update(zip(map(int, told[::2]), map(int, told[1::2]), strict=True))
    return found


@register("finding", "unreachable keys", "keys that a primary holds in slots of another primary, where no client asks")
def unreachable_keys(context: Context) -> Findings:
    """Count the keys of all foreign slots; a slot whose count changes within some seconds is on its way."""

    def held() -> set[tuple[str, int, int]]:
        seen = context.part(Audited).each("EVAL", keys_elsewhere)
        return {(address, slot, keys) for address, slots in seen for slot, keys in slots.items()}

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

    def ahead(client: Any) -> tuple[float, float]:
        least, most = -float("inf"), float("inf")
        for _ in range(3):
            asked = time.monotonic()
            with asking("TIME"):
                seconds, microseconds = client.time()
            came, said = time.monotonic(), seconds + microseconds / 1e6
            least, most = max(least, said - came), min(most, said - asked)
        return least, most

    seen: dict[str, tuple[float, float]] = dict(context.part(Audited).each("TIME", ahead))
    latest = max(least for least, _ in seen.values())
    earliest = min(most for _, most in seen.values())
    return round(max(0.0, latest - earliest), 2)


@register("finding", "primaries without files", "primaries that keep neither a log nor snapshots, and evict nothing")
def primaries_without_files(context: Context) -> Findings:
    """Ask all nodes (`restarts_empty`)."""
    with clients_of(context.cluster.nodes) as clients:
        return [{"NODE": line} for line in restarts_empty(clients)]


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
        for address, node in audited.each("CLUSTER NODES", itself):
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
    with node.client() as client:
        identity = itself(client).identity  # its address may be another one to other nodes
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
