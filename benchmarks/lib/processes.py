"""Measure processes with all their descendants, and find those that a run has left."""

from __future__ import annotations

import re
import tempfile
from contextlib import suppress
from operator import not_
from pathlib import Path
from typing import Any

import psutil

from redis_practices.polling import poll
from redis_practices.servers.process_group import scratch_root

MARK = "REDIS_PRACTICES_RUN"
"""The inherited variable that identifies all processes of a run."""

GONE_WITHIN = 10.0
"""Seconds for a run's guards to end everything that it has started."""


def tree(root: int) -> list[Any]:
    """Return a process and its running descendants (psutil.NoSuchProcess)."""
    process = psutil.Process(root)
    return [process, *process.children(recursive=True)]


def cpu_seconds(*roots: int) -> float:
    """Return the processor time so far of processes, of their descendants and of children they have waited for."""
    total = 0.0
    for process in [one for root in roots for one in tree(root)]:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def memory_below(root: int) -> int:
    """Return the bytes of memory of a process' descendants; shared memory counts once (Pss, on Linux)."""
    total = 0
    for process in tree(root)[1:]:
        with suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total


def remains(mark: str, since: float) -> list[str]:
    """Return a line for each process with this mark, and each folder made `since` (Unix time), that remains."""
    return poll(lambda: _marked(mark) + _folders(since), GONE_WITHIN, every=0.2, until=not_)


def _marked(mark: str) -> list[str]:
    """Return the processes that have inherited the mark."""
    running = psutil.process_iter(["environ", "cmdline"])
    marked = [process for process in running if (process.info["environ"] or {}).get(MARK) == mark]
    return [f"left: process {one.pid} {' '.join(one.info['cmdline'] or [])[:100]}" for one in marked]


def _folders(since: float) -> list[str]:
    """Return the scratch folders whose process is gone; another run's folders are in use."""
    found = []
    for path in [path for root in {scratch_root(), tempfile.gettempdir()} for path in Path(root).glob("redis-pract*")]:
        owner = re.search(r"-(\d+)-", path.name)
        with suppress(FileNotFoundError):
            if path.stat().st_ctime > since and not (owner and psutil.pid_exists(int(owner[1]))):
                found.append(f"left: {path}")
    return found
