"""Keep connections, share them between tasks, parse answers in C, and cache them in the client.

A client is a pool: make one a process, share it between threads, and give the pool as many connections as threads talk
at once (`pool_of`). More of them buy nothing; each costs the server memory and a file descriptor.

Many questions in flight by asyncio (`tasks_of`) pay where answers take long, as over a network. On the loopback asyncio
costs more than it gains against a plain loop, and it never wins against a pipeline.

The compiled parser (``redis[hiredis]``) pays for answers of many items, which cost the client far more than the server.
On single reads it gains some percent, since the rest of redis-py costs more than parsing one value.

A cache in the client (`TrackedCache`) pays for few keys that are read far more often than written: each change costs a
message to every client that read the key. redis-py has such a cache built in, for Redis 7.4 and newer alone.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Self

import hiredis
from redis import BlockingConnectionPool, ConnectionPool, Redis
from redis._parsers import _RESP2Parser
from redis._parsers.encoders import Encoder
from redis.asyncio import BlockingConnectionPool as AsyncPool
from redis.asyncio import Redis as AsyncRedis
from redis.cluster import RedisCluster


def address(server: Redis) -> dict[str, Any]:
    """Return host, port, user and password of a client's server: what a further client of it needs."""
    options = server.get_connection_kwargs()
    return {name: options.get(name) for name in ("host", "port", "username", "password", "db", "decode_responses")}


def connect_each_time(server: Redis, keys: Sequence[str]) -> list[Any]:
    """Naive: a new client, thus a new connection, for every read."""
    values: list[Any] = []
    for key in keys:
        with Redis(**address(server)) as client:
            values.append(client.get(key))
    return values


def cluster_each_time(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Naive: a new client of the cluster for every read; it asks for all slots before its first command."""
    node = cluster.get_default_node()
    options = cluster.get_connection_kwargs()
    values: list[Any] = []
    for key in keys:
        login = {name: options.get(name) for name in ("username", "password", "decode_responses")}
        with RedisCluster(host=node.host, port=node.port, **login) as client:
            values.append(client.get(key))
    return values


def pool_of(server: Redis, keys: Sequence[str], connections: int = 4, threads: int = 16) -> list[Any]:
    """Tuned: `threads` share a pool of `connections`; who finds none free waits for one instead of connecting."""
    pool = BlockingConnectionPool(max_connections=connections, timeout=5, **address(server))
    with Redis(connection_pool=pool) as client, ThreadPoolExecutor(threads) as workers:
        values: list[Any] = list(workers.map(client.get, keys))
    pool.disconnect()
    return values


@contextmanager
def tasks_of(server: Redis, tasks: int = 20) -> Iterator[Callable[[Sequence[str]], list[Any]]]:
    """Yield a function that reads keys by `tasks` that share as many connections, which are kept between its calls."""
    pool = AsyncPool(max_connections=tasks, timeout=10, **address(server))
    client = AsyncRedis(connection_pool=pool)
    with asyncio.Runner() as runner:
        yield lambda keys: runner.run(_read(client, keys, tasks))
        runner.run(pool.disconnect())


async def _read(client: AsyncRedis, keys: Sequence[str], tasks: int) -> list[Any]:
    """Let `tasks` share `keys`, each reading one after the other, and return the values in the order of `keys`."""
    values: dict[str, Any] = {}

    async def read_share(number: int) -> None:
        """Read every `tasks`-th key."""
        for key in keys[number::tasks]:
            values[key] = await client.get(key)

    await asyncio.gather(*(read_share(number) for number in range(tasks)))
    return [values[key] for key in keys]


def parse_in_python(answer: bytes) -> Any:
    """Naive: read an answer as redis-py does without hiredis."""
    source = io.BytesIO(answer)
    parser = _RESP2Parser(socket_read_size=65536)
    connection = SimpleNamespace(_sock=SimpleNamespace(recv=source.read), socket_timeout=None)
    parser.on_connect(SimpleNamespace(**vars(connection), encoder=Encoder("utf-8", "strict", decode_responses=True)))
    return parser.read_response()


def parse_compiled(answer: bytes) -> Any:
    """Tuned: read it by hiredis."""
    reader = hiredis.Reader(encoding="utf-8")
    reader.feed(answer)
    return reader.gets()


def raw_answer(server: Redis, *command: str) -> bytes:
    """Return the bytes that a server answers, as they come over the wire (RESP2); the last ones end the answer."""
    pool = ConnectionPool(protocol=2, **address(server))
    connection: Any = pool.get_connection()
    connection.send_command(*command)
    # What follows the answer tells its end: nothing else in it looks like this.
    connection.send_command("ECHO", END)
    received = b""
    while not received.endswith(END.encode() + b"\r\n"):
        received += connection._sock.recv(65536)  # noqa: SLF001 - redis-py has no public way to the bytes
    connection.disconnect()
    pool.release(connection)
    return received[: received.rindex(b"$")]


END = "that was the answer"


def without_hiredis(server: Redis, keys: Sequence[str]) -> list[Any]:
    """Naive: read key after key by a client whose parser is Python."""
    pool = ConnectionPool(protocol=2, parser_class=_RESP2Parser, **address(server))
    with Redis(connection_pool=pool) as client:
        values = [client.get(key) for key in keys]
    pool.disconnect()
    return values


class TrackedCache:
    """Reads keys through one connection and remembers them until the server says that they have changed."""

    def __init__(self, server: Redis) -> None:
        """Open a connection of its own to the same server, and have its reads tracked."""
        self._pool = ConnectionPool(protocol=3, **address(server))
        self._connection = self._pool.get_connection()
        self._known: dict[str, Any] = {}
        self._connection._parser.set_invalidation_push_handler(self._forget)  # noqa: SLF001 - redis-py has no public way
        self._ask("CLIENT", "TRACKING", "ON")

    def get(self, key: str) -> Any:
        """Return the value of `key`, asking the server only if it is not known or has changed (``GET``).

        Raises:
            redis.exceptions.RedisError: the server does not answer.
        """
        while self._connection.can_read(timeout=0):
            self._connection.read_response(push_request=True)
        if key not in self._known:
            self._known[key] = self._ask("GET", key)
        return self._known[key]

    def _ask(self, *command: str) -> Any:
        """Send one command and return its answer."""
        self._connection.send_command(*command)
        return self._connection.read_response()

    def _forget(self, message: list[Any]) -> None:
        """Forget the keys that a message names; all, when it names none (the server forgot who read what)."""
        for key in message[1] or list(self._known):
            self._known.pop(key.decode() if isinstance(key, bytes) else key, None)

    def __enter__(self) -> Self:
        """Return the cache."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give the connection back, which ends the tracking."""
        self._connection.disconnect()
        self._pool.release(self._connection)


def read_again(server: Redis, keys: Sequence[str]) -> None:
    """Naive: read each key five times from the server."""
    for _ in range(5):
        for key in keys:
            server.get(key)


def read_tracked(server: Redis, keys: Sequence[str]) -> None:
    """Tuned: read each key five times through a cache in the client; opening it included."""
    with TrackedCache(server) as tracked:
        for _ in range(5):
            for key in keys:
                tracked.get(key)
