"""Read, write and scan many keys of a cluster, and show where keys and load lie.

`write`, `read` and `remove` send pipelines to the owners of the slots; `every_key` scans also while slots move.
`distribution` counts the keys of each server, and `p_value` (Pearson's chi-squared test) tells chance from a hot hash
tag. `hottest_slots`, `hottest_keys` and `biggest_keys` find the hot slots, hot keys and big keys that no resharding can
divide.

All but `write` and `remove` leave keys as they are. An interrupt of these two leaves some keys written or removed:
repeat the call. A node that does not answer is an error, and so is a failover, in which `every_key` is to be begun
again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from heapq import nlargest
from itertools import islice
from operator import itemgetter
from typing import Any, TypeVar

from redis import Redis
from redis.client import NEVER_DECODE
from redis.cluster import RedisCluster
from redis.exceptions import AskError, MovedError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redis_practices.redis_cluster.slot_migration import databases, in_database
from redis_practices.redis_cluster.topology import SlotRange, owner, slot_of, slot_ranges, widest_deviation
from redis_practices.server_info import by_name

BATCH = 5000
"""Commands of one pipeline, which bounds the memory for their replies."""

T = TypeVar("T")


def batches(items: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    """Yield `items` in lists of at most `size`."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def write(cluster: RedisCluster, values: Mapping[str, str], ttl: int) -> None:
    """Write `values` with a ttl of `ttl` seconds (``SET key value EX ttl``).

    Raises:
        redis.exceptions.RedisError: a node does not answer or refuses a write.
    """
    for batch in batches(values.items()):
        with cluster.pipeline() as pipe:
            for key, value in batch:
                pipe.set(key, value, ex=ttl)
            pipe.execute()


def read(cluster: RedisCluster, keys: Iterable[str]) -> list[Any]:
    """Return the values of `keys` in their order, None for a missing key (``GET``).

    Raises:
        redis.exceptions.RedisError: a node does not answer or refuses a read.
    """
    values: list[Any] = []
    for batch in batches(keys):
        with cluster.pipeline() as pipe:
            for key in batch:
                pipe.get(key)
            values += pipe.execute()
    return values


def read_near(cluster: RedisCluster, keys: Sequence[str], zone: str, places: Mapping[str, str]) -> list[Any]:
    """Return the values of `keys` in their order, read from nodes of a zone where a shard has one (``READONLY``).

    `places` has the zone of each address, as `topology.zones` returns them. Other shards are read from their primary. A
    replica may lag behind the last write. If a slot has moved or a node is away, the client reads its keys.

    Raises:
        redis.exceptions.RedisError: a primary does not answer or refuses a read.
    """
    slots, groups = cluster.nodes_manager.slots_cache, dict[str, list[int]]()
    for index, key in enumerate(keys):
        held = slots[slot_of(key)]
        near = next((node for node in held if places.get(node.name) == zone), held[0])
        groups.setdefault(near.name, []).append(index)
    values: list[Any] = [None] * len(keys)
    for name, indexes in groups.items():
        node = cluster.get_redis_connection(cluster.get_node(node_name=name))
        for some in batches(indexes):
            answers: list[Any] = [None, *([RedisError()] * len(some))]
            with suppress(RedisConnectionError, RedisTimeoutError), node.pipeline(transaction=False) as pipe:
                pipe.execute_command("READONLY")
                for index in some:
                    pipe.get(keys[index])
                answers = pipe.execute(raise_on_error=False)
            for index, answer in zip(some, answers[1:], strict=True):
                values[index] = cluster.get(keys[index]) if isinstance(answer, Exception) else answer
    return values


def remove(cluster: RedisCluster, keys: Iterable[str]) -> None:
    """Remove `keys` (``UNLINK``: the memory is freed in the background).

    Raises:
        redis.exceptions.RedisError: a node does not answer or refuses it.
    """
    for batch in batches(keys):
        with cluster.pipeline() as pipe:
            for key in batch:
                pipe.unlink(key)
            pipe.execute()


def slot_map(cluster: RedisCluster) -> list[SlotRange]:
    """Return the current owners of the slots as one node reports them (``CLUSTER SLOTS``), and update the client.

    Raises:
        redis.exceptions.RedisError: no node answers.
    """
    cluster.nodes_manager.initialize()
    return slot_ranges(cluster.get_redis_connection(cluster.get_default_node()))


def answer_of(cluster: RedisCluster, address: str, key: str) -> str:
    """Return the reply of the server at `address` to ``GET key``, an error word for word.

    Raises:
        redis.exceptions.RedisError: the server does not answer.
    """
    try:
        return repr(cluster.get_redis_connection(cluster.get_node(node_name=address)).get(key))
    except (MovedError, AskError) as error:
        # redis-py turns the first word of these errors into the class.
        return f"{'MOVED' if isinstance(error, MovedError) else 'ASK'} {error}"
    except ResponseError as error:
        return str(error)


BAR = 40
"""Characters of the longest bar."""


@dataclass(frozen=True)
class NodeKeys:
    """One server: its address, ``primary`` or ``replica``, its number of slots, and the number of its keys.

    A replica's `slots` are those of its primary.
    """

    address: str
    role: str
    slots: int
    keys: int


def distribution(cluster: RedisCluster, keys: Sequence[bytes | str]) -> list[NodeKeys]:
    """Return each primary, by address, followed by its replicas, with the number of `keys` that each holds.

    Each server is asked for the keys of its slots; replicas answer after ``READONLY``.

    Raises:
        redis.exceptions.RedisError: a node does not answer or refuses a read.
    """
    ranges = slot_map(cluster)
    roles: dict[str, str] = {}
    slots: dict[str, int] = {}
    # Ordered by address, not by slots: slots move, and a table that is watched should keep its rows.
    for held in sorted(ranges, key=lambda held: held.primary):
        for address in (held.primary, *held.replicas):
            roles.setdefault(address, "primary" if address == held.primary else "replica")
            slots[address] = slots.get(address, 0) + held.last - held.first + 1
    expected: dict[str, list[bytes | str]] = {address: [] for address in roles}
    for key in keys:
        held_by = owner(slot_of(key), ranges)
        for address in (held_by.primary, *held_by.replicas) if held_by else ():
            expected[address].append(key)
    return [NodeKeys(node, roles[node], slots[node], count_on(cluster, node, expected[node])) for node in roles]


def count_on(cluster: RedisCluster, address: str, keys: Sequence[bytes | str]) -> int:
    """Return the number of `keys` that the server at `address` holds (``READONLY``, then ``EXISTS``).

    A key that the server redirects (``MOVED``, ``ASK``) does not count.

    Raises:
        redis.exceptions.RedisError: the server does not answer or refuses a read.
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
    """Return a table of the keys, a line a node; shares are of all keys, on replicas too."""
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
    """Return the line about the primary with the widest deviation from an even share."""
    primaries = [node for node in nodes if node.role == "primary"]
    if not any(node.keys for node in primaries):
        return "no node holds any of the keys"
    farthest, off = widest_deviation([node.keys for node in primaries])
    return (
        f"widest deviation from an even spread: {primaries[farthest].address} holds {abs(100 * off):.1f} points "
        f"{'more' if off > 0 else 'less'} than {100 / len(primaries):.1f} %"
    )


def p_value(counts: Sequence[int], weights: Sequence[float]) -> float:
    """Return the probability that chance alone takes `counts` this far from the shares of `weights`.

    1 means as expected; 1e-9 means that one in a thousand million fair runs looks like this. The approximation holds
    if each share is worth five counts or more.

    Raises:
        ValueError: the two differ in length, or one is all zero.
    """
    total, whole = sum(counts), sum(weights)
    if len(counts) != len(weights) or not total or not whole:
        raise ValueError("counts and weights must be as many, and neither all zero")
    expected = [total * weight / whole for weight in weights]
    if any(count and not share for count, share in zip(counts, expected, strict=True)):
        return 0.0
    parts = [(count, share) for count, share in zip(counts, expected, strict=True) if share]
    return survival(sum((count - share) ** 2 / share for count, share in parts), len(parts) - 1)


def survival(statistic: float, freedom: int) -> float:
    """Return the probability that chi-squared with `freedom` degrees of freedom is above `statistic`.

    The closed form: a sum over every second degree (Abramowitz and Stegun, 26.4.4 and 26.4.5).
    """
    half = statistic / 2
    if not half or not freedom:
        return 1.0
    first = 0.5 if freedom % 2 else 0.0
    steps = (
        math.exp((first + step) * math.log(half) - half - math.lgamma(first + step + 1)) for step in range(freedom // 2)
    )
    return min(1.0, sum(steps) + (math.erfc(math.sqrt(half)) if freedom % 2 else 0.0))


def every_key(cluster: RedisCluster, match: str = "*", count: int = 1000) -> Iterator[bytes]:
    """Yield each key at least once (``SCAN``). Keys that come or go during the scan may be missing.

    Primaries are scanned one after another. A plain scan misses keys whose slot migrates from a node not yet scanned to
    a scanned one. So the slot map is compared before and after, and nodes that gained slots are scanned again. `count`
    is the number of keys that a node visits in one step, during which it serves no other client. Every database is
    scanned (Valkey 9), and a name that two databases hold is yielded for each.

    Not seen: a slot that moves away and back during one round, and migrated keys of a slot that is still open at the
    end.

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
            for _, keys in _scan_all(node, match, count):
                yield from keys
        before = now


def _slots_by_primary(cluster: RedisCluster) -> dict[str, set[int]]:
    """Return the current slots of each primary, by its address."""
    found: dict[str, set[int]] = {}
    for held in slot_map(cluster):
        found.setdefault(held.primary, set()).update(range(held.first, held.last + 1))
    return found


@dataclass(frozen=True)
class SlotUse:
    """The cost of one slot since its node began to count."""

    slot: int
    keys: int
    cpu: float
    """Seconds of processor time of its commands."""
    bytes_in: int
    bytes_out: int


def hottest_slots(primaries: Iterable[Redis], limit: int = 10, by: str = "CPU-USEC") -> list[SlotUse]:
    """Return the `limit` hottest slots of a cluster, hottest first (``CLUSTER SLOT-STATS ORDERBY``).

    `by` is ``CPU-USEC``, ``NETWORK-BYTES-IN``, ``NETWORK-BYTES-OUT`` or ``KEY-COUNT``. All but the last need the
    setting ``cluster-slot-stats-enabled``. Valkey 8.0 and Redis 8.2 have the command.

    Raises:
        redis.exceptions.RedisError: a node does not answer, or does not know the command.
    """
    found = []
    for node in primaries:
        for slot, fields in node.execute_command("CLUSTER", "SLOT-STATS", "ORDERBY", by, "LIMIT", limit, "DESC"):
            use = by_name(fields)
            found.append((use[by.lower()], slot, use))
    return [
        SlotUse(
            slot,
            use["key-count"],
            use.get("cpu-usec", 0) / 1e6,
            use.get("network-bytes-in", 0),
            use.get("network-bytes-out", 0),
        )
        for _, slot, use in nlargest(limit, found, key=itemgetter(0))
    ]


@dataclass(frozen=True)
class HotKey:
    """A key, and its share of the bytes that the primaries received and sent, in %."""

    name: bytes
    share: float


@contextmanager
def hottest_keys(primaries: Sequence[Redis], limit: int = 10, seconds: int = 60) -> Iterator[list[HotKey]]:
    """Yield a list, which is filled when the block ends: the `limit` hottest keys meanwhile, hottest first.

    The primaries count by key for at most `seconds` (``HOTKEYS``, since Redis 8.6). Others count by slot, and tell the
    keys of the hottest slots (``CLUSTER SLOT-STATS``, ``CLUSTER GETKEYSINSLOT``); all keys of a slot have its share.
    Counting by key costs a server nearly as much as ``MONITOR``, so keep the block short.

    Raises:
        redis.exceptions.RedisError: a node does not answer, or can count neither by key nor by slot.
    """
    found: list[HotKey] = []
    counting = list[Redis]()
    try:
        with suppress(ResponseError):
            for node in primaries:
                options = ("METRICS", 1, "NET", "COUNT", max(10, limit), "DURATION", seconds)
                node.execute_command("HOTKEYS", "START", *options)
                counting.append(node)
        by_key = len(counting) == len(primaries)
        before = {} if by_key else _traffic(primaries)
        yield found
        found += _keys_counted(primaries, limit) if by_key else _keys_of_slots(primaries, before, limit)
    finally:
        for node in counting:
            node.execute_command("HOTKEYS", "STOP")
            node.execute_command("HOTKEYS", "RESET")


def _keys_counted(primaries: Iterable[Redis], limit: int) -> list[HotKey]:
    """Return the hottest keys that the primaries have counted (``HOTKEYS GET``)."""
    counted, total = list[tuple[int, bytes]](), 0
    for node in primaries:
        answer = node.execute_command("HOTKEYS", "GET", **{NEVER_DECODE: True})
        told = by_name(answer[0] if len(answer) == 1 else answer)
        total += int(told["net-bytes-all-commands-all-slots"])
        pairs = told["by-net-bytes"]
        counted += zip(pairs[1::2], pairs[::2], strict=True)
    return [HotKey(name, 100 * size / total) for size, name in nlargest(limit, counted, key=itemgetter(0))]


def _traffic(primaries: Iterable[Redis]) -> dict[int, tuple[int, Redis]]:
    """Return by slot the bytes received and sent so far, and the slot's owner (``CLUSTER SLOT-STATS``)."""
    found: dict[int, tuple[int, Redis]] = {}
    for node in primaries:
        for slot, fields in node.execute_command("CLUSTER", "SLOT-STATS", "SLOTSRANGE", 0, 16383):
            use = by_name(fields)
            if "network-bytes-in" not in use:
                raise ResponseError("cluster-slot-stats-enabled is no: the node does not count traffic")
            found[slot] = use["network-bytes-in"] + use["network-bytes-out"], node
    return found


def _keys_of_slots(primaries: Iterable[Redis], before: Mapping[int, tuple[int, Redis]], limit: int) -> list[HotKey]:
    """Return the keys of the slots with most traffic since `before`."""
    grown = {slot: (size - before.get(slot, (0, node))[0], node) for slot, (size, node) in _traffic(primaries).items()}
    total, found = sum(size for size, _ in grown.values()) or 1, list[HotKey]()
    for slot, (size, node) in nlargest(limit, grown.items(), key=lambda one: one[1][0]):
        if not size:
            break
        names = node.execute_command("CLUSTER", "GETKEYSINSLOT", slot, limit, **{NEVER_DECODE: True})
        found += [HotKey(name, 100 * size / total) for name in names]
    return found[:limit]


def _scan(node: Redis, match: str, count: int) -> Iterator[list[bytes]]:
    """Yield the keys of one node in batches of ``SCAN``; names are always bytes."""
    cursor, raw = -1, {NEVER_DECODE: True}
    while cursor:
        cursor, keys = node.execute_command("SCAN", max(cursor, 0), "MATCH", match, "COUNT", count, **raw)
        yield keys


def _scan_all(node: Redis, match: str, count: int) -> Iterator[tuple[Redis, list[bytes]]]:
    """Yield the keys of one node in batches, each with a client of their database."""
    for number in databases(node):
        with in_database(node, number) as client:
            for keys in _scan(client, match, count):
                yield client, keys


def biggest_keys(nodes: Iterable[Redis], limit: int = 10, match: str = "*") -> list[tuple[int, bytes]]:
    """Return bytes and name of the `limit` biggest keys, biggest first (``SCAN``, ``MEMORY USAGE``).

    Every database of a node is scanned, not only that of the client. It reads every key of `nodes` once, in steps
    of 1000, beside other work. Prefer replicas, which have less load, and send them ``READONLY`` first. The size of a
    collection is estimated from five of its elements.

    Raises:
        redis.exceptions.RedisError: a node does not answer.
    """
    biggest: list[tuple[int, bytes]] = []
    for node in nodes:
        for client, keys in _scan_all(node, match, 1000):
            with client.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.memory_usage(key)
                # A key that has expired meanwhile has no size.
                sizes = [(size, key) for size, key in zip(pipe.execute(), keys, strict=True) if size]
            biggest = nlargest(limit, [*biggest, *sizes], key=itemgetter(0))
    return biggest
