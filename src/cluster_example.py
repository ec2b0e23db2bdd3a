"""Write keys to a cluster, read them back, and show their distribution over its nodes.

It uses CLUSTER_URL, else a cluster on this machine, else an embedded one that ends with the command. Its keys are
deleted at the end.
"""

from __future__ import annotations

import redis_practices  # noqa: F401 - it says in one line that Python is too old # isort: skip

import argparse
import secrets
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException, RedisError

from redis_practices.cli import Failure, Parser, count, run, say, seconds
from redis_practices.clients import cluster_client, explained, one_line_errors, shown
from redis_practices.redis_cluster.key_distribution import (
    answer_of,
    deviation,
    distribution,
    read,
    remove,
    slot_map,
    table,
    write,
)
from redis_practices.redis_cluster.topology import owner, slot_of
from redis_practices.servers.locate import deployment

EXAMPLES = """\
  python src/cluster_example.py
  python src/cluster_example.py --keys 20000 --watch
  CLUSTER_URL=redis://:secret@node.example:7001 python src/cluster_example.py"""

TTL = 600
"""Seconds until the keys expire, for the case that this command is killed before it deletes them."""


def write_and_read_back(cluster: RedisCluster, values: dict[str, str]) -> None:
    """Write `values` and read all of them.

    Raises:
        Failure: a key does not hold the value that was written.
        redis.exceptions.RedisError: a node does not answer or refuses a command.
    """
    write(cluster, values, TTL)
    lost = sum(seen != value for seen, value in zip(read(cluster, list(values)), values.values(), strict=True))
    if lost:
        raise Failure(f"{lost} of {len(values)} keys do not read as they were written: does the cluster evict?")
    print(f"Wrote {len(values)} keys and read them back.")


def journey(cluster: RedisCluster, key: str) -> list[str]:
    """Describe the way of one key: its slot, its owner, and the answer of another node."""
    ranges = slot_map(cluster)
    slot = slot_of(key)
    held_by = owner(slot, ranges)
    if not held_by:
        return [f"{key} -> slot {slot} -> no node owns it"]
    lines = [f"{key} -> slot {slot} -> {held_by.primary}"]
    if wrong := next((held.primary for held in ranges if held.primary != held_by.primary), None):
        lines.append(f"a wrong node, {wrong}, answers: {answer_of(cluster, wrong, key)}")
    return lines


def watch(cluster: RedisCluster, values: dict[str, str], interval: float) -> None:
    """Show the distribution every `interval` seconds until Ctrl-C.

    A terminal shows it in place; other outputs get a line each time.
    """
    drawn, renewed = 0, time.monotonic()
    say("watching until Ctrl-C")
    while True:
        try:
            if time.monotonic() - renewed > TTL / 2:
                write(cluster, values, TTL)
                renewed = time.monotonic()
            nodes = distribution(cluster, list(values))
            lines = [*table(nodes), deviation(nodes)]
            line = ", ".join(f"{node.address} {node.slots}/{node.keys}" for node in nodes if node.role == "primary")
        except (RedisError, RedisClusterException) as error:
            # A primary is being replaced: the next look finds its successor.
            line = explained(error, "a node", interval)
            lines = [line]
        if sys.stdout.isatty():
            up = f"\033[{drawn}A" if drawn else ""
            print(f"{up}\033[J" + "\n".join(lines), flush=True)
            drawn = len(lines)
        else:
            print(f"{time.strftime('%H:%M:%S')} slots/keys: {line}", flush=True)
        time.sleep(interval)


def clean_up(cluster: RedisCluster, keys: Sequence[str], server: str, timeout: float) -> None:
    """Delete the keys; report a failure without hiding the error that ended the command."""
    try:
        remove(cluster, keys)
    except (RedisError, RedisClusterException) as error:
        say(f"{explained(error, server, timeout)}; what was written expires within {TTL} s")


def demonstrate(cluster: RedisCluster, values: dict[str, str], options: argparse.Namespace, server: str) -> None:
    """Write the keys, show their distribution, and delete them, also after an error."""
    try:
        write_and_read_back(cluster, values)
        nodes = distribution(cluster, list(values))
        print("\n".join([*table(nodes), deviation(nodes), *journey(cluster, next(iter(values)))]), flush=True)
        if options.watch:
            with suppress(KeyboardInterrupt):
                watch(cluster, values, options.interval)
    finally:
        clean_up(cluster, list(values), server, options.timeout)


def main() -> None:
    """Run the demonstration with the options of the command line."""
    parser = Parser(__doc__, EXAMPLES)
    parser.add_argument("--keys", type=count, default=1000, help="how many keys to write (default: 1000)")
    parser.add_argument("--watch", action="store_true", help="keep showing the spread, until Ctrl-C")
    parser.add_argument("--interval", type=seconds, default=1.0, help="seconds between two looks (default: 1)")
    parser.add_timeout()
    options = parser.parse_args()
    prefix = f"practices:{secrets.token_hex(4)}:"
    values = {f"{prefix}{number}": str(number) for number in range(options.keys)}
    with (
        deployment("cluster") as url,
        one_line_errors(url, options.timeout),
        cluster_client(url, options.timeout) as cluster,
    ):
        demonstrate(cluster, values, options, shown(url))


if __name__ == "__main__":
    run(main)
