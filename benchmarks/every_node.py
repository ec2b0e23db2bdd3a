"""Compare ways to ask every node of a cluster for map, settings, fields, users and keys: seconds, processor, memory.

Each way asks once in a separate process, at most 64 nodes at once, with one connection and two round trips a node. All
reduce the answers alike. `redis.asyncio` and threads send the questions in a pipeline, with hiredis as parser.

Without --url the nodes are simulated (`lib/simulated_nodes.py`): one process speaks for all of them, beside the ways.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.ending import run
from lib.side_by_side import add_shapes, end, machine
from lib.simulated_nodes import host

from redis_practices.clients import async_client, redis_client
from redis_practices.redis_cluster.every_node import (
    AT_ONCE,
    COUNT,
    PARSERS,
    Asked,
    Maps,
    Values,
    as_pairs,
    as_rules,
    ask_every,
)
from redis_practices.redis_cluster.topology import announced
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import CACHE, free_ports, start_server

EXAMPLES = """\
examples:
  python benchmarks/every_node.py                                the answers of 200 simulated nodes
  python benchmarks/every_node.py --nodes 1000 --ways ours       the same of 1,000
  python benchmarks/every_node.py --url redis://127.0.0.1:7001   a real cluster, such as that of src/serve.py"""

QUESTIONS = (("CLUSTER", "NODES"), ("CONFIG", "GET", "*"), ("INFO", "everything"), ("ACL", "LIST"))


@dataclass
class Found:
    """What is kept of all nodes."""

    maps: Maps = field(default_factory=Maps)
    settings: Values = field(default_factory=Values)
    users: Values = field(default_factory=Values)
    memory: int = 0
    strange: list[str] = field(default_factory=list)

    def add(self, name: str, replies: Sequence[Any]) -> list[Any]:
        """Keep what is needed of the replies of a node, and return the script that counts the keys of its slots."""
        told, settings, fields, users = replies
        self.maps.add(name, told)
        self.settings.add(name, as_pairs(settings))
        self.memory += int(PARSERS["INFO"](fields)["used_memory"])
        self.users.add(name, as_rules(users))
        ranges = self.maps.own[name].ranges
        return ["EVAL", COUNT, "0", *(str(edge) for one in ranges for edge in one)]

    def count(self, name: str, told: Sequence[int]) -> None:
        """Compare the number of all keys with those of the slots; a replica has those of its primary."""
        if told[0] != sum(told[2::2]) and self.maps.own[name].primary is None:
            self.strange.append(name)


def ours(places: Sequence[tuple[str, int]], found: Found) -> None:
    """Ask by `every_node`."""

    async def look(asked: Asked) -> None:
        found.count(asked.name, await asked(*found.add(asked.name, await asked.all(QUESTIONS))))

    errors = ask_every(
        {f"{where}:{port}": redis_client(f"redis://{where}:{port}") for where, port in places}, look, within=60
    )
    assert not errors, errors


def by_asyncio(places: Sequence[tuple[str, int]], found: Found) -> None:
    """Ask by redis.asyncio."""

    async def look(where: str, port: int, turn: asyncio.Semaphore) -> None:
        url = f"redis://{where}:{port}?protocol=2"
        async with turn, async_client(url, 60.0, decode_responses=False, driver_info=None) as client:
            client.response_callbacks.clear()
            name = f"{where}:{port}"
            pipe = client.pipeline(transaction=False)
            for question in QUESTIONS:
                pipe.execute_command(*question)
            script = found.add(name, await pipe.execute())
            found.count(name, await client.execute_command(*script))

    async def all_of_them() -> None:
        turn = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(look(where, port, turn) for where, port in places))

    asyncio.run(all_of_them())


def by_threads(places: Sequence[tuple[str, int]], found: Found) -> None:
    """Ask by redis-py in threads."""
    lock = threading.Lock()

    def look(place: tuple[str, int]) -> None:
        name = "{}:{}".format(*place)
        url = f"redis://{name}?protocol=2"
        with redis_client(url, 60.0, decode_responses=False, driver_info=None) as client:
            client.response_callbacks.clear()
            pipe = client.pipeline(transaction=False)
            for question in QUESTIONS:
                pipe.execute_command(*question)
            replies = pipe.execute()
            with lock:
                script = found.add(name, replies)
            told: Any = client.execute_command(*script)
            with lock:
                found.count(name, told)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(look, places))


WAYS: dict[str, Callable[[Sequence[tuple[str, int]], Found], None]] = {
    "ours": ours,
    "redis.asyncio": by_asyncio,
    "64 threads": by_threads,
}


def measure(way: str, places: Sequence[tuple[str, int]]) -> dict[str, float]:
    """Ask once in this process, and return seconds, seconds of processor, and MB of memory before and at most."""
    before, found = memory_of("VmRSS"), Found()
    begun, cpu = time.perf_counter(), time.process_time()
    WAYS[way](places, found)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    assert len(found.maps.own) == len(places), f"{len(found.maps.own)} of {len(places)} nodes answered"
    return {"s": seconds, "cpu": cpu, "before": before, "peak": memory_of("VmHWM"), "maps": len(found.maps.views)}


def memory_of(name: str) -> float:
    """Return a field of /proc/self/status in MB (proc(5))."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


@contextmanager
def simulated(number: int) -> Iterator[list[tuple[str, int]]]:
    """Give the addresses of simulated nodes."""
    with ProcessGroup() as group:
        server = start_server(group, CACHE)
        [port] = free_ports(1)
        program = "from lib.simulated_nodes import run; run()"
        command = [sys.executable, "-c", program, server.url, str(port), str(number)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, cwd=Path(__file__).parent, **pipes) as speaking:
            assert speaking.stdout
            assert speaking.stdout.readline() == "ready\n", "the simulated nodes do not start"
            yield [(host(index), port) for index in range(number)]
            speaking.communicate()


@contextmanager
def real(url: str) -> Iterator[list[tuple[str, int]]]:
    """Give the addresses of the nodes of a cluster."""
    with redis_client(url) as client:
        yield [member.endpoint for member in announced(client).values()]


def main() -> None:
    """Measure every way once a round, and print the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="a node of a cluster without a password (default: simulated nodes)")
    parser.add_argument("--nodes", type=int, default=200, help="simulated nodes (default: 200)")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="default: all")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    add_shapes(parser)
    options = parser.parse_args()
    if options.measure:
        places = [(where, port) for where, port in json.load(sys.stdin)]
        print(json.dumps(measure(options.measure, places)))
        return
    with real(options.url) if options.url else simulated(options.nodes) as places:
        seen: dict[str, list[dict[str, float]]] = {way: [] for way in options.ways}
        for _ in range(options.rounds):
            for way, rows in seen.items():
                command = [sys.executable, __file__, "--measure", way]
                ended = subprocess.run(command, input=json.dumps(places), stdout=subprocess.PIPE, text=True, check=True)
                rows.append(json.loads(ended.stdout))
    kind = "nodes" if options.url else "simulated nodes"
    title = f"every question of {len(places)} {kind}, at most {AT_ONCE} at once, medians of {options.rounds} rounds"
    report(title, {way: {name: [row[name] for row in rows] for name in rows[0]} for way, rows in seen.items()}, options)


def report(title: str, seen: dict[str, dict[str, list[float]]], options: argparse.Namespace) -> None:
    """Print the medians."""
    if options.shape == "json":
        print(json.dumps({"benchmark": title, "machine": machine(), "rows": seen}))
        return
    print(f"| {title} | s | from, to | s of processor | MB before | MB at most |", f"|---|{'--:|' * 5}", sep="\n")
    for way, row in seen.items():
        middle = {name: statistics.median(values) for name, values in row.items()}
        print(
            f"| {way} | {middle['s']:.2f} | {min(row['s']):.2f}, {max(row['s']):.2f} | {middle['cpu']:.2f} "
            f"| {middle['before']:.0f} | {middle['peak']:.0f} |"
        )
    print()
    end(options.shape)


if __name__ == "__main__":
    run(main)
