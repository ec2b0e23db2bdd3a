"""Read many keys in the ways that `ceiling.py` compares: the benchmark in C, redis-py, and two further clients."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from asyncio import Runner
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from redis import Redis
from redis.cluster import RedisCluster

from redis_practices.tuning import bulk, round_trips
from redis_practices.tuning.connections import address, client_process

Way = Callable[[], float]
"""Reads keys, and returns the microseconds a key."""

C_GET, C_MGET, C_CLUSTER = "C, GET", "C, MGET", "C, cluster GET"
"""The ways of the benchmark in C; each is the peer of the ways with the same command on the same deployment."""

PEERS = {
    "redis-py, pipeline": C_GET,
    "redis-py without hiredis, pipeline": C_GET,
    "tuning.bulk, one server": C_GET,
    "valkey-glide, batch": C_GET,
    "coredis, pipeline": C_GET,
    "redis-py, MGET": C_MGET,
    "valkey-glide, MGET": C_MGET,
    "redis-py, cluster pipeline": C_CLUSTER,
    "tuning.bulk, cluster": C_CLUSTER,
    "valkey-glide, cluster batch": C_CLUSTER,
    # The C tool has no MGET over slots, and the server neither: the client makes a GET or an MGET of each slot.
    "valkey-glide, cluster MGET": C_CLUSTER,
}
AT_ONCE = 300_000
"""Keys that the C tool reads in one measurement."""


def c_tool() -> str | None:
    """Return the path of the benchmark in C, or None if it is not installed."""
    return shutil.which("valkey-benchmark") or shutil.which("redis-benchmark")


class CTool:
    """The benchmark in C with one thread and one connection, or one for each node of a cluster."""

    def __init__(self, program: str, client: Any, depth: int) -> None:
        """Read at most `depth` keys at once by a client's server or cluster."""
        self._client, self._depth = client, depth
        self._cluster = isinstance(client, RedisCluster)
        if isinstance(client, RedisCluster):
            node = client.get_default_node()
            where = {"host": node.host, "port": node.port, "password": client.get_connection_kwargs().get("password")}
            primaries = len(client.get_primaries())
            shape = ["--cluster", "--threads", "1", "-c", str(primaries)]
        else:
            where, shape = address(client), ["-c", "1"]
        self._command = [program, "-h", where["host"], "-p", str(where["port"]), *shape]
        self._environment = {**os.environ, **({"REDISCLI_AUTH": where["password"]} if where["password"] else {})}

    def get(self, key: str) -> Way:
        """Return a way to read one key again and again, which is easier for the server than many keys."""
        return lambda: self._checked("-P", str(self._depth), "-n", str(AT_ONCE), "GET", key)

    def mget(self, keys: Sequence[str]) -> Way:
        """Return a way to read these keys with one command again and again."""
        return lambda: self._checked("-P", "1", "-n", str(AT_ONCE // len(keys)), "MGET", *keys) / len(keys)

    def fill(self, value: str) -> str:
        """Write a key in each slot of a cluster, and return its name in the tool's notation."""
        name = "ceiling:{tag}"
        for _ in range(2):
            self._run("-P", str(self._depth), "-n", str(AT_ONCE), "SET", name, value, "EX", "600")
        return name

    def _checked(self, *arguments: str) -> float:
        """Return the microseconds of a command; every key must be there (ValueError)."""
        before = self._misses()
        found = self._run(*arguments)
        if missing := self._misses() - before:
            raise ValueError(f"the C tool has read {missing} keys that do not exist, which is quicker")
        return found

    def _run(self, *arguments: str) -> float:
        """Run the tool, and return the microseconds of a command by its own report."""
        done = subprocess.run(
            [*self._command, "-q", *arguments],
            check=True,
            capture_output=True,
            env=self._environment,
            timeout=60,
            text=True,
        ).stdout
        return 1e6 / float(re.findall(r"([\d.]+) requests per second", done)[-1])

    def _misses(self) -> int:
        """Return the number of reads so far that found no key."""
        if isinstance(self._client, RedisCluster):
            said = self._client.info("stats", target_nodes=RedisCluster.PRIMARIES).values()
            return sum(one["keyspace_misses"] for one in said)
        return int(self._client.info("stats")["keyspace_misses"])


def c_ways(program: str, server: Any, cluster: Any, keys: Sequence[str], options: Any) -> dict[str, Way]:
    """Return the ways of the benchmark in C."""
    alone, nodes = CTool(program, server, options.depth), CTool(program, cluster, options.depth)
    return {
        C_GET: alone.get(keys[0]),
        C_MGET: alone.mget(keys[: options.depth]),
        C_CLUSTER: nodes.get(nodes.fill("x" * options.size)),
    }


def timed(read: Callable[[], Any], keys: Sequence[str]) -> Way:
    """Return a way that reads all keys once."""

    def way() -> float:
        """Read, and check that every value arrived."""
        begun = time.perf_counter()
        answers = read()
        took = time.perf_counter() - begun
        if len(answers) != len(keys) or not all(answers):
            raise ValueError(f"{len(answers)} answers to {len(keys)} reads, or a value is missing")
        return 1e6 * took / len(keys)

    return way


def redis_py(server: Redis, cluster: Any, keys: Sequence[str], depth: int, stack: ExitStack) -> dict[str, Way]:
    """Return the ways of redis-py, and this project's way on top of it."""
    python = stack.enter_context(client_process(server, "python"))
    commands = [("GET", key) for key in keys]
    found: dict[str, Callable[[], Any]] = {
        "redis-py, pipeline": lambda: round_trips.in_pipelines(server, keys, depth),
        "redis-py, MGET": lambda: round_trips.read_together(server, keys, depth),
        "tuning.bulk, one server": lambda: bulk.pipelined(server, commands, depth),
        "redis-py, cluster pipeline": lambda: bulk.read_by_pipeline(cluster, keys),
        "tuning.bulk, cluster": lambda: bulk.bulk(cluster, commands, depth),
    }
    apart = {"redis-py without hiredis, pipeline": lambda: 1e6 * float(python(commands, depth)[1]) / len(keys)}
    return apart | {name: timed(read, keys) for name, read in found.items()}


def glide(server: Redis, cluster: Any, keys: Sequence[str], depth: int, runner: Runner) -> dict[str, Way]:
    """Return the ways of valkey-glide (ImportError if it is not installed)."""
    import glide as package  # noqa: PLC0415 - may be missing

    async def clients() -> tuple[Any, Any]:
        """Connect to the server and the cluster."""
        where, node = address(server), cluster.get_default_node()
        config = package.GlideClientConfiguration([package.NodeAddress(where["host"], where["port"])])
        cluster_config = package.GlideClusterClientConfiguration([package.NodeAddress(node.host, node.port)])
        return await package.GlideClient.create(config), await package.GlideClusterClient.create(cluster_config)

    async def read(client: Any, kind: Any) -> list[Any]:
        """Read all keys in batches without transactions."""
        answers: list[Any] = []
        for first in range(0, len(keys), depth):
            batch = kind(is_atomic=False)
            for key in keys[first : first + depth]:
                batch.get(key)
            answers += await client.exec(batch, raise_on_error=True)
        return answers

    async def together(client: Any) -> list[Any]:
        """Read all keys with ``mget``; a client of a cluster sends a command for each slot."""
        pieces = [keys[first : first + depth] for first in range(0, len(keys), depth)]
        return [answer for piece in pieces for answer in await client.mget(list(piece))]

    one, many = runner.run(clients())
    return {
        "valkey-glide, MGET": timed(lambda: runner.run(together(one)), keys),
        "valkey-glide, cluster MGET": timed(lambda: runner.run(together(many)), keys),
        "valkey-glide, batch": timed(lambda: runner.run(read(one, package.Batch)), keys),
        "valkey-glide, cluster batch": timed(lambda: runner.run(read(many, package.ClusterBatch)), keys),
    }


def coredis(server: Redis, keys: Sequence[str], depth: int, runner: Runner) -> dict[str, Way]:
    """Return the way of coredis (ImportError if it is not installed); it connects once for each run."""
    import coredis as package  # noqa: PLC0415 - may be missing

    where = address(server)

    async def read() -> list[Any]:
        """Read all keys in pipelines without transactions."""
        answers: list[Any] = []
        async with package.Redis(host=where["host"], port=where["port"], decode_responses=True) as client:
            for first in range(0, len(keys), depth):
                async with client.pipeline(transaction=False) as pipe:
                    coming = [pipe.get(key) for key in keys[first : first + depth]]
                answers += [await answer for answer in coming]
        return answers

    return {"coredis, pipeline": timed(lambda: runner.run(read()), keys)}
