"""A Redis Cluster of child processes, ready a tenth of a second after it is asked for.

A node that boots as a primary waits 2 seconds before it says ``cluster_state:ok`` (``CLUSTER_WRITABLE_DELAY`` in the
server's source); a node that boots as a replica does not. So each primary-to-be boots with a ``nodes.conf`` in which
it is the replica of a ghost that owns its slots, and is then promoted by ``CLUSTER FAILOVER TAKEOVER``, which asks
nobody. The ghosts are forgotten, and the real replicas boot with the final view. ``nodes.conf`` is no documented
interface: when the result is not ready in time, the cluster is formed the ordinary way.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.cluster import RedisCluster
from redis.exceptions import RedisError

from cluster_admin import ClusterError, even_ranges, form, wait_until_ready
from connection import cluster_client
from embedded import Config, Server
from processes import ProcessGroup
from server_binary import EmbeddedError, PortTakenError, engine_of, free_ports, server_binary

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
        return cluster_client(self.url, **options)


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
    for attempt in range(5):
        ports = list(range(first_port, first_port + count)) if first_port else free_ports(count)
        plan = _Plan(group, ports, primaries, node_timeout_ms, config or {}, server_binary(binary))
        try:
            nodes = plan.boot_upside_down() if quick and attempt == 0 else plan.boot_and_form()
        except PortTakenError:
            plan.discard()
            if first_port:
                raise PortTakenError(f"one of the ports {ports[0]} to {ports[-1]} is taken: choose others") from None
        except (ClusterError, EmbeddedError, RedisError) as error:
            plan.discard()
            failure = error
            if attempt > 0:
                raise EmbeddedError(f"no cluster forms: {failure}") from failure
        else:
            return EmbeddedCluster(nodes, primaries, node_timeout_ms)
    raise EmbeddedError("no free ports: five clusters in a row found one of theirs taken")


class _Plan:
    """The nodes of one cluster to be: their ports, ids and places."""

    def __init__(  # noqa: PLR0913, PLR0917 - private: `start_cluster` fills it
        self, group: ProcessGroup, ports: list[int], primaries: int, timeout: int, config: Config, binary: str
    ) -> None:
        """Give every node an id; node `i` follows primary `i % primaries`."""
        self.group, self.ports, self.primaries, self.timeout, self.binary = group, ports, primaries, timeout, binary
        self.config = config
        self.bus = free_ports(len(ports))
        self.ids = [secrets.token_hex(20) for _ in ports]
        self.ghosts = [secrets.token_hex(20) for _ in range(primaries)]
        self.started: list[Server] = []

    def start(self, index: int, nodes_conf: str | None = None) -> Server:
        """Start node `index`, with what it shall believe to be its own `nodes.conf`."""
        config: Config = {
            "save": "",
            "appendonly": "no",
            "cluster-enabled": "yes",
            "cluster-config-file": "nodes.conf",
            "cluster-node-timeout": self.timeout,
            # Not port + 10000, which falls among the ports of outgoing connections.
            "cluster-port": self.bus[index],
            # Through a file in memory a replica is online at once; without one it waits for an acknowledgement, 1 s.
            "repl-diskless-sync": "no",
            "repl-diskless-sync-delay": "0",
            **({"repl-diskless-load": "on-empty-db"} if "valkey" in engine_of(self.binary) else {}),
            "repl-ping-replica-period": 1,
            **self.config,
        }
        if nodes_conf:
            folder = self.group.folder / str(self.ports[index])
            folder.mkdir(exist_ok=True)
            (folder / "nodes.conf").write_text(nodes_conf)
            # Until it is ready: replication starts at a tick of the server's clock, and these come `hz` times a second.
            config = {"cluster-require-full-coverage": "no", **config, "hz": 100}
        server = Server(self.group, config, port=self.ports[index], binary=self.binary)
        self.started.append(server)
        return server

    def boot_upside_down(self) -> list[Server]:
        """Start the cluster the quick way that the module's docstring tells."""
        indices = range(len(self.ports))
        servers, clients = [], []
        # One after another: a node that hears that its neighbour is a replica takes the neighbour's slots for lost.
        for index, ghost in enumerate(self.ghosts):
            servers.append(self.start(index, self.nodes_conf(index, ghosts=True)))
            clients.append(self.connect(servers[-1]))
            _takeover(clients[-1])
            clients[-1].execute_command("CLUSTER FORGET", ghost)
        replicas = [self.start(index, self.nodes_conf(index, ghosts=False)) for index in indices[self.primaries :]]
        clients += [self.connect(server) for server in replicas]
        wait_until_ready(clients, timeout=5.0)
        for client in clients:
            client.config_set("hz", 10)
            client.config_set(
                "cluster-require-full-coverage", str(self.config.get("cluster-require-full-coverage", "yes"))
            )
            client.close()
        return servers + replicas

    def boot_and_form(self) -> list[Server]:
        """Start empty nodes and form the cluster by its own commands."""
        servers = [self.start(index) for index in range(len(self.ports))]
        clients = [self.connect(server) for server in servers]
        form(clients, self.primaries)
        for client in clients:
            client.close()
        return servers

    def connect(self, server: Server) -> Redis:
        """Return a client of `server` as soon as it answers."""
        server.wait_ready()
        return server.client()

    def nodes_conf(self, me: int, *, ghosts: bool) -> str:
        """Return the cluster as node `me` shall see it at its boot; a primary with `ghosts` as a ghost's replica."""
        lines = []
        for index, (port, bus) in enumerate(zip(self.ports, self.bus, strict=True)):
            primary = index % self.primaries
            role, follows, slots = "slave", self.ids[primary], ""
            if index == me and ghosts:
                follows = self.ghosts[me]
            elif index < self.primaries:
                first, last = even_ranges(self.primaries)[index]
                role, follows, slots = "master", "-", f" {first}-{last}"
            flags, link = (f"myself,{role}", "connected") if index == me else (role, "disconnected")
            lines.append(f"{self.ids[index]} 127.0.0.1:{port}@{bus} {flags} {follows} 0 0 {primary + 1} {link}{slots}")
        if ghosts:
            first, last = even_ranges(self.primaries)[me]
            lines.append(f"{self.ghosts[me]} :0@0 master,noaddr - 0 0 {me + 1} disconnected {first}-{last}")
        # Different epochs, so that no two of the promotions below claim the same one.
        return "\n".join([*lines, f"vars currentEpoch {self.primaries + me} lastVoteEpoch 0\n"])

    def discard(self) -> None:
        """End what was started for this plan."""
        for server in self.started:
            server.kill()


def _takeover(client: Redis, timeout: float = 2.0) -> None:
    """Promote a node without a vote as soon as it can be (``CLUSTER FAILOVER TAKEOVER``)."""
    deadline = time.monotonic() + timeout
    while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
        if time.monotonic() > deadline:
            raise ClusterError(f"a node that boots as a replica is not ok after {timeout:g} s")
        time.sleep(0.001)
    client.execute_command("CLUSTER FAILOVER", "TAKEOVER")
