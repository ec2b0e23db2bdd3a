"""Which server of a cluster holds how many of some keys, asked of the servers themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from redis.cluster import RedisCluster
from redis.exceptions import AskError, MovedError

from redis_practices.redis_cluster.cluster_keys import batches, slot_map
from redis_practices.redis_cluster.key_slots import owner, slot_of, widest_deviation

BAR = 40
"""Characters of the longest bar."""


@dataclass(frozen=True)
class NodeKeys:
    """One server: its address, ``primary`` or ``replica``, how many slots it has, and the keys of them that it holds.

    `slots` of a replica are those of its primary.
    """

    address: str
    role: str
    slots: int
    keys: int


def spread(cluster: RedisCluster, keys: Sequence[str]) -> list[NodeKeys]:
    """Return each primary, by address, followed by its replicas, with how many of `keys` it holds.

    Each server is asked for the keys of its slots; replicas answer because of ``READONLY``.

    Raises:
        redis.exceptions.RedisError: a node does not answer or refuses a read.
    """
    ranges = slot_map(cluster)
    roles: dict[str, str] = {}
    slots: dict[str, int] = {}
    # Not in order of slots: those change hands, and a table that is watched should keep its rows.
    for held in sorted(ranges, key=lambda held: held.primary):
        for address in (held.primary, *held.replicas):
            roles.setdefault(address, "primary" if address == held.primary else "replica")
            slots[address] = slots.get(address, 0) + held.last - held.first + 1
    expected: dict[str, list[str]] = {address: [] for address in roles}
    for key in keys:
        held_by = owner(slot_of(key), ranges)
        for address in (held_by.primary, *held_by.replicas) if held_by else ():
            expected[address].append(key)
    return [NodeKeys(node, roles[node], slots[node], count_on(cluster, node, expected[node])) for node in roles]


def count_on(cluster: RedisCluster, address: str, keys: Sequence[str]) -> int:
    """Return how many of `keys` the server at `address` says it has (``READONLY``, then ``EXISTS``).

    A key that it sends us elsewhere for (``MOVED``, ``ASK``) is none of its.

    Raises:
        redis.exceptions.RedisError: it does not answer or refuses a read.
    """
    held = 0
    for batch in batches(keys):
        with cluster.get_redis_connection(cluster.get_node(node_name=address)).pipeline(transaction=False) as pipe:
            pipe.execute_command("READONLY")
            for key in batch:
                pipe.exists(key)
            answers = pipe.execute(raise_on_error=False)
        for answer in answers:
            if isinstance(answer, Exception) and not isinstance(answer, AskError | MovedError):
                raise answer
        held += sum(answer == 1 for answer in answers[1:])
    return held


def table(nodes: Sequence[NodeKeys]) -> list[str]:
    """Return how the keys spread, a line a node; shares are of all keys, those of replicas as well."""
    whole = sum(node.keys for node in nodes if node.role == "primary") or 1
    most = max(node.keys for node in nodes) or 1
    width = max(len(node.address) for node in nodes)
    lines = [f"{'node':{width}}  role     slots     keys   share"]
    for node in nodes:
        bar = "#" * round(BAR * node.keys / most)
        numbers = f"{node.slots:5}  {node.keys:7}  {100 * node.keys / whole:5.1f} %"
        lines.append(f"{node.address:{width}}  {node.role:7}  {numbers}  {bar}".rstrip())
    return lines


def deviation(nodes: Sequence[NodeKeys]) -> str:
    """Return the line that names the primary whose share is farthest from an even one."""
    primaries = [node for node in nodes if node.role == "primary"]
    if not any(node.keys for node in primaries):
        return "no node holds any of the keys"
    farthest, off = widest_deviation([node.keys for node in primaries])
    return (
        f"widest deviation from an even spread: {primaries[farthest].address} holds {abs(100 * off):.1f} points "
        f"{'more' if off > 0 else 'less'} than {100 / len(primaries):.1f} %"
    )
