"""A server that hangs for a moment: who waits how long, and who gets in.

A client without a time-out waits for as long as the server hangs, and so does everybody who waits for that client. A
queue of connections that is too short turns the clients of a moment away. Not shorter than the slowest command that you
mean to wait for: a time-out in the middle of a write leaves you without knowing whether it was done.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable
from threading import Timer

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from redis_practices.servers.embedded import Server
from redis_practices.tuning.lab import PLAIN, Servers

SHORT_QUEUE = {**PLAIN, "tcp-backlog": 8}
"""Naive: room for 8 connections that the server has not yet accepted."""

LONG_QUEUE = {**PLAIN, "tcp-backlog": 511}
"""Tuned: what servers have by default; the system allows ``net.core.somaxconn`` (4096, 128 before Linux 5.4)."""


def patient_client(server: Server) -> Redis:
    """Naive: no time-outs at all, as redis-py had by default before version 8."""
    return Redis(port=server.port, socket_timeout=None, socket_connect_timeout=None)


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
        going_on.join()
    return stuck


def connected_at_once(server: Server, clients: int = 60) -> int:
    """Return how many of `clients` that come while the server hangs are connected at once; the others try later."""
    server.pause()
    coming = [socket.socket() for _ in range(clients)]
    poll = select.poll()
    for client in coming:
        client.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        client.connect_ex(("127.0.0.1", server.port))
        poll.register(client, select.POLLOUT)
    # Whoever found no room tries again after a second: those who did are here long before that.
    deadline = time.monotonic() + 0.3
    here: set[int] = set()
    while len(here) < clients and (left := deadline - time.monotonic()) > 0:
        for number, _ in poll.poll(left * 1000):
            here.add(number)
            poll.unregister(number)
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
