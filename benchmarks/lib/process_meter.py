"""Measure the processor time of every process below this one, and charge it to the scenario that needed it.

`cpu_meter.py` puts the name of its scenario into the environment, which every program inherits that the scenario
starts. A fork without a program has only the environment of its parent, so its process group decides. The scenario
started the leader of that `ProcessGroup`. Orphans become children of this process (``PR_SET_CHILD_SUBREAPER``), which
waits for them, so that their time is counted too. It needs Linux.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

from redis_practices.polling import join

SCENARIO = "CPU_METER_SCENARIO"
"""The inherited variable that names the scenario."""

EVERY = 0.2
"""Seconds between two looks; a look at 300 processes takes 10 ms."""

YOUNG = 5
"""Looks at a process that is not known to have begun its program."""

AFTERWARDS = 1.0
"""Seconds after the end of a scenario during which its processes end. Those that run longer are shared."""

JUDGE = "judge"
SHARED = "shared processes"
PR_SET_CHILD_SUBREAPER = 36
TICK = os.sysconf("SC_CLK_TCK")


class Stat(NamedTuple):
    """A line of ``/proc/PID/stat``."""

    command: str
    state: str
    parent: int
    group: int
    own: float
    """Seconds of the process itself."""
    reaped: float
    """Seconds of the children that it waited for."""
    started: int


def stat_of(pid: int | str) -> Stat | None:
    """Read a process; None if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    command, _, rest = text.partition("(")[2].rpartition(")")
    words = rest.split()
    times = [int(word) / TICK for word in words[11:15]]
    return Stat(command, words[0], int(words[1]), int(words[2]), sum(times[:2]), sum(times[2:]), int(words[19]))


def _scenario_of(pid: int) -> str:
    """Return the scenario in the environment of a process, or an empty string."""
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if entry.startswith(SCENARIO.encode() + b"="):
                return os.fsdecode(entry.partition(b"=")[2])
    return ""


@dataclass
class Seen:
    """A process, and the growth of its processor time."""

    pid: int
    stat: Stat
    parent: int
    """Its first parent; an orphan has another one later."""
    scenario: str = ""
    grown: list[tuple[float, float]] = field(default_factory=list)
    """Times of looks, with the seconds used since the look before."""
    unseen: list[tuple[float, float]] = field(default_factory=list)
    """The same for children that lived between two looks, or ended after the last one."""
    looks: int = 0
    known: float = 0.0
    """Seconds of its ended children, as far as looks have seen them."""
    noted: float = 0.0
    """The sum of `unseen`."""

    def settle(self, now: float) -> None:
        """Note the time of children that no look has seen.

        It uses the look before, after which every child that the process had waited for was found gone.
        """
        if (rest := self.stat.reaped - self.known - self.noted) > 0:
            self.unseen.append((now, rest))
            self.noted += rest


class ProcessMeter:
    """Looks at all descendants of this process again and again, in a thread."""

    def __init__(self) -> None:
        """Become the parent of all orphans."""
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.processes: list[Seen] = []
        self._running: dict[int, Seen] = {}
        self._over = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[Self]:
        """Watch during the block."""
        watcher = threading.Thread(target=self._watch)
        watcher.start()
        try:
            yield self
        finally:
            self._over.set()
            join(watcher)
            for seen in self._running.values():
                seen.settle(time.time())
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass

    def _watch(self) -> None:
        """Look until the end."""
        while not self._over.wait(EVERY):
            self.look()

    def look(self) -> None:
        """Look once at every descendant."""
        now, found = time.time(), _below(os.getpid(), self._running)
        running = self._running.items()
        gone = [seen for pid, seen in running if pid not in found or found[pid].started != seen.stat.started]
        gone.sort(key=lambda seen: (-seen.stat.started, -seen.pid))  # children before their parents
        for seen in gone:
            if parent := self._running.get(seen.stat.parent):
                parent.known += seen.stat.own + max(seen.stat.reaped, seen.known)
        for seen in gone:
            seen.settle(now)
            del self._running[seen.pid]
        for pid, stat in found.items():
            if pid not in self._running:
                self._running[pid] = Seen(pid, stat._replace(own=0.0, reaped=0.0, command=""), stat.parent)
                self.processes.append(self._running[pid])
            seen = self._running[pid]
            seen.looks += 1
            # A new program has its own environment; a young process may not have begun its program yet.
            if stat.command != seen.stat.command or (not seen.scenario and seen.looks <= YOUNG):
                seen.scenario = _scenario_of(pid) or seen.scenario
            if stat.own > seen.stat.own:
                seen.grown.append((now, stat.own - seen.stat.own))
            seen.settle(now)
            seen.stat = stat
            if stat.state == "Z" and stat.parent == os.getpid() != seen.parent:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)


def _below(root: int, known: Mapping[int, Seen]) -> dict[int, Stat]:
    """Return the descendants of a process, zombies too; a `known` one also if its parent ends meanwhile."""
    stats = {int(path.name): stat for path in Path("/proc").glob("[0-9]*") if (stat := stat_of(path.name))}
    children: defaultdict[int, list[int]] = defaultdict(list)
    for pid, stat in stats.items():
        children[stat.parent].append(pid)
    found, more = dict[int, Stat](), [*children[root], *(known.keys() & stats.keys())]
    while more:
        pid = more.pop()
        if pid in found:
            continue
        found[pid] = stats[pid]
        more += children[pid]
    return found


class Bill:
    """The processor time of a run by scenario."""

    def __init__(self, processes: Sequence[Seen], lines: Sequence[Mapping[str, Any]]) -> None:
        """Charge the time of `processes`; `lines` are those of `cpu_meter.py`."""
        self._by_pid = {seen.pid: seen for seen in processes}
        self._ran: defaultdict[int, list[Mapping[str, Any]]] = defaultdict(list)
        self._ends: dict[str, float] = {}
        self.scenarios: defaultdict[str, float] = defaultdict(float)
        """Seconds by the id of a scenario."""
        self.others: defaultdict[str, float] = defaultdict(float)
        """Seconds of shared processes by the name of their program, and of the judges outside of scenarios."""
        for line in lines:
            if line["id"]:
                self._ran[line["pid"]].append(line)
                self._ends[line["id"]] = max(line["ended"], self._ends.get(line["id"], 0.0))
                self.scenarios[line["id"]] += line["cpu"]
        for seen in processes:
            grown = seen.grown
            if seen.pid in self._ran:
                own = sum(seconds for _, seconds in grown)
                self.others[JUDGE] += max(0.0, own - sum(line["cpu"] for line in self._ran[seen.pid]))
                grown = []
            for moment, seconds in [*grown, *seen.unseen]:
                name = self._scenario(seen, moment)
                self._charge(name, seen, moment, seconds)

    def _charge(self, name: str, seen: Seen, moment: float, seconds: float) -> None:
        """Charge seconds to a scenario that still runs, else to the program."""
        if name and moment <= self._ends.get(name, 0.0) + AFTERWARDS:
            self.scenarios[name] += seconds
        elif name:
            self.others[f"{SHARED}: {seen.stat.command}"] += seconds
        else:
            self.others[JUDGE] += seconds

    def _scenario(self, seen: Seen, moment: float) -> str:
        """Return the scenario that a process works for, or an empty string."""
        for line in self._ran.get(seen.pid, ()):
            if line["begun"] <= moment <= line["ended"] + EVERY:
                return str(line["id"])
        if seen.pid in self._ran:
            return ""
        leader = self._by_pid.get(seen.stat.group)
        if leader and leader is not seen and leader.scenario:
            return leader.scenario
        parent = self._by_pid.get(seen.parent)
        return seen.scenario or (self._scenario(parent, moment) if parent and parent is not seen else "")
