"""The rows of docs/compatibility.json: one for each engine or set of client packages, a cell for each practice.

A run makes one cell, with its date, its maker and the options that selected its scenarios. It replaces the same cell of
an earlier run. A run of another version of the engine or the packages begins a new row.
"""

from __future__ import annotations

import json
import os
import platform
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lib import PROJECT
from lib.engine_subjects import Subject
from lib.whole_run import WholeRun, first_line

from fixtures.reporting.measurements import short
from fixtures.reporting.report import Record, Report, cited
from redis_practices.server_info import version_of

FIGURES = (
    ("writes again after a primary was killed", "cluster-024", "writes accepted again"),
    ("writes again after a primary was paused", "cluster-025", "writes accepted again"),
    ("longest pause of a client during planned failovers", "cluster-026", "longest gap"),
    ("latest end of a ttl that is read", "cache-043", "lateness.*"),
    ("of 3,000 keys with a near ttl, those with room in 8 MB beside 6,000", "cache-058", "keys soon left.*"),
    ("2,000 slots migrated atomically, under load", "cluster-073", "migrating .*"),
    ("60 slots migrated key by key, under load", "cluster-072", "migrating .*"),
)
"""Title, id of the scenario, pattern of the measurement; of several matches the largest counts."""

KINDS = ("engines", "clients")

DOCUMENT = "compatibility.json"

MARK = "made.json"
"""A file beside a report: the options of the run."""

Row = dict[str, Any]
Found = dict[str, Any]


def read(folder: Path) -> Found:
    """Return the rows that were made so far: those in `folder`, else those of this project."""
    [document, *_] = [path for path in (folder / DOCUMENT, PROJECT / "docs" / DOCUMENT) if path.exists()]
    found: Found = json.loads(document.read_text(encoding="utf-8"))
    return found


def machine() -> str:
    """Return the facts about this machine that the figures depend on."""
    return f"{os.cpu_count()} processors, {platform.system()} {platform.machine()}"


def cell_of(run: WholeRun, arguments: Iterable[str], maker: str) -> Row:
    """Return the result of one run of a practice."""
    report, by_status = run.report, {name: list[list[str]]() for name in ("passed", "skipped", "failed", "error")}
    for record in report["scenarios"]:
        by_status[record["status"]].append([cited(record), first_line(record["reason"])])
    failed = by_status["failed"] + by_status["error"]
    if report["verdict"] == "error" or not report["scenarios"]:
        failed += [["the run", first_line((report["troubles"] or ["see output.txt of its run"])[0])]]
    return {
        "suite": report["suite"],
        "started": report["started"],
        "seconds": report["seconds"],
        "by": maker,
        "machine": machine(),
        "selection": " ".join(arguments),
        "passed": len(by_status["passed"]),
        "skipped": by_status["skipped"],
        "elsewhere": [],
        "failed": failed,
        "ran": " ".join(sorted({cited(one).split()[0] for one in report["scenarios"] if one["status"] != "skipped"})),
    }


def row_of(subject: Subject, report: Report, practice: str, cell: Row) -> Row:
    """Return a row with one cell."""
    return {
        "name": subject.name,
        "engine": ", ".join(sorted({*report["engines"].values()})) or subject.name.replace("-", " "),
        "origin": subject.origin,
        "packages": subject.packages,
        "practices": {practice: cell},
        "figures": figures(report["scenarios"]),
    }


def add(found: Found, kind: str, row: Row) -> None:
    """Put a row with new cells in the place of the old cells."""
    rows, key = found[kind], "engine" if kind == "engines" else "packages"
    [old] = [one for one in rows if one["name"] == row["name"]] or [None]
    if old and old[key] == row[key]:
        row = row | {part: old[part] | row[part] for part in ("practices", "figures")}
    found[kind] = sorted([*(one for one in rows if one is not old), row], key=_place)


def _place(row: Row) -> tuple[Any, ...]:
    """Return the place of a row: by the name of the engine, then by versions."""
    return row["engine"].partition(" ")[0], version_of(row["engine"]), [*map(version_of, row["packages"].values())]


def completed(found: Found) -> Found:
    """Return the document: with the verdicts, the time of all rows, and the skipped scenarios that no row ran."""
    cells = [cell for kind in KINDS for row in found[kind] for cell in row["practices"].values()]
    known, nowhere = {name for cell in cells for name in cell["ran"].split()}, dict[str, str]()
    for cell in cells:
        skipped = cell["skipped"] + cell["elsewhere"]
        cell["skipped"] = [pair for pair in skipped if pair[0].split()[0] in known]
        cell["elsewhere"] = [pair for pair in skipped if pair not in cell["skipped"]]
        cell["verdict"] = "refused" if cell["failed"] else "partial" if cell["skipped"] else "accepted"
        nowhere |= dict(cell["elsewhere"])
    return {
        "from": min((cell["started"] for cell in cells), default=""),
        "until": max((cell["started"] for cell in cells), default=""),
        "machine": "; ".join(sorted({cell["machine"] for cell in cells})),
        **{kind: found[kind] for kind in KINDS},
        "nowhere": sorted([name, reason] for name, reason in nowhere.items()),
    }


def figures(records: Iterable[Record]) -> dict[str, str]:
    """Return the measured figures by title, each with its unit."""
    found: dict[str, str] = {}
    for title, scenario, measurement in FIGURES:
        seen = [
            one
            for record in records
            if record["status"] == "passed" and record["scenario_id"] == scenario
            for one in record["measurements"]
            if re.fullmatch(measurement, one["name"])
        ]
        if seen:
            most = max(seen, key=lambda one: float(one["seen"]))
            found[title] = f"{short(most['seen'])} {most['unit']}".strip()
    return found


def write(folder: Path, found: Found, markdown: str) -> None:
    """Write the document for programs, and the one for readers (OSError)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DOCUMENT).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (folder / DOCUMENT).with_suffix(".md").write_text(markdown, encoding="utf-8")


def kept(folder: Path, asked: Any, seconds: float) -> WholeRun | None:
    """Return the run in `folder` that was asked the same within the last `seconds`, if there is one."""
    mark = folder / MARK
    try:
        is_new = time.time() - mark.stat().st_mtime < seconds
        return WholeRun(folder) if is_new and json.loads(mark.read_text(encoding="utf-8")) == asked else None
    except (OSError, ValueError):
        return None


def keep(run: WholeRun, asked: Any) -> None:
    """Mark a run that has ended with its options (OSError)."""
    (run.folder / MARK).write_text(json.dumps(asked), encoding="utf-8")
