"""The sentences about writes that a failure may cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, then, when

from fixtures.redis_cluster.faults import Cast
from fixtures.redis_cluster.nodes import owner_of
from fixtures.redis_cluster.workload import ShardWrites, write_shard
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.reporting.measurements import Bound
    from fixtures.stacks.protocols import Cluster


@given(parsers.cfparse('"{setting}" is set to "{value}" at every node'))
@when(parsers.cfparse('"{setting}" is set to "{value}" at every node'))
def set_everywhere(cast: Cast, setting: str, value: str) -> None:
    """Change a setting at all nodes that answer, until the scenario ends."""
    for node in cast.present():
        with node.client() as client:
            before = client.config_get(setting)[setting] or ""
            client.config_set(setting, value)
            cast.undo(node, "CONFIG", "SET", setting, before)


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
