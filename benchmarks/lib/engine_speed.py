"""How fast engines answer, side by side: all of them run, and are asked in turns by redis-benchmark."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from lib.side_by_side import rounds_of
from lib.whole_run import first_line

from redis_practices.servers.binary import EmbeddedError
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import CACHE, Server, start_server

REQUESTS = 100_000


def speeds(binaries: Mapping[str, Path], rounds: int, program: str) -> dict[str, str]:
    """Return how many GETs a second each engine answered, in pipelines of 32 over 20 connections.

    The best round counts: whatever else the machine did, it made none faster. In place of the number of an engine that
    does not start, or does not answer all requests, stands why.
    """
    failed: dict[str, str] = {}
    servers: dict[str, Server] = {}

    def ask(name: str, command: str) -> float:
        """Ask an engine, unless it has failed before."""
        try:
            return 0.0 if name in failed else _ask(program, servers[name], command)
        except subprocess.SubprocessError as error:
            failed[name] = f"failed: {error}"
            return 0.0

    with ProcessGroup() as group:
        for name, binary in binaries.items():
            try:
                servers[name] = start_server(group, CACHE, binary=str(binary))
                ask(name, "set")
            except (EmbeddedError, OSError) as error:
                failed[name] = f"failed: {first_line(str(error))}"
        seen = rounds_of({name: partial(ask, name, "get") for name in servers}, rounds)
    return {name: f"{max(values):.0f}" for name, values in seen.items()} | failed


def _ask(program: str, server: Server, command: str) -> float:
    """Send one round of requests; return how many a second were answered."""
    options = f"-p {server.port} -c 20 -P 32 -n {REQUESTS} -r 1000 -t {command} --csv".split()
    said = subprocess.run([program, *options], capture_output=True, text=True, check=True, timeout=300).stdout
    return float([*csv.reader(said.splitlines())][-1][1])
