"""Read which node of a cluster owns which slot, and how nodes differ.

A cluster has 16,384 slots. A key's slot is the CRC16 of the key, or of its hash tag, modulo 16,384 (Redis Cluster
specification, "Key distribution model"), so every client knows it without asking.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from redis import Redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS as SLOTS
from redis.crc import key_slot
from redis.utils import str_if_bytes

from redis_practices.server_info import asking, by_name, settings


@dataclass(frozen=True)
class SlotRange:
    """Slots `first` to `last`, both included, with the addresses (``host:port``) of those that hold them."""

    first: int
    last: int
    primary: str
    replicas: tuple[str, ...]


def slot_of(key: bytes | str) -> int:
    """Return the slot of `key`, 0 to 16383, as ``CLUSTER KEYSLOT`` does; text counts as its UTF-8 bytes.

    Only the part between the first ``{`` and the next ``}`` counts, if there is something between them: keys that
    share this hash tag share a slot.
    """
    return int(key_slot(key.encode() if isinstance(key, str) else key))


def slot_ranges(node: Redis) -> list[SlotRange]:
    """Return who holds which slots, in order of slots, as `node` sees it (``CLUSTER SLOTS``).

    Raises:
        redis.exceptions.RedisError: the node does not answer, or is no cluster node.
    """
    return ranges_of(members(node, "SLOTS"))


def ranges_of(known: Mapping[str, Member]) -> list[SlotRange]:
    """Return the ranges of slots that members, by their ids, hold; in order of slots."""
    replicas: defaultdict[str, list[str]] = defaultdict(list)
    for member in known.values():
        if member.primary:
            replicas[member.primary].append(member.address)
    held = (
        SlotRange(first, last, member.address, tuple(sorted(replicas[member.identity])))
        for member in known.values()
        for first, last in member.ranges
    )
    return sorted(held, key=lambda slots: slots.first)


def owner(slot: int, ranges: Sequence[SlotRange]) -> SlotRange | None:
    """Return the one of `ranges`, which are in order of slots, that `slot` lies in, or None when no node owns it."""
    before = bisect_right(ranges, slot, key=lambda slots: slots.first)
    return ranges[before - 1] if before and slot <= ranges[before - 1].last else None


def widest_deviation(counts: Sequence[int]) -> tuple[int, float]:
    """Return which of `counts` is farthest from their mean, and by what share of the whole it is off.

    Counts 40, 30, 30 give (0, 0.067): the first holds 6.7 points more of the whole than an even share.

    Raises:
        ValueError: there are no counts, or all are 0.
    """
    total = sum(counts)
    if not total:
        raise ValueError("no keys, no spread")
    shares = [count / total - 1 / len(counts) for count in counts]
    farthest = max(range(len(counts)), key=lambda index: abs(shares[index]))
    return farthest, shares[farthest]


OWN = re.compile(
    r"(cluster|replica|slave)-announce-.*|(tls-)?port|tls-(cert|key)-file|bind|unixsocket|cluster-port"
    r"|cluster-config-file|dbfilename|dir|logfile|pidfile|aclfile|replicaof|slaveof|availability-zone"
)
"""Settings that say which node it is and where; these may differ."""


def setting_differences(nodes: Mapping[str, Redis]) -> list[str]:
    """Return a line for each setting in which `nodes`, by their names, differ (``CONFIG GET *``), but for `OWN`.

    Raises:
        server_info.Refused: the user may not ask.
        redis.exceptions.RedisError: a node does not answer.
    """
    found = {name: settings(node) for name, node in nodes.items()}
    names = sorted({setting for told in found.values() for setting in told if not OWN.fullmatch(setting)})
    lines = (_difference(setting, {node: told.get(setting) for node, told in found.items()}) for setting in names)
    return [line for line in lines if line]


def user_differences(nodes: Mapping[str, Redis]) -> list[str]:
    """Return a line for each user that `nodes`, by their names, do not all know with the same rights (``ACL LIST``).

    No line holds a password or its hash.

    Raises:
        server_info.Refused: the user may not ask.
        redis.exceptions.RedisError: a node does not answer.
    """
    with asking("ACL LIST"):
        told = {name: map(str, node.execute_command("ACL LIST")) for name, node in nodes.items()}
    # Redis 7.0 lists a user's commands in an order of each process' own.
    rules = {name: {rule.split()[1]: sorted(rule.split()) for rule in lines} for name, lines in told.items()}
    users = sorted({user for known in rules.values() for user in known})
    differing = {}
    for user in users:
        known = {node: " ".join(users_there.get(user, ())) for node, users_there in rules.items()}
        usual, _ = Counter(known.values()).most_common(1)[0]
        differing[user] = [node for node, rule in known.items() if rule != usual]
    return [f"user {user} is another on {', '.join(others)}" for user, others in differing.items() if others]


def _difference(setting: str, values: Mapping[str, str | None]) -> str:
    """Return which nodes have another value than most, an empty string when none has."""
    usual, _ = Counter(values.values()).most_common(1)[0]
    others = [f"{value!r} on {node}" for node, value in values.items() if value != usual]
    # Passwords are settings too.
    secret = any(word in setting for word in ("auth", "pass"))
    shown = f"different on {len(others)} nodes" if secret else f"{', '.join(others)}, {usual!r} elsewhere"
    return f"{setting} is {shown}" if others else ""


Ranges = tuple[tuple[int, int], ...]
"""Ranges of slots: the first and the last of each."""

Command = Literal["NODES", "SLOTS", "SHARDS"]
"""The subcommands of ``CLUSTER`` that tell of the nodes; only NODES tells all that `Member` holds."""


@dataclass(frozen=True)
class Member:
    """One node as another one knows it."""

    identity: str
    address: str
    """As ``host:port``, where other nodes and clients reach it; the host is empty while it is unknown."""
    flags: frozenset[str]
    """In the words of ``CLUSTER NODES``; of SLOTS and SHARDS only ``master``, ``slave`` and ``fail``."""
    primary: str | None = None
    """The id of the primary that it follows, None for a primary, "" where ``CLUSTER SHARDS`` tells of none."""
    ranges: Ranges = ()
    hostname: str = ""
    """The name of its machine that it announces (``cluster-announce-hostname``), if it does."""
    bus_port: int | None = None
    epoch: int | None = None
    """Its configuration epoch."""
    linked: bool | None = None
    """Whether the node that is asked has a link to it."""
    leaving: dict[int, str] = field(default_factory=dict)
    """Slots that it owns and that are on their way to another node, with that node's id."""
    arriving: dict[int, str] = field(default_factory=dict)
    """Slots that are on their way to it, with the id of the node they come from."""

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host and port of its address."""
        host, _, port = self.address.rpartition(":")
        return host, int(port)

    @property
    def host(self) -> str:
        """The name of its machine, else the host of its address."""
        return self.hostname or self.endpoint[0]

    @property
    def failed(self) -> bool:
        """Whether the node that is asked takes it for failed, or begins to (``fail?``)."""
        return not self.flags.isdisjoint(("fail", "fail?"))

    @cached_property
    def slots(self) -> frozenset[int]:
        """The slots that it owns."""
        return frozenset(slot for first, last in self.ranges for slot in range(first, last + 1))


def members(node: Redis, command: Command = "NODES") -> dict[str, Member]:
    """Return every node of the cluster by its id, as `node` knows them (``CLUSTER NODES``, SLOTS or SHARDS).

    Slots on their way are told by a node of itself alone.

    Raises:
        redis.exceptions.RedisError: the node does not answer, is no cluster node, or does not know the command.
    """
    # As two words: redis-py then gives the answer as it came, and not in a shape that depends on the protocol.
    return {found.identity: found for found in READERS[command](node.execute_command("CLUSTER", command))}


def read_nodes(answer: bytes | str) -> Iterator[Member]:
    """Yield the members that an answer to ``CLUSTER NODES`` describes, one on each line."""
    for line in str_if_bytes(answer).splitlines():
        identity, endpoint, flags, primary, _, _, epoch, link, *held = line.split()
        ranges = []
        opened: dict[str, dict[int, str]] = {"->-": {}, "-<-": {}}
        for part in held:
            first, arrow, last = re.split(r"(->-|-<-|-|$)", part.strip("[]"), maxsplit=1)
            if arrow in opened:
                opened[arrow][int(first)] = last
            else:
                ranges.append((int(first), int(last or first)))
        # After a second comma come fields such as ``shard-id=``.
        place, hostname, *_ = [*endpoint.split(","), ""]
        address, _, bus = place.partition("@")
        yield Member(
            identity,
            address,
            flags=frozenset(flags.split(",")),
            primary=None if primary == "-" else primary,
            ranges=tuple(ranges),
            hostname=hostname,
            bus_port=int(bus) if bus else None,
            epoch=int(epoch),
            linked=link == "connected",
            leaving=opened["->-"],
            arriving=opened["-<-"],
        )


def read_slots(answer: Iterable[Sequence[Any]]) -> Iterator[Member]:
    """Yield the members that an answer to ``CLUSTER SLOTS`` names: primaries with slots, and their replicas."""
    ranges: defaultdict[str, Ranges] = defaultdict(tuple)
    places: dict[str, Sequence[Any]] = {}
    follows: dict[str, str | None] = {}
    for first, last, *listed in answer:
        # Proxies and emulations may tell no id: then the address stands for it.
        primary, *replicas = (
            str_if_bytes(*place[2:3] or [""]) or f"{str_if_bytes(place[0])}:{place[1]}" for place in listed
        )
        ranges[primary] += ((first, last),)
        places.update(zip((primary, *replicas), listed, strict=True))
        follows |= {**dict.fromkeys(replicas, primary), primary: None}
    for identity, (endpoint, port, *more) in places.items():
        # Redis 6.2 tells nothing more than the id.
        told = by_name(more[1]) if len(more) > 1 and more[1] else {}
        yield _member(identity, {"endpoint": endpoint, "port": port, **told}, follows[identity], ranges[identity])


def read_shards(answer: Iterable[Any]) -> Iterator[Member]:
    """Yield the members that an answer to ``CLUSTER SHARDS`` describes; a shard may have lost its primary."""
    for shard in map(by_name, answer):
        nodes = {str_if_bytes(told["id"]): told for told in map(by_name, shard["nodes"])}
        leading = [identity for identity, told in nodes.items() if str_if_bytes(told["role"]) in {"master", "primary"}]
        edges = shard["slots"]
        ranges = tuple(zip(edges[::2], edges[1::2], strict=True))
        for identity, told in nodes.items():
            leads = identity in leading
            yield _member(identity, told, None if leads else next(iter(leading), ""), ranges if leads else ())


def _member(identity: str, told: Mapping[str, Any], primary: str | None, ranges: Ranges) -> Member:
    """Return a member by the fields that ``CLUSTER SLOTS`` or SHARDS has for it."""
    # A node that hides its address, or has no name yet, has "?" or nothing there.
    if (host := str_if_bytes(told.get("endpoint") or "?")) == "?":
        host = str_if_bytes(told.get("ip") or "")
    address = f"{host}:{told.get('port') or told.get('tls-port', 0)}"
    flags = {"master" if primary is None else "slave"}
    if str_if_bytes(told.get("health", "")) == "fail":
        flags.add("fail")
    return Member(identity, address, frozenset(flags), primary, ranges, str_if_bytes(told.get("hostname", "")))


READERS: Mapping[Command, Callable[[Any], Iterator[Member]]] = {
    "NODES": read_nodes,
    "SLOTS": read_slots,
    "SHARDS": read_shards,
}
"""What reads the answer to each command, RESP2 or RESP3, bytes or text."""


def itself(node: Redis) -> Member:
    """Return what `node` says of itself.

    Raises:
        redis.exceptions.RedisError: the node does not answer, or is no cluster node.
    """
    return next(found for found in members(node).values() if "myself" in found.flags)


def known_to(node: Redis, other: Redis) -> Member:
    """Return what `node` says of `other`, a node of the same cluster.

    Raises:
        ClusterError: `node` does not know it.
        redis.exceptions.RedisError: one of the two does not answer.
    """
    identity = str(other.execute_command("CLUSTER MYID"))
    if found := members(node).get(identity):
        return found
    raise ClusterError(f"{address(node)} does not know the node {address(other)}: let it join the cluster first")


def by_identity(nodes: Sequence[Redis]) -> dict[str, Redis]:
    """Return clients by the ids of their nodes (``CLUSTER MYID``)."""
    return {str(node.execute_command("CLUSTER MYID")): node for node in nodes}


def as_ranges(slots: Iterable[int]) -> list[tuple[int, int]]:
    """Return slots as ranges, first and last included, in order: 3, 1, 2, 7 give (1, 3) and (7, 7)."""
    found: list[tuple[int, int]] = []
    for slot in sorted(set(slots)):
        if found and found[-1][1] == slot - 1:
            found[-1] = (found[-1][0], slot)
        else:
            found.append((slot, slot))
    return found


def beside_their_primary(node: Redis) -> list[tuple[str, str, str]]:
    """Return primary's address, replica's address and host of each pair that has one host (``CLUSTER NODES``).

    Containers and virtual machines on one host look like many hosts unless they announce its name.

    Raises:
        redis.exceptions.RedisError: the node does not answer, or is no cluster node.
    """
    known = members(node)
    return sorted(
        (known[replica.primary].address, replica.address, replica.host)
        for replica in known.values()
        if replica.primary in known and known[replica.primary].host == replica.host
    )


class ClusterError(Exception):
    """A cluster does not become what it should be; the message names the node and what is wrong with it."""


def endpoint(node: Redis) -> tuple[str, int]:
    """Return host and port that a client was made for."""
    options: dict[str, Any] = node.connection_pool.connection_kwargs
    return options["host"], options["port"]


def address(node: Redis) -> str:
    """Return ``host:port`` that the client `node` was made for, which is how errors call it."""
    host, port = endpoint(node)
    return f"{host}:{port}"


def bus_port(node: Redis) -> int:
    """Return the port on which `node` talks to other nodes (``CONFIG GET cluster-port``, or its port + 10000)."""
    return int(node.config_get("cluster-port").get("cluster-port") or 0) or endpoint(node)[1] + 10000


__all__ = ["SLOTS", "SlotRange", "owner", "slot_of", "slot_ranges", "widest_deviation"]
