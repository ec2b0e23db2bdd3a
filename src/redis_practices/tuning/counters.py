"""What a piece of work cost the server, by its own counters: exact on every machine, however busy.

Source: ``INFO stats`` and ``INFO commandstats``. They count everybody's work, so ask a server that nobody else uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from redis import Redis


@dataclass
class Cost:
    """What the server counted: commands, reads from sockets, bytes sent, new connections, and calls by command."""

    commands: int = 0
    reads: int = 0
    connections: int = 0
    sent: int = 0
    calls: dict[str, int] = field(default_factory=dict)


@contextmanager
def counted(server: Redis) -> Iterator[Cost]:
    """Yield a `Cost` that is filled when the block ends; the asking itself is taken off.

    Raises:
        redis.exceptions.RedisError: the server does not answer.
    """
    cost = Cost()
    server.ping()  # connects
    before, calls_before = _snapshot(server)
    yield cost
    after, calls_after = _snapshot(server)
    # The first snapshot's two questions end after it counted: that they were read and run shows in the second.
    cost.commands = after["total_commands_processed"] - before["total_commands_processed"] - 2
    cost.reads = after["total_reads_processed"] - before["total_reads_processed"] - 2
    cost.connections = after["total_connections_received"] - before["total_connections_received"]
    # The answer to the first snapshot's last question is counted too: a few KB, which the reader of a bound must allow.
    cost.sent = after["total_net_output_bytes"] - before["total_net_output_bytes"]
    difference = {name: count - calls_before.get(name, 0) for name, count in calls_after.items() if name != "info"}
    cost.calls = {name: count for name, count in sorted(difference.items()) if count}


def _snapshot(server: Redis) -> tuple[Mapping[str, Any], dict[str, int]]:
    """Return ``INFO stats`` and the calls of each command."""
    calls: Mapping[str, Any] = server.info("commandstats")
    stats: Mapping[str, Any] = server.info("stats")
    return stats, {name.removeprefix("cmdstat_"): entry["calls"] for name, entry in calls.items()}


def reads_by_node(nodes: Iterable[Any]) -> dict[str, int]:
    """Return how many reads of keys each node has answered since its start (``INFO commandstats``), by address."""
    counts = {}
    for node in nodes:
        with node.client() as client:
            stats: Any = client.info("commandstats")
        counts[node.address] = sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("get", "mget"))
    return counts
