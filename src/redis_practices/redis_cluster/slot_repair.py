"""Find and close slots that a broken move left open: some of their keys answer ``ASK`` for ever."""

from __future__ import annotations

from collections.abc import Sequence

from redis import Redis

from redis_practices.redis_cluster.cluster_members import as_ranges, by_identity, itself
from redis_practices.redis_cluster.formation import ClusterError
from redis_practices.redis_cluster.live_resharding import move_live, set_slots, take_back


def close_open_slots(nodes: Sequence[Redis]) -> list[int]:
    """Close every slot that a broken move left open, and return them in order.

    A slot that its owner gives away goes where it was on its way to, if that node is there; of any other the keys come
    together at its owner, whose copy counts where there are two. Commands: those of `move_live`.

    Raises:
        ClusterError: a slot has no owner, so nobody can say where it belongs.
        redis.exceptions.RedisError: a node does not answer or refuses.
    """
    known = by_identity(nodes)
    # Replicas of Valkey repeat what their primaries say of slots on their way.
    seen = {identity: member for identity, node in known.items() if not (member := itself(node)).primary}
    owners = {slot: identity for identity, member in seen.items() for slot in member.slots}
    closed: set[int] = set()
    for identity, member in seen.items():
        for slot, other in sorted(member.leaving.items()):
            closed.add(slot)
            if other in seen:
                move_live([slot], known[identity], known[other])
            else:
                set_slots(known[identity], [slot], "STABLE")
    for identity, member in seen.items():
        for slot in sorted(set(member.arriving) - closed):
            if slot not in owners:
                raise ClusterError(f"slot {slot} is open at {member.address} and has no owner: give it one first")
            take_back(known[owners[slot]], known[identity], seen[owners[slot]], [slot])
            closed.add(slot)
    return sorted(closed)


def open_slots(nodes: Sequence[Redis]) -> list[str]:
    """Return a line for each primary with slots on their way, or nothing when there are none.

    Raises:
        redis.exceptions.RedisError: a node does not answer.
    """
    found = []
    for member in (member for member in map(itself, nodes) if not member.primary):
        for verb, slots in (("gives away", member.leaving), ("takes", member.arriving)):
            ranges = ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in as_ranges(slots))
            found += [f"{member.address} {verb} {ranges}"] if slots else []
    return found
