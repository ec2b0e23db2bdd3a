"""Start a Redis Cluster of child processes, ready in a fifth of a second.

A node that boots as a primary waits 2 seconds before it reports ``cluster_state:ok`` (``CLUSTER_WRITABLE_DELAY`` in the
server's source). A node that boots as a replica does not wait. So each future primary boots as the replica of a ghost,
a node that exists only in its ``nodes.conf`` and owns its slots there. ``CLUSTER FAILOVER TAKEOVER`` then
promotes it without a vote. The ghosts are forgotten, and the real replicas boot with the final view.

Nodes must not gossip before promotion. All start in parallel, block on reading their ACL file (a FIFO), and are
released one at a time. ``nodes.conf`` is not a documented interface: if the cluster is not ready in time, it is formed
with its own commands instead.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisError

from redis_practices.clients import cluster_client
from redis_practices.polling import poll
from redis_practices.redis_cluster.formation import even_ranges, form, wait_until_ready
from redis_practices.redis_cluster.topology import ClusterError
from redis_practices.server_info import version_of
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import (
    START_TIMEOUT,
    Config,
    EmbeddedError,
    PortTakenError,
    Server,
    engine_of,
    free_ports,
    knows,
    server_binary,
)

SHARD_IDS_SINCE = (7, 2)
"""The first version, of Redis and of Valkey, with shard ids in ``nodes.conf``; older versions refuse them."""


class NodesConf:
    """The identities of a future cluster's nodes; node `i` is, or follows, primary `i % primaries`."""

    def __init__(self, ports: Sequence[int], buses: Sequence[int], primaries: int, engine: str) -> None:
        """Give every node an id; `engine` is like "valkey 9.1.2"."""
        self.primaries = primaries
        self._places = list(zip(ports, buses, strict=True))
        self._ids = [secrets.token_hex(20) for _ in ports]
        self.ghosts = [secrets.token_hex(20) for _ in range(primaries)]
        # Shard ids: Valkey invents missing ones, and two primaries may then share a shard.
        known = version_of(engine) >= SHARD_IDS_SINCE
        self._shards = [f",,shard-id={secrets.token_hex(20)}" if known else "" for _ in range(primaries)]

    def seen_by(self, me: int) -> str:
        """Return the cluster as node `me` sees it when it boots. A primary sees itself as a ghost's replica."""
        lines = []
        for index, (port, bus) in enumerate(self._places):
            primary = index % self.primaries
            role, follows, slots = "slave", self._ids[primary], ""
            if index == me < self.primaries:
                follows = self.ghosts[me]
            elif index < self.primaries:
                role, follows, slots = "master", "-", f" {self._slots(index)}"
            flags, link = (f"myself,{role}", "connected") if index == me else (role, "disconnected")
            place = f"127.0.0.1:{port}@{bus}{self._shards[primary]}"
            lines.append(f"{self._ids[index]} {place} {flags} {follows} 0 0 {primary + 1} {link}{slots}")
        if me < self.primaries:
            place = f":0@0{self._shards[me]}"
            lines.append(f"{self.ghosts[me]} {place} master,noaddr - 0 0 {me + 1} disconnected {self._slots(me)}")
        # Different epochs, so that no two promotions claim the same one.
        return "\n".join([*lines, f"vars currentEpoch {self.primaries + me} lastVoteEpoch 0\n"])

    def _slots(self, primary: int) -> str:
        """Return the slots of a primary in the file's notation."""
        first, last = even_ranges(self.primaries)[primary]
        return f"{first}-{last}"


OWN_USERS = {"requirepass", "aclfile", "user"}
"""Directives that exclude the quick start, which needs its own ACL file."""

USERS = "users.acl"
EVERYBODY = b"user default on nopass sanitize-payload ~* &* +@all\n"
"""The default user of a server without an ACL file."""

FEWEST = 3
"""Primaries of a quick cluster: with two, each believes to be in a minority when it boots (Valkey 9.1)."""

BOOT: Config = {"hz": 100, "cluster-require-full-coverage": "no", "cluster-node-timeout": 160}
"""Directives until the cluster is ready: replication starts at a clock tick, gossip every half node timeout."""


class Plan:
    """The nodes of a future cluster: their ports, ids and places."""

    def __init__(  # noqa: PLR0913, PLR0917 - each describes the cluster
        self, group: ProcessGroup, ports: list[int], primaries: int, timeout: int, config: Config, binary: str
    ) -> None:
        """Give every node a bus port; `timeout` is ``cluster-node-timeout`` in milliseconds."""
        self.group, self.ports, self.primaries, self.timeout, self.binary = group, ports, primaries, timeout, binary
        self.config = config
        self.bus = [port + 10000 for port in ports]
        if knows(binary, "cluster-port 0"):
            self.bus = free_ports(len(ports), group.held)
        self.nodes_conf = NodesConf(ports, self.bus, primaries, engine_of(binary))
        self.started: list[Server] = []

    @property
    def can_be_quick(self) -> bool:
        """Whether the quick start is possible: no directives about users, and enough primaries for a majority."""
        return self.primaries >= FEWEST and not OWN_USERS & self.config.keys()

    def directives(self, index: int) -> dict[str, str | int | Sequence[str]]:
        """Return the configuration of node `index`."""
        return {
            # A snapshot an hour, and at a stop: a primary that keeps no files comes back empty.
            "save": ["3600", "1"],
            "appendonly": "no",
            "maxmemory": "256mb",
            "cluster-enabled": "yes",
            "cluster-config-file": "nodes.conf",
            "cluster-node-timeout": self.timeout,
            # Not port + 10000, which lies in the range of outgoing connections.
            "cluster-port": self.bus[index],
            # Diskful replication into memory: a replica is online at once. Diskless waits 1 s for an acknowledgement.
            "repl-diskless-sync": "no",
            "repl-diskless-sync-delay": "0",
            **({"repl-diskless-load": "on-empty-db"} if "valkey" in engine_of(self.binary) else {}),
            "repl-ping-replica-period": 1,
            **self.config,
        }

    def start(self, index: int, config: Config | None = None) -> Server:
        """Start node `index`; `config` replaces its directives."""
        server = Server(self.group, config or self.directives(index), port=self.ports[index], binary=self.binary)
        self.started.append(server)
        return server

    def start_held(self, index: int) -> Server:
        """Start node `index` with a prepared ``nodes.conf``; it blocks on its ACL file until `_release`."""
        folder = self.group.folder / str(self.ports[index])
        folder.mkdir(exist_ok=True)
        (folder / "nodes.conf").write_text(self.nodes_conf.seen_by(index))
        users = folder / USERS
        os.mkfifo(users)
        return self.start(index, {**self.directives(index), **BOOT, "aclfile": str(users)})

    def boot_quickly(self) -> list[Server]:
        """Start the cluster quickly, as the module's docstring describes."""
        servers = [self.start_held(index) for index in range(len(self.ports))]
        clients = []
        for index, server in enumerate(servers[: self.primaries]):
            _release(server)
            clients.append(self.connect(server))
            _takeover(clients[-1])
            clients[-1].execute_command("CLUSTER FORGET", self.nodes_conf.ghosts[index])
        for server in servers[self.primaries :]:
            _release(server)
        clients += [self.connect(server) for server in servers[self.primaries :]]
        for client in clients[self.primaries :]:
            _await_link(client)
        for client in clients[: self.primaries]:
            # A replica is listed when its offset is not 0; without a write the replication stream starts after 1 s.
            client.flushall()
        wait_until_ready(clients, timeout=5.0)
        usual = {"hz": 10, "cluster-require-full-coverage": "yes", **self.config, "cluster-node-timeout": self.timeout}
        for index, (server, client) in enumerate(zip(servers, clients, strict=True)):
            for name in BOOT:
                client.config_set(name, str(usual[name]))
            client.close()
            server.configure({**self.directives(index), "aclfile": str(server.folder / USERS)})
        return servers

    def boot_and_form(self) -> list[Server]:
        """Start empty nodes and form the cluster with its own commands."""
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

    def discard(self) -> None:
        """End every process of this plan and remove its files, so that another plan can start."""
        for server in self.started:
            server.kill()
            shutil.rmtree(server.folder)


def _release(server: Server, timeout: float = START_TIMEOUT) -> None:
    """Write the ACL file of a blocked node, so that it continues to boot."""
    users = server.folder / USERS
    deadline = time.monotonic() + timeout
    while True:
        try:
            # Opening the FIFO fails until the node reads it.
            pipe = os.open(users, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if not server.runs or time.monotonic() > deadline:
                raise EmbeddedError(f"{server.address} does not start:\n{server.log_tail(15)}") from error
            time.sleep(0.001)
        else:
            break
    os.write(pipe, EVERYBODY)
    os.close(pipe)
    # A regular file from now on: the next start, and ACL LOAD, read it.
    users.unlink()
    users.write_bytes(EVERYBODY)


def _await_link(replica: Redis, timeout: float = 5.0) -> None:
    """Return when the replica's first sync is done."""
    if not poll(lambda: replica.info("replication").get("master_link_status") == "up", timeout, every=0.001):
        raise ClusterError(f"a replica has no link to its primary after {timeout:g} s")


def _takeover(client: Redis, timeout: float = 2.0) -> None:
    """Promote a node without a vote as soon as it can be (``CLUSTER FAILOVER TAKEOVER``)."""
    if not poll(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok", timeout, every=0.001):
        raise ClusterError(f"a node that boots as a replica is not ok after {timeout:g} s")
    client.execute_command("CLUSTER FAILOVER", "TAKEOVER")


NODE_TIMEOUT = 500
"""``cluster-node-timeout`` in milliseconds: on a busy machine 200 to 1000 gave no false alarm, 100 did."""


class EmbeddedCluster:
    """The servers of one cluster; the first `primaries` of `nodes` were formed as primaries."""

    def __init__(self, nodes: Sequence[Server], primaries: int, node_timeout_ms: int) -> None:
        """Hold the `nodes` of a ready cluster."""
        self.nodes = list(nodes)
        self.primaries = primaries
        self.node_timeout = node_timeout_ms / 1000

    @property
    def url(self) -> str:
        """The URL of the first node."""
        return self.nodes[0].url

    def client(self, **options: Any) -> RedisCluster:
        """Return a new client of the whole cluster; `options` are redis-py's."""
        # With all nodes as startup nodes, since the first may have been killed.
        known = [ClusterNode("127.0.0.1", node.port) for node in self.nodes]
        return cluster_client(self.url, **{"startup_nodes": known, **options})

    def add(self, node: Server) -> None:
        """Add a server that has joined to `nodes`."""
        self.nodes.append(node)

    def remove(self, address: str) -> None:
        """Remove the node at `address`, which has left, from `nodes`."""
        self.nodes = [node for node in self.nodes if node.address != address]


def start_cluster(  # noqa: PLR0913 - each describes the cluster
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
    """Start `primaries` with `replicas` each, and return when the cluster is ready (see `why_not_ready`).

    `config` holds further directives for every node. The nodes take ports from `first_port` on, else free ones.
    Without `quick` the cluster is formed with its own commands.

    Raises:
        PortTakenError: `first_port` was given and one of the ports is taken.
        EmbeddedError: the servers do not start, or do not form a cluster.
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
