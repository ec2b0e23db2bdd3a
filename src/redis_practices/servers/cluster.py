"""Start a Redis Cluster of child processes: a small one in a fifth of a second, 200 nodes in some seconds.

A node that boots as a primary waits 2 seconds before it reports ``cluster_state:ok`` (``CLUSTER_WRITABLE_DELAY`` in the
server's source). A node that boots as a replica does not wait. So each future primary boots as the replica of a ghost,
a node that exists only in its ``nodes.conf`` and owns its slots there. ``CLUSTER FAILOVER TAKEOVER`` then
promotes it without a vote. The ghosts are forgotten, and the real replicas boot with the final view.

Nodes must not gossip before promotion. All start in parallel, block on reading their ACL file (a FIFO), and are
released one at a time. ``nodes.conf`` is not a documented interface: if the cluster is not ready in time, it is formed
with its own commands instead.

Above `SMALL` nodes this way is slower than the delay that it avoids, since promotions come one after another. There
each node boots as what it will be, and all are released together (`Plan.boot_held`). A node that is up connects to each
node that is not, ten times a second. N nodes up and M missing make 10 N M attempts a second, which starve the rest.
"""

from __future__ import annotations

import math
import os
import resource
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from operator import not_
from pathlib import Path
from typing import Any

from redis import Redis
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisError

from redis_practices.clients import cluster_client
from redis_practices.polling import poll
from redis_practices.redis_cluster.formation import even_ranges, form, wait_until_ready
from redis_practices.redis_cluster.topology import ClusterError, address
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
        self._slots = [f"{first}-{last}" for first, last in even_ranges(primaries)]
        self._shards = [f",,shard-id={secrets.token_hex(20)}" if known else "" for _ in range(primaries)]

    def seen_by(self, me: int, *, ghosts: bool) -> str:
        """Return the cluster as node `me` sees it when it boots. With `ghosts` a primary boots as a ghost's replica."""
        lines, has_ghost = [], ghosts and me < self.primaries
        for index, (port, bus) in enumerate(self._places):
            primary = index % self.primaries
            role, follows, slots = "slave", self._ids[primary], ""
            if index == me and has_ghost:
                follows = self.ghosts[me]
            elif index < self.primaries:
                role, follows, slots = "master", "-", f" {self._slots[index]}"
            flags, link = (f"myself,{role}", "connected") if index == me else (role, "disconnected")
            place = f"127.0.0.1:{port}@{bus}{self._shards[primary]}"
            lines.append(f"{self._ids[index]} {place} {flags} {follows} 0 0 {primary + 1} {link}{slots}")
        if has_ghost:
            place = f":0@0{self._shards[me]}"
            lines.append(f"{self.ghosts[me]} {place} master,noaddr - 0 0 {me + 1} disconnected {self._slots[me]}")
        # Different epochs, so that no two promotions claim the same one.
        return "\n".join([*lines, f"vars currentEpoch {self.primaries + me} lastVoteEpoch 0\n"])


OWN_USERS = {"requirepass", "aclfile", "user"}
"""Directives about users, which exclude the start with ghosts; a held start moves them into its ACL file."""

USERS = "users.acl"
DEFAULT_USER = "user default on {} sanitize-payload ~* &* +@all\n"
"""The default user of a server without an ACL file; its password, or ``nopass``, stands between the braces."""


def _copied() -> bytes:
    """Return an empty snapshot of a replication stream with 1 byte, as a replica has copied it.

    ``CLUSTER SLOTS`` lists a replica whose offset is not 0, as its last ping says. Without this file the next ping says
    so, half a node timeout after the start. A replica and its primary with the same file skip their first full copy.
    """
    fields = {"repl-stream-db": "0", "repl-id": secrets.token_hex(20), "repl-offset": "1"}
    texts = [text.encode() for pair in fields.items() for text in pair]
    pairs = [b"".join(bytes([len(text)]) + text for text in texts[at : at + 2]) for at in range(0, len(texts), 2)]
    # Version 9 is read since Redis 5; a checksum of 0 is not compared.
    return b"REDIS0009" + b"".join(b"\xfa" + pair for pair in pairs) + b"\xff" + bytes(8)


SMALL = 40
"""Nodes up to which ghosts are quicker: 36 nodes in 1.0 s with them, 48 in 3.0 s; held 2.3 and 2.5 s (2 cores)."""

FEWEST = 3
"""Primaries of a quick cluster: with two, each believes to be in a minority when it boots (Valkey 9.1)."""

BOOT: Config = {"hz": 100, "cluster-require-full-coverage": "no", "cluster-node-timeout": 160}
"""Directives until the cluster is ready: replication starts at a clock tick, gossip every half node timeout."""


class Plan:
    """The nodes of a future cluster: their ports, ids and places."""

    def __init__(  # noqa: PLR0913, PLR0917 - each describes the cluster
        self,
        group: ProcessGroup,
        ports: list[int],
        primaries: int,
        timeout: int,
        config: Config,
        binary: str,
        progress: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Give every node a bus port; `timeout` is ``cluster-node-timeout`` in milliseconds."""
        self.progress = progress
        self.group, self.ports, self.primaries, self.timeout, self.binary = group, ports, primaries, timeout, binary
        self.config = config
        self.bus = [port + 10000 for port in ports]
        if knows(binary, "cluster-port 0"):
            self.bus = free_ports(len(ports), group.held, apart_from=ports)
        self.nodes_conf = NodesConf(ports, self.bus, primaries, engine_of(binary))
        self.copied = [_copied() for _ in range(primaries)]
        self.started: list[Server] = []

    @property
    def ways(self) -> list[Callable[[], list[Server]]]:
        """The ways to start this cluster, the next one for when one fails. Above `SMALL` nodes there is one."""
        if len(self.ports) > SMALL:
            return [self.boot_held]
        quick = self.primaries >= FEWEST and not OWN_USERS & self.config.keys()
        return [self.boot_with_ghosts, self.boot_and_form] if quick else [self.boot_and_form]

    @property
    def users(self) -> bytes:
        """The content of a held node's ACL file: the users that the directives describe."""
        if "aclfile" in self.config:
            return Path(str(self.config["aclfile"])).read_bytes()
        # The hash, since a password may hold a space.
        password = str(self.config.get("requirepass", "")).encode()
        default = DEFAULT_USER.format(f"#{sha256(password).hexdigest()}" if password else "nopass")
        user = self.config.get("user", "")
        named = user if isinstance(user, str | int) else " ".join(user)
        return f"{default}user {named}\n".encode() if named else default.encode()

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

    def start_held(self, index: int, boot: Config | None = None) -> Server:
        """Start node `index` with a prepared ``nodes.conf``; it blocks on its ACL file until `_release`.

        It boots with ghosts if it gets directives for the time of its `boot`.
        """
        folder = self.group.folder / str(self.ports[index])
        folder.mkdir(exist_ok=True)
        (folder / "nodes.conf").write_text(self.nodes_conf.seen_by(index, ghosts=boot is not None))
        if boot is None:
            (folder / "dump.rdb").write_bytes(self.copied[index % self.primaries])
        users = folder / USERS
        os.mkfifo(users)
        usual = {name: value for name, value in self.directives(index).items() if name != "user"}
        return self.start(index, {**usual, **(boot or {}), "aclfile": str(users)})

    def boot_held(self) -> list[Server]:
        """Start all nodes, blocked, release them together, and return when the cluster is ready."""
        count = len(self.ports)
        servers, clients = [], []
        for index in range(count):
            self.progress(f"{index} of {count} nodes started")
            servers.append(self.start_held(index))
        pipes = [_pipe_to(server, HELD_TIMEOUT) for server in servers]
        for server, pipe in zip(servers, pipes, strict=True):
            _write(server, pipe, self.users)
        for index, server in enumerate(servers):
            self.progress(f"{index} of {count} nodes answer")
            server.wait_ready(HELD_TIMEOUT)
            clients.append(server.client())
        for index, client in enumerate(clients):
            self.progress(f"{index} of {count} nodes know all nodes")
            _await_all_nodes(client, count)
        self.progress("")
        wait_until_ready(clients, timeout=HELD_TIMEOUT)
        for index, (server, client) in enumerate(zip(servers, clients, strict=True)):
            client.close()
            own = {} if OWN_USERS & self.config.keys() else {"aclfile": str(server.folder / USERS)}
            server.configure({**self.directives(index), **own})
        return servers

    def boot_with_ghosts(self) -> list[Server]:
        """Start the cluster by the takeovers that the module's docstring describes."""
        servers = [self.start_held(index, BOOT) for index in range(len(self.ports))]
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


def _release(server: Server) -> None:
    """Let a blocked node continue to boot, with the users of a server without an ACL file."""
    _write(server, _pipe_to(server, START_TIMEOUT), DEFAULT_USER.format("nopass").encode())


def _pipe_to(server: Server, timeout: float) -> int:
    """Return the open ACL file of a node as soon as the node blocks on it."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            # Opening the FIFO fails until the node reads it.
            return os.open(server.folder / USERS, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if not server.runs or time.monotonic() > deadline:
                raise EmbeddedError(f"{server.address} does not start:\n{server.log_tail(15)}") from error
            time.sleep(0.001)


def _write(server: Server, pipe: int, users: bytes) -> None:
    """Write the ACL file of a blocked node, so that it continues to boot."""
    os.write(pipe, users)
    os.close(pipe)
    # A regular file from now on: the next start, and ACL LOAD, read it.
    path = server.folder / USERS
    path.unlink()
    path.write_bytes(users)


def _await_all_nodes(client: Redis, count: int) -> None:
    """Return when a node's state is ok, it has a link to all `count` nodes, and a replica its first copy."""

    def lacks() -> str:
        """Return the reason why the node is not ready; cheaper than `why_not_ready`, which compares all maps."""
        state = client.execute_command("CLUSTER INFO")
        if state["cluster_state"] != "ok" or int(state["cluster_known_nodes"]) != count:
            return f"cluster_state:{state['cluster_state']}, {state['cluster_known_nodes']} of {count} nodes"
        down = client.info("replication").get("master_link_status", "up") != "up"
        return "no link to its primary" if down else ""

    if reason := poll(lacks, HELD_TIMEOUT, every=0.02, until=not_):
        raise ClusterError(f"{address(client)} is not ready after {HELD_TIMEOUT:g} s: {reason}")


def _await_link(replica: Redis, timeout: float = 5.0) -> None:
    """Return when the replica's first sync is done."""
    if not poll(lambda: replica.info("replication").get("master_link_status") == "up", timeout, every=0.001):
        raise ClusterError(f"a replica has no link to its primary after {timeout:g} s")


HELD_TIMEOUT = 60.0
"""Seconds for each phase of a held start; 200 nodes take 5 s in all on 2 idle cores."""


def _takeover(client: Redis, timeout: float = 2.0) -> None:
    """Promote a node without a vote as soon as it can be (``CLUSTER FAILOVER TAKEOVER``)."""
    if not poll(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok", timeout, every=0.001):
        raise ClusterError(f"a node that boots as a replica is not ok after {timeout:g} s")
    client.execute_command("CLUSTER FAILOVER", "TAKEOVER")


NODE_TIMEOUT = 500
"""``cluster-node-timeout`` in milliseconds: on a busy machine 200 to 1000 gave no false alarm, 100 did."""

LARGE_NODE_TIMEOUT = 15_000
"""The same above `SMALL` nodes, as servers have it: the traffic of the bus grows with nodes by node timeout."""

TCP_PAGES, AT_NODES = 276_672, 300
"""Pages of kernel memory for TCP at the peak of a start, and its nodes: N^2 links carry a first ping of N/10 nodes."""


class TooLargeError(EmbeddedError):
    """The cluster needs more memory than the machine has, by an estimate that `insist` overrules."""


def make_room_for(nodes: int, *, insist: bool = False) -> None:
    """Raise the limit of open files for a number of `nodes`, and refuse more than the machine holds.

    `insist` tries them nevertheless.

    Raises:
        TooLargeError: the estimated memory is more than this machine has.
        EmbeddedError: the limit of open files cannot be raised so far.
    """
    # A node has 2 links to each other node; this process has 2 ports and a client of each.
    files = max(2 * nodes + 10, 3 * nodes + 64)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < files:
        raise EmbeddedError(f"{nodes} nodes need {files} open files in a process, and the limit is {hard} (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    if insist or not (reason := _lacking(nodes)):
        return
    holds = next(fewer for fewer in range(nodes - 1, -1, -1) if not _lacking(fewer))
    raise TooLargeError(f"{reason}; this machine holds about {holds} nodes")


def _lacking(nodes: int) -> str | None:
    """Return the kind of memory that the machine lacks for a number of `nodes`, or None."""
    # Measured with 100 to 300 nodes on 2 cores, see docs/scale.md.
    page = resource.getpagesize()
    for kind, needed, free in (
        ("memory", (1.2 * nodes + 0.028 * nodes**2) * 1e6, _free_memory()),
        ("kernel memory for TCP", TCP_PAGES * (nodes / AT_NODES) ** 3 * 4096, _tcp_pages() * page),
    ):
        if needed > free:
            return f"{nodes} nodes need {needed / 1e9:.1f} GB of {kind}, and {free / 1e9:.1f} GB are free"
    return None


def _free_memory() -> float:
    """Return the available memory in bytes; infinite where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return math.inf
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), math.inf)


def _tcp_pages() -> float:
    """Return the pages of memory for TCP from which the kernel saves it (``net.ipv4.tcp_mem``)."""
    try:
        return float(Path("/proc/sys/net/ipv4/tcp_mem").read_text(encoding="ascii").split()[1])
    except OSError:
        return math.inf


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
    node_timeout_ms: int | None = None,
    config: Config | None = None,
    first_port: int | None = None,
    binary: str | None = None,
    quick: bool = True,
    insist: bool = False,
    progress: Callable[[str], object] = lambda _: None,
) -> EmbeddedCluster:
    """Start `primaries` with `replicas` each, and return when the cluster is ready (see `why_not_ready`).

    `config` holds further directives for every node. The nodes take ports from `first_port` on, else free ones.
    Without `quick` the cluster is formed with its own commands. `progress` gets lines about a long start.

    Raises:
        PortTakenError: `first_port` was given and one of the ports is taken.
        TooLargeError: the cluster needs more memory than the machine has; `insist` tries it nevertheless.
        EmbeddedError: the servers do not start, or do not form a cluster.
    """
    count = primaries * (1 + replicas)
    timeout = node_timeout_ms or (LARGE_NODE_TIMEOUT if count > SMALL else NODE_TIMEOUT)
    if count > SMALL:
        make_room_for(count, insist=insist)
    failures = 0
    for _ in range(5):
        ports = list(range(first_port, first_port + count)) if first_port else free_ports(count, group.held)
        plan = Plan(group, ports, primaries, timeout, config or {}, server_binary(binary), progress)
        ways = plan.ways[failures:] if quick else [plan.boot_and_form]
        try:
            return EmbeddedCluster(ways[0](), primaries, timeout)
        except PortTakenError:
            plan.discard()
            if first_port:
                raise PortTakenError(f"one of the ports {ports[0]} to {ports[-1]} is taken: choose others") from None
        except (ClusterError, EmbeddedError, RedisError) as error:
            plan.discard()
            if len(ways) == 1:
                raise EmbeddedError(f"no cluster forms: {error}") from error
            failures += 1
    raise EmbeddedError("no free ports: five clusters in a row found one of theirs taken")
