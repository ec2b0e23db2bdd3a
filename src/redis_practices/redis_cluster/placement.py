"""Whether one machine's end can take a primary together with its replicas."""

from __future__ import annotations

from redis import Redis

from redis_practices.redis_cluster.cluster_members import members


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
