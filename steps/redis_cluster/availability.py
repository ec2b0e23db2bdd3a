"""The sentences about writes to a cluster that loses nodes, and a workload meanwhile."""

from __future__ import annotations

import time
from collections.abc import Mapping

from pytest_bdd import parsers, then
from redis.exceptions import RedisError

from fixtures.bdd.vocabulary import register
from fixtures.context import Context
from fixtures.redis_cluster.workload import ClusterWorkload
from fixtures.reporting.measurements import Bound
from redis_practices.polling import eventually, seconds_until
from redis_practices.redis_cluster.topology import SlotRange, owner, slot_of, slot_ranges
from steps.common.keys import WORKLOADS
from steps.common.vocabulary import TYPES, Duration
from steps.redis_cluster.nodes import NamedNodes


class Probe:
    """Writes a key that no other step uses, at every node that answers and is not isolated."""

    def __init__(self, context: Context, key: str) -> None:
        """Connect; the key has the slot of `key`."""
        name, nodes = context.key(key), context.part(NamedNodes)
        self.key = f"{name}:probe" if "{" in name else f"{{{name}}}:probe"
        reached = [node for node in nodes.present() if node not in nodes.isolated]
        self.clients = [context.ending.enter_context(node.client(socket_timeout=1.0)) for node in reached]

    def write(self) -> list[str]:
        """Return what each node replies; one that does not own the key says so at once."""
        replies = []
        for client in self.clients:
            try:
                replies.append(str(client.set(self.key, "probe", ex=60)))
            except RedisError as error:
                replies.append(str(error))
        return replies

    def owners(self) -> set[SlotRange | None]:
        """Return the range of slots that each node says the key is in."""
        return {owner(slot_of(self.key), slot_ranges(client)) for client in self.clients}

    def require_accepted(self) -> None:
        """Write, and raise AssertionError if no node accepts it."""
        replies = self.write()
        assert "True" in replies, f"no node accepts the write: {'; '.join(sorted(set(replies)))}"


@then(parsers.parse('a write to "{key}" is accepted within {duration:Duration}', extra_types=TYPES))
def check_accepted(context: Context, key: str, duration: Duration) -> None:
    """Probe the slot of a key at every node until one acknowledges a write; the time counts from the last fault.

    Example: ``Then a write to "user:1" is accepted within 2 node timeouts and 2 seconds``
    """
    probe, most = Probe(context, key), duration.seconds(context.cluster.node_timeout)
    seen = seconds_until(probe.require_accepted, 3 * most, since=context.since)
    # From here on no node redirects a step to the former owner.
    eventually(lambda: len(probe.owners()) == 1, within=10.0)
    context.measure("writes accepted again", unit="s", bound=Bound.at_most(most), seen=round(seen, 3))


@then(parsers.parse('no write to "{key}" is accepted for {duration:Duration}', extra_types=TYPES))
def check_refused(context: Context, key: str, duration: Duration) -> None:
    """Probe the slot of a key at every node for the whole time; each write must be refused.

    Example: ``Then no write to "user:1" is accepted for 1 node timeout``
    """
    probe, end = Probe(context, key), time.monotonic() + duration.seconds(context.cluster.node_timeout)
    while time.monotonic() < end:
        assert "True" not in probe.write(), f"a node accepts a write to {key}"
        time.sleep(0.05)


@then(parsers.parse("{replica:Target} replicates {primary:Target} within {duration:Duration}", extra_types=TYPES))
def check_replication(context: Context, replica: str, primary: str, duration: Duration) -> None:
    """Require that a node is a replica of another one, with a link that is up; the time counts from the last fault.

    Example: ``Then that primary replicates the owner of "user:1" within 5 seconds``
    """
    node, most = context.target(replica), duration.seconds(context.cluster.node_timeout)

    def follows() -> None:
        with node.client(socket_timeout=1.0) as client:
            said = client.info("replication")
        upstream = f"{said.get('master_host')}:{said.get('master_port')} {said.get('master_link_status')}"
        expected = f"{context.target(primary).address} up"
        assert upstream == expected, f"{node.address} is {said['role']} of {upstream}, not of {expected}"

    seen = seconds_until(follows, 3 * most, since=context.since, also=(RedisError,))
    context.measure(f"{replica} replicates {primary}", unit="s", bound=Bound.at_most(most), seen=round(seen, 3))


for name, meaning, unit in (
    ("stale reads", "reads of a value older than one that was acknowledged before", "reads"),
    ("errors", "commands of the workload that ended in an error of any kind", "errors"),
    ("longest gap", "longest time in which a shard acknowledged no write", "s"),
):
    register("measurement", name, meaning, unit=unit)(ClusterWorkload.seen)


def start_workload(context: Context, writers: int, readers: int, options: Mapping[str, str]) -> ClusterWorkload:
    """Start clients of the whole cluster."""
    confirm = int(options.get("replicas to wait for", 0)) > 0
    workload = ClusterWorkload(context.cluster, context.key_prefix, writers, readers, confirm=confirm)
    context.ending.callback(workload.end)
    return workload


WORKLOADS["cluster"] = start_workload
