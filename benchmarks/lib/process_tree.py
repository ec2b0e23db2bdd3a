"""What a process and all its descendants cost: processor time and memory, read from /proc. Needs Linux."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> dict[int, int]:
    """Return a process and its descendants that run now, each with the ticks that it and those it waited for used."""
    parents, ticks = {}, {}
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - names alone
        with suppress(OSError):
            # After the command in parentheses: state, parent, … and from the twelfth on utime, stime, cutime, cstime.
            fields = Path(f"/proc/{name}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            parents[int(name)], ticks[int(name)] = int(fields[1]), sum(map(int, fields[11:15]))
    found: set[int] = set()
    more = {root}
    while more:
        found |= more
        more = {pid for pid, parent in parents.items() if parent in more} - found
    return {pid: ticks.get(pid, 0) for pid in found}


def cpu_seconds(root: int) -> float:
    """Return the processor time so far of a process, of its descendants and of those they have waited for."""
    return sum(tree(root).values()) / TICK


def memory_bytes(root: int) -> int:
    """Return the memory of a process and its descendants; what some of them share counts once (Pss)."""
    total = 0
    for pid in tree(root):
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
            total += next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0) * 1024
    return total
