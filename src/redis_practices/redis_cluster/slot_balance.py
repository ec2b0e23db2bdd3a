"""Share the slots of a cluster out evenly, while clients are served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from redis import Redis

from redis_practices.redis_cluster.cluster_members import Member, by_identity, itself
from redis_practices.redis_cluster.slot_migration import move_slots


def rebalance(nodes: Sequence[Redis], *, timeout: float = 60.0) -> int:
    """Share the slots evenly over all primaries of `nodes`, those without any included; return how many moved.

    As few slots move as possible, by `move_slots`, which tells of the commands and of `timeout` for each pair of nodes.

    Raises:
        ClusterError, redis.exceptions.RedisError: as `move_slots` does.
    """
    known = by_identity(nodes)
    held = {identity: itself(node) for identity, node in known.items()}
    return share_out({identity: member for identity, member in held.items() if not member.primary}, known, timeout)


def share_out(held: Mapping[str, Member], known: Mapping[str, Redis], timeout: float, leaving: str = "") -> int:
    """Move slots until each of the primaries `held` has its share, and `leaving` none; return how many moved.

    `known` has a client for each id. `timeout` in seconds is that of the moves of each pair.

    Raises:
        ClusterError, redis.exceptions.RedisError: as `move_slots` does.
    """
    moves = even_moves({identity: sorted(member.slots) for identity, member in held.items()}, leaving)
    for (source, target), slots in moves.items():
        move_slots(slots, known[source], known[target], list(known.values()), timeout=timeout)
    return sum(map(len, moves.values()))


def even_moves(held: Mapping[str, Sequence[int]], leaving: str = "") -> dict[tuple[str, str], list[int]]:
    """Return the fewest moves, by source and target, after which no node holds more than one slot more than another.

    The node `leaving`, if given, then holds none. Each node gives away its last slots.
    """
    stay = sorted((name for name in held if name != leaving), key=lambda name: -len(held[name]))
    total = sum(map(len, held.values()))
    # Who holds most keeps the odd ones: one move less each.
    share = {name: total // len(stay) + (place < total % len(stay)) for place, name in enumerate(stay)}
    spare = [(name, slot) for name, slots in held.items() for slot in slots[share.get(name, 0) :]]
    moves: dict[tuple[str, str], list[int]] = {}
    for target in stay:
        for _ in range(share[target] - len(held[target])):
            source, slot = spare.pop()
            moves.setdefault((source, target), []).append(slot)
    return moves
