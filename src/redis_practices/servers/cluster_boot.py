"""The two ways to a cluster of child processes: formed by its own commands, or quickly.

A node that boots as a primary waits 2 seconds before it says ``cluster_state:ok`` (``CLUSTER_WRITABLE_DELAY`` in the
server's source); a node that boots as a replica does not. So each primary-to-be boots with a ``nodes.conf`` in which
it is the replica of a ghost that owns its slots, and is then promoted by ``CLUSTER FAILOVER TAKEOVER``, which asks
nobody. The ghosts are forgotten, and the real replicas boot with the final view. One must not hear of another before
that one is promoted, so all boot side by side as far as their list of users, which is a pipe, and are let go one after
another. ``nodes.conf`` is no documented interface: when the result is not ready in time, the cluster is formed the
ordinary way.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence

from redis import Redis

from redis_practices.redis_cluster.formation import ClusterError, form, wait_until_ready
from redis_practices.servers.binary import EmbeddedError, engine_of, free_ports, knows
from redis_practices.servers.embedded import START_TIMEOUT, Config, Server
from redis_practices.servers.nodes_conf import NodesConf
from redis_practices.servers.process_group import ProcessGroup

OWN_USERS = {"requirepass", "aclfile", "user"}
"""Directives with which a cluster is formed the ordinary way, since the quick one has a list of users of its own."""

USERS = "users.acl"
EVERYBODY = b"user default on nopass sanitize-payload ~* &* +@all\n"
"""What a server has without a list of users."""

FEWEST = 3
"""Primaries of a quick cluster: one of two takes itself for a minority at its boot (Valkey 9.1)."""

BOOT: Config = {"hz": 100, "cluster-require-full-coverage": "no", "cluster-node-timeout": 160}
"""Until a cluster is ready: replication starts at a tick of the server's clock, and gossip comes every half timeout."""


class Plan:
    """The nodes of one cluster to be: their ports, ids and places."""

    def __init__(  # noqa: PLR0913, PLR0917 - they describe the cluster to be made
        self, group: ProcessGroup, ports: list[int], primaries: int, timeout: int, config: Config, binary: str
    ) -> None:
        """Give every node a bus port; `timeout` is ``cluster-node-timeout`` in milliseconds."""
        self.group, self.ports, self.primaries, self.timeout, self.binary = group, ports, primaries, timeout, binary
        self.config = config
        self.bus = [port + 10000 for port in ports]
        if knows(binary, "cluster-port 0"):
            self.bus = free_ports(len(ports), group.held)
        self.book = NodesConf(ports, self.bus, primaries, engine_of(binary))
        self.started: list[Server] = []

    @property
    def can_be_quick(self) -> bool:
        """Whether the quick way is open: it has users of its own, and needs a majority without the node that boots."""
        return self.primaries >= FEWEST and not OWN_USERS & self.config.keys()

    def directives(self, index: int) -> dict[str, str | int | Sequence[str]]:
        """Return the configuration of node `index`."""
        return {
            "save": "",
            "appendonly": "no",
            "maxmemory": "256mb",
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

    def start(self, index: int, config: Config | None = None) -> Server:
        """Start node `index`, with `config` in place of its directives."""
        server = Server(self.group, config or self.directives(index), port=self.ports[index], binary=self.binary)
        self.started.append(server)
        return server

    def start_held(self, index: int) -> Server:
        """Start node `index` with what it shall believe to be its own ``nodes.conf``; it waits for its users."""
        folder = self.group.folder / str(self.ports[index])
        folder.mkdir(exist_ok=True)
        (folder / "nodes.conf").write_text(self.book.seen_by(index))
        users = folder / USERS
        os.mkfifo(users)
        return self.start(index, {**self.directives(index), **BOOT, "aclfile": str(users)})

    def boot_quickly(self) -> list[Server]:
        """Start the cluster the quick way that the module's docstring tells."""
        servers = [self.start_held(index) for index in range(len(self.ports))]
        clients = []
        for index, server in enumerate(servers[: self.primaries]):
            _let_go(server)
            clients.append(self.connect(server))
            _takeover(clients[-1])
            clients[-1].execute_command("CLUSTER FORGET", self.book.ghosts[index])
        for server in servers[self.primaries :]:
            _let_go(server)
        clients += [self.connect(server) for server in servers[self.primaries :]]
        for client in clients[self.primaries :]:
            _await_link(client)
        for client in clients[: self.primaries]:
            # A replica is listed when its offset is not 0, and a stream that nothing is written to starts after 1 s.
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

    def discard(self) -> None:
        """End what was started for this plan, and leave nothing for the next."""
        for server in self.started:
            server.kill()
            shutil.rmtree(server.folder)


def _let_go(server: Server, timeout: float = START_TIMEOUT) -> None:
    """Give a held node its users, so that it goes on."""
    users = server.folder / USERS
    deadline = time.monotonic() + timeout
    while True:
        try:
            # Fails for as long as the node does not read.
            pipe = os.open(users, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if not server.runs or time.monotonic() > deadline:
                raise EmbeddedError(f"{server.address} does not start:\n{server.log_tail(15)}") from error
            time.sleep(0.001)
        else:
            break
    os.write(pipe, EVERYBODY)
    os.close(pipe)
    # A file from now on: the next start, and ACL LOAD, read it.
    users.unlink()
    users.write_bytes(EVERYBODY)


def _await_link(replica: Redis, timeout: float = 5.0) -> None:
    """Return when the replica's first sync is done."""
    deadline = time.monotonic() + timeout
    while replica.info("replication").get("master_link_status") != "up":
        if time.monotonic() > deadline:
            raise ClusterError(f"a replica has no link to its primary after {timeout:g} s")
        time.sleep(0.001)


def _takeover(client: Redis, timeout: float = 2.0) -> None:
    """Promote a node without a vote as soon as it can be (``CLUSTER FAILOVER TAKEOVER``)."""
    deadline = time.monotonic() + timeout
    while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
        if time.monotonic() > deadline:
            raise ClusterError(f"a node that boots as a replica is not ok after {timeout:g} s")
        time.sleep(0.001)
    client.execute_command("CLUSTER FAILOVER", "TAKEOVER")
