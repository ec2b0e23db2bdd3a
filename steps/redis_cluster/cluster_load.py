"""The sentences about where the work of a cluster falls, and its memory."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, then, when
from redis.exceptions import ResponseError

from fixtures.redis_cluster.nodes import owner_of, pipelined, primaries
from fixtures.run.keys import Unsupported
from redis_practices.redis_cluster.key_distribution import biggest_keys, hottest_slots
from redis_practices.redis_cluster.topology import slot_of
from steps.common.vocabulary import TYPES, rows
from steps.redis_cluster.cluster_routing import TTL
from steps.redis_cluster.cluster_scan import MOST

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fixtures.reporting.measurements import Bound
    from fixtures.stacks.protocols import Cluster


@when(parsers.cfparse('"{key}" is read {number:Count} times', extra_types=TYPES))
def read_often(cluster: Cluster, key_prefix: str, key: str, number: int) -> None:
    """Read one key again and again."""
    pipelined(owner_of(cluster, key_prefix + key), "GET", [key_prefix + key] * number)


@then(parsers.cfparse('the hottest slot is that of "{key}", by each of these'))
def name_hottest(
    cluster: Cluster, key_prefix: str, key: str, datatable: Sequence[Sequence[str]], measure: Callable[..., None]
) -> None:
    """Ask for the two hottest slots of the cluster by each measure."""
    expected = slot_of(key_prefix + key)
    with ExitStack() as stack:
        clients = [stack.enter_context(node.client()) for node in primaries(cluster)]
        for row in rows(datatable, ("MEASURE",)):
            first, second = hottest_slots(clients, 2, row["MEASURE"])
            assert first.slot == expected, f"by {row['MEASURE']}: {first}, then {second}; expected slot {expected}"
    measure("CPU of the hottest slot", unit="s", seen=first.cpu)


@given(parsers.cfparse('the cluster holds a list of {number:Count} items at "{key}"', extra_types=TYPES))
def hold_a_list(cluster: Cluster, key_prefix: str, number: int, key: str) -> None:
    """Write a long list that expires by itself."""
    with cluster.client() as client:
        client.rpush(key_prefix + key, *range(number))
        client.expire(key_prefix + key, TTL)


@then(parsers.cfparse('the biggest key is "{key}", of {bound:Bound} bytes', extra_types=TYPES))
def name_biggest(cluster: Cluster, key_prefix: str, key: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Look for the biggest of this scenario's keys."""
    with ExitStack() as stack:
        clients = [stack.enter_context(node.client()) for node in primaries(cluster)]
        if (most := max(client.dbsize() for client in clients)) > MOST:
            raise Unsupported(f"a node holds {most} keys: walking over all of them takes too long")
        try:
            [(size, name), *_] = biggest_keys(clients, 2, f"{key_prefix}*")
        except ResponseError as error:
            raise Unsupported(f"needs MEMORY USAGE: {error}") from None
    assert name == key_prefix + key, f"the biggest key is {name!r}, of {size} bytes"
    measure("size of the biggest key", unit="bytes", bound=bound, seen=size)
