"""Measure the cost of each scenario: a pytest plugin that writes JSON lines into the file CPU_METER.

    CPU_METER=/tmp/cpu.jsonl python -m pytest -p benchmarks.lib.cpu_meter features/

A scenario's processor time, user and system, is that of its pytest process and all descendants. It includes set-up and
tear-down. Shared work, such as the first start of a server, counts for the scenario that does it first.
The time of orphans that are killed is lost.
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

from lib.processes import cpu_seconds

BEGUN = time.time()


class Meter:
    """Records the cost of each scenario of this process."""

    def __init__(self, file: Path) -> None:
        """Append to `file`; lines of several processes do not mix."""
        self._file = file
        self._name = os.environ.get("PYTEST_XDIST_WORKER", "alone")

    def note(self, **what: Any) -> None:
        """Write a line."""
        with self._file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"process": self._name, **what}) + "\n")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Record the cost before the first scenario."""
        self.note(id=None, begun=BEGUN, ended=time.time(), cpu=cpu_seconds(os.getpid()))
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Record the cost of a scenario, from before its first fixture to after its last."""
        begun, before = time.time(), cpu_seconds(os.getpid())
        result = yield
        self.note(id=item.nodeid, begun=begun, ended=time.time(), cpu=round(cpu_seconds(os.getpid()) - before, 2))
        return result


def pytest_configure(config: pytest.Config) -> None:
    """Start to record."""
    config.pluginmanager.register(Meter(Path(os.environ["CPU_METER"])))
