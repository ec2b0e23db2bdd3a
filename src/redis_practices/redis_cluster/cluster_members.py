"""Who belongs to a cluster, what each node holds, and which slots were left on their way, as the nodes say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from redis import Redis

from redis_practices.redis_cluster.formation import ClusterError, address


@dataclass(frozen=True)
class Member:
    """One node as another one knows it: a line of ``CLUSTER NODES``."""

    identity: str
    address: str
    """As ``host:port``, where other nodes and clients reach it."""
    host: str
    """The name of its machine that it announces (``cluster-announce-hostname``), else its IP address."""
    flags: frozenset[str]
    primary: str | None
    """The id of the primary that it follows, or None for a primary."""
    slots: frozenset[int]
    leaving: dict[int, str]
    """Slots that it owns and that are on their way to another node, with that node's id."""
    arriving: dict[int, str]
    """Slots that are on their way to it, with the id of the node they come from."""

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host and port of its address."""
        host, _, port = self.address.rpartition(":")
        return host, int(port)


def members(node: Redis) -> dict[str, Member]:
    """Return every node of the cluster by its id, as `node` knows them (``CLUSTER NODES``).

    Slots on their way are told by a node of itself alone.

    Raises:
        redis.exceptions.RedisError: the node does not answer, or is no cluster node.
    """
    # As two words: redis-py then gives the text as it came, and not by address, of which two nodes may have the same.
    lines = str(node.execute_command("CLUSTER", "NODES")).splitlines()
    return {found.identity: found for found in map(_member, lines)}


def _member(line: str) -> Member:
    """Read one line of ``CLUSTER NODES``."""
    identity, endpoint, flags, primary, _, _, _, _, *held = line.split()
    slots: set[int] = set()
    leaving, arriving = {}, {}
    for part in held:
        if "->-" in part:
            slot, _, other = part.strip("[]").partition("->-")
            leaving[int(slot)] = other
        elif "-<-" in part:
            slot, _, other = part.strip("[]").partition("-<-")
            arriving[int(slot)] = other
        else:
            first, _, last = part.partition("-")
            slots.update(range(int(first), int(last or first) + 1))
    follows = None if primary == "-" else primary
    place, name, *_ = [*endpoint.split(","), ""]
    place = place.partition("@")[0]
    host = name or place.rpartition(":")[0]
    return Member(identity, place, host, frozenset(flags.split(",")), follows, frozenset(slots), leaving, arriving)


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
