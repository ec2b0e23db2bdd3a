"""Keep connections, share them between tasks, parse replies in C, and cache them in the client.

A client is a pool: make one a process and share it between threads. Give the pool as many connections as threads talk
at the same time (`pool_of`). More connections do not help, and each costs the server memory and a file descriptor.

Many reads in flight with asyncio (`tasks_of`) pay if replies take long, as over a network. On the loopback asyncio is
slower than a plain loop, and it never beats a pipeline.

The compiled parser (``redis[hiredis]``) pays for replies with many items, which cost the client far more than the
server. On single reads it gains a few percent, since the rest of redis-py costs more than parsing one value.

A cache in the client (`NearCache`) pays for a few keys that are read far more often than written. Each change costs a
message to every listening client. redis-py has such a cache built in, for Redis 7.4 and newer only.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import median
from typing import IO, Any, Literal, cast

from redis import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio import Redis as AsyncRedis
from redis.cluster import RedisCluster

from redis_practices.clients import POOLS, cluster_client
from redis_practices.polling import eventually
from redis_practices.pure_cache.near_cache import NearCache


def address(server: Redis) -> dict[str, Any]:
    """Return host, port, user and password of a client's server, for further clients of it."""
    options = server.get_connection_kwargs()
    return {name: options.get(name) for name in ("host", "port", "username", "password", "db", "decode_responses")}


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
        login = {name: options.get(name) for name in ("username", "password", "decode_responses")}
        with cluster_client(f"redis://{node.host}:{node.port}", **login) as client:
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
