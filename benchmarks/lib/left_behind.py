"""Find what runs of the specification leave; for a program with a private mount namespace and ``/dev/shm``."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil

from lib import PROJECT

from fixtures.stacks.docker.compose import MACHINE

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - private to the namespace


def processes() -> dict[int, str]:
    """Return the other processes of this namespace without zombies: command lines by process id."""
    own, found = Path("/proc/self/ns/mnt").readlink(), {}
    for process in psutil.process_iter(["cmdline"]):
        with suppress(OSError):
            command = " ".join(process.info["cmdline"] or [])
            if process.pid != os.getpid() and command and Path(f"/proc/{process.pid}/ns/mnt").readlink() == own:
                found[process.pid] = command[:100]
    return found


KEPT = {".pytest_cache", ".hypothesis", ".ruff_cache", ".mypy_cache", "results"}
"""Names in the project's folder that a run may make."""

BESIDE = {path.name for path in PROJECT.iterdir()} | KEPT


def files(temporary: Path) -> list[str]:
    """Return the files in shared memory, in a run's temporary folder and in the project's folder.

    pytest keeps the folders of three runs.
    """
    there = [*SHARED_MEMORY.iterdir(), *temporary.iterdir()]
    found = [path for path in there if path != temporary and not path.name.startswith("pytest-of-")]
    return [str(path) for path in [*found, *(path for path in PROJECT.iterdir() if path.name not in BESIDE)]]


def in_docker(pid: int) -> list[str]:
    """Return the containers, networks and volumes of the run with this process id."""
    project = f"label=com.docker.compose.project=redis-practices-{MACHINE}-{pid}"
    found = []
    for kind in (("container", "ls", "-a"), ("network", "ls"), ("volume", "ls")):
        command = ["docker", *kind, "-q", "--filter", project]
        asked = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        found += [f"{kind[0]} {name}" for name in asked.stdout.split()]
    return found


def left(temporary: Path, pid: int, stack: str) -> list[str]:
    """Return everything that a run has left."""
    running = [f"process {number} {command}" for number, command in processes().items()]
    return running + files(temporary) + (in_docker(pid) if stack == "docker" else [])


def clear(temporary: Path) -> None:
    """End and remove leftovers before the next trial."""
    for pid in processes():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for path in [*SHARED_MEMORY.iterdir(), *temporary.iterdir()]:
        if path != temporary:
            shutil.rmtree(path, ignore_errors=True)
