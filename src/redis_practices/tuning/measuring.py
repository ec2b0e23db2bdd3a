"""Compare two ways of doing the same work, on servers near or behind a slow network.

`compare` alternates slices of both, so that a slow moment of the machine slows both, and compares neighbouring slices.
The spread is shown; if the slices disagree about the faster way, there is no conclusion.

`counted` reads the server's counters (``INFO stats``, ``INFO commandstats``). They count the work of all clients, so
use a server without other clients.

`latency_proxy` delays every byte. On the loopback a round trip takes 0.03 to 0.1 ms, in a data centre 0.2 to 2 ms:
saved round trips show their full worth only there.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any, Protocol

from redis import Redis

from redis_practices.cli import Failure
from redis_practices.polling import join
from redis_practices.servers.cluster import NODE_TIMEOUT, EmbeddedCluster, start_cluster
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import CACHE, Config, EmbeddedError, Server, start_server

TOO_WIDE = 40
"""Interquartile range of the slices' ratios, in % of the ratio, above which the ratio is no result."""

NEAR = 10
"""Differences up to this many percent count as none."""


@dataclass(frozen=True)
class Comparison:
    """Seconds of each slice of the naive and of the tuned way, in the order in which they ran."""

    naive: tuple[float, ...]
    tuned: tuple[float, ...]

    @property
    def _ratios(self) -> list[float]:
        """How many times faster the tuned way is, in each pair of neighbouring slices."""
        return [one / other for one, other in zip(self.naive, self.tuned, strict=True)]

    @property
    def ratio(self) -> float:
        """How many times faster the tuned way is: the median of these ratios."""
        return statistics.median(self._ratios)

    @property
    def spread(self) -> float:
        """The interquartile range of these ratios, in % of the ratio."""
        low, _, high = statistics.quantiles(self._ratios, n=4, method="inclusive")
        return 100 * (high - low) / self.ratio

    @property
    def verdict(self) -> str:
        """``pays``, ``costs``, ``no difference``, or the refusal to conclude: ``too noisy: spread 45 %``."""
        if self.spread > TOO_WIDE:
            return f"too noisy: spread {self.spread:.0f} %"
        faster = sum(ratio > 1 for ratio in self._ratios)
        rounds = len(self.naive)
        if abs(100 * self.ratio - 100) < NEAR:
            return "no difference"
        if min(faster, rounds - faster) > rounds // 5:
            return f"too noisy: spread {self.spread:.0f} %"
        return "pays" if self.ratio > 1 else "costs"


def compare(
    naive: Callable[[], object],
    tuned: Callable[[], object],
    *,
    rounds: int = 7,
    clock: Callable[[], float] = time.perf_counter,
) -> Comparison:
    """Run both once to warm up, then `rounds` times in turn without garbage collection; return their times.

    `clock` returns seconds: by default of the wall clock; `time.thread_time` gives the client's processor time.
    """
    return compare_by([clock], naive, tuned, rounds=rounds)[0]


def compare_by(
    clocks: Sequence[Callable[[], float]], naive: Callable[[], object], tuned: Callable[[], object], *, rounds: int
) -> list[Comparison]:
    """Do the same with several clocks at once, and return a comparison for each."""
    seen: list[tuple[list[float], list[float]]] = [([], []) for _ in clocks]
    was_enabled = gc.isenabled()
    naive(), tuned()
    gc.disable()
    try:
        for number in range(rounds):
            # The order alternates too: the first way finds the processor's caches as other programs left them.
            for which in (0, 1) if number % 2 else (1, 0):
                begun = [clock() for clock in clocks]
                (naive, tuned)[which]()
                for times, clock, start in zip(seen, clocks, begun, strict=True):
                    times[which].append(clock() - start)
    finally:
        if was_enabled:
            gc.enable()
    return [Comparison(tuple(one), tuple(other)) for one, other in seen]


@dataclass
class Cost:
    """The server's counters: commands, reads from sockets, bytes sent, new connections, and calls by command."""

    commands: int = 0
    reads: int = 0
    connections: int = 0
    sent: int = 0
    calls: dict[str, int] = field(default_factory=dict)


@contextmanager
def counted(server: Redis) -> Iterator[Cost]:
    """Yield a `Cost` that is filled in when the block ends; the cost of asking is subtracted.

    Raises:
        redis.exceptions.RedisError: the server does not answer.
    """
    cost = Cost()
    server.ping()  # connects
    before, calls_before = _snapshot(server)
    yield cost
    after, calls_after = _snapshot(server)
    # The first snapshot's own two commands are counted after it: they show in the second, and are subtracted.
    cost.commands = after["total_commands_processed"] - before["total_commands_processed"] - 2
    cost.reads = after["total_reads_processed"] - before["total_reads_processed"] - 2
    cost.connections = after["total_connections_received"] - before["total_connections_received"]
    # The reply to the first snapshot is counted too: a few KB, which a bound must allow for.
    cost.sent = after["total_net_output_bytes"] - before["total_net_output_bytes"]
    difference = {name: count - calls_before.get(name, 0) for name, count in calls_after.items() if name != "info"}
    cost.calls = {name: count for name, count in sorted(difference.items()) if count}


def _snapshot(server: Redis) -> tuple[Mapping[str, Any], dict[str, int]]:
    """Return ``INFO stats`` and the calls of each command."""
    calls: Mapping[str, Any] = server.info("commandstats")
    stats: Mapping[str, Any] = server.info("stats")
    return stats, {name.removeprefix("cmdstat_"): entry["calls"] for name, entry in calls.items()}


def reads_by_node(nodes: Iterable[Any]) -> dict[str, int]:
    """Return the number of key reads of each node since its start, by address (``INFO commandstats``)."""
    counts = {}
    for node in nodes:
        with node.client() as client:
            stats: Any = client.info("commandstats")
        counts[node.address] = sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("get", "mget"))
    return counts


PLAIN: Config = {**CACHE, "maxmemory": "0"}
"""A server without persistence and eviction."""


class Servers(Protocol):
    """A maker of servers and clusters that ends them after the measurement."""

    def server(self, config: Config) -> Server:
        """Start one server with the directives of `config`."""

    def cluster(
        self, primaries: int = 3, replicas: int = 1, *, node_timeout_ms: int | None = None, config: Config | None = None
    ) -> Any:
        """Return a ready cluster; `config` holds directives for every node."""


class EmbeddedServers:
    """Embedded servers and clusters; see `embedded_servers`."""

    def __init__(self, group: ProcessGroup, binary: str | None = None) -> None:
        """Start servers in `group`, with the server program `binary` if it is given."""
        self._group, self._binary = group, binary

    def server(self, config: Config) -> Server:
        """Start one server with the directives of `config`."""
        return start_server(self._group, config, binary=self._binary)

    def cluster(
        self, primaries: int = 3, replicas: int = 1, *, node_timeout_ms: int | None = None, config: Config | None = None
    ) -> EmbeddedCluster:
        """Start a cluster and return when it is ready."""
        return start_cluster(
            self._group,
            primaries=primaries,
            replicas=replicas,
            node_timeout_ms=node_timeout_ms or NODE_TIMEOUT,
            config=config,
            binary=self._binary,
        )


@contextmanager
def embedded_servers() -> Iterator[EmbeddedServers]:
    """Yield a maker of servers that ends them with the block.

    Raises:
        Failure: there is no server program, or it does not start.
    """
    with ProcessGroup() as group:
        try:
            yield EmbeddedServers(group)
        except EmbeddedError as error:
            raise Failure(f"no server of our own can be started: {error}") from error


@dataclass
class LatencyProxy:
    """The local port of a slowed server, and the most connections that waited for it at the same time."""

    port: int = 0
    most_waiting: int = 0
    waiting: set[object] = field(default_factory=set)

    def asked(self, side: object) -> None:
        """Record that a connection waits."""
        self.waiting.add(side)
        self.most_waiting = max(self.most_waiting, len(self.waiting))


class _DelayedSide(asyncio.Protocol):
    """One side of a connection; received data goes to `other` later, in order."""

    def __init__(self, delay: float, proxy: LatencyProxy, opened: Callable[[_DelayedSide], None] | None = None) -> None:
        """Delay data by `delay` seconds; `opened` is called with this side, a client's, when it is connected."""
        self.delay, self.proxy, self.opened = delay, proxy, opened
        self.transport: asyncio.Transport | None = None
        self.other: _DelayedSide | None = None
        self.waiting: deque[bytes | None] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self.opened:
            self.opened(self)

    def data_received(self, data: bytes | None) -> None:
        """Pass `data` on later; None ends the connection."""
        if self.opened:
            self.proxy.asked(self)
        self.waiting.append(data)
        asyncio.get_running_loop().call_later(self.delay, self._pass_on)

    def connection_lost(self, _: Exception | None) -> None:
        """End the other side after the delayed data has been sent."""
        self.data_received(None)

    def _pass_on(self) -> None:
        """Pass the oldest piece on, or wait while the other side is being connected."""
        if not (self.other and self.other.transport):
            asyncio.get_running_loop().call_later(self.delay, self._pass_on)
            return
        data = self.waiting.popleft()
        self.proxy.waiting.discard(self.other)
        if data is None:
            self.other.transport.close()
        else:
            self.other.transport.write(data)


@contextmanager
def latency_proxy(host: str, port: int, round_trip: float) -> Iterator[LatencyProxy]:
    """Yield a port on 127.0.0.1 that adds `round_trip` seconds to each round trip to `host`:`port`."""
    loop = asyncio.new_event_loop()
    half, proxy = round_trip / 2, LatencyProxy()

    def joined(near: _DelayedSide) -> None:
        """Connect to the server for a newly connected client."""
        task = loop.create_task(loop.create_connection(lambda: _DelayedSide(half, proxy), host, port))
        task.add_done_callback(lambda done: _join(near, done))

    listening = loop.run_until_complete(loop.create_server(lambda: _DelayedSide(half, proxy, joined), "127.0.0.1", 0))
    thread = Thread(target=loop.run_forever, name="latency proxy", daemon=True)
    # This thread and the client's share the interpreter: by default a computing thread blocks the other for 5 ms, which
    # is more than the simulated network.
    switching = sys.getswitchinterval()
    sys.setswitchinterval(0.0002)
    thread.start()
    try:
        proxy.port = listening.sockets[0].getsockname()[1]
        yield proxy
    finally:
        sys.setswitchinterval(switching)
        loop.call_soon_threadsafe(listening.close)
        loop.call_soon_threadsafe(loop.stop)
        join(thread)
        loop.close()


def _join(near: _DelayedSide, done: asyncio.Task[tuple[asyncio.Transport, _DelayedSide]]) -> None:
    """Join both sides of a connection, or end the near one if the server refused."""
    if done.cancelled() or done.exception():
        if near.transport:
            near.transport.close()
        return
    _, proxy = done.result()
    near.other, proxy.other = proxy, near
