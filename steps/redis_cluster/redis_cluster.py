"""The sentences about a cluster's nodes and the map of its slots."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, then
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from fixtures.redis_cluster.nodes import SOURCES, differences, node_at, slot_map
from fixtures.reporting.measurements import Bound
from fixtures.run.keys import Unsupported
from redis_practices.server_info import version_of
from steps.common.vocabulary import TYPES, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fixtures.stacks.protocols import Cluster, Private, Stack
    from steps.common.vocabulary import Duration


@given(
    parsers.cfparse("a cluster of {primaries:Count} primaries with {replicas:Count} replica each", extra_types=TYPES),
    target_fixture="cluster",
)
@given(
    parsers.cfparse("a cluster of {primaries:Count} primaries with {replicas:Count} replicas each", extra_types=TYPES),
    target_fixture="cluster",
)
@given(
    parsers.cfparse(
        "a cluster of {primaries:Count} primaries with {replicas:Count} replica each, node timeout {timeout:Duration}",
        extra_types=TYPES,
    ),
    target_fixture="cluster",
)
def have_own_cluster(private: Private, primaries: int, replicas: int, timeout: Duration | None = None) -> Cluster:
    """Have a cluster for this scenario alone; what follows speaks of it."""
    return private.cluster(primaries, replicas, node_timeout_ms=_milliseconds(timeout))


@given(
    parsers.cfparse("a cluster of {primaries:Count} primaries without replicas", extra_types=TYPES),
    target_fixture="cluster",
)
@given(
    parsers.cfparse(
        "a cluster of {primaries:Count} primaries without replicas, node timeout {timeout:Duration}",
        extra_types=TYPES,
    ),
    target_fixture="cluster",
)
def have_bare_cluster(private: Private, primaries: int, timeout: Duration | None = None) -> Cluster:
    """Have a cluster for this scenario alone in which nothing replaces a primary."""
    return private.cluster(primaries, 0, node_timeout_ms=_milliseconds(timeout))


def _milliseconds(timeout: Duration | None) -> int | None:
    """Return a node timeout as the servers count it; None is the stack's own."""
    return round(timeout.seconds() * 1000) if timeout else None


@given(
    parsers.cfparse(
        "a cluster of {primaries:Count} primaries with {replicas:Count} replica each and these settings",
        extra_types=TYPES,
    ),
    target_fixture="cluster",
)
def have_configured_cluster(
    private: Private, stack: Stack, primaries: int, replicas: int, datatable: Sequence[Sequence[str]]
) -> Cluster:
    """Have a cluster with settings of its own, if the engine knows them."""
    settings = {row["SETTING"]: row["VALUE"] for row in rows(datatable, ("SETTING", "VALUE"))}
    with stack.cluster().nodes[0].client() as client:
        unknown = [name for name in settings if not client.config_get(name)]
    if unknown:
        raise Unsupported(f"needs a server that has the setting {', '.join(unknown)}")
    return private.cluster(primaries, replicas, config=settings)


@given(parsers.parse("nodes as of Redis {version}"))
def have_version(stack: Stack, version: str) -> None:
    """Look at the version that a node claims to be compatible with, for what it cannot be asked."""
    with stack.cluster().nodes[0].client() as client:
        claimed = version_of(f"redis {client.info('server')['redis_version']}")
    if claimed < version_of(f"redis {version}"):
        raise Unsupported(f"needs Redis {version} or Valkey")


@then("every node says of the cluster")
def check_cluster_info(cluster: Cluster, datatable: Sequence[Sequence[str]]) -> None:
    """Hold the fields of CLUSTER INFO of every node against the table."""
    expected = {row["FIELD"]: row["VALUE"] for row in rows(datatable, ("FIELD", "VALUE"))}
    for node in cluster.nodes:
        with node.client() as client:
            said = client.execute_command("CLUSTER INFO")
        seen = {field: said.get(field) for field in expected}
        assert seen == expected, f"{node.address} says {seen}"


@then(parsers.cfparse("the map of every node gives {slots:Bound} slots exactly one primary each", extra_types=TYPES))
def check_coverage(cluster: Cluster, slots: Bound, measure: Callable[..., None]) -> None:
    """Count the slots with one primary in the map of each node, and measure the least."""
    well = []
    for node in cluster.nodes:
        with node.client() as client:
            well.append(sum(len(owners) == 1 for owners in slot_map(client, "CLUSTER NODES")))
    measure("slots with one primary, on the node that knows fewest", unit="slots", bound=slots, seen=min(well))


@then("all nodes give the same map")
def compare_maps(cluster: Cluster, datatable: Sequence[Sequence[str]]) -> None:
    """Require one map from all nodes and all commands of the table."""
    commands = [row["COMMAND"] for row in rows(datatable, ("COMMAND",))]
    assert {*commands} <= {*SOURCES}, f"known commands are {', '.join(SOURCES)}"
    first = None
    for node in cluster.nodes:
        with node.client() as client:
            for command in commands:
                seen = slot_map(client, command)
                first = first or seen
                assert seen == first, f"{node.address}, {command}: {differences(first, seen)}"


@then("each address that a node announces answers, as the node it is announced for")
def check_announced(cluster: Cluster) -> None:
    """Connect to every address that any node announces, and ask who is there."""
    for address, identity in _announced(cluster).items():
        try:
            with node_at(cluster, address).client() as client:
                seen = client.execute_command("CLUSTER MYID")
        except (RedisConnectionError, RedisTimeoutError) as error:
            raise AssertionError(f"{address} is announced and does not answer from here: {error}") from error
        assert seen == identity, f"{address} is announced as {identity}, but {seen} answers there"


def _announced(cluster: Cluster) -> dict[str, str]:
    """Return every address that any node announces, with the id of the node it is announced for."""
    found = {}
    for node in cluster.nodes:
        # A node that cannot be asked is among those that the others announce.
        with suppress(RedisConnectionError, RedisTimeoutError), node.client() as client:
            for _, _, *members in client.execute_command("CLUSTER", "SLOTS"):
                found.update({f"{host}:{port}": identity for host, port, identity, *_ in members})
    assert found, "no node answers"
    return found
