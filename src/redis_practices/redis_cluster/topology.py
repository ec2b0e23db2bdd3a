"""Read the owners of a cluster's slots, and its members.

A cluster has 16,384 slots. A key's slot is the CRC16 of the key, or of its hash tag, modulo 16,384 (Redis Cluster
specification, "Key distribution model"). Every client can compute it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from redis import Redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS as SLOTS
from redis.crc import key_slot
from redis.exceptions import ResponseError
from redis.utils import str_if_bytes

from redis_practices.server_info import by_name


@dataclass(frozen=True)
class SlotRange:
    """Slots `first` to `last`, both included, with the addresses (``host:port``) of the nodes that hold them."""

    first: int
    last: int
    primary: str
    replicas: tuple[str, ...]


def slot_of(key: bytes | str) -> int:
    """Return the slot of `key`, 0 to 16383, as ``CLUSTER KEYSLOT`` does; text counts as its UTF-8 bytes.

    Only the part between the first ``{`` and the next ``}`` counts if it is not empty. Keys that share this hash tag
    share a slot.
    """
    return int(key_slot(key.encode() if isinstance(key, str) else key))


def slot_ranges(node: Redis) -> list[SlotRange]:
    """Return the owners of all slots, in order of slots, as `node` sees them (``CLUSTER SLOTS``).

    Raises:
        redis.exceptions.RedisError: the node does not answer, or is not a cluster node.
    """
    return ranges_of(members(node, "SLOTS"))


def ranges_of(known: Mapping[str, Member]) -> list[SlotRange]:
    """Return the slot ranges of members (by id), in order of slots."""
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
    """Return the range that holds `slot`, or None if no node owns it; `ranges` are in order of slots."""
    before = bisect_right(ranges, slot, key=lambda slots: slots.first)
    return ranges[before - 1] if before and slot <= ranges[before - 1].last else None


def widest_deviation(counts: Sequence[int]) -> tuple[int, float]:
    """Return the index of the count farthest from the mean, and its deviation as a share of all.

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


Ranges = tuple[tuple[int, int], ...]
"""Ranges of slots: the first and the last of each."""

Command = Literal["NODES", "SLOTS", "SHARDS"]
"""The subcommands of ``CLUSTER`` that describe the nodes; only NODES has every field of `Member`."""


@dataclass(frozen=True)
class Member:
    """One node, as another node knows it."""

    identity: str
    address: str
    """``host:port`` for nodes and clients; the host is empty while it is unknown."""
    flags: frozenset[str]
    """The flags of ``CLUSTER NODES``; SLOTS and SHARDS give only ``master``, ``slave`` and ``fail``."""
    primary: str | None = None
    """The id of the primary that it follows; None for a primary, "" if ``CLUSTER SHARDS`` shows none."""
    ranges: Ranges = ()
    hostname: str = ""
    """The announced name of its machine (``cluster-announce-hostname``), if any."""
    bus_port: int | None = None
    epoch: int | None = None
    """Its configuration epoch."""
    linked: bool | None = None
    """Whether the reporting node has a link to it."""
    heard: int = field(default=0, compare=False)
    """When the reporting node last had its answer to a ping, in milliseconds since 1970; 0 if never."""
    leaving: dict[int, str] = field(default_factory=dict)
    """The migrating slots that it owns, with the id of the target."""
    arriving: dict[int, str] = field(default_factory=dict)
    """The importing slots, with the id of the source."""
    zone: str = ""
    """Its ``availability-zone``, which ``CLUSTER SHARDS`` has since Valkey 9.1."""

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
        """Whether the reporting node marks it as failed or suspects it (``fail?``)."""
        return not self.flags.isdisjoint(("fail", "fail?"))

    @property
    def opened(self) -> frozenset[int]:
        """Its open slots, migrating or importing."""
        return frozenset((*self.leaving, *self.arriving))

    @cached_property
    def slots(self) -> frozenset[int]:
        """The slots that it owns."""
        return frozenset(slot for first, last in self.ranges for slot in range(first, last + 1))


def members(node: Redis, command: Command = "NODES") -> dict[str, Member]:
    """Return every node of the cluster by its id, as `node` knows them (``CLUSTER NODES``, SLOTS or SHARDS).

    A node reports open slots for itself only.

    Raises:
        redis.exceptions.RedisError: the node does not answer, is not a cluster node, or lacks the command.
    """
    # In two words: redis-py then returns the raw reply, whose shape does not depend on the protocol.
    return {found.identity: found for found in READERS[command](node.execute_command("CLUSTER", command))}


ABSENT = frozenset(("fail", "fail?", "handshake", "noaddr"))
"""Flags of ``CLUSTER NODES`` of a node that another node does not reach."""


def announced(node: Redis) -> dict[str, Member]:
    """Return every node by its id, with the address that `node` gives to clients.

    ``CLUSTER SLOTS`` has these addresses, and leaves out a replica that has copied nothing yet. Such a replica comes
    from ``CLUSTER NODES``, unless it is absent, the user may not ask, or a proxy replies in another form.

    Raises:
        redis.exceptions.RedisError: the node does not answer, or is not a cluster node.
    """
    listed = members(node, "SLOTS")
    try:
        return with_unlisted(listed, members(node))
    except (ResponseError, AttributeError, ValueError):
        return listed


def with_unlisted(listed: Mapping[str, Member], known: Mapping[str, Member]) -> dict[str, Member]:
    """Return the nodes of ``CLUSTER SLOTS`` with those that ``CLUSTER NODES`` alone knows, by id; see `announced`."""
    both = [(known[identity], member) for identity, member in listed.items() if identity in known]
    by_name = any(member.hostname == client.endpoint[0] for member, client in both)
    found = {member.identity: replace(member, address=client.address) for member, client in both}
    places = {member.address for member in listed.values()}
    for identity, member in known.items():
        if identity not in listed and not ABSENT & member.flags:
            address = f"{member.host if by_name else member.endpoint[0]}:{member.endpoint[1]}"
            if address not in places:
                found[identity] = replace(member, address=address)
    return {**listed, **found}


def read_nodes(answer: bytes | str) -> Iterator[Member]:
    """Yield the members in a reply of ``CLUSTER NODES``, one a line."""
    for line in str_if_bytes(answer).splitlines():
        identity, endpoint, flags, primary, _, heard, epoch, link, *held = line.split()
        ranges = []
        opened: dict[str, dict[int, str]] = {"->-": {}, "-<-": {}}
        for part in held:
            first, arrow, last = re.split(r"(->-|-<-|-|$)", part.strip("[]"), maxsplit=1)
            if arrow in opened:
                opened[arrow][int(first)] = last
            else:
                ranges.append((int(first), int(last or first)))
        # Fields such as ``shard-id=`` follow after a second comma.
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
            heard=int(heard),
            leaving=opened["->-"],
            arriving=opened["-<-"],
        )


def read_slots(answer: Iterable[Sequence[Any]]) -> Iterator[Member]:
    """Yield the members in a reply of ``CLUSTER SLOTS``: primaries with slots, and their replicas."""
    ranges: defaultdict[str, Ranges] = defaultdict(tuple)
    places: dict[str, Sequence[Any]] = {}
    follows: dict[str, str | None] = {}
    for first, last, *listed in answer:
        # Proxies and emulations may omit the id: then the address replaces it.
        primary, *replicas = (
            str_if_bytes(*place[2:3] or [""]) or f"{str_if_bytes(place[0])}:{place[1]}" for place in listed
        )
        ranges[primary] += ((first, last),)
        places.update(zip((primary, *replicas), listed, strict=True))
        follows |= {**dict.fromkeys(replicas, primary), primary: None}
    for identity, (endpoint, port, *more) in places.items():
        # Redis 6.2 has no more fields than the id.
        fields = by_name(more[1]) if len(more) > 1 and more[1] else {}
        yield _member(identity, {"endpoint": endpoint, "port": port, **fields}, follows[identity], ranges[identity])


def read_shards(answer: Iterable[Any]) -> Iterator[Member]:
    """Yield the members in a reply of ``CLUSTER SHARDS``; a shard may have lost its primary."""
    for shard in map(by_name, answer):
        nodes = {str_if_bytes(fields["id"]): fields for fields in map(by_name, shard["nodes"])}
        leading = [
            identity for identity, fields in nodes.items() if str_if_bytes(fields["role"]) in {"master", "primary"}
        ]
        # A primary that died stays one, beside the replica that took over.
        leading = [one for one in leading if str_if_bytes(nodes[one].get("health", "")) != "fail"] or leading
        edges = shard["slots"]
        ranges = tuple(zip(edges[::2], edges[1::2], strict=True))
        for identity, fields in nodes.items():
            leads = identity in leading
            yield _member(identity, fields, None if leads else next(iter(leading), ""), ranges if leads else ())


def _member(identity: str, fields: Mapping[str, Any], primary: str | None, ranges: Ranges) -> Member:
    """Return a member from its fields in ``CLUSTER SLOTS`` or SHARDS."""
    # A hidden address or a missing name is "?" or empty.
    if (host := str_if_bytes(fields.get("endpoint") or "?")) == "?":
        host = str_if_bytes(fields.get("ip") or "")
    address = f"{host}:{fields.get('port') or fields.get('tls-port', 0)}"
    flags = {"master" if primary is None else "slave"}
    if str_if_bytes(fields.get("health", "")) == "fail":
        flags.add("fail")
    names = {name: str_if_bytes(fields.get(name) or "") for name in ("hostname", "availability-zone")}
    return Member(
        identity,
        address,
        frozenset(flags),
        primary,
        ranges,
        hostname=names["hostname"],
        zone=names["availability-zone"],
    )


READERS: Mapping[Command, Callable[[Any], Iterator[Member]]] = {
    "NODES": read_nodes,
    "SLOTS": read_slots,
    "SHARDS": read_shards,
}
"""The parser of each command's reply, RESP2 or RESP3, bytes or text."""


def itself(node: Redis) -> Member:
    """Return the entry of `node` about itself.

    Raises:
        redis.exceptions.RedisError: the node does not answer, or is not a cluster node.
    """
    return next(found for found in members(node).values() if "myself" in found.flags)


def known_to(node: Redis, other: Redis) -> Member:
    """Return the entry of `node` about `other`, a node of the same cluster.

    Raises:
        ClusterError: `node` does not know it.
        redis.exceptions.RedisError: one of the two does not answer.
    """
    identity = str_if_bytes(other.execute_command("CLUSTER MYID"))
    if found := members(node).get(identity):
        return found
    raise ClusterError(f"{address(node)} does not know the node {address(other)}: let it join the cluster first")


def by_identity(nodes: Sequence[Redis]) -> dict[str, Redis]:
    """Return clients by the ids of their nodes (``CLUSTER MYID``)."""
    return {str_if_bytes(node.execute_command("CLUSTER MYID")): node for node in nodes}


def as_ranges(slots: Iterable[int]) -> list[tuple[int, int]]:
    """Return slots as ranges, first and last included, in order: 3, 1, 2, 7 give (1, 3) and (7, 7)."""
    found: list[tuple[int, int]] = []
    for slot in sorted(set(slots)):
        if found and found[-1][1] == slot - 1:
            found[-1] = (found[-1][0], slot)
        else:
            found.append((slot, slot))
    return found


def same_host_as_primary(known: Mapping[str, Member]) -> list[tuple[str, str, str]]:
    """Return the addresses of each primary and replica that share a host, and the host, of members by id.

    Containers and virtual machines on one host look like separate hosts unless they announce its name.
    """
    return sorted(
        (known[replica.primary].address, replica.address, replica.host)
        for replica in known.values()
        if replica.primary and replica.primary in known and known[replica.primary].host == replica.host
    )


def zones(nodes: Sequence[Redis]) -> dict[str, str]:
    """Return the zone of each node that has one, by address: the first one tells all (``CLUSTER SHARDS``, Valkey 9.1).

    In older clusters each tells its own (``INFO``, Valkey 8.1). Redis has no zones: a program must know them itself.

    Raises:
        redis.exceptions.RedisError: a node does not answer.
    """
    if found := {member.address: member.zone for member in members(nodes[0], "SHARDS").values() if member.zone}:
        return found
    told = {address(node): str(node.info("server").get("availability_zone", "")) for node in nodes}
    return {where: zone for where, zone in told.items() if zone}


class ClusterError(Exception):
    """A cluster is in a wrong state. The message names the node and the problem."""


def endpoint(node: Redis) -> tuple[str, int]:
    """Return the host and port that a client was made for, by default redis-py's."""
    options: dict[str, Any] = node.connection_pool.connection_kwargs
    return options.get("host", "localhost"), options.get("port", 6379)


def address(node: Redis) -> str:
    """Return the ``host:port`` that a client was made for, as errors show it."""
    host, port = endpoint(node)
    return f"{host}:{port}"


def bus_port(node: Redis) -> int:
    """Return the port of the cluster bus of `node` (``CONFIG GET cluster-port``, or its port + 10000)."""
    return int(node.config_get("cluster-port").get("cluster-port") or 0) or endpoint(node)[1] + 10000


__all__ = ["SLOTS", "SlotRange", "owner", "slot_of", "slot_ranges", "widest_deviation"]
