"""A Redis Cluster of child processes, ready a fifth of a second after it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisError

from redis_practices.clients import cluster_client
from redis_practices.redis_cluster.formation import ClusterError
from redis_practices.servers.binary import EmbeddedError, PortTakenError, free_ports, server_binary
from redis_practices.servers.cluster_boot import Plan
from redis_practices.servers.embedded import Config, Server
from redis_practices.servers.process_group import ProcessGroup

NODE_TIMEOUT = 500
"""``cluster-node-timeout`` in milliseconds: 200 to 1000 gave no false alarm on a busy machine, 100 did."""


class EmbeddedCluster:
    """The servers of one cluster; the first `primaries` of `nodes` were formed as primaries."""

    def __init__(self, nodes: Sequence[Server], primaries: int, node_timeout_ms: int) -> None:
        """Hold `nodes` that form a ready cluster."""
        self.nodes = list(nodes)
        self.primaries = primaries
        self.node_timeout = node_timeout_ms / 1000

    @property
    def url(self) -> str:
        """The address of the first node as a URL."""
        return self.nodes[0].url

    def client(self, **options: Any) -> RedisCluster:
        """Return a new client of the whole cluster; options as redis-py names them."""
        # By all nodes, since the one of the URL may be the one that was killed.
        known = [ClusterNode("127.0.0.1", node.port) for node in self.nodes]
        return cluster_client(self.url, **{"startup_nodes": known, **options})


def start_cluster(  # noqa: PLR0913 - each describes the cluster to be made
    group: ProcessGroup,
    *,
    primaries: int = 3,
    replicas: int = 1,
    node_timeout_ms: int = NODE_TIMEOUT,
    config: Config | None = None,
    first_port: int | None = None,
    binary: str | None = None,
    quick: bool = True,
) -> EmbeddedCluster:
    """Start `primaries` with `replicas` each and return when the cluster is ready, in `why_not_ready`'s meaning.

    `config` holds further directives for every node. The nodes take ports from `first_port` on, else free ones.
    Without `quick` the cluster is formed the ordinary way.

    Raises:
        PortTakenError: `first_port` was given and one of the ports is taken.
        EmbeddedError: the servers do not start, or form no cluster.
    """
    count = primaries * (1 + replicas)
    for _ in range(5):
        ports = list(range(first_port, first_port + count)) if first_port else free_ports(count, group.held)
        plan = Plan(group, ports, primaries, node_timeout_ms, config or {}, server_binary(binary))
        quick = quick and plan.can_be_quick
        try:
            nodes = plan.boot_quickly() if quick else plan.boot_and_form()
        except PortTakenError:
            plan.discard()
            if first_port:
                raise PortTakenError(f"one of the ports {ports[0]} to {ports[-1]} is taken: choose others") from None
        except (ClusterError, EmbeddedError, RedisError) as error:
            plan.discard()
            if not quick:
                raise EmbeddedError(f"no cluster forms: {error}") from error
            quick = False
        else:
            return EmbeddedCluster(nodes, primaries, node_timeout_ms)
    raise EmbeddedError("no free ports: five clusters in a row found one of theirs taken")
