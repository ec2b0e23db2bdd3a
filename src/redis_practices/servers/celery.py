"""Start a real Celery worker or beat as a child process."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from subprocess import TimeoutExpired

from redis_practices.polling import poll
from redis_practices.servers.process_group import Child, ProcessGroup, tail
from redis_practices.servers.server import EmbeddedError

_INSTALLED = Path(__file__).parents[1] / "_suite" / "src"
SCRIPTS = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2]
"""The folder of `worker.py`: beside this package, or within an installed one."""

READY = " ready."
"""The end of the log line of a worker that consumes."""

DEFAULTS = {
    "WORKER_CONCURRENCY": "2",
    "PYTHONDONTWRITEBYTECODE": "1",
    # Flags of the command: without mingle, gossip and heartbeat a worker consumes after 0.4 s instead of 1.4 s.
    "WORKER_FLAGS": "--without-mingle --without-gossip --without-heartbeat",
}
"""Settings of `src/worker.py` for one of several workers on one machine."""


class LateError(EmbeddedError):
    """A worker did not become ready, or did not end, in time."""


START_TIMEOUT = 30.0
"""Seconds until an unready worker counts as failed; a worker needs 0.5 s on an idle machine."""

REFUSED = re.compile(r"Cannot connect to \S+: .*(?:MISCONF|NOPERM|NOAUTH|WRONGPASS|unknown command)")
"""A log line about a broker's refusal that no retry will change."""

REFUSALS = 3
"""The number of such refusals that is enough: the worker tries again after 2 s, then after 4 s."""


class WorkerProcess:
    """One Celery worker process with its pool."""

    def __init__(self, group: ProcessGroup, broker_url: str, name: str, environment: Mapping[str, str]) -> None:
        """Start the process; `start_worker` also waits until it is ready."""
        self.name = f"{name}@localhost"
        self._log = group.folder / f"{name}.log"
        settings = {**DEFAULTS, "BROKER_URL": broker_url, **environment}
        self._process = group.start_python(
            "celery",
            ["-A", "worker", "worker", "-n", self.name, "-l", "INFO", *settings["WORKER_FLAGS"].split()],
            self._log,
            cwd=SCRIPTS,
            env={**os.environ, **settings},
        )

    @property
    def pid(self) -> int:
        """The process id of the worker; its pool's processes are its children."""
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def wait_ready(self, timeout: float = START_TIMEOUT) -> None:
        """Return when the worker consumes.

        Raises:
            EmbeddedError: it ended, was refused by its broker, or was not ready within `timeout` seconds.
        """
        if not poll(self._consumes, timeout, every=0.01):
            raise LateError(f"the Celery worker is not ready after {timeout:g} s:\n{self.log_tail(15)}")

    def _consumes(self) -> bool:
        """Tell whether the worker has logged that it consumes (EmbeddedError if it ended or was refused).

        The whole log is searched, since a worker that finds a full queue logs much more at once.
        """
        said = self._log.read_text(errors="replace")
        ready = READY in said
        if not ready and not self.runs:
            raise EmbeddedError(f"the Celery worker ended at its start:\n{self.log_tail(15)}")
        if not ready and len(REFUSED.findall(said)) >= REFUSALS:
            raise EmbeddedError(f"the broker refuses the Celery worker:\n{self.log_tail(15)}")
        return ready

    def stop(self, timeout: float = 30.0) -> None:
        """Request a warm shutdown (SIGTERM), which finishes the running tasks, and wait for the end.

        Raises:
            EmbeddedError: the worker still runs after `timeout` seconds.
        """
        self._process.terminate()
        try:
            self._process.wait(timeout)
        except TimeoutExpired:
            raise LateError(f"{self.name} still runs {timeout:g} s after SIGTERM:\n{self._where_it_is()}") from None

    def wait_end(self, timeout: float) -> int:
        """Return the exit code of a worker that ends within `timeout` seconds (else EmbeddedError)."""
        try:
            return self._process.wait(timeout)
        except TimeoutExpired:
            raise LateError(f"{self.name} still runs after {timeout:g} s:\n{self._where_it_is()}") from None

    def _where_it_is(self) -> str:
        """Make a hung worker log the stack of each thread (SIGUSR1), and return the end of its log."""
        self._process.send_signal(signal.SIGUSR1)
        time.sleep(0.5)
        return self.log_tail(120)

    def quit(self) -> None:
        """Request a cold shutdown (SIGQUIT): running tasks get SOFT_SHUTDOWN seconds, then return to the queue."""
        self._process.send_signal(signal.SIGQUIT)

    def pause(self) -> None:
        """Pause the worker (SIGSTOP); its pool's processes continue."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume a paused worker (SIGCONT)."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the worker (SIGKILL); its pool's processes end with it."""
        self._process.kill()
        self._process.wait(END_TIMEOUT)

    def log_tail(self, lines: int = 40) -> str:
        """Return the last `lines` of its log."""
        return tail(self._log, lines)


def start_worker(
    group: ProcessGroup, broker_url: str, name: str = "worker1", environment: Mapping[str, str] | None = None
) -> WorkerProcess:
    """Start a worker for `broker_url` in `group`, and return when it consumes; `environment` overrides settings.

    Raises:
        EmbeddedError: it ended at its start, or is not ready in time; the message ends with its last log lines.
    """
    worker = WorkerProcess(group, broker_url, name, environment or {})
    worker.wait_ready()
    return worker


END_TIMEOUT = 20.0
"""Seconds for a beat to end after SIGTERM."""


class Beat:
    """One beat with a private schedule file, which it keeps when it is restarted."""

    def __init__(self, group: ProcessGroup, name: str, environment: Mapping[str, str]) -> None:
        """Start it in `group`; `environment` holds settings of ``worker.py``, such as ``BROKER_URL``."""
        self._group, self._environment = group, {**os.environ, **environment}
        self._schedule, self._log = group.folder / name, group.folder / f"{name}.log"
        self._process = self._start()
        self.begun = time.time()
        """When it was started last, in seconds since 1970."""

    def _start(self) -> Child:
        """Start the process."""
        options = ["--schedule", str(self._schedule), "--pidfile=", "--loglevel", "DEBUG"]
        arguments = ["-A", "worker", "beat", *options]
        return self._group.start_python("celery", arguments, self._log, cwd=SCRIPTS, env=self._environment)

    def kill(self) -> None:
        """End it at once with SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end (SIGTERM), and wait for that."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        """End it with a signal."""
        self._process.send_signal(number)
        self._process.wait(END_TIMEOUT)

    def restart(self) -> None:
        """Start it again with its schedule file, and return when it has read its timetable."""
        before, self._process = self.starts(), self._start()
        if not poll(lambda: self.starts() > before, START_TIMEOUT, every=0.01):
            raise LateError(f"the beat is not ready after {START_TIMEOUT:g} s:\n{self.log_tail(15)}")
        self.begun = time.time()

    def starts(self) -> int:
        """Return how often it has started as far as its timetable."""
        return self.log_tail(1000).count("beat: Starting...")

    def sleeps_after_sending(self) -> bool:
        """Tell whether it has sent a task, has finished its bookkeeping, and sleeps until the next."""
        return "Waking up in" in self.log_tail(1000).rpartition("Sending due task")[2]

    def log_tail(self, lines: int = 40) -> str:
        """Return the last `lines` of its log."""
        return tail(self._log, lines)
