"""Whether one machine's end can take a primary together with its replicas."""

from __future__ import annotations

from redis import Redis


def hosts(node: Redis) -> dict[str, tuple[str, str, str]]:
    """Return host, address and primary's id (``-`` for a primary) of every node by its id (``CLUSTER NODES``).

    The host is the name that the node announces (``cluster-announce-hostname``), else its IP address.

    Raises:
        redis.exceptions.RedisError: the node does not answer, or is no cluster node.
    """
    found = {}
    for line in str(node.execute_command("CLUSTER", "NODES")).splitlines():
        identity, endpoint, _, primary, *_ = line.split()
        place, *names = endpoint.split(",")
        address = place.partition("@")[0]
        found[identity] = (names[0] if names and names[0] else address.rpartition(":")[0], address, primary)
    return found


def beside_their_primary(node: Redis) -> list[tuple[str, str, str]]:
    """Return primary's address, replica's address and host of each pair that has one host.

    Containers and virtual machines on one host look like many hosts unless they announce its name.

    Raises:
        redis.exceptions.RedisError: the node does not answer, or is no cluster node.
    """
    known = hosts(node)
    return sorted(
        (known[primary][1], address, host)
        for host, address, primary in known.values()
        if primary in known and known[primary][0] == host
    )
