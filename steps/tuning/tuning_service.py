"""The sentences about servers of a scenario's own: shards side by side, hangs, replicas that come back, settings."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_bdd import given, parsers, then, when

from redis_practices.tuning import failures, memory, scaling, server_settings
from redis_practices.tuning.measuring import compare
from steps.common.vocabulary import TYPES, bound, duration, rows
from steps.tuning._ratios import report

if TYPE_CHECKING:
    from fixtures.reporting.measurements import Bound
    from fixtures.stacks.protocols import Cluster, Private
    from redis_practices.servers.server import Server
    from steps.common.vocabulary import Duration

Table = Sequence[Sequence[str]]
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
