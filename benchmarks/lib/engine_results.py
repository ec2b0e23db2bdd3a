"""Collect the results of several engines: a cell for each engine and practice, and the figures that differ."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lib.engine_sources import SOURCES
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


SPEED = "gets_a_second"
"""A file beside the reports of an engine: its measured speed, see engine_speed.py."""

NOT_HAD = "not_had"
"""A file in their place: the reason why there is no server program."""


def compatibility(root: Path) -> dict[str, Any]:
    """Return the results of the reports below `root`, by engine and practice, in the order of engines and versions."""
    engines = [_engine(root / name, source.origin) for name, source in SOURCES.items()]
    engines = [one for one in engines if one["practices"] or one["trouble"]]
    engines.sort(key=lambda one: (one["engine"].partition(" ")[0], version_of(one["engine"])))
    cells = [cell for one in engines for cell in one["practices"].values()]
    ran = {name for cell in cells for name in cell.pop("ran")}
    nowhere = {name: reason for cell in cells for name, reason in cell["skipped"] if name not in ran}
    for cell in cells:
        cell["skipped"] = [[name, reason] for name, reason in cell["skipped"] if name in ran]
        cell["verdict"] = "refused" if cell["failed"] else "partial" if cell["skipped"] else "accepted"
    return {
        "suite": max((cell.pop("suite") for cell in cells), default=""),
        "from": min((cell["started"] for cell in cells if cell["started"]), default=""),
        "until": max((cell["started"] for cell in cells), default=""),
        "machine": f"{os.cpu_count()} processors, {platform.system()} {platform.machine()}",
        "engines": engines,
        "nowhere": sorted([name, reason] for name, reason in nowhere.items()),
    }


def _engine(folder: Path, origin: str) -> dict[str, Any]:
    """Return everything that is known about one engine."""
    reports = {part.name: WholeRun(part).report for part in sorted(folder.glob("*/"))}
    trouble = folder / NOT_HAD
    found = {engine for report in reports.values() for engine in report["engines"].values()}
    return {
        "engine": ", ".join(sorted(found)) or folder.name.replace("-", " "),
        "origin": origin,
        "trouble": trouble.read_text(encoding="utf-8") if trouble.exists() else "",
        "practices": {name: _cell(report) for name, report in reports.items()},
        "figures": _figures([record for report in reports.values() for record in report["scenarios"]]) | _speed(folder),
    }


def _cell(report: Report) -> dict[str, Any]:
    """Return the result of one run, with the names of all scenarios that were not skipped."""
    by_status: dict[str, list[list[str]]] = {"passed": [], "skipped": [], "failed": [], "error": []}
    for record in report["scenarios"]:
        by_status[record["status"]].append([cited(record), first_line(record["reason"])])
    failed = by_status["failed"] + by_status["error"]
    if not report["scenarios"]:
        failed = [["no scenario ran", first_line((report["troubles"] or ["see output.txt of its run"])[0])]]
    return {
        "suite": report["suite"],
        "started": report["started"],
        "seconds": report["seconds"],
        "passed": len(by_status["passed"]),
        "skipped": by_status["skipped"],
        "failed": failed,
        "ran": [name for name, _ in by_status["passed"] + failed],
    }


def _figures(records: list[Record]) -> dict[str, str]:
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


def _speed(folder: Path) -> dict[str, str]:
    """Return the speed of an engine, or the reason why it was not measured."""
    file = folder / SPEED
    if not file.exists():
        return {}
    seen = file.read_text(encoding="utf-8")
    return {"GETs a second, in pipelines of 32, engines in turns": short(float(seen)) if seen.isdigit() else seen}


def lacking(root: Path, practices: Iterable[str]) -> list[str]:
    """Return the engines and practices that have no report below `root`."""
    had = [name for name in SOURCES if not (root / name / NOT_HAD).exists()]
    return [f"{name}/{practice}" for name in had for practice in practices if not (root / name / practice).is_dir()]
