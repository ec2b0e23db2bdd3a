"""Measure the cost of each scenario: a pytest plugin that writes JSON lines into the file CPU_METER.

    CPU_METER=/tmp/cpu.jsonl python -m pytest -p benchmarks.lib.cpu_meter features/

A line has the processor time of the pytest process alone, from before the first fixture of a scenario to after its
last. `process_meter.py` adds the processes that the scenario started: they inherit its name. Shared work, such as the
first start of a server, counts for the scenario that does it first.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1]))

from lib.process_meter import SCENARIO

BEGUN = time.time()
ROOT = "CPU_METER_ROOT"
"""The inherited variable that holds the pid of the pytest that a person started."""


class Meter:
    """Records the cost of each scenario of this process, and of its forks."""

    def __init__(self, file: Path) -> None:
        """Append to `file`; lines of several processes do not mix."""
        self._file = file
        self._reported = os.environ[ROOT] != str(os.getpid())

    def note(self, **what: Any) -> None:
        """Write a line."""
        with self._file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"pid": os.getpid(), **what}) + "\n")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Record the cost before the first scenario."""
        self.note(id=None, begun=BEGUN, ended=time.time(), cpu=time.process_time())
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Record the cost of a scenario, from before its first fixture to after its last."""
        os.environ[SCENARIO] = item.nodeid
        begun, before = time.time(), time.process_time()
        try:
            return (yield)
        finally:
            del os.environ[SCENARIO]
            self.note(id=item.nodeid, begun=begun, ended=time.time(), cpu=round(time.process_time() - before, 3))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record the first result that a person sees."""
        if report.when == "call" and not self._reported and os.environ[ROOT] == str(os.getpid()):
            self._reported = True
            self.note(id=None, shown=time.time())


def pytest_configure(config: pytest.Config) -> None:
    """Start to record."""
    os.environ.setdefault(ROOT, str(os.getpid()))
    config.pluginmanager.register(Meter(Path(os.environ["CPU_METER"])))
