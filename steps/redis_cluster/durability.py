"""The sentences about writes that a failure may cost, and traffic meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from pytest_bdd import given, parsers, then, when

from fixtures.redis_cluster.faults import Cast
from fixtures.redis_cluster.nodes import clients_of, owner_of
from fixtures.redis_cluster.state_machine import ClusterMachine, Estate
from fixtures.redis_cluster.workload import ShardWrites, Traffic, write_shard
from fixtures.reporting.measurements import MOST_POINTS, Bound, per_interval
from fixtures.stacks.protocols import Cluster, Private
from fixtures.stateful import try_histories
from redis_practices.polling import eventually
from redis_practices.redis_cluster.failover import fail_over
from redis_practices.redis_cluster.formation import wait_until_ready
from steps.common.vocabulary import TYPES, bound, duration, rows


@given(parsers.cfparse('"{setting}" is set to "{value}" at every node'))
@when(parsers.cfparse('"{setting}" is set to "{value}" at every node'))
def set_everywhere(cast: Cast, setting: str, value: str) -> None:
    """Change a setting at all nodes that answer, until the scenario ends."""
    for node in cast.present():
        cast.configure(node, setting, value)


@when(parsers.cfparse('the primary of "{key}" is cut off from its replicas'))
def drop_replicas(cluster: Cluster, key_prefix: str, key: str) -> None:
    """End the connections to replicas: what is written from now on is not in the buffers of a connection."""
    with owner_of(cluster, key_prefix + key).client() as client:
        client.execute_command("CLIENT KILL", "TYPE", "replica")


@when(
    parsers.cfparse('{count:Count} keys of the slot of "{key}" are written', extra_types=TYPES),
    target_fixture="shard_writes",
)
def write_plainly(cluster: Cluster, key_prefix: str, count: int, key: str) -> ShardWrites:
    """Write as most applications do."""
    return write_shard(owner_of(cluster, key_prefix + key), key_prefix + key, count, confirm=False)


@when(
    parsers.cfparse('{count:Count} keys of the slot of "{key}" are written and a replica awaited', extra_types=TYPES),
    target_fixture="shard_writes",
)
def write_carefully(cluster: Cluster, key_prefix: str, count: int, key: str) -> ShardWrites:
    """Write and ask how many replicas have it."""
    return write_shard(owner_of(cluster, key_prefix + key), key_prefix + key, count, confirm=True)


@then(parsers.cfparse("{bound:Bound} of them are acknowledged", extra_types=TYPES))
def check_acknowledged(shard_writes: ShardWrites, bound: Bound, measure: Callable[..., None]) -> None:
    """Count what the writer may rely on."""
    measure("acknowledged writes", unit="", bound=bound, seen=len(shard_writes.acknowledged))


@then(parsers.cfparse('the others are refused with "{reason}"'))
def check_refusals(shard_writes: ShardWrites, reason: str) -> None:
    """Require one reason for all that was not acknowledged."""
    assert [refusal.partition(" ")[0].rstrip(":") for refusal in shard_writes.refusals] == [reason], (
        f"refused with {shard_writes.refusals or 'nothing'}"
    )


@then(parsers.cfparse("{bound:Bound} of the acknowledged keys are lost", extra_types=TYPES))
def check_lost(cluster: Cluster, shard_writes: ShardWrites, bound: Bound, measure: Callable[..., None]) -> None:
    """Count the acknowledged keys that are gone."""
    measure("acknowledged writes lost", unit="", bound=bound, seen=shard_writes.lost(cluster))


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
    with clients_of(cluster.nodes) as everyone:
        clients = {node.address: client for node, client in zip(cluster.nodes, everyone, strict=True)}
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


@then(
    parsers.cfparse(
        "in {number:Count} histories of up to {steps:Count} events every key reads as acknowledged",
        extra_types=TYPES,
    )
)
def try_histories_of_keys(
    cluster: Cluster, private: Private, number: int, steps: int, measure: Callable[..., None]
) -> None:
    """Let Hypothesis look for an order of events after which a key reads otherwise than it should."""
    estate = Estate(cluster, private)
    try_histories(lambda: ClusterMachine(estate), number, steps, estate.failures)
    for what, times in sorted(estate.done.items()):
        measure(what, unit="", seen=times)
