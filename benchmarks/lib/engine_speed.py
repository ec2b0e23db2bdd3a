"""How fast engines answer, side by side: all of them run, and are asked in turns by redis-benchmark."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Mapping
from pathlib import Path

from lib.side_by_side import rounds_of

from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import CACHE, Server, start_server

REQUESTS = 100_000


def speeds(binaries: Mapping[str, Path], rounds: int, program: str) -> dict[str, float]:
    """Return how many GETs a second each engine answered, in pipelines of 32 over 20 connections.

    The best round counts: whatever else the machine did, it made none faster.
    """
    with ProcessGroup() as group:
        servers = {name: start_server(group, CACHE, binary=str(binary)) for name, binary in binaries.items()}
        for server in servers.values():
            _ask(program, server, "set")
        ways = {name: lambda server=server: _ask(program, server, "get") for name, server in servers.items()}
        seen = rounds_of(ways, rounds)
    return {name: round(max(values)) for name, values in seen.items()}


def _ask(program: str, server: Server, command: str) -> float:
    """Send one round of requests; return how many a second were answered."""
    options = [
        "-p",
        str(server.port),
        "-c",
        "20",
        "-P",
        "32",
        "-n",
        str(REQUESTS),
        "-r",
        "1000",
        "-t",
        command,
        "--csv",
    ]
    said = subprocess.run([program, *options], capture_output=True, text=True, check=True, timeout=300).stdout
    return float([*csv.reader(said.splitlines())][-1][1])
