"""The sentences about clients that keep going while something happens to their cluster."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from pytest_bdd import given, then, when

from fixtures.redis_cluster.workload import Traffic
from fixtures.reporting.measurements import MOST_POINTS, Bound, per_interval
from redis_practices.polling import eventually
from redis_practices.redis_cluster.failover import fail_over
from redis_practices.redis_cluster.formation import wait_until_ready
from steps.common.vocabulary import bound, duration, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

    from fixtures.stacks.protocols import Cluster

FIRST = 100
"""Writes before anything happens: all connections are made by then."""


@given("two writers and a reader of the cluster", target_fixture="traffic")
def have_traffic(cluster: Cluster, key_prefix: str, request: pytest.FixtureRequest) -> Traffic:
    """Have clients that go on until they are asked what they saw."""
    return _started(Traffic(cluster, key_prefix), request)


@given("two writers that wait for a replica and a reader of the cluster", target_fixture="traffic")
def have_careful_traffic(cluster: Cluster, key_prefix: str, request: pytest.FixtureRequest) -> Traffic:
    """Have writers that count a write only when a replica has it."""
    return _started(Traffic(cluster, key_prefix, confirm=True), request)


def _started(traffic: Traffic, request: pytest.FixtureRequest) -> Traffic:
    """Return traffic that has begun and ends with the scenario."""
    request.addfinalizer(traffic.end)
    eventually(lambda: traffic.done["writes"] >= FIRST, within=10.0, every=0.01)
    return traffic


@then("they saw")
def check_traffic(
    cluster: Cluster,
    traffic: Traffic,
    datatable: Sequence[Sequence[str]],
    measure: Callable[..., None],
    chart: Callable[..., None],
) -> None:
    """End the traffic after some more writes, and hold what it saw against the table."""
    enough = traffic.done["writes"] + FIRST
    eventually(lambda: traffic.done["writes"] >= enough, within=10.0, every=0.01)
    seen = traffic.seen()
    if moments := traffic.moments():
        points = per_interval(moments)[:MOST_POINTS]
        chart("writes per 50 ms to the shard that stood still longest", unit="writes", kind="timeline", points=points)
    if traffic.errors:
        kinds = (f"{kind} {n} (first {traffic.first[kind]})" for kind, n in traffic.errors.most_common())
        measure("kinds of errors", unit="", seen=", ".join(kinds))
    for row in rows(datatable, ("SEEN", "BOUND")):
        value, unit = seen[row["SEEN"]]
        limit = row["BOUND"]
        if "node timeout" in limit:
            allowed = Bound.at_most(duration(limit.removeprefix("within ")).seconds(cluster.node_timeout))
        else:
            allowed = bound(limit)
        measure(row["SEEN"], unit=unit, bound=allowed, seen=value)


@when("every node is started again, each primary after a planned failover")
def restart_all(cluster: Cluster) -> None:
    """Restart the replicas, then the primaries in the role of replicas, and let the cluster be ready in between."""
    with ExitStack() as stack:
        clients = {node.address: stack.enter_context(node.client()) for node in cluster.nodes}
        everyone = list(clients.values())
        roles = {address: client.info("replication") for address, client in clients.items()}
        followers = {
            f"{said['master_host']}:{said['master_port']}": name
            for name, said in roles.items()
            if said["role"] == "slave"
        }
        for node in sorted(cluster.nodes, key=lambda node: roles[node.address]["role"], reverse=True):
            if roles[node.address]["role"] == "master":
                fail_over(clients[followers[node.address]])
            node.restart()
            wait_until_ready(everyone)
