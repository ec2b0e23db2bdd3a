"""Limit the cost of a paused server, and detect vanished clients.

A client without a timeout waits as long as the server is paused, and so does every caller of that client. A too short
queue of connections (``tcp-backlog``) turns the clients of a burst away. A timeout must be longer than the slowest
command. After a timeout in the middle of a write, the client does not know whether the write was done.

A client that loses power sends no packet. Without ``tcp-keepalive`` the server keeps its connection, its memory and its
place under ``maxclients`` for ever. The default of 300 seconds is enough for most. redis-py turns keepalive on by
default; without it a subscriber waits for ever for a dead server.

`vanished` disconnects a machine in a network namespace, which Linux gives without root (``unshare -Urn``).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Timer

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from redis_practices.polling import join, poll
from redis_practices.servers.server import Config, Server, server_binary
from redis_practices.tuning.measuring import PLAIN, Servers, embedded_servers

SHORT_QUEUE = {**PLAIN, "tcp-backlog": 8}
"""Naive: room for 8 connections that the server has not accepted yet."""

LONG_QUEUE = {**PLAIN, "tcp-backlog": 511}
"""Tuned: the servers' default; the system's limit is ``net.core.somaxconn`` (4096, 128 before Linux 5.4)."""


NO_TIMEOUT = 60.0
"""Seconds: longer than any pause here, so that every measurement ends."""


def client_without_timeouts(server: Server) -> Redis:
    """Naive: as good as no timeouts, which was redis-py's default before version 8."""
    return Redis(port=server.port, socket_timeout=NO_TIMEOUT, socket_connect_timeout=NO_TIMEOUT)


def client_with_timeouts(server: Server) -> Redis:
    """Tuned: timeouts for connecting and for each reply, and no retry on a paused server."""
    retry = Retry(NoBackoff(), 0)
    return Redis(port=server.port, socket_timeout=0.2, socket_connect_timeout=0.2, retry=retry)


def seconds_blocked(server: Server, make: Callable[[Server], Redis], hang: float = 1.0) -> float:
    """Return how long a client waits for a server that is paused for `hang` seconds."""
    with make(server) as client:
        client.ping()
        server.pause()
        going_on = Timer(hang, server.resume)
        begun = time.monotonic()
        going_on.start()
        with contextlib.suppress(RedisTimeoutError):
            client.get("key")
        blocked = time.monotonic() - begun
        join(going_on)
    return blocked


def connected_at_once(server: Server, clients: int = 60) -> int:
    """Return how many of `clients` connect at once while the server is paused; the rest must retry."""
    server.pause()
    coming = [socket.socket() for _ in range(clients)]
    writable = select.poll()
    for client in coming:
        client.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        client.connect_ex(("127.0.0.1", server.port))
        writable.register(client, select.POLLOUT)
    # A client that found no room retries after 1 s: the connected ones are here long before that.
    deadline = time.monotonic() + 0.3
    here: set[int] = set()
    while len(here) < clients and (left := deadline - time.monotonic()) > 0:
        for number, _ in writable.poll(left * 1000):
            here.add(number)
            writable.unregister(number)
    for client in coming:
        client.close()
    server.resume()
    return len(here)


def connected_in_burst(servers: Servers) -> tuple[float, float]:
    """Return how many of 60 clients connect at once, with a short and with a long queue."""
    short, long = (connected_at_once(servers.server(config)) for config in (SHORT_QUEUE, LONG_QUEUE))
    return short, long


def blocked(servers: Servers) -> tuple[float, float]:
    """Return the seconds that a client without and a client with timeouts waits for a paused server."""
    server = servers.server(PLAIN)
    return seconds_blocked(server, client_without_timeouts), seconds_blocked(server, client_with_timeouts)


WITHOUT_KEEPALIVE: Config = {**PLAIN, "tcp-keepalive": 0}
"""Naive: dead connections are never probed."""

WITH_KEEPALIVE: Config = {**PLAIN, "tcp-keepalive": 1}
"""Tuned, to an extreme for the measurement: a probe after 1 s of silence, disconnected after 3 more."""

SOURCES = Path(__file__).parents[2]
"""The folder that this package is imported from."""

SOCKET = "server.sock"
LIMIT = 15.0
"""Seconds after which a measurement gives up."""


class NoNamespaceError(Exception):
    """The system does not give a private network namespace without root."""


def vanished(binary: str | None = None) -> tuple[float, float]:
    """Return how many vanished clients a server lists, without and with keepalive, after the probes' time.

    Raises:
        NoNamespaceError: the system does not give a private network namespace.
    """
    unshare = shutil.which("unshare")
    tried = [unshare or "", "-Urn", "true"]
    if not unshare or subprocess.run(tried, check=False, capture_output=True, timeout=10).returncode:
        raise NoNamespaceError("a network of one's own needs Linux, unshare, and user namespaces")
    command = [unshare, "-Urn", sys.executable, "-m", __name__]
    environment = {**os.environ, "SERVER_BINARY": server_binary(binary)}
    said = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, timeout=60, env=environment, cwd=SOURCES
    ).stdout
    kept, asked = map(float, said.split())
    return kept, asked


def set_loopback(*, up: bool) -> None:
    """Turn the only network of this namespace on or off (``SIOCSIFFLAGS``, netdevice(7))."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh22x", b"lo", 1 if up else 0))


def clients_left(kept: Server, asked: Server) -> list[int]:
    """Connect to both servers, and cut the network.

    Return each server's clients 1 s after one server has lost its client.
    """
    observers = [Redis(unix_socket_path=str(server.folder / SOCKET)) for server in (kept, asked)]
    clients = [server.client() for server in (kept, asked)]
    for client in clients:
        client.ping()
    # Linux acknowledges up to 0.2 s later; before that the cut would test retransmission instead of keepalive.
    time.sleep(0.5)
    set_loopback(up=False)
    poll(lambda: not all(map(listed, observers)), LIMIT, every=0.1)
    time.sleep(1.0)  # the other server has had its time as well
    return [listed(observer) for observer in observers]


def listed(observer: Redis) -> int:
    """Return the number of a server's clients except `observer` (``CLIENT LIST``)."""
    return len(observer.client_list()) - 1


def is_new_namespace() -> bool:
    """Tell whether this network namespace is new: none of its interfaces is up."""
    with socket.socket() as any_socket:
        asked = [struct.pack("16s24x", name.encode()) for _, name in socket.if_nameindex()]
        answers = [fcntl.ioctl(any_socket, 0x8913, name) for name in asked]  # SIOCGIFFLAGS, netdevice(7)
    return not any(struct.unpack("16xh", answer[:18])[0] & 1 for answer in answers)


def main() -> None:
    """Print the clients that both servers list, inside a new namespace; elsewhere it would disconnect the machine."""
    if not is_new_namespace():
        sys.exit(f"{Path(sys.argv[0]).name}: run it by unshare -Urn, as it turns the loopback of its namespace off")
    set_loopback(up=True)
    with embedded_servers() as servers:
        started = [servers.server({**config, "unixsocket": SOCKET}) for config in (WITHOUT_KEEPALIVE, WITH_KEEPALIVE)]
        print(*clients_left(*started))


if __name__ == "__main__":
    main()
