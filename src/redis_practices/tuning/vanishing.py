"""A client that vanishes without a word, as when a cable is cut or a machine dies: who notices, and when.

No packet says so, so a server without ``tcp-keepalive`` keeps the connection, its memory and its place under
``maxclients`` for ever. The default of 300 seconds is enough for most; shorter for thousands of clients that come and
go. On the other side the same holds: redis-py turns keepalive on by itself, and without it a subscriber waits for ever.

A machine that is cut off is shown in a network of its own, which Linux gives without root (``unshare -Urn``).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

from redis import Redis

from redis_practices.servers.binary import server_binary
from redis_practices.servers.embedded import Config, Server
from redis_practices.tuning.lab import PLAIN, lab

KEPT: Config = {**PLAIN, "tcp-keepalive": 0}
"""Naive: nobody asks whether the other side is still there."""

ASKED: Config = {**PLAIN, "tcp-keepalive": 1}
"""Tuned, and extreme for the sake of the measurement: asked after 1 s of silence, given up after 3 more."""

SOURCES = Path(__file__).parents[2]
"""The folder that this package is imported from."""

SOCKET = "server.sock"
LIMIT = 15.0
"""Seconds after which nobody is waited for."""


class NoNamespaceError(Exception):
    """The system gives no network of one's own without root."""


def vanished(binary: str | None = None) -> tuple[float, float]:
    """Return how many vanished clients are still listed, without and with keepalive, when the latter had its time.

    Raises:
        NoNamespaceError: it cannot be tried here.
    """
    unshare = shutil.which("unshare")
    if not unshare or subprocess.run([unshare, "-Urn", "true"], check=False, capture_output=True).returncode:
        raise NoNamespaceError("a network of one's own needs Linux, unshare, and user namespaces")
    command = [unshare, "-Urn", sys.executable, "-m", __name__]
    environment = {**os.environ, "SERVER_BINARY": server_binary(binary)}
    said = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, timeout=60, env=environment, cwd=SOURCES
    ).stdout
    kept, asked = map(float, said.split())
    return kept, asked


def set_loopback(*, up: bool) -> None:
    """Turn the one network of this namespace on or off (``SIOCSIFFLAGS``, netdevice(7))."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh22x", b"lo", 1 if up else 0))


def still_listed(kept: Server, asked: Server) -> list[int]:
    """Connect to both servers, cut the network, and return how many clients each lists a second after one is gone."""
    observers = [Redis(unix_socket_path=str(server.folder / SOCKET)) for server in (kept, asked)]
    clients = [server.client() for server in (kept, asked)]
    for client in clients:
        client.ping()
    # Systems acknowledge up to 0.2 s later; what is not acknowledged is sent again and again, which is another story.
    time.sleep(0.5)
    set_loopback(up=False)
    end = time.monotonic() + LIMIT
    while all(map(listed, observers)) and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(1.0)  # the other has had its time as well
    return [listed(observer) for observer in observers]


def listed(observer: Redis) -> int:
    """Return how many clients a server has but the one that asks (``CLIENT LIST``)."""
    return len(observer.client_list()) - 1


def main() -> None:
    """Print what both servers did, inside the namespace."""
    set_loopback(up=True)
    with lab() as servers:
        print(*still_listed(*(servers.server({**config, "unixsocket": SOCKET}) for config in (KEPT, ASKED))))


if __name__ == "__main__":
    main()
