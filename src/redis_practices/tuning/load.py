"""Load a server from one thread, and measure latency by load.

A number of operations a second needs its limit beside it: most benchmarks from one Python process measure that process.
Processor time tells the limit: of each server (``INFO cpu``), and of the client's thread.

A loop that sends, waits and sends again (closed) stops sending while the server is paused, so the longest waits are not
measured. Ten waiting users then count as one slow reply. This is coordinated omission (Gil Tene, "How NOT to
Measure Latency"). In an open loop each request has a due time, and its latency counts from there.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from redis import Redis
from redis.cluster import RedisCluster
from redis.exceptions import TimeoutError as RedisTimeoutError

from redis_practices.redis_cluster.topology import slot_of
from redis_practices.tuning.bulk import packed
from redis_practices.tuning.connections import address

BUSY = 85
"""Percent of a processor above which it counts as fully used."""


@dataclass(frozen=True)
class Load:
    """Operations in some seconds, and the processor time (seconds) of the client and of each server."""

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
        """Name the limit, the client or the busiest server, and the reason why it is sometimes idle.

        Both are named if neither has twice the work of the other. A limit below full use has to share the processors,
        waits for the other side, or competes with other programs.
        """
        server = max(self.servers)
        most = max(self.client, server)
        limit = "the client" if self.client > 2 * server else "a server" if server > 2 * self.client else "both"
        if 100 * most / self.seconds >= BUSY:
            return limit
        used = 100 * (self.client + sum(self.servers)) / self.seconds
        held_up = "too few processors" if used >= BUSY * (os.cpu_count() or 1) else "waiting, or other programs"
        return f"{limit}, held up by {held_up}"

    def __str__(self) -> str:
        """Return rate, cost and limit in one line."""
        server, client = (1e6 * used / self.operations for used in (sum(self.servers), self.client))
        busiest, busy = (100 * used / self.seconds for used in (max(self.servers), self.client))
        return (
            f"{self.rate:,.0f} a second, each {server:.2f} us of a server and {client:.2f} us of the client; "
            f"busiest server {busiest:.0f} % busy, client {busy:.0f} %: the limit is {self.limit}"
        )


def loaded(nodes: Sequence[Redis], work: Callable[[], int], seconds: float = 0.2) -> Load:
    """Repeat `work`, which returns its number of operations, for `seconds`; return them and the processor time."""
    work()
    before = [_used(node) for node in nodes]
    begun, client = time.perf_counter(), time.thread_time()
    done = 0
    while (took := time.perf_counter() - begun) < seconds:
        done += work()
    client = time.thread_time() - client
    return Load(done, took, client, [_used(node) - used for node, used in zip(nodes, before, strict=True)])


def _used(node: Redis) -> float:
    """Return the processor time of a server since its start, in seconds."""
    seen: Any = node.info("cpu")
    return float(seen["used_cpu_user"] + seen["used_cpu_sys"])


class RawReads:
    """Reads that cost the client next to nothing. It resends the same packed bytes, and only counts the replies.

    Two connections to each node, each with all its commands in flight, so that the server always has work.
    """

    def __init__(self, nodes: Sequence[tuple[Redis, Sequence[str]]], size: int) -> None:
        """Connect to each node, and send reads of its keys, whose values all have `size` bytes."""
        self._lines: list[tuple[socket.socket, bytes, int, int]] = []
        for node, keys in nodes:
            commands = packed([("GET", key) for key in keys])
            for _ in range(2):
                line = _connected(node)
                _send(line, commands)
                self._lines.append((line, commands, len(keys) * (len(f"${size}\r\n\r\n") + size), len(keys)))
        self._room = bytearray(max(length for _, _, length, _ in self._lines))

    def __call__(self) -> int:
        """Read all due replies, send all commands again, and return the number of replies."""
        for line, commands, length, _ in self._lines:
            self._receive(line, length)
            _send(line, commands)
        return sum(count for *_, count in self._lines)

    def _receive(self, line: socket.socket, length: int) -> None:
        """Read `length` bytes.

        Raises:
            ValueError: they are not replies with values of that size.
            TimeoutError, ConnectionError: they do not arrive.
        """
        room, received = memoryview(self._room), 0
        while received < length:
            try:
                part = line.recv_into(room[received:], length - received, socket.MSG_WAITALL)
            except BlockingIOError:
                raise TimeoutError(_late(line, f"sent {received} of {length} bytes of answers")) from None
            if not part:
                raise ConnectionError("a server closed the connection in the middle of its answers")
            received += part
        if not self._room.startswith(b"$") or self._room[length - 1 : length] != b"\n":
            raise ValueError(f"these are no values of that size: {bytes(self._room[:40])!r}")

    def close(self) -> None:
        """Close all connections."""
        for line, *_ in self._lines:
            line.close()


PATIENCE = 10
"""Seconds of silence after which a server counts as lost."""


def _connected(node: Redis) -> socket.socket:
    """Return a logged-in, blocking connection to a server with a timeout of `PATIENCE`."""
    where = address(node)
    line = socket.create_connection((where["host"], where["port"]), timeout=PATIENCE)
    line.settimeout(None)
    for wait in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        line.setsockopt(socket.SOL_SOCKET, wait, struct.pack("ll", PATIENCE, 0))
    if where["password"]:
        _send(line, packed([("AUTH", where["username"] or "default", where["password"])]))
        try:
            line.recv(100)
        except BlockingIOError:
            raise TimeoutError(_late(line, "not answered AUTH")) from None
    return line


def _send(line: socket.socket, data: bytes) -> None:
    """Send all of `data` (TimeoutError if the server reads no byte for `PATIENCE`)."""
    try:
        line.sendall(data)
    except BlockingIOError:
        raise TimeoutError(_late(line, f"not taken {len(data)} bytes of commands")) from None


def _late(line: socket.socket, what: str) -> str:
    """Return the message about a server that has done no more than `what`."""
    host, port, *_ = line.getpeername()
    return f"{host}:{port} has {what} after {PATIENCE} s"


def owned(cluster: RedisCluster, keys: Sequence[str]) -> list[tuple[Redis, list[str]]]:
    """Return the client of each primary with the keys that it owns."""
    found: dict[str, tuple[Redis, list[str]]] = {}
    for key in keys:
        node: Any = cluster.nodes_manager.slots_cache[slot_of(key)][0]
        found.setdefault(node.name, (cluster.get_redis_connection(node), []))[1].append(key)
    return list(found.values())


def closed_loop(server: Redis, keys: Sequence[str], rate: float, seconds: float) -> list[float]:
    """Naive: read, record the time, and read again when the pace allows; return the times in seconds."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end:
        server.get(keys[len(times) % len(keys)])
        times.append(time.perf_counter() - begun)
        time.sleep(max(0.0, 1 / rate - times[-1]))
    return times


def open_loop(server: Redis, keys: Sequence[str], rate: float, seconds: float) -> list[float]:
    """Tuned: `rate` reads a second over one connection, each timed from its due time; return seconds.

    Raises:
        redis.exceptions.RedisError: the server does not answer.
    """
    total = ceil(rate * seconds)
    requests = [packed([("GET", keys[number % len(keys)])]) for number in range(total)]
    times: list[float] = []
    connection = server.connection_pool.get_connection()
    try:
        begun, sent = time.perf_counter() + 0.001, 0
        while len(times) < total:
            due = min(total, int((time.perf_counter() - begun) * rate) + 1)
            if sent < due:
                connection.send_packed_command([b"".join(requests[sent:due])])
                sent = due
            wait = begun + sent / rate - time.perf_counter() if sent < total else PATIENCE
            while len(times) < sent and connection.can_read(timeout=max(0.0, wait)):
                connection.read_response()
                times.append(time.perf_counter() - begun - len(times) / rate)
                wait = 0.0
            if wait == PATIENCE:
                raise RedisTimeoutError(f"no answer for {PATIENCE} s to {total - len(times)} of {total} reads")
            if len(times) == sent < total:
                time.sleep(max(0.0, begun + sent / rate - time.perf_counter()))
    finally:
        if len(times) < total:
            connection.disconnect()
        server.connection_pool.release(connection)
    return times


def percentile(times: Sequence[float], percent: float) -> float:
    """Return the time within which `percent` of the replies arrived."""
    return sorted(times)[max(0, ceil(len(times) * percent / 100) - 1)]


PERCENTILES = (50.0, 99.0, 99.9)
"""The median, and the waits of one request in a hundred and in a thousand."""


def by_load(server: Redis, keys: Sequence[str], rates: Sequence[float], seconds: float) -> list[dict[str, float]]:
    """Return the percentiles in ms at each rate (a second), as ``{"rate": 1000, "p50": 0.1, …}``."""
    rows = []
    for rate in rates:
        times = open_loop(server, keys, rate, seconds)
        rows.append({"rate": rate, **{f"p{p:g}": round(1000 * percentile(times, p), 3) for p in PERCENTILES}})
    return rows
