"""What a run that has come to its end has left on this machine: processes and scratch folders."""

from __future__ import annotations

import re
import tempfile
from contextlib import suppress
from operator import not_
from pathlib import Path

from fixtures.stacks.docker.compose import alive
from redis_practices.polling import poll
from redis_practices.servers.process_group import scratch_root

MARK = "REDIS_PRACTICES_RUN"
"""The variable by which all processes of a run are known; they inherit it."""

GONE_WITHIN = 10.0
"""Seconds that the guards of a run get to end what it has started."""


def remains(mark: str, since: float) -> list[str]:
    """Return a line for each process with this mark, and each folder made `since` (Unix time), that does not go."""
    return poll(lambda: _processes(mark) + _folders(since), GONE_WITHIN, every=0.2, until=not_)


def _processes(mark: str) -> list[str]:
    """Return the processes that have inherited the mark; none where the system has no ``/proc``."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found.append(f"left: process {folder.name} {command[:100]}")
    return found


def _folders(since: float) -> list[str]:
    """Return the scratch folders whose process is gone; another run's are in use."""
    found = []
    for path in [path for root in {scratch_root(), tempfile.gettempdir()} for path in Path(root).glob("redis-pract*")]:
        owner = re.search(r"-(\d+)-", path.name)
        with suppress(FileNotFoundError):
            if path.stat().st_ctime > since and not (owner and alive(int(owner[1]))):
                found.append(f"left: {path}")
    return found
