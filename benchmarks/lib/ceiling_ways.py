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

from redis_practices.tuning import bulk, round_trips
from redis_practices.tuning.connections import address, client_process

Way = Callable[[], float]
"""Reads keys, and returns the microseconds a key."""

CEILING = "redis-benchmark"


def ceiling(server: Redis, depth: int, size: int) -> Way | None:
    """Return the benchmark in C with one connection, by its own report; None if it is not installed."""
    program = shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")
    if not program:
        return None
    where = address(server)
    command = [program, "-h", where["host"], "-p", str(where["port"]), "-c", "1", "-P", str(depth), "-d", str(size)]
    environment = {**os.environ, **({"REDISCLI_AUTH": where["password"]} if where["password"] else {})}

    def read() -> float:
        """Read an existing key a hundred thousand times."""
        done = [*command, "-n", "100000", "-q", "get", "ceiling:0"]
        said = subprocess.run(done, check=True, capture_output=True, env=environment, timeout=60, text=True).stdout
        return 1e6 / float(re.findall(r"([\d.]+) requests per second", said)[-1])

    return read


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

    one, many = runner.run(clients())
    return {
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
