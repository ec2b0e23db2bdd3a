"""Walk over every key of a cluster, also while slots move."""

from __future__ import annotations

from collections.abc import Iterator

from redis.cluster import RedisCluster

from redis_practices.redis_cluster.cluster_keys import slot_map


def every_key(cluster: RedisCluster, match: str = "*", count: int = 1000) -> Iterator[str]:
    """Yield each key that is there all the time at least once, and those that come or go meanwhile or not (``SCAN``).

    One primary after another. A scan alone misses keys whose slot moves from a node not yet scanned to one that was;
    so in the end the map is compared with that of the beginning, and who has got slots is scanned again. `count` is
    how many keys a node looks at in one step, in which it does nothing else.

    What it cannot see: a slot that moves away and back during one round, and the keys gone ahead of a slot that is
    still open when the walk ends.

    Raises:
        redis.exceptions.RedisError: a node does not answer.
    """
    before: dict[str, set[int]] = {}
    while True:
        now = _slots_by_primary(cluster)
        arrived = [address for address, slots in now.items() if slots - before.get(address, set())]
        if not arrived:
            return
        for address in arrived:
            node = cluster.get_redis_connection(cluster.get_node(node_name=address))
            yield from node.scan_iter(match=match, count=count)
        before = now


def _slots_by_primary(cluster: RedisCluster) -> dict[str, set[int]]:
    """Return the slots of each primary, by its address, as the cluster says now."""
    found: dict[str, set[int]] = {}
    for held in slot_map(cluster):
        found.setdefault(held.primary, set()).update(range(held.first, held.last + 1))
    return found
