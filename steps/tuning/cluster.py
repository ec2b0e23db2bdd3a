"""The sentences that compare ways on clusters and several servers."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pytest_bdd import given, parsers, then, when
from redis import RedisCluster

from fixtures.reporting.measurements import Bound
from fixtures.stacks.protocols import Cluster, Private
from redis_practices.servers.server import Server
from redis_practices.tuning import bulk, connections, failures, memory, scaling, server_settings
from redis_practices.tuning.measuring import compare, reads_by_node
from steps.common.vocabulary import TYPES, Duration, bound, duration, rows
from steps.tuning.comparisons import hold, report

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


Measure = Callable[..., None]

SETTINGS: dict[str, Callable[[Any], Callable[[], object]]] = {
    "writes, nothing on disk": partial(server_settings.writing_with, server_settings.NOT_WRITTEN),
    "writes, appendfsync no": partial(server_settings.writing_with, server_settings.LEFT_TO_SYSTEM),
    "writes, appendfsync everysec": partial(server_settings.writing_with, server_settings.EACH_SECOND),
    "writes, appendfsync always": partial(server_settings.writing_with, server_settings.EACH_WRITE),
    "reads, one thread": partial(server_settings.reading_with, server_settings.ONE_THREAD),
    "reads, two io-threads": partial(server_settings.reading_with, server_settings.THREADS),
    "reads over TCP": server_settings.over_tcp,
    "reads over a unix socket": server_settings.over_unix_socket,
}
"""The ways that features name; they stand side by side in src/redis_practices/tuning/server_settings.py."""


@given("a cluster of its own whose work can be made to take its time", target_fixture="cluster")
def have_slow_cluster(private: Private) -> Cluster:
    """Have three primaries with a third of the slots each, whose requests take time and no processor."""
    return private.cluster(3, 0, config=scaling.SLOW)


@when("the first primary gets most of the slots")
def unbalance(cluster: Cluster) -> None:
    """Leave the others a tenth each."""
    scaling.give_most_to_first(cluster.nodes)


@then(
    parsers.cfparse(
        "the owners of their keys serve requests {bound:Bound} times faster than one alone", extra_types=TYPES
    )
)
def check_shards(cluster: Cluster, bound: Bound, measure: Measure) -> None:
    """Serve the same requests by the owners of their keys and by one server, in turn; compare the shortest times."""
    shares = scaling.on_owners(cluster.nodes)
    name = f"shares {' : '.join(map(str, shares))}"
    measure(name, unit="times", bound=bound, seen=round(scaling.times_faster(cluster.nodes), 2))


@then(
    parsers.cfparse(
        "while one primary is busy for {busy:Duration} each of the others answers {bound:Bound} times",
        extra_types=TYPES,
    )
)
def check_isolation(cluster: Cluster, busy: Duration, bound: Bound, measure: Measure) -> None:
    """Count what the others answered before the busy one had answered its own client; a blocked one answers nothing."""
    own, others = scaling.busy_and_bystanders(cluster.nodes, busy.seconds())
    assert own >= busy.seconds(), f"the busy primary answered after {own:.2f} s: it was not busy"
    measure("a busy primary's own client waited", unit="s", seen=round(own, 3))
    for number, waits in enumerate(others, start=2):
        measure(f"primary {number} meanwhile", unit="answers", bound=bound, seen=len(waits))
        measure(f"primary {number}: middle wait", unit="ms", seen=round(1000 * statistics.median(waits), 3))


@then("a replica that was cut off while 5 MB were written comes back like this")
def check_backlog(private: Private, datatable: Table, measure: Measure) -> None:
    """For each size of the backlog count the full copies that a replica's return took (``sync_full``)."""
    for row in rows(datatable, ["BACKLOG", "FULL COPIES"]):
        config = {**server_settings.QUICK_COPY, "repl-backlog-size": row["BACKLOG"]}
        seen = server_settings.full_copies(private, config)
        measure(f"full copies, backlog {row['BACKLOG']}", unit="", bound=bound(row["FULL COPIES"]), seen=seen)


@then(parsers.cfparse("a primary that hangs for {hang:Duration} is replaced like this", extra_types=TYPES))
def check_replaced(private: Private, hang: Duration, datatable: Table, measure: Measure) -> None:
    """For each node timeout count whether a hung primary is replaced; it goes on as soon as it is."""
    cluster = private.cluster(3, 1)
    for row in rows(datatable, ["NODE TIMEOUT", "FAILOVERS"]):
        timeout = duration(row["NODE TIMEOUT"]).seconds()
        for node in cluster.nodes:
            with node.client() as client:
                client.config_set("cluster-node-timeout", round(timeout * 1000))
        seconds = server_settings.seconds_replaced(cluster, hang.seconds())
        name = f"node timeout {row['NODE TIMEOUT']}"
        if seconds is not None:
            measure(f"{name}: replaced after", unit="s", seen=round(seconds, 2))
        measure(f"{name}: failovers", unit="", bound=bound(row["FAILOVERS"]), seen=int(seconds is not None))


@then(
    parsers.cfparse(
        "while it hangs for {hang:Duration} a client with time-outs is free {bound:Bound} times sooner than without",
        extra_types=TYPES,
    )
)
def check_stuck(server: Server, hang: Duration, bound: Bound, measure: Measure) -> None:
    """Compare how long both are stuck."""
    makers = (failures.patient_client, failures.impatient_client)
    without, with_them = (failures.seconds_stuck(server, make, hang.seconds()) for make in makers)
    assert without >= hang.seconds(), f"the client without was free after {without:.2f} s: the server did not hang"
    measure("free sooner", unit="times", bound=bound, seen=round(without / with_them, 1))


@then("of 60 clients that come while a server hangs so many are connected at once")
def check_queue(private: Private, datatable: Table, measure: Measure) -> None:
    """Count those who find room in the queue of the server's socket (``tcp-backlog``)."""
    for row in rows(datatable, ["QUEUE", "CLIENTS"]):
        server = private.server({**failures.LONG_QUEUE, "tcp-backlog": row["QUEUE"]})
        seen = failures.connected_at_once(server)
        measure(f"connected, queue of {row['QUEUE']}", unit="", bound=bound(row["CLIENTS"]), seen=seen)


@then(parsers.cfparse("a cache that evicts by LFU has {bound:Bound} times the hits of one by LRU", extra_types=TYPES))
def check_eviction(private: Private, bound: Bound, measure: Measure) -> None:
    """Give the same reads, with scans among them, to a cache of each policy, random evictions shown as well."""
    policies = (memory.RANDOM, memory.LRU, memory.LFU)
    seen = memory.hit_ratios(private, policies)
    for policy, hits in zip(policies, seen, strict=True):
        measure(f"hits, {policy['maxmemory-policy']}", unit="%", seen=round(hits, 1))
    measure("hits of LFU against LRU", unit="times", bound=bound, seen=round(seen[2] / seen[1], 2))


@then("these settings pay")
def check_settings(private: Private, datatable: Table, measure: Measure) -> None:
    """Time servers that differ in one setting in turn and hold the ratio against the table; "reported" claims none."""
    for row in rows(datatable, ["NAIVE", "TUNED", "TIMES FASTER"]):
        naive, tuned = (SETTINGS[row[name]](private) for name in ("NAIVE", "TUNED"))
        report(measure, row, compare(naive, tuned, rounds=5))
