"""Measure what new commands gain over the way that older servers have, on both engines.

The ways of a table alternate in one process, on the same server or cluster. A ratio above 1 is faster than the first
way of its table. A command that an engine lacks leaves out its way there. WAITAOF works in --folder, which must be on a
disk to tell anything.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from redis.cluster import LoadBalancingStrategy
from redis.exceptions import MovedError

from lib.ending import run
from lib.engine_sources import NotHadError, fetched
from lib.side_by_side import add_shapes, end, rounds_of, show, summary

from redis_practices.pure_cache.key_audit import large_replies, sample
from redis_practices.redis_cluster.key_distribution import every_key, read_near
from redis_practices.redis_cluster.topology import itself
from redis_practices.server_info import has_command
from redis_practices.servers.cluster import start_cluster
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import engine_of, start_server
from redis_practices.tuning import memory, round_trips
from redis_practices.tuning.bulk import pipelined, read_bulk, write_bulk
from redis_practices.tuning.measuring import PLAIN, latency_proxy

EXAMPLES = """\
examples:
  python benchmarks/new_commands.py
  python benchmarks/new_commands.py --engines redis-8.6 --only MSETEX --rounds 50
  python benchmarks/new_commands.py --markdown --folder /var/tmp"""

KEYS = [f"key:{number}" for number in range(1000)]

BIG = 1_000_000
"""Bytes."""

Ways = Mapping[str, Callable[[], object]]
Case = Callable[[str, ProcessGroup, argparse.Namespace], Iterator[tuple[str, str, Mapping[str, Callable[[], float]]]]]
"""Yields a title, a unit, and the ways that return a number of this unit."""


def timed(ways: Ways) -> dict[str, Callable[[], float]]:
    """Return ways that return their milliseconds."""

    def milliseconds(work: Callable[[], object]) -> float:
        begun = time.perf_counter()
        work()
        return 1000 * (time.perf_counter() - begun)

    return {name: partial(milliseconds, work) for name, work in ways.items()}


def msetex(binary: str, group: ProcessGroup, _: argparse.Namespace) -> Iterator[Any]:
    """Write 1000 keys with a ttl."""
    client = start_server(group, PLAIN, binary=binary).client()
    ways: dict[str, Callable[[], object]] = {
        "SET EX, pipelines of 100": lambda: round_trips.expiring_in_pipelines(client, KEYS),
        "SET EX, packed by tuning.bulk": lambda: pipelined(
            client, [("SET", key, "1", "EX", "60") for key in KEYS], 100
        ),
    }
    if has_command(client, "MSETEX"):
        ways["MSETEX of 100"] = lambda: round_trips.expiring_together(client, KEYS)
    yield "1000 keys with a ttl", "ms", timed(ways)


def hsetex(binary: str, group: ProcessGroup, _: argparse.Namespace) -> Iterator[Any]:
    """Write fields with a ttl, and store many small values with a ttl each."""
    client = start_server(group, PLAIN, binary=binary).client()
    some = KEYS[:200]
    if not has_command(client, "HSETEX"):
        return
    ways: dict[str, Callable[[], object]] = {
        "HSET, then HPEXPIRE": lambda: round_trips.set_fields_then_expire(client, some),
        "HSETEX": lambda: round_trips.set_fields_with_ttl(client, some),
    }
    yield "200 fields with a ttl", "ms", timed(ways)
    sizes = {
        "a key a value, SET EX": memory.keys_each_with_ttl,
        "100 values a hash, HSETEX": memory.keys_packed_with_ttl,
    }
    bytes_of = {name: partial(memory.bytes_of, client, way, 20_000) for name, way in sizes.items()}
    yield "20,000 small values with a ttl each", "bytes", bytes_of


def hotkeys(binary: str, group: ProcessGroup, _: argparse.Namespace) -> Iterator[Any]:
    """Read 5000 keys while the server looks for hot keys in several ways."""
    server = start_server(group, PLAIN, binary=binary)
    client, other = server.client(), server.client()
    commands = [("GET", f"key:{number}") for number in range(5000)]

    def read() -> float:
        return timed({"": lambda: pipelined(client, commands)})[""]()

    def watched() -> float:
        other.execute_command("HOTKEYS", "START", "METRICS", 1, "NET", "COUNT", 10)
        try:
            return read()
        finally:
            other.execute_command("HOTKEYS", "STOP")
            other.execute_command("HOTKEYS", "RESET")

    def monitored() -> float:
        with other.monitor():
            return read()

    ways = {"5000 GETs, nothing looks": read}
    if has_command(client, "HOTKEYS"):
        ways["5000 GETs, HOTKEYS counts"] = watched
    ways["5000 GETs, MONITOR reports"] = monitored
    yield "the price of finding hot keys", "ms", ways


def clusterscan(binary: str, group: ProcessGroup, _: argparse.Namespace) -> Iterator[Any]:
    """Walk over all keys of a cluster of 3 primaries."""
    cluster = start_cluster(group, replicas=0, binary=binary)
    client, nodes = cluster.client(), {node.port: node.client() for node in cluster.nodes}
    if not has_command(cluster.nodes[0].client(), "CLUSTERSCAN"):
        return

    def walk() -> int:
        """Follow the cursor from slot to slot, and from node to node."""
        cursor, found, node = "0", 0, next(iter(nodes.values()))
        while True:
            try:
                cursor, keys = node.execute_command("CLUSTERSCAN", cursor, "COUNT", 1000)
            except MovedError as error:
                node = nodes[error.port]
                continue
            found += len(keys)
            if cursor == "0":
                return found

    def walk_slots() -> int:
        """Begin a scan of each slot in a pipeline."""
        found = 0
        for node in nodes.values():
            slots = sorted(itself(node).slots)
            commands = [("CLUSTERSCAN", "0", "SLOT", str(slot), "COUNT", "1000") for slot in slots]
            found += sum(len(keys) for _, keys in pipelined(node, commands))
        return found

    for count in (10_000, 100_000):
        write_bulk(client, [(f"key:{number}", "1") for number in range(count)], ttl=3600)
        ways: dict[str, Callable[[], object]] = {
            "SCAN of each node": lambda: sum(1 for _ in every_key(client)),
            "CLUSTERSCAN, one cursor": walk,
            "CLUSTERSCAN of each slot, in pipelines": walk_slots,
        }
        yield f"all of {count:,} keys", "ms", timed(ways)


def availability_zones(binary: str, group: ProcessGroup, _: argparse.Namespace) -> Iterator[Any]:
    """Read 60 keys of a cluster of which each shard has one node in the client's zone, and one 1.5 ms away."""
    cluster = start_cluster(group, binary=binary)
    with ExitStack() as stack:
        away = {
            node.port: stack.enter_context(latency_proxy("127.0.0.1", node.port, 0.0015)).port
            for node in cluster.nodes[1::2]
        }

        def remapped(address: tuple[str, int]) -> tuple[str, int]:
            return address[0], away.get(address[1], address[1])

        places = {f"127.0.0.1:{port}": "far" for port in away.values()}
        places |= {f"127.0.0.1:{node.port}": "near" for node in cluster.nodes[::2]}
        client = stack.enter_context(cluster.client(address_remap=remapped))
        turns = LoadBalancingStrategy.ROUND_ROBIN
        all_nodes = stack.enter_context(cluster.client(address_remap=remapped, load_balancing_strategy=turns))
        some = KEYS[:60]
        write_bulk(client, [(key, "1") for key in some], ttl=3600)
        ways: dict[str, Callable[[], object]] = {
            "GET from primaries": lambda: [client.get(key) for key in some],
            "GET from all nodes": lambda: [all_nodes.get(key) for key in some],
            "GET in the zone": lambda: [read_near(client, [key], "near", places) for key in some],
            "one pipeline a primary": lambda: read_bulk(client, some),
            "one pipeline a node in the zone": lambda: read_near(client, some, "near", places),
        }
        yield "60 keys, the other zone 1.5 ms away", "ms", timed(ways)


def commandlog(binary: str, group: ProcessGroup, _: argparse.Namespace) -> Iterator[Any]:
    """Name the value whose replies are large."""
    client = start_server(group, PLAIN, binary=binary).client()
    if not has_command(client, "COMMANDLOG"):
        return
    pipelined(client, [("SET", f"key:{number}", "1") for number in range(100_000)])
    client.set("big", "x" * 2 * BIG)
    client.get("big")
    ways: dict[str, Callable[[], object]] = {
        "SCAN, MEMORY USAGE of all": lambda: [key for key in sample(client, 200_000) if key.size > BIG],
        "COMMANDLOG GET": lambda: large_replies(client),
    }
    yield "a large value that is read, among 100,000", "ms", timed(ways)


def waitaof(binary: str, group: ProcessGroup, options: argparse.Namespace) -> Iterator[Any]:
    """Write until the disk has it."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for part in ("always", "everysec"):
            Path(folder, part).mkdir()
        made = {
            policy: start_server(
                group,
                {**PLAIN, "appendonly": "yes", "appendfsync": policy, "dir": str(Path(folder, policy))},
                binary=binary,
            ).client()
            for policy in ("always", "everysec")
        }

        def write(policy: str, count: int, *, wait: bool) -> object:
            client = made[policy]
            for number in range(count):
                client.set(f"key:{number}", "x" * 100)
            return client.waitaof(1, 0, 5000) if wait else None

        for count in (1, 100, 2000):
            ways: dict[str, Callable[[], object]] = {
                "appendfsync always": partial(write, "always", count, wait=False),
                "appendfsync everysec, one WAITAOF": partial(write, "everysec", count, wait=True),
            }
            yield f"{count:,} writes until the last is on disk", "ms", timed(ways)


CASES: dict[str, Case] = {
    "MSETEX": msetex,
    "HSETEX": hsetex,
    "HOTKEYS": hotkeys,
    "CLUSTERSCAN": clusterscan,
    "zones": availability_zones,
    "COMMANDLOG": commandlog,
    "WAITAOF": waitaof,
}


def main() -> None:
    """Measure each command on each engine."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engines", default="valkey-9.1,redis-8.6", help="names of benchmarks/lib/engine_sources.py")
    parser.add_argument("--only", choices=CASES, help="one command alone")
    parser.add_argument("--rounds", type=int, default=25, help="rounds of each way (default: 25)")
    parser.add_argument(
        "--folder", type=Path, help="a folder on a disk for WAITAOF (default: the system's temporary one)"
    )
    add_shapes(parser)
    options = parser.parse_args()
    for name, case in CASES.items():
        for engine in options.engines.split(",") if options.only in (None, name) else ():
            try:
                binary = str(fetched(engine))
            except NotHadError as error:
                print(f"{error}: left out", file=sys.stderr)
                continue
            with ExitStack() as stack:
                group = stack.enter_context(ProcessGroup())
                for title, unit, ways in case(binary, group, options):
                    rows = summary(rounds_of(ways, options.rounds), next(iter(ways)))
                    show(f"{name}, {engine_of(binary)}: {title}", rows, unit, options.shape)
    end(options.shape)


if __name__ == "__main__":
    run(main)
