"""Judge a cluster by the answers of all its nodes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from operator import not_
from typing import Any, TypeVar

from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.utils import str_if_bytes

from fixtures.bdd.vocabulary import register
from fixtures.context import Context
from fixtures.redis_cluster.nodes import clients_of
from fixtures.run.keys import Unsupported
from redis_practices.polling import poll
from redis_practices.redis_cluster.failover import restarts_empty
from redis_practices.redis_cluster.topology import SLOTS, Member, as_ranges, itself
from redis_practices.server_info import asking
from steps.common.audit import SETTLES, Audited, known, views

Findings = list[dict[str, Any]]

T = TypeVar("T", bound=Hashable)


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
