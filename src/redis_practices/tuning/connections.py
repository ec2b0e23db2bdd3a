"""Keep and share connections, limit waits, parse replies in C, cache them.

A client is a pool: make one a process and share it between threads. Give the pool as many connections as threads talk
at the same time (`pool_of`). More connections do not help, and each costs the server memory and a file descriptor.

Many reads in flight with asyncio (`tasks_of`) pay if replies take long, as over a network. On the loopback asyncio is
slower than a plain loop, and it never beats a pipeline.

The compiled parser (``redis[hiredis]``) pays for replies with many items, which cost the client far more than the
server. On single reads it gains a few percent, since the rest of redis-py costs more than parsing one value.

A cache in the client (`NearCache`) pays for a few keys that are read far more often than written. Each change costs a
message to every listening client. redis-py has such a cache built in, for Redis 7.4 and newer only.

A client without a timeout waits as long as the server is paused, and so does every caller of that client. A too short
queue of connections (``tcp-backlog``) turns the clients of a burst away. A timeout must be longer than the slowest
command. After a timeout in the middle of a write, the client does not know whether the write was done.

A client that loses power sends no packet. Without ``tcp-keepalive`` the server keeps its connection, its memory and its
place under ``maxclients`` for ever. The default of 300 seconds is enough for most. redis-py turns keepalive on by
default; without it a subscriber waits for ever for a dead server.

`vanished` disconnects a machine in a network namespace, which Linux gives without root (``unshare -Urn``).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from threading import Timer
from typing import IO, Any, Literal, cast

from redis import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio import Redis as AsyncRedis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from redis_practices.clients import POOLS, cluster_client
from redis_practices.credentials import login_of
from redis_practices.polling import eventually, join, poll
from redis_practices.pure_cache.near_cache import NearCache
from redis_practices.servers.server import Config, Server, server_binary
from redis_practices.tuning.measuring import PLAIN, Servers, embedded_servers


def address(server: Redis) -> dict[str, Any]:
    """Return host, port, user and password of a client's server, for further clients of it."""
    options = server.get_connection_kwargs()
    return {name: options.get(name) for name in ("host", "port", "db", "decode_responses")} | login_of(options)


def another(server: Redis, pool: type[ConnectionPool] = ConnectionPool, **options: Any) -> Redis:
    """Return a further client of a client's server, with the same class of connections."""
    kind = server.connection_pool.connection_class
    return Redis.from_pool(pool(connection_class=kind, **{**address(server), **options}))


def connect_each_time(server: Redis, keys: Sequence[str]) -> list[Any]:
    """Naive: a new client, and thus a new connection, for every read."""
    values: list[Any] = []
    for key in keys:
        with another(server) as client:
            values.append(client.get(key))
    return values


def cluster_each_time(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Naive: a new cluster client for every read; it loads the slot map before its first command."""
    node = cluster.get_default_node()
    options = cluster.get_connection_kwargs()
    values: list[Any] = []
    for key in keys:
        same = {"decode_responses": options.get("decode_responses"), **login_of(options)}
        with cluster_client(f"redis://{node.host}:{node.port}", **same) as client:
            values.append(client.get(key))
    return values


def pool_of(server: Redis, keys: Sequence[str], connections: int = 4, threads: int = 16) -> list[Any]:
    """Tuned: `threads` share a pool of `connections`; a thread that finds none free waits for one."""
    waiting = {"max_connections": connections, "timeout": 5}
    with another(server, BlockingConnectionPool, **waiting) as client, ThreadPoolExecutor(threads) as workers:
        return list(workers.map(client.get, keys))


@contextmanager
def tasks_of(server: Redis, tasks: int = 20) -> Iterator[Callable[[Sequence[str]], list[Any]]]:
    """Yield a function that reads keys with `tasks` over as many connections, which stay open between its calls."""
    client = AsyncRedis.from_pool(POOLS["asynchronous"](max_connections=tasks, **address(server)))
    with asyncio.Runner() as runner:
        yield lambda keys: runner.run(_read(client, keys, tasks))
        runner.run(client.aclose())


async def _read(client: AsyncRedis, keys: Sequence[str], tasks: int) -> list[Any]:
    """Let `tasks` share `keys`, each reading one by one. Return the values in the order of `keys`."""
    values: dict[str, Any] = {}

    async def read_share(number: int) -> None:
        """Read every `tasks`-th key."""
        for key in keys[number::tasks]:
            values[key] = await client.get(key)

    await asyncio.gather(*(read_share(number) for number in range(tasks)))
    return [values[key] for key in keys]


CHILD = """
import json, sys, time
if sys.argv[1] == "python":
    sys.modules["hiredis"] = None  # as if it were not installed
from redis import Redis
client = Redis(**json.loads(sys.stdin.readline()))
for line in sys.stdin:
    depth, commands = json.loads(line)
    used, begun = time.thread_time(), time.perf_counter()
    for first in range(0, len(commands), depth):
        if depth == 1:
            client.execute_command(*commands[first])
            continue
        with client.pipeline(transaction=False) as pipe:
            for command in commands[first : first + depth]:
                pipe.execute_command(*command)
            pipe.execute()
    print(json.dumps([time.thread_time() - used, time.perf_counter() - begun]), flush=True)
"""
"""A client in a separate process: redis-py chooses its parser when it is imported."""

Commands = Sequence[Sequence[str]]


@contextmanager
def client_process(server: Redis, parser: Literal["python", "compiled"]) -> Iterator[Callable[[Commands, int], Any]]:
    """Yield a function that runs commands, in pipelines of a given depth, in a process with that parser.

    It returns the seconds of processor time and of the clock that they took in that process.
    """
    command = [sys.executable, "-c", CHILD, parser]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        to, back = cast("IO[str]", child.stdin), cast("IO[str]", child.stdout)

        def run(commands: Commands, depth: int = 1) -> Any:
            """Run them."""
            print(json.dumps([depth, commands]), file=to, flush=True)
            return json.loads(back.readline())

        print(json.dumps(address(server)), file=to, flush=True)
        try:
            yield run
        finally:
            child.kill()


def parsing(server: Redis, commands: Commands, rounds: int = 15) -> tuple[float, float]:
    """Return the ms of a client's processor for `commands` without hiredis and with it, medians of `rounds`."""
    with client_process(server, "python") as naive, client_process(server, "compiled") as tuned:
        seen = [(naive(commands, 1)[0], tuned(commands, 1)[0]) for _ in range(rounds + 1)][1:]  # the first one connects
    return 1000 * median(one for one, _ in seen), 1000 * median(other for _, other in seen)


def read_again(server: Redis, keys: Sequence[str]) -> None:
    """Naive: read each key five times from the server."""
    for _ in range(5):
        for key in keys:
            server.get(key)


def read_near(server: Redis, keys: Sequence[str]) -> None:
    """Tuned: read each key five times through a near cache of their prefix, its start and end included."""
    with NearCache(server, keys[0].rstrip("0123456789"), heartbeat=0.04) as near:
        eventually(lambda: near.listening, within=5.0, every=0.001)
        for _ in range(5):
            for key in keys:
                near.get(key)


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
