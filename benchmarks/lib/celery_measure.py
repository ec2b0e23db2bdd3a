"""Measure one contender once on a fresh server: publish, drain, end to end."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from lib import PROJECT
from lib.celery_contender import Contender
from lib.processes import cpu_seconds

from effect import MARKS, TAIL
from redis_practices.servers.process_group import ProcessGroup, tail
from redis_practices.servers.server import BROKER, start_server

FOLDER = PROJECT / "benchmarks" / "contenders"
PATIENCE = 60.0
"""Seconds without a further mark after which a measurement has failed."""


class LeftOutError(Exception):
    """A contender is not installed, or did not finish its tasks; the message says which."""


@dataclass(frozen=True)
class Measured:
    """Tasks a second."""

    publish: float
    """Into a queue without workers."""
    drain: float
    """Out of that queue, after the first quarter."""
    end_to_end: float
    """With running workers: from the start of publishing to the end of the last task."""
    processor: float
    """Milliseconds of processor time of all workers together for a task of the drain.

    It hardly depends on the load of the machine. If the cores are busy, it decides the throughput.
    """

    def __str__(self) -> str:
        """Return all in one line."""
        rates = f"publish {self.publish:,.0f}/s, drain {self.drain:,.0f}/s, end to end {self.end_to_end:,.0f}/s"
        return f"{rates}, {self.processor:.2f} ms of a processor"


def measured(contender: Contender, tasks: int, folders: Sequence[Path]) -> Measured:
    """Measure once, with the contender's programs from the first of `folders` that has them.

    Raises:
        LeftOutError: a program of the contender is missing, or its tasks are not done in time.
    """
    program = contender.workers[0][0]
    programs = next((folder for folder in folders if (folder / program).exists()), None)
    if programs is None:
        raise LeftOutError(f"{program} is not installed; see --help")
    with ProcessGroup("redis-practices-benchmark") as group:
        server = start_server(group, BROKER)
        client = server.client()
        path = f"{FOLDER}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        addresses = {"BROKER_URL": server.url, "RQ_REDIS_URL": server.url}
        environment = {**os.environ, **addresses, "PYTHONPATH": path, **contender.environment}
        _, publishing = _publish(contender, tasks, programs, environment)
        pids = []
        for number, command in enumerate(contender.workers):
            log = group.folder / f"worker{number}.log"
            child = group.start([str(programs / command[0]), *command[1:]], log, cwd=FOLDER, env=environment)
            pids.append(child.pid)
        # The workers start during the first quarter.
        _marks(client, group, 1, forget=False)
        before = cpu_seconds(*pids)
        marks = _marks(client, group)
        processor = 1000 * (cpu_seconds(*pids) - before) / tasks / 0.75
        draining = (max(marks) - min(marks)) / 0.75
        begun, _ = _publish(contender, tasks, programs, environment)
        passing = max(_marks(client, group)) - begun
        client.close()
    return Measured(tasks / publishing, tasks / draining, tasks / passing, processor)


MOST_SECONDS = 600.0
"""The longest duration of publishing in seconds."""


def _publish(contender: Contender, tasks: int, programs: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Publish in a separate process; return its start (seconds since 1970) and its duration in seconds."""
    command = [str(programs / "python"), "publish_tasks.py", contender.module, str(tasks)]
    try:
        done = subprocess.run(
            command, cwd=FOLDER, env=environment, capture_output=True, text=True, check=False, timeout=MOST_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise LeftOutError(f"it has not published {tasks} tasks after {MOST_SECONDS:g} s") from None
    if done.returncode:
        raise LeftOutError(f"it cannot publish: {done.stderr.strip().splitlines()[-1]}")
    begun, seconds = done.stdout.split()
    return float(begun), float(seconds)


def _marks(client: Redis, group: ProcessGroup, number: int = TAIL + 1, *, forget: bool = True) -> list[float]:
    """Wait for the marks of the quarter, and by default of the whole tail, and return them.

    Raises:
        LeftOutError: the marks do not come.
    """
    deadline, before = time.monotonic() + PATIENCE, 0
    while (seen := client.llen(MARKS)) < number:
        if seen != before:
            deadline, before = time.monotonic() + PATIENCE, seen
        if time.monotonic() > deadline:
            raise LeftOutError(f"its tasks were not done:\n{tail(group.folder / 'worker0.log', 8)}")
        time.sleep(0.01)
    marks = [float(mark) for mark in client.lrange(MARKS, 0, -1)]
    if forget:
        client.delete(MARKS)
    return marks
