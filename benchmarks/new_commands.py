"""Measure what new commands gain over the way that older servers have, on both engines.

The ways of a table alternate in one process, on the same server or cluster. A ratio above 1 is faster than the first
way of its table. A command that an engine lacks leaves out its way there. Processor time is that of the client and of
the servers, since a busy machine hardly changes it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from redis import Redis
from redis.cluster import RedisCluster
from redis.exceptions import MovedError

from lib.ending import run
from lib.engine_sources import NotHadError, fetched
from lib.side_by_side import add_shapes, end, rounds_of, show, summary

from redis_practices.pure_cache.key_audit import large_replies, sample
from redis_practices.redis_cluster.key_distribution import every_key, read_near
from redis_practices.redis_cluster.topology import endpoint, itself, slot_of
from redis_practices.server_info import has_command
from redis_practices.servers.cluster import start_cluster
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import engine_of, start_server
from redis_practices.tuning import memory, round_trips
from redis_practices.tuning.bulk import pipelined, read_bulk, read_from_all, write_bulk
from redis_practices.tuning.measuring import PLAIN, reads_by_node

EXAMPLES = """\
examples:
  python benchmarks/new_commands.py
  python benchmarks/new_commands.py --engines redis-8.6 --only MSETEX --rounds 50
  python benchmarks/new_commands.py --markdown"""

KEYS = [f"key:{number}" for number in range(1000)]

BIG = 1_000_000
"""Bytes."""

PATIENCE = 60.0
"""Seconds for a reply on a busy machine."""

CPU = "ms of processors"

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


def billed(ways: Ways, *servers: Redis) -> dict[str, Callable[[], float]]:
    """Return ways that return the milliseconds of processors, of this client and of the servers (``INFO cpu``)."""

    def used() -> float:
        told = [server.info("cpu") for server in servers]
        return time.process_time() + sum(float(one["used_cpu_user"]) + float(one["used_cpu_sys"]) for one in told)

    def milliseconds(work: Callable[[], object]) -> float:
        begun = used()
        work()
        return 1000 * (used() - begun)

    return {name: partial(milliseconds, work) for name, work in ways.items()}


def msetex(binary: str, group: ProcessGroup, _: argparse.Namespace) -> Iterator[Any]:
    """Write 1000 keys with a ttl."""
    client = start_server(group, PLAIN, binary=binary).client(socket_timeout=PATIENCE)
    ways: dict[str, Callable[[], object]] = {
        "SET EX, pipelines of 100": lambda: round_trips.expiring_in_pipelines(client, KEYS),
        "SET EX, packed by tuning.bulk": lambda: pipelined(
            client, [("SET", key, "1", "EX", "60") for key in KEYS], 100
        ),
    }
    if has_command(client, "MSETEX"):
        ways["MSETEX of 100"] = lambda: round_trips.expiring_together(client, KEYS)
    yield "1000 keys with a ttl", CPU, billed(ways, client)


def hsetex(binary: str, group: ProcessGroup, _: argparse.Namespace) -> Iterator[Any]:
    """Write fields with a ttl, and store many small values with a ttl each."""
    client = start_server(group, PLAIN, binary=binary).client(socket_timeout=PATIENCE)
    some = KEYS[:200]
    if not has_command(client, "HSETEX"):
        return
    ways: dict[str, Callable[[], object]] = {
        "HSET, then HPEXPIRE": lambda: round_trips.set_fields_then_expire(client, some),
        "HSETEX": lambda: round_trips.set_fields_with_ttl(client, some),
    }
    yield "200 fields with a ttl", CPU, billed(ways, client)
    sizes = {
        "a key a value, SET EX": memory.keys_each_with_ttl,
        "100 values a hash, HSETEX": memory.keys_packed_with_ttl,
    }
    bytes_of = {name: partial(memory.bytes_of, client, way, 20_000) for name, way in sizes.items()}
    yield "20,000 small values with a ttl each", "bytes", bytes_of


def hotkeys(binary: str, group: ProcessGroup, _: argparse.Namespace) -> Iterator[Any]:
    """Read 5000 keys while the server looks for hot keys in several ways."""
    server = start_server(group, PLAIN, binary=binary)
    client, other = server.client(socket_timeout=PATIENCE), server.client(socket_timeout=PATIENCE)
    commands = [("GET", f"key:{number}") for number in range(5000)]

    def read() -> object:
        return pipelined(client, commands)

    def counted() -> None:
        other.execute_command("HOTKEYS", "START", "METRICS", 1, "NET", "COUNT", 10)
        read()
        other.execute_command("HOTKEYS", "STOP")
        other.execute_command("HOTKEYS", "RESET")

    def monitored() -> None:
        with other.monitor():
            read()

    ways: dict[str, Callable[[], object]] = {"nothing looks": read}
    if has_command(client, "HOTKEYS"):
        ways["HOTKEYS counts"] = counted
    ways["MONITOR reports, to no reader"] = monitored
    yield "5000 GETs while hot keys are looked for", CPU, billed(ways, client)


def clusterscan(binary: str, group: ProcessGroup, _: argparse.Namespace) -> Iterator[Any]:
    """Walk over 100,000 keys of a cluster of 3 primaries, then over those of a slot that is half moved."""
    cluster = start_cluster(group, replicas=0, node_timeout_ms=15_000, binary=binary)
    client, nodes = (
        cluster.client(socket_timeout=PATIENCE),
        {node.port: node.client(socket_timeout=PATIENCE) for node in cluster.nodes},
    )
    if not has_command(next(iter(nodes.values())), "CLUSTERSCAN"):
        return

    def walk() -> Iterator[str]:
        """Follow the cursor from slot to slot, and from node to node."""
        cursor, node = "", next(iter(nodes.values()))
        while cursor != "0":
            try:
                cursor, keys = node.execute_command("CLUSTERSCAN", cursor or "0", "COUNT", 1000)
                yield from keys
            except MovedError as error:
                node = nodes[error.port]

    write_bulk(client, [(f"key:{number}", "1") for number in range(100_000)], ttl=3600)
    ways: dict[str, Callable[[], object]] = {
        "SCAN of each node": lambda: deque(every_key(client), 0),
        "CLUSTERSCAN": lambda: deque(walk(), 0),
    }
    yield "100,000 keys", CPU, billed(ways, *nodes.values())

    tagged = [f"{{cart}}:{number}" for number in range(100)]
    write_bulk(client, [(key, "1") for key in tagged], ttl=3600)
    slot = slot_of(tagged[0])
    source, target = sorted(nodes.values(), key=lambda node: slot not in itself(node).slots)[:2]
    target.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", itself(source).identity)
    source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", itself(target).identity)
    source.execute_command("MIGRATE", *endpoint(target), "", 0, 5000, "KEYS", *tagged[:50])
    found = {
        "SCAN of each node": lambda: float(len({key.decode() for key in every_key(client)} & {*tagged})),
        "CLUSTERSCAN": lambda: float(len({*walk()} & {*tagged})),
    }
    yield "found of 100 keys in a slot that is half moved, key by key", "keys", found


def availability_zones(binary: str, group: ProcessGroup, _: argparse.Namespace) -> Iterator[Any]:
    """Read 300 keys of a cluster of which each shard has one node in the client's zone, and one in another."""
    cluster = start_cluster(group, binary=binary)
    places = {node.address: ("near", "far")[number % 2] for number, node in enumerate(cluster.nodes)}
    some = KEYS[:300]
    with cluster.client(socket_timeout=PATIENCE) as client:
        write_bulk(client, [(key, "1") for key in some], ttl=3600)

        def far(read: Callable[[RedisCluster, Sequence[str]], object]) -> float:
            """Return the number of reads that another zone answers; at least 1, for a ratio."""
            before = reads_by_node(cluster.nodes)
            read(client, some)
            reads = {address: seen - before[address] for address, seen in reads_by_node(cluster.nodes).items()}
            return max(1.0, sum(reads[address] for address in reads if places[address] == "far"))

        def near(cluster: RedisCluster, keys: Sequence[str]) -> object:
            return read_near(cluster, keys, "near", places)

        ways = {"primaries": read_bulk, "all nodes in turn": read_from_all, "read_near": near}
        yield "reads of another zone", "of 300", {name: partial(far, read) for name, read in ways.items()}


def commandlog(binary: str, group: ProcessGroup, _: argparse.Namespace) -> Iterator[Any]:
    """Name the value whose replies are large."""
    client = start_server(group, PLAIN, binary=binary).client(socket_timeout=PATIENCE)
    if not has_command(client, "COMMANDLOG"):
        return
    pipelined(client, [("SET", f"key:{number}", "1") for number in range(100_000)])
    client.set("big", "x" * 2 * BIG)
    client.get("big")
    ways: dict[str, Callable[[], object]] = {
        "SCAN, MEMORY USAGE of all": lambda: [key for key in sample(client, 200_000) if key.size > BIG],
        "COMMANDLOG GET": lambda: large_replies(client),
    }
    yield "a large value that is read, among 100,000", CPU, billed(ways, client)


CASES: dict[str, Case] = {
    "MSETEX": msetex,
    "HSETEX": hsetex,
    "HOTKEYS": hotkeys,
    "CLUSTERSCAN": clusterscan,
    "zones": availability_zones,
    "COMMANDLOG": commandlog,
}


def main() -> None:
    """Measure each command on each engine."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engines", default="valkey-9.1,redis-8.6", help="names of benchmarks/lib/engine_sources.py")
    parser.add_argument("--only", choices=CASES, help="one command alone")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each way (default: 9)")
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
