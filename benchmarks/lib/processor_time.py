"""The processor time of processes and all that they have started, as Linux counts it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

USER, SYSTEM = 11, 12
"""Where ``/proc/PID/stat`` has the two, counted from behind the command's name (proc(5): fields 14 and 15)."""


def processor_seconds(pids: Iterable[int]) -> float:
    """Return how many seconds of a processor the processes `pids` and their descendants that live have taken."""
    ticks = 0
    for pid in [descendant for one in pids for descendant in _family(one)]:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        ticks += int(fields[USER]) + int(fields[SYSTEM])
    return ticks / os.sysconf("SC_CLK_TCK")


def _family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    children = [path.read_text(encoding="utf-8").split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [pid, *(member for group in children for child in group for member in _family(int(child)))]
