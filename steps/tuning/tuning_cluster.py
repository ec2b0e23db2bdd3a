"""The sentences about ways to share work between the nodes of a cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_bdd import given, parsers, then, when
from redis import RedisCluster

from redis_practices.tuning import bulk, connections
from redis_practices.tuning.measuring import reads_by_node
from steps.common.vocabulary import TYPES, bound, rows
from steps.tuning._ratios import hold

if TYPE_CHECKING:
    from fixtures.stacks.protocols import Cluster, Private

Table = Sequence[Sequence[str]]

WAYS: dict[str, Callable[[RedisCluster, Sequence[str]], list[Any]]] = {
    "GET key after key": bulk.read_each,
    "GET, a new client each time": connections.cluster_each_time,
    "the client's pipeline": bulk.read_by_pipeline,
    "the client's pipeline, a tag": bulk.read_tagged_by_pipeline,
    "one pipeline a node": bulk.read_by_node,
    "GET from all nodes": bulk.read_from_all,
    "GET from replicas": bulk.read_from_replicas,
    "MGET of keys apart": bulk.read_fields_apart,
    "MGET of keys with one hash tag": bulk.read_fields_together,
    "GET of one hot key": bulk.read_hot_key,
    "GET of a hot key's copies": bulk.read_hot_copies,
}
"""The ways that features name; they stand side by side in src/redis_practices/tuning/bulk.py."""


@dataclass
class Site:
    """Where ways are tried: a client of the cluster, and the keys to work on."""

    client: RedisCluster
    keys: list[str]


@given("a cluster of its own with a replica for each of its 3 primaries", target_fixture="cluster")
def have_cluster(private: Private) -> Cluster:
    """Have a cluster whose counters nobody else moves."""
    return private.cluster()


@given(
    parsers.cfparse("{number:Count} values of {size:Count} bytes in the cluster", extra_types=TYPES),
    target_fixture="site",
)
def fill_cluster(cluster: Cluster, key_prefix: str, number: int, size: int) -> Site:
    """Write values that are gone after ten minutes, and wait until the replicas have them."""
    client = cluster.client()
    keys = [f"{key_prefix}{index}" for index in range(number)]
    answers = bulk.write_bulk(client, [(key, "1" * size) for key in keys], ttl=600)
    assert all(answer in {b"OK", "OK", True} for answer in answers), f"not written: {answers[:3]}"
    return Site(client, keys)


def replicas(cluster: Cluster) -> set[str]:
    """Return the addresses of the nodes that are replicas now."""
    found = set()
    for node in cluster.nodes:
        with node.client() as client:
            if client.info("replication")["role"] == "slave":
                found.add(node.address)
    return found


@then("the nodes count for these ways")
def check_shares(cluster: Cluster, site: Site, datatable: Table, measure: Callable[..., None]) -> None:
    """Try each way once and hold the reads that the nodes counted against the table."""
    followers = replicas(cluster)
    for row in rows(datatable, ["WAY"], ["CALLS", "BUSIEST NODE", "ON REPLICAS"]):
        before = reads_by_node(cluster.nodes)
        WAYS[row["WAY"]](site.client, site.keys)
        counts = Counter({address: count - before[address] for address, count in reads_by_node(cluster.nodes).items()})
        total = counts.total()
        seen = {
            "CALLS": (total, ""),
            "BUSIEST NODE": (round(100 * max(counts.values()) / total, 1), "%"),
            "ON REPLICAS": (round(100 * sum(counts[address] for address in followers) / total, 1), "%"),
        }
        for column in [name for name in seen if row.get(name)]:
            value, unit = seen[column]
            measure(f"{row['WAY']}: {column.lower()}", unit=unit, bound=bound(row[column]), seen=value)


@then("these ways to use the cluster pay")
def check_cluster_ratios(site: Site, datatable: Table, measure: Callable[..., None]) -> None:
    """Time two ways a row in turn and hold the ratio of their medians against the table; "reported" claims nothing."""
    for row in rows(datatable, ["NAIVE", "TUNED", "TIMES FASTER"], ["LESS PROCESSOR TIME"]):
        naive, tuned = (partial(WAYS[row[name]], site.client, site.keys) for name in ("NAIVE", "TUNED"))
        assert len(naive()) == len(tuned()), f"{row['NAIVE']} and {row['TUNED']} give different numbers of answers"
        hold(measure, row, naive, tuned)


@when(
    parsers.cfparse(
        "one pipeline a node writes and reads {keys:Count} keys and increments a text in between", extra_types=TYPES
    ),
    target_fixture="answers",
)
def run_bulk(cluster: Cluster, key_prefix: str, keys: int) -> list[object]:
    """Send writes and reads for all nodes, with a command in the middle that cannot succeed."""
    commands: list[tuple[str, ...]] = []
    for number in range(keys):
        key = f"{key_prefix}{number}"
        commands += [("SET", key, f"text {number}", "EX", "600"), ("GET", key)]
        if number == keys // 2:
            commands.append(("INCR", key))
    with cluster.client() as client:
        return [answer == "OK" or answer for answer in bulk.bulk(client, commands, batch=100)]


@when("the client believes that one primary owns all slots")
def spoil_map(site: Site) -> None:
    """Give the client a map that is wrong for two thirds of the keys, as after a resharding."""
    slots = site.client.nodes_manager.slots_cache
    first = slots[0]
    for slot in slots:
        slots[slot] = first


@then("one pipeline a node still reads all of them")
def check_moved(site: Site) -> None:
    """Require every value, though most of the nodes asked first answer MOVED."""
    seen = bulk.bulk(site.client, [("GET", key) for key in site.keys])
    wrong = [value for value in seen if value != "1" * 100]
    assert not wrong, f"{len(wrong)} of {len(seen)} values are wrong, the first is {wrong[0]!r}"
