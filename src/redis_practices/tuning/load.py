"""As much load as one thread can make, and who was the limit: the server, the client, or the machine.

A number of operations a second says nothing without it: most benchmarks of a server from one Python process measure
that process. Processor time is what tells: of each server by itself (``INFO cpu``), of the client by its thread.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.cluster import RedisCluster

from redis_practices.redis_cluster.key_slots import slot_of
from redis_practices.tuning.bulk import packed
from redis_practices.tuning.connecting import address

BUSY = 85
"""Percent of a processor from which on somebody has nothing left to give."""


@dataclass(frozen=True)
class Load:
    """Operations in some seconds, and the processor time that the client and each server used for them, in seconds."""

    operations: int
    seconds: float
    client: float
    servers: Sequence[float]

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.operations / self.seconds

    @property
    def limit(self) -> str:
        """Whose work takes longest, the client's or the busiest server's, and what else keeps that from being done.

        It is both of them when neither has twice the work of the other. Whoever is not busy all the time has to share
        the processors, waits for the other, or has other programs beside it.
        """
        server = max(self.servers)
        most = max(self.client, server)
        who = "the client" if self.client > 2 * server else "a server" if server > 2 * self.client else "both"
        if 100 * most / self.seconds >= BUSY:
            return who
        used = 100 * (self.client + sum(self.servers)) / self.seconds
        others = "too few processors" if used >= BUSY * (os.cpu_count() or 1) else "waiting, or other programs"
        return f"{who}, held up by {others}"

    def __str__(self) -> str:
        """Say all of it in one line."""
        server, client = (1e6 * used / self.operations for used in (sum(self.servers), self.client))
        busiest, busy = (100 * used / self.seconds for used in (max(self.servers), self.client))
        return (
            f"{self.rate:,.0f} a second, each {server:.2f} us of a server and {client:.2f} us of the client; "
            f"busiest server {busiest:.0f} % busy, client {busy:.0f} %: the limit is {self.limit}"
        )


def loaded(nodes: Sequence[Redis], work: Callable[[], int], seconds: float = 0.2) -> Load:
    """Repeat `work`, which returns how many operations it did, for `seconds`, and return what it took of whom."""
    work()
    before = [_used(node) for node in nodes]
    begun, client = time.perf_counter(), time.thread_time()
    done = 0
    while (took := time.perf_counter() - begun) < seconds:
        done += work()
    client = time.thread_time() - client
    return Load(done, took, client, [_used(node) - used for node, used in zip(nodes, before, strict=True)])


def _used(node: Redis) -> float:
    """Return the processor time that a server has used, in seconds."""
    seen: Any = node.info("cpu")
    return float(seen["used_cpu_user"] + seen["used_cpu_sys"])


class RawReads:
    """Reads that cost the client next to nothing: the same packed bytes again and again, answers only counted.

    Two connections to each node, each with all its commands on their way, so that the server always has work.
    """

    def __init__(self, nodes: Sequence[tuple[Redis, Sequence[str]]], size: int) -> None:
        """Connect to each node and send it reads of its keys, whose values all have `size` bytes."""
        self._lines: list[tuple[socket.socket, bytes, int, int]] = []
        for node, keys in nodes:
            commands = packed([("GET", key) for key in keys])
            for _ in range(2):
                line = _connected(node)
                line.sendall(commands)
                self._lines.append((line, commands, len(keys) * (len(f"${size}\r\n\r\n") + size), len(keys)))
        self._room = bytearray(max(length for _, _, length, _ in self._lines))

    def __call__(self) -> int:
        """Read all answers that are due, send all commands again, and return how many were answered."""
        for line, commands, length, _ in self._lines:
            self._receive(line, length)
            line.sendall(commands)
        return sum(count for *_, count in self._lines)

    def _receive(self, line: socket.socket, length: int) -> None:
        """Read `length` bytes.

        Raises:
            ValueError: they are not the answers to reads of values of that size.
        """
        received = line.recv_into(self._room, length, socket.MSG_WAITALL)
        if received != length or not self._room.startswith(b"$") or self._room[length - 1 : length] != b"\n":
            raise ValueError(f"these are no values of that size: {bytes(self._room[:40])!r}")

    def close(self) -> None:
        """Close all connections."""
        for line, *_ in self._lines:
            line.close()


def _connected(node: Redis) -> socket.socket:
    """Return a blocking connection to a server, logged in."""
    where = address(node)
    line = socket.create_connection((where["host"], where["port"]), timeout=10)
    line.settimeout(None)
    if where["password"]:
        line.sendall(packed([("AUTH", where["username"] or "default", where["password"])]))
        line.recv(100)
    return line


def owned(cluster: RedisCluster, keys: Sequence[str]) -> list[tuple[Redis, list[str]]]:
    """Return the client of each primary with the keys that it owns."""
    found: dict[str, tuple[Redis, list[str]]] = {}
    for key in keys:
        node: Any = cluster.nodes_manager.slots_cache[slot_of(key)][0]
        found.setdefault(node.name, (cluster.get_redis_connection(node), []))[1].append(key)
    return list(found.values())
