"""A real ``celery beat``, which sends what is due, as a child process of this one."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from redis_practices.servers.process_group import Child, ProcessGroup, tail

END_TIMEOUT = 20.0
"""Seconds in which a beat that is asked to end does so."""


class Beat:
    """One beat with a schedule file of its own, which it finds again when it is started again."""

    def __init__(self, group: ProcessGroup, name: str, environment: Mapping[str, str]) -> None:
        """Start it in `group`; `environment` holds settings of ``worker.py``, such as ``BROKER_URL``."""
        self._group, self._environment = group, {**os.environ, **environment}
        self._schedule, self._log = group.folder / name, group.folder / f"{name}.log"
        self._process = self._start()

    def _start(self) -> Child:
        """Start the process."""
        options = ["--schedule", str(self._schedule), "--pidfile=", "--loglevel", "DEBUG"]
        arguments = ["-A", "worker", "beat", *options]
        return self._group.start_python(
            "celery", arguments, self._log, cwd=Path(__file__).parents[2], env=self._environment
        )

    def restart(self, *, kill: bool) -> None:
        """End it with SIGTERM, or at once with SIGKILL, and start it again with its schedule file."""
        self._process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        self._process.wait(END_TIMEOUT)
        self._process = self._start()

    def starts(self) -> int:
        """Return how often it has come as far as its timetable."""
        return self.log_tail(1000).count("beat: Starting...")

    def sleeps_after_sending(self) -> bool:
        """Tell whether it has sent a task, done with it all that it does, and waits for the next."""
        return "Waking up in" in self.log_tail(1000).rpartition("Sending due task")[2]

    def log_tail(self, lines: int = 40) -> str:
        """Return the last `lines` of its log."""
        return tail(self._log, lines)
