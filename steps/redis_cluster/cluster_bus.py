"""The sentences about what nodes of a cluster send each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_bdd import parsers, then, when

from fixtures.redis_cluster.nodes import holder, owner_of, primaries
from fixtures.stacks.protocols import need_command
from redis_practices.polling import eventually
from steps.common.vocabulary import TYPES, assert_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fixtures.stacks.protocols import Cluster, Node
    from steps.common.vocabulary import Duration

Counts = tuple[int, int]
"""How many sharded and how many classic messages."""


@dataclass(frozen=True)
class Published:
    """What was published, and what each node had received before, by address."""

    channel: str
    before: dict[str, Counts]


@when(
    parsers.cfparse(
        '{number:Count} sharded and {classic:Count} classic messages are published at the owner of "{channel}"',
        extra_types=TYPES,
    ),
    target_fixture="published",
)
def publish_many(cluster: Cluster, key_prefix: str, number: int, classic: int, channel: str) -> Published:
    """Publish both kinds at one node, the sharded ones first."""
    need_command(cluster.nodes[0], "SPUBLISH", "Redis 7.0 or Valkey: sharded channels")
    name = key_prefix + channel
    published = Published(name, {node.address: _received(node) for node in cluster.nodes})
    with owner_of(cluster, name).client() as client, client.pipeline(transaction=False) as pipe:
        for _ in range(number):
            pipe.execute_command("SPUBLISH", name, "message")
        for _ in range(classic):
            pipe.publish(name, "message")
        pipe.execute()
    return published


@then(parsers.cfparse("the nodes received over the bus within {limit:Duration}", extra_types=TYPES))
def check_received(cluster: Cluster, published: Published, limit: Duration, datatable: Sequence[Sequence[str]]) -> None:
    """Hold what each kind of node received against the table; nodes of a kind must not differ."""
    kinds = {node.address: _kind(cluster, node, published.channel) for node in cluster.nodes}

    def compare() -> None:
        """Compare now: sharded messages went first, so where the classic ones are, they are."""
        seen: dict[str, set[Counts]] = {}
        for node in cluster.nodes:
            now, before = _received(node), published.before[node.address]
            seen.setdefault(kinds[node.address], set()).add((now[0] - before[0], now[1] - before[1]))
        for kind, counts in seen.items():
            assert len(counts) == 1, f"nodes of the kind {kind!r} differ: {counts}"
        lines = [(row[0], *next(iter(seen[row[0]]))) for row in datatable[1:]]
        assert_table(datatable, [dict(zip(datatable[0], line, strict=True)) for line in lines])

    eventually(compare, within=limit.seconds())


def _kind(cluster: Cluster, node: Node, channel: str) -> str:
    """Return the name that the table has for a node."""
    shard = holder(cluster, channel)
    if node.address in (shard.primary, *shard.replicas):
        return "owner" if node.address == shard.primary else "replica of the owner"
    return f"{'primary' if node in primaries(cluster) else 'replica'} of other shards"


def _received(node: Node) -> Counts:
    """Return how many sharded and classic messages a node has received over the bus (``CLUSTER INFO``)."""
    with node.client() as client:
        said = client.execute_command("CLUSTER INFO")
    sharded, classic = (
        int(said.get(f"cluster_stats_messages_{kind}_received", 0)) for kind in ("publishshard", "publish")
    )
    return sharded, classic
