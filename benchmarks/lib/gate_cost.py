"""Run the specification once, and measure its whole cost: seconds, processor seconds, memory."""

from __future__ import annotations

import json
import os
import resource
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.processes import memory_bytes
from lib.whole_run import run_once

from redis_practices.polling import join

CONTROLLER = "alone"
"""The name that cpu_meter.py gives to a process that xdist did not start."""


@dataclass(frozen=True)
class Cost:
    """The cost of a run, in seconds and bytes."""

    verdict: str
    wall: float
    cpu: float
    """Of the run and all children that it waited for; killed orphans are not included."""
    memory: int
    """The most memory seen, one look a second."""
    begun: float
    lines: list[dict[str, Any]]
    """The lines of cpu_meter.py."""
    red: list[str]
    """A line for each scenario that failed, with its reason."""

    @property
    def scenarios(self) -> list[dict[str, Any]]:
        """The recorded scenarios, each with its ``seconds``."""
        return [{**line, "seconds": line["ended"] - line["begun"]} for line in self.lines if line["id"]]

    def figures(self) -> dict[str, float]:
        """Return the figures of the table by their titles."""
        starts = [line for line in self.lines if not line["id"]]
        chains: Counter[str] = Counter()
        for line in self.scenarios:
            chains[line["process"]] += line["seconds"]
        return {
            "wall time, s": self.wall,
            "sum of the scenarios, s": sum(line["seconds"] for line in self.scenarios),
            "the longest scenario, s": max((line["seconds"] for line in self.scenarios), default=0.0),
            "the busiest process, s": max(chains.values(), default=0.0),
            "processor time, s": self.cpu,
            "of it before the first scenario, s": sum(line["cpu"] for line in starts),
            "until pytest has collected, s": min((line["ended"] for line in starts), default=self.begun) - self.begun,
            "until all processes have collected, s": max((line["ended"] for line in starts), default=0) - self.begun,
            "until the first result, s": self._first() - self.begun,
            "most memory, MiB": self.memory / 2**20,
        }

    def _first(self) -> float:
        """Return the time of the first result."""
        return min((line["ended"] for line in self.scenarios), default=self.begun)


def cost_of(arguments: Sequence[str]) -> Cost:
    """Run pytest with `arguments`, and return its cost (OSError if a file cannot be written)."""
    peak, over = [0], threading.Event()

    def look() -> None:
        """Read the memory once a second."""
        own = memory_bytes(os.getpid())
        while not over.wait(1.0):
            peak[0] = max(peak[0], memory_bytes(os.getpid()) - own)

    with tempfile.TemporaryDirectory() as folder:
        meter = Path(folder) / "meter.jsonl"
        os.environ["CPU_METER"] = str(meter)
        watcher = threading.Thread(target=look)
        watcher.start()
        used, begun = _children(), time.time()
        try:
            done = run_once(Path(folder) / "report", ["-p", "benchmarks.lib.cpu_meter", *arguments])
        finally:
            over.set()
            join(watcher)
        wall, cpu = time.time() - begun, _children() - used
        noted = meter.read_text(encoding="utf-8").splitlines() if meter.exists() else []
        return Cost(
            done.report["verdict"], wall, cpu, peak[0], begun, [json.loads(line) for line in noted], done.red_lines
        )


def _children() -> float:
    """Return the processor time of all processes that this one and its children waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
