"""The sentences about where keys lie and how they spread."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, then

from fixtures.redis_cluster.nodes import node_at, pipelined, primaries, ranges
from fixtures.reporting.measurements import Bound
from redis_practices.redis_cluster.key_distribution import p_value, read, spread, write
from redis_practices.redis_cluster.topology import SLOTS, SlotRange, owner, slot_of
from steps.common.vocabulary import TYPES
from steps.redis_cluster.cluster_routing import TTL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pytest

    from fixtures.stacks.protocols import Cluster


def seeded(request: pytest.FixtureRequest) -> random.Random:
    """Return random numbers that come again with the seed that the header of the run names."""
    return random.Random(f"{request.config.option.hypothesis_seed} {request.node.nodeid}")


@given(parsers.cfparse("{number:Count} keys are written to the cluster", extra_types=TYPES), target_fixture="written")
def write_keys(cluster: Cluster, key_prefix: str, number: int) -> dict[str, str]:
    """Write keys through a client of the whole cluster, and have them on the replicas too."""
    values = {f"{key_prefix}{index}": str(index) for index in range(number)}
    with cluster.client() as client:
        write(client, values, TTL)
    for held, (key, *_) in by_holder(cluster, values).items():
        with node_at(cluster, held.primary).client() as client:
            # A write of this very connection: WAIT counts from the last write of its client.
            client.expire(key, TTL)
            copies = len(held.replicas)
            assert client.wait(copies, 5000) == copies, f"not all replicas of {held.primary} follow it"
    return values


@given(
    parsers.cfparse("{number:Count} random keys are written to the cluster", extra_types=TYPES),
    target_fixture="written",
)
def write_random_keys(cluster: Cluster, key_prefix: str, number: int, request: pytest.FixtureRequest) -> dict[str, str]:
    """Write keys that have no order at all, as a counter has: CRC16 spreads a counter better than chance does."""
    numbers = seeded(request)
    values = {f"{key_prefix}{numbers.randbytes(12).hex()}": "" for _ in range(number)}
    for held, keys in by_holder(cluster, values).items():
        with node_at(cluster, held.primary).client() as client, client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.execute_command("SET", key, "", "EX", TTL)
            pipe.execute()
    return values


def by_holder(cluster: Cluster, keys: Iterable[str]) -> dict[SlotRange, list[str]]:
    """Return the keys in each range of slots."""
    slots = ranges(cluster)
    found: dict[SlotRange, list[str]] = {}
    for key in keys:
        held = owner(slot_of(key), slots)
        assert held, f"no node owns the slot of {key}"
        found.setdefault(held, []).append(key)
    return found


@then("each of them is on the primary of its slot and on each of its replicas")
def find_keys(cluster: Cluster, written: dict[str, str]) -> None:
    """Ask each node for the keys of its slots."""
    for held, keys in by_holder(cluster, written).items():
        for address in (held.primary, *held.replicas):
            seen = pipelined(node_at(cluster, address), "EXISTS", keys, first=["READONLY"])
            missing = [key for key, said in zip(keys, seen, strict=True) if said != 1]
            assert not missing, f"{address} lacks {len(missing)} of {len(keys)} keys, {missing[0]} is the first"


@then("no other node holds anything in their slots")
def find_strays(cluster: Cluster, written: dict[str, str]) -> None:
    """Count the keys that nodes hold in slots that are not theirs (``CLUSTER COUNTKEYSINSLOT``)."""
    slots = ranges(cluster)
    for node in cluster.nodes:
        own = [held for held in slots if node.address in (held.primary, *held.replicas)]
        foreign = sorted({slot for key in written if not owner(slot := slot_of(key), own)})
        assert foreign, f"{node.address} has every slot: there is no other node"
        seen = pipelined(node, "CLUSTER COUNTKEYSINSLOT", [str(slot) for slot in foreign])
        strays = {slot: count for slot, count in zip(foreign, seen, strict=True) if count != 0}
        assert not strays, f"{node.address} holds keys of slots that are not its own, by slot: {strays}"


@then("all of them are readable")
def read_keys(cluster: Cluster, written: dict[str, str]) -> None:
    """Read every key through a client of the whole cluster."""
    with cluster.client() as client:
        seen = dict(zip(written, read(client, list(written)), strict=True))
    assert seen == written, f"{sum(seen[key] != written[key] for key in written)} of {len(written)} keys read otherwise"


@then(
    parsers.cfparse("by the chi-squared test their spread is chance, at a significance of {level:g}", extra_types=TYPES)
)
def check_spread(
    cluster: Cluster, written: dict[str, str], level: float, measure: Callable[..., None], chart: Callable[..., None]
) -> None:
    """Count the keys on the primaries and hold the counts against the slots they own."""
    with cluster.client() as client:
        nodes = [node for node in spread(client, list(written)) if node.role == "primary"]
    assert sum(node.keys for node in nodes) == len(written), f"not every key was found: {nodes}"
    chart("keys per primary", unit="keys", kind="bars", points=[(node.address, node.keys) for node in nodes])
    seen = p_value([node.keys for node in nodes], [node.slots for node in nodes])
    measure("p-value of the spread", unit="", bound=Bound.at_least(level), seen=seen)


@then(parsers.cfparse("no primary's number of slots is more than {limit:Count} % off an even share", extra_types=TYPES))
def check_balance(cluster: Cluster, limit: int, measure: Callable[..., None], chart: Callable[..., None]) -> None:
    """Measure the primary whose number of slots is farthest from an even share, in percent of that share."""
    even = SLOTS / len(primaries(cluster))
    owned: dict[str, int] = {}
    for held in ranges(cluster):
        owned[held.primary] = owned.get(held.primary, 0) + held.last - held.first + 1
    fair = Bound.between(round(even * (1 - limit / 100)), round(even * (1 + limit / 100)))
    chart("slots per primary", unit="slots", kind="bars", points=list(owned.items()), bound=fair)
    farthest = max(abs(slots - even) for slots in owned.values()) / even
    measure("slots off an even share, at most", unit="%", bound=Bound.at_most(limit), seen=round(100 * farthest, 2))
