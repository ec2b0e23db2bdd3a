"""Run the specification once, and measure its whole cost: seconds, processor seconds, memory."""

from __future__ import annotations

import json
import os
import resource
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.cpu_meter import ROOT
from lib.process_meter import JUDGE, SHARED, Bill, ProcessMeter
from lib.processes import memory_below
from lib.whole_run import run_once

from redis_practices.polling import join

GATE = "features/gate/"


@dataclass(frozen=True)
class Cost:
    """The cost of a run, in seconds and bytes."""

    verdict: str
    wall: float
    cpu: float
    """Of all processes of the run, killed orphans included."""
    memory: int
    """The most memory seen, one look a second; shared memory counts once (PSS)."""
    begun: float
    load: float
    """The load of the machine before the run."""
    lines: list[dict[str, Any]]
    """The lines of cpu_meter.py."""
    bill: Bill
    red: list[str]
    """A line for each scenario that failed, with its reason."""

    @property
    def scenarios(self) -> dict[str, float]:
        """Return the seconds of each scenario."""
        seconds: defaultdict[str, float] = defaultdict(float)
        for line in self.lines:
            if line["id"]:
                seconds[line["id"]] += line["ended"] - line["begun"]
        return seconds

    def figures(self) -> dict[str, float]:
        """Return the figures of the table by their titles."""
        chains: defaultdict[int, float] = defaultdict(float)
        for line in self.lines:
            if line["id"]:
                chains[line["pid"]] += line["ended"] - line["begun"]
        collected = [line["ended"] for line in self.lines if "ended" in line and not line["id"]]
        shown = [line["shown"] for line in self.lines if "shown" in line]
        charged, others = self.bill.scenarios, self.bill.others
        in_all = sum(charged.values())
        of_gate = sum(seconds for name, seconds in charged.items() if name.startswith(GATE))
        shared = sum(seconds for name, seconds in others.items() if name.startswith(SHARED))
        return {
            "wall time, s": self.wall,
            "first result, s": min(shown, default=self.begun) - self.begun,
            "most memory, MiB": self.memory / 2**20,
            "processor time, s": self.cpu,
            "  of it scenarios of gate": of_gate,
            "  of it all other scenarios": in_all - of_gate,
            "  of it processes that scenarios share": shared,
            "  of it pytest outside of scenarios": others[JUDGE],
            "  of it seen too late": max(0.0, self.cpu - in_all - sum(others.values())),
            "share of gate, %": 100 * of_gate / self.cpu if self.cpu else 0.0,
            "sum of the scenarios, s": sum(self.scenarios.values()),
            "the longest scenario, s": max(self.scenarios.values(), default=0.0),
            "the busiest process, s": max(chains.values(), default=0.0),
            "all have collected, s": max(collected, default=self.begun) - self.begun,
            "load before the run": self.load,
        }


def cost_of(arguments: Sequence[str]) -> Cost:
    """Run pytest with `arguments`, and return its cost (OSError if a file cannot be written)."""
    peak, over = [0], threading.Event()

    def look() -> None:
        """Read the memory once a second."""
        while not over.wait(1.0):
            peak[0] = max(peak[0], memory_below(os.getpid()))

    with tempfile.TemporaryDirectory() as folder:
        noted = Path(folder) / "meter.jsonl"
        os.environ["CPU_METER"] = str(noted)
        os.environ.pop(ROOT, None)
        watcher, meter = threading.Thread(target=look), ProcessMeter()
        used, begun, load = _children(), time.time(), os.getloadavg()[0]
        watcher.start()
        try:
            with meter.watching():
                done = run_once(Path(folder) / "report", ["-p", "benchmarks.lib.cpu_meter", *arguments])
                wall = time.time() - begun
        finally:
            over.set()
            join(watcher)
        cpu = _children() - used
        text = noted.read_text(encoding="utf-8") if noted.exists() else ""
        lines = [json.loads(line) for line in text.splitlines()]
        bill = Bill(meter.processes, lines)
        return Cost(done.report["verdict"], wall, cpu, peak[0], begun, load, lines, bill, done.red_lines)


def _children() -> float:
    """Return the processor time of all processes that this one and its children waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
