"""Start child processes that end together with this process, however it ends.

A process killed by SIGKILL cannot tidy up, so another process must. `ProcessGroup` starts one `/bin/sh`, the guard,
that waits on a pipe from this process. All children join the guard's process group. The pipe closes by `close()` or by
the end of this process; the guard then removes the folder and kills the group. It stores no pids, so pid reuse cannot
hit another process.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from weakref import WeakSet

from redis_practices.cli import Failure

_GUARD = """
PATH=${PATH:+$PATH:}/usr/bin:/bin
trap '' HUP INT QUIT TERM
read -r line

# The folder goes first: a running server cannot recreate files in a removed folder.
tries=0
until rm -rf -- "$1" || [ "$tries" -ge 200 ]; do tries=$((tries + 1)); sleep 0.05; done
kill -s KILL 0
"""


END_TIMEOUT = 20.0
"""Seconds until a killed process must be gone; the guard tries for 10 s to remove the folder."""


def scratch_root() -> str:
    """Return the folder for scratch folders: memory (``/dev/shm``) if the system has it, else the temporary folder.

    Replication through a file is instant there, and a test never waits for a disk.
    """
    shared_memory = "/dev/shm"  # noqa: S108 - mkdtemp makes a private folder in it
    return shared_memory if os.access(shared_memory, os.W_OK) else tempfile.gettempdir()


class Child(Protocol):
    """A child process: the part of `subprocess.Popen` that is used."""

    @property
    def pid(self) -> int:
        """Its process id."""

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return the exit code (subprocess.TimeoutExpired)."""

    def send_signal(self, number: int, /) -> None:
        """Send a signal."""

    def terminate(self) -> None:
        """Send SIGTERM."""

    def kill(self) -> None:
        """Send SIGKILL."""


class ProcessGroup:
    """Child processes and a scratch folder that end when this object is closed or this process ends."""

    def __init__(self, name: str = "redis-practices") -> None:
        """Make the folder ``{name}-{pid}-...`` and start the guard.

        Raises:
            OSError: the folder has no room, or no process can be started.
        """
        self.folder = Path(tempfile.mkdtemp(prefix=f"{name}-{os.getpid()}-", dir=scratch_root()))
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        self._owner = os.getpid()
        _groups.add(self)
        self._children: list[Child] = []
        self.held: list[socket.socket] = []
        """Sockets that hold the ports of servers that may be restarted; see `server.free_ports`."""

    def start(self, command: Sequence[str], log: Path, *, cwd: Path, env: Mapping[str, str] | None = None) -> Child:
        """Start `command` in the group, in the folder `cwd`; its output is appended to the file `log`.

        Raises:
            OSError: the command cannot be started.
        """
        with log.open("ab") as output:
            child = subprocess.Popen(
                command,
                cwd=cwd,
                env=self._environment(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=self.number,
            )
        return self._keep(child)

    def start_python(
        self, module: str, arguments: Sequence[str], log: Path, *, cwd: Path, env: Mapping[str, str] | None = None
    ) -> Child:
        """Start ``python -m module arguments`` as `start` does."""
        return self.start([sys.executable, "-m", module, *arguments], log, cwd=cwd, env=env)

    @property
    def number(self) -> int:
        """The process group of all children: the pid of the guard."""
        return self._guard.pid

    def _environment(self, env: Mapping[str, str] | None) -> dict[str, str]:
        """Return a child's environment; its temporary folder lies in the scratch folder."""
        return {**(os.environ if env is None else env), "TMPDIR": str(self.folder)}

    def _keep(self, child: Child) -> Child:
        """Keep a child that is to end with the group."""
        self._children.append(child)
        return child

    def close(self) -> None:
        """End every child, youngest first, and remove the folder; return when all are gone.

        A fork of the process that made the group cannot close it, and ends nothing.

        Raises:
            cli.Failure: some still run after `END_TIMEOUT`.
        """
        if os.getpid() != self._owner:
            return
        for child in reversed(self._children):
            child.kill()
        self.release()
        end, left = time.monotonic() + END_TIMEOUT, 0
        for process in (self._guard, *self._children):
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                left += 1
        self._children.clear()
        for kept in self.held:
            kept.close()
        self.held.clear()
        if left:
            raise Failure(f"processes that still run {END_TIMEOUT:g} s after SIGKILL: {left}. This machine is too busy")

    def release(self) -> None:
        """Close the guard's pipe in this process, without ending the children."""
        if self._guard.stdin is not None:
            self._guard.stdin.close()

    def __enter__(self) -> Self:
        """Return this object; leaving the block closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it, with or without an error in the block."""
        self.close()


_groups: WeakSet[ProcessGroup] = WeakSet()
"""The groups of this process; a fork closes their pipes."""


def _release_all() -> None:
    """Close the guards' pipes in a forked process, since a guard waits until every copy is closed."""
    for group in _groups:
        group.release()


os.register_at_fork(after_in_child=_release_all)


def tail(log: Path, lines: int = 40) -> str:
    """Return the last `lines` of the file `log`; an empty string without the file."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
