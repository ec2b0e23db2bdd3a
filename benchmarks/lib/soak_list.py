"""List the results of many runs of the specification: failures, and timings near their bound."""

from __future__ import annotations

import json
import re
import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from lib.whole_run import WholeRun, first_line

from fixtures.reporting.measurements import plain, share_of_bound
from fixtures.reporting.report import Measurement, Record


@dataclass
class SoakList:
    """The results of all runs in a folder."""

    runs: int = 0
    busy: int = 0
    green: int = 0
    engines: set[str] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)
    ran: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """By scenario: the number of runs in which it was not skipped."""
    skipped: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    red: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    """By scenario: the runs in which it failed, each with the first line of its message."""
    troubles: list[str] = field(default_factory=list)
    timings: dict[tuple[str, str], list[Measurement]] = field(default_factory=lambda: defaultdict(list))
    """By scenario and name: the measurements that have a bound."""

    def add(self, run: WholeRun) -> None:
        """Add a run."""
        report, name = run.report, run.folder.name
        self.runs += 1
        self.busy += name.endswith("busy")
        self.green += not run.red and not run.troubles
        self.engines |= set(report["engines"].values())
        self.seconds.append(report["seconds"])
        self.troubles += [f"{name}: {trouble}" for trouble in run.troubles]
        for record in report["scenarios"]:
            counted = self.skipped if record["status"] == "skipped" else self.ran
            counted[record["id"]] += 1
            for one in filter(share_of_bound, record["measurements"]):
                self.timings[record["id"], one["name"]].append(one)
        for record in run.red:
            self.red[record["id"]].append((name, first_line(record["reason"])))

    def text(self, timings: int) -> str:
        """Return the list as text, with the `timings` measurements nearest to their bound."""
        spread = f", {min(self.seconds):.0f} to {max(self.seconds):.0f} s each" if self.seconds else ""
        engines = ", ".join(sorted(self.engines)) or "no engine"
        lines = [f"\n{self.runs} runs, {self.busy} of them with all cores busy ({engines}{spread}): {self.green} green"]
        for name, seen in sorted(self.red.items(), key=lambda item: -len(item[1])):
            busy = sum(run.endswith("busy") for run, _ in seen)
            lines += ["", f"{len(seen)} of {self.ran[name]} red ({busy} with all cores busy): {name}"]
            lines += [f"    {run}: {message}" for run, message in seen]
        lines += ["", *self.troubles] if self.troubles else []
        lines += [
            f"skipped in {times} runs and run in {self.ran[name]}: {name}"
            for name, times in self.skipped.items()
            if self.ran.get(name)
        ]
        return "\n".join([*lines, "", *self._nearest(timings)])

    def _nearest(self, most: int) -> list[str]:
        """Return a table of the measurements that used most of their bound."""
        # A result that is equal in every run is a count, without a spread.
        spread = [(key, seen) for key, seen in self.timings.items() if len({one["seen"] for one in seen}) > 1]
        ranked = sorted(spread, key=lambda item: -max(share_of_bound(one) or 0 for one in item[1]))[:most]
        rows = ["   used  median     min     max  bound            of"]
        for (scenario, name), seen in ranked:
            nearest = max(seen, key=lambda one: share_of_bound(one) or 0)
            values = [float(one["seen"]) for one in seen]
            numbers = [plain(round(value, 3)) for value in (statistics.median(values), min(values), max(values))]
            columns = " ".join(f"{number:>7}" for number in numbers)
            bound = f"{nearest['bound']} {nearest['unit']}"
            rows.append(f"{share_of_bound(nearest) or 0:7.0%} {columns}  {bound:16} {name}: {scenario}")
        return rows if ranked else []


def folders_of(root: Path) -> list[Path]:
    """Return the folders of the runs in `root`, oldest first."""
    return sorted(root.glob("run-[0-9]*"))


def last_number(root: Path) -> int:
    """Return the number of the last run in `root`, or 0; a removed run leaves a gap."""
    return max((int(folder.name.split("-")[1]) for folder in folders_of(root)), default=0)


def list_of(root: Path) -> SoakList:
    """Read all runs of a folder."""
    found = SoakList()
    for folder in folders_of(root):
        found.add(WholeRun(folder))
    return found


def keep_evidence(folder: Path, record: Record) -> None:
    """Write everything known about a failure beside its run as one text: message, record and logs (OSError)."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", record["id"].removeprefix("features/"))[:120].strip("-")
    known = {key: value for key, value in record.items() if key not in ("reason", "evidence", "charts")}
    parts = [record["reason"] or "", json.dumps(known, indent=1, ensure_ascii=False)]
    parts += [f"== {one['title']}\n{one['text']}" for one in record["evidence"]]
    (folder / f"red-{name}.txt").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
