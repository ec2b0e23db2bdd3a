"""Measure the speed of engines side by side: all run, and redis-benchmark asks them in turn."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from lib.side_by_side import rounds_of
from lib.whole_run import first_line

from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import CACHE, EmbeddedError, Server, start_server

REQUESTS = 100_000


def speeds(binaries: Mapping[str, Path], rounds: int, program: str) -> dict[str, str]:
    """Return the GETs a second of each engine, in pipelines of 32 over 20 connections.

    The best round counts: a busy machine can make no round faster. An engine that does not start, or does not answer
    all requests, gets the reason instead of a number.
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
    """Send one round of requests; return the answered requests a second."""
    options = f"-p {server.port} -c 20 -P 32 -n {REQUESTS} -r 1000 -t {command} --csv".split()
    said = subprocess.run([program, *options], capture_output=True, text=True, check=True, timeout=300).stdout
    return float([*csv.reader(said.splitlines())][-1][1])
