"""Bound what a paused server costs, and notice a client that vanishes.

A client without a timeout waits for as long as the server hangs, and so does every caller of that client. A queue of
connections (``tcp-backlog``) that is too short turns the clients of a burst away. A timeout must be longer than the
slowest command: one in the middle of a write leaves the client without knowing whether it was done.

A client that loses power sends no packet, so a server without ``tcp-keepalive`` keeps the connection, its memory and
its place under ``maxclients`` for ever. The default of 300 seconds is enough for most. redis-py turns keepalive on by
itself; without it a subscriber waits for ever for a server that is gone.

`vanished` cuts a machine off in a network namespace, which Linux gives without root (``unshare -Urn``).
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
from redis_practices.servers.binary import server_binary
from redis_practices.servers.server import Config, Server
from redis_practices.tuning.measuring import PLAIN, Servers, lab

SHORT_QUEUE = {**PLAIN, "tcp-backlog": 8}
"""Naive: room for 8 connections that the server has not yet accepted."""

LONG_QUEUE = {**PLAIN, "tcp-backlog": 511}
"""Tuned: what servers have by default; the system allows ``net.core.somaxconn`` (4096, 128 before Linux 5.4)."""


BEYOND = 60.0
"""Seconds: longer than any hang here, so that a measurement ends whatever goes wrong."""


def patient_client(server: Server) -> Redis:
    """Naive: as good as no time-outs, of which redis-py had none by default before version 8."""
    return Redis(port=server.port, socket_timeout=BEYOND, socket_connect_timeout=BEYOND)


def impatient_client(server: Server) -> Redis:
    """Tuned: time-outs for connecting and for each answer, and no second try at a server that hangs."""
    retry = Retry(NoBackoff(), 0)
    return Redis(port=server.port, socket_timeout=0.2, socket_connect_timeout=0.2, retry=retry)


def seconds_stuck(server: Server, make: Callable[[Server], Redis], hang: float = 1.0) -> float:
    """Return how long a client is stuck with a server that hangs for `hang` seconds."""
    with make(server) as client:
        client.ping()
        server.pause()
        going_on = Timer(hang, server.resume)
        begun = time.monotonic()
        going_on.start()
        with contextlib.suppress(RedisTimeoutError):
            client.get("key")
        stuck = time.monotonic() - begun
        join(going_on)
    return stuck


def connected_at_once(server: Server, clients: int = 60) -> int:
    """Return how many of `clients` that come while the server hangs are connected at once; the others try later."""
    server.pause()
    coming = [socket.socket() for _ in range(clients)]
    writable = select.poll()
    for client in coming:
        client.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        client.connect_ex(("127.0.0.1", server.port))
        writable.register(client, select.POLLOUT)
    # Whoever found no room tries again after a second: those who did are here long before that.
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


def turned_away(servers: Servers) -> tuple[float, float]:
    """Return how many of 60 clients get in at once, with a short and with a long queue."""
    short, long = (connected_at_once(servers.server(config)) for config in (SHORT_QUEUE, LONG_QUEUE))
    return short, long


def stuck(servers: Servers) -> tuple[float, float]:
    """Return how long a client without and one with time-outs are stuck with a server that hangs, in seconds."""
    server = servers.server(PLAIN)
    return seconds_stuck(server, patient_client), seconds_stuck(server, impatient_client)


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
    poll(lambda: not all(map(listed, observers)), LIMIT, every=0.1)
    time.sleep(1.0)  # the other has had its time as well
    return [listed(observer) for observer in observers]


def listed(observer: Redis) -> int:
    """Return how many clients a server has but the one that asks (``CLIENT LIST``)."""
    return len(observer.client_list()) - 1


def is_new_namespace() -> bool:
    """Tell whether this is a network namespace that was just made: none of its interfaces is up."""
    with socket.socket() as any_socket:
        asked = [struct.pack("16s24x", name.encode()) for _, name in socket.if_nameindex()]
        answers = [fcntl.ioctl(any_socket, 0x8913, name) for name in asked]  # SIOCGIFFLAGS, netdevice(7)
    return not any(struct.unpack("16xh", answer[:18])[0] & 1 for answer in answers)


def main() -> None:
    """Print what both servers did, inside the namespace; anywhere else this would cut off the whole machine."""
    if not is_new_namespace():
        sys.exit(f"{Path(sys.argv[0]).name}: run it by unshare -Urn, as it turns the loopback of its namespace off")
    set_loopback(up=True)
    with lab() as servers:
        print(*still_listed(*(servers.server({**config, "unixsocket": SOCKET}) for config in (KEPT, ASKED))))


if __name__ == "__main__":
    main()
