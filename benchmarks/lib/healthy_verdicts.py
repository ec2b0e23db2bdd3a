"""Run the gate against healthy deployments of many kinds, and keep each verdict: an interrupted list continues."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from redis.exceptions import RedisError

from lib import PROJECT
from lib.engine_sources import NotHadError, fetched
from lib.whole_run import first_line

from fixtures.gate.defects import Builder
from fixtures.gate.deployment_under_test import DeploymentUnderTest
from fixtures.gate.healthy import build
from fixtures.run.keys import Unsupported
from fixtures.run.options import PRACTICES, SPOKEN
from fixtures.run.processes import ForkingGroup
from redis_practices.servers.server import EmbeddedError

FEATURE = PROJECT / "features/gate/healthy.feature"
PAGE = PROJECT / "docs/healthy.md"
BEGIN = "<!-- measured by benchmarks/refusals.py --healthy -->"
"""The line of the page before the measured results."""

CONDITIONS = ("quiet", "both cores busy", "behind TLS")
"""Each third of the deployments of a role is judged under one of them."""

ENGINES = ("valkey-9.1", "redis-7.0", "redis-8.0")
"""Engines without known holes: others are rightly refused."""


@dataclass(frozen=True)
class Kind:
    """A row of the feature: a kind, and the verdict that is right for it."""

    name: str
    verdict: str
    untold: str


@dataclass
class Verdict:
    """The gate's verdict on a healthy deployment."""

    number: int
    role: str
    condition: str
    kind: str
    engine: str
    verdict: str
    right: bool
    reason: str
    seconds: float

    @property
    def column(self) -> str:
        """The column of the table in which it counts; an unexpected partial verdict is a refusal."""
        return self.verdict if self.right or self.verdict != "partial" else "refused"

    def line(self) -> str:
        """Return it as a readable line."""
        wrong = "" if self.right else "WRONG: "
        what = f"{self.role}, {self.kind}, {self.condition}, {self.engine}"
        return f"{self.number:4} {wrong}{self.verdict} ({self.seconds:.1f} s): {what} {self.reason}".rstrip()


def outline_rows(feature: Path, given: str, header: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the rows of a feature's outlines, each with the role that the pattern `given` finds in their sentence.

    The first column of the tables is called `header`. Running workers are no role: this gate alone judges them.
    """
    role = ""
    for line in feature.read_text(encoding="utf-8").splitlines():
        if found := re.search(given, line):
            role = SPOKEN.get(found[1], found[1])
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if role in PRACTICES and line.strip().startswith("|") and cells[0] != header:
            yield role, cells


def kinds() -> Mapping[str, Sequence[Kind]]:
    """Return the rows of the feature's outlines by role."""
    found: dict[str, list[Kind]] = {}
    for role, cells in outline_rows(FEATURE, r'Given a healthy (\w+) of the kind "', "KIND"):
        found.setdefault(role, []).append(Kind(*cells))
    return found


def verdicts(total: int, state: Path, only: str = "", jobs: int = 1) -> Iterator[Verdict]:
    """Yield `total` verdicts, `jobs` at once, spread evenly over roles, conditions, kinds and engines.

    A number means the same deployment in each run; verdicts in `state` are not repeated. `only` selects kinds with this
    text.
    """
    known = read(state)
    yield from (verdict for number, verdict in sorted(known.items()) if number < total)
    state.parent.mkdir(parents=True, exist_ok=True)
    rows = kinds()
    asked = [(number, *_deployment(number, rows)) for number in range(total) if number not in known]
    with ThreadPoolExecutor(jobs) as pool, state.open("a", encoding="utf-8") as lines:
        for verdict in pool.map(lambda one: _judge(*one), [one for one in asked if only in one[3].name]):
            lines.write(json.dumps(asdict(verdict)) + "\n")
            lines.flush()
            yield verdict


def _deployment(number: int, rows: Mapping[str, Sequence[Kind]]) -> tuple[str, str, Kind, str]:
    """Return role, condition, kind and engine of a number."""
    role = list(PRACTICES)[number % len(PRACTICES)]
    turn, place = divmod(number // len(PRACTICES), len(CONDITIONS))
    # Each condition begins elsewhere in the list, so that a few hundred verdicts cover many pairs of both.
    kind = rows[role][(turn + place * len(rows[role]) // len(CONDITIONS)) % len(rows[role])]
    return role, CONDITIONS[place], kind, ENGINES[(turn + place) % len(ENGINES)]


def read(state: Path) -> dict[int, Verdict]:
    """Return the verdicts that a file holds, by number."""
    lines = state.read_text(encoding="utf-8").splitlines() if state.exists() else []
    return {verdict.number: verdict for line in lines for verdict in [Verdict(**json.loads(line))]}


def _judge(number: int, role: str, condition: str, kind: Kind, engine: str) -> Verdict:
    """Build a deployment and let the gate judge it; on the engine that comes along if that one cannot be so."""
    names = list(dict.fromkeys([kind.name, *([] if condition == "quiet" else [condition])]))
    try:
        judged, seconds = _judged(role, names, str(fetched(engine)))
    except (NotHadError, Unsupported):  # of this engine
        engine = ENGINES[0]
        judged, seconds = _judged(role, names, str(fetched(engine)))
    report = judged.report
    untold = judged.skipped_core()
    told = not untold if kind.untold == "nothing" else any(kind.untold in reason for reason in untold.values())
    busy = report["verdict"] == "error" and any("busy" in trouble for trouble in report["troubles"])
    right = busy or (report["verdict"] == kind.verdict and told)
    found = judged.ended("failed") or ({} if right else untold)
    reasons = [f"{judged.cited(name)}: {first_line(why)}" for name, why in found.items()]
    if right and untold:
        reasons = [f"cannot tell about {kind.untold}"]
    reason = "; ".join([*reasons, *report["troubles"]])
    return Verdict(number, role, condition, kind.name, engine, report["verdict"], right, reason, round(seconds, 1))


def _judged(role: str, names: Sequence[str], binary: str) -> tuple[DeploymentUnderTest, float]:
    """Return a deployment after its judgement, and the seconds that the judge took."""
    with ForkingGroup() as group, ExitStack() as ending, tempfile.TemporaryDirectory() as folder:
        judged = DeploymentUnderTest(Builder(group, ending, binary), role)
        begin = time.monotonic()
        try:
            deployment = build(judged.builder, role, *names)
            judged.url, judged.options = deployment.url, " ".join(deployment.options)
            begin = time.monotonic()
            judged.judge(Path(folder), "--quick")
        except (EmbeddedError, RedisError, AssertionError) as error:
            judged.report = _no_report(f"not built: {first_line(str(error))}")
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            judged.report = _no_report(f"no report: {error}", *judged.said.strip().splitlines()[-1:])
        return judged, time.monotonic() - begin


def _no_report(*troubles: str) -> dict[str, Any]:
    """Return a substitute for a missing report."""
    return {"verdict": "error", "troubles": list(troubles), "scenarios": []}


def table(found: Sequence[Verdict]) -> str:
    """Return the verdicts by role and condition, as Markdown."""
    lines = [
        "| role | condition | judged | accepted | partial | refused | error | median s | most s |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for role in PRACTICES:
        for condition in CONDITIONS:
            some = [one for one in found if (one.role, one.condition) == (role, condition)]
            if some:
                counts = [
                    sum(one.column == column for one in some) for column in ("accepted", "partial", "refused", "error")
                ]
                seconds = [one.seconds for one in some]
                cells = [role, condition, len(some), *counts, f"{median(seconds):.1f}", f"{max(seconds):.1f}"]
                lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def summary(found: Sequence[Verdict]) -> str:
    """Return the table, the wrong verdicts, the reasons of partial ones, and the errors of a busy judge."""
    wrong = [one for one in found if not one.right]
    engines = ", ".join(sorted({one.engine for one in found}))
    untold = Counter(one.reason for one in found if one.right and one.verdict == "partial")
    busy = sum(one.right and one.verdict == "error" for one in found)
    lines = [f"{len(wrong)} of {len(found)} verdicts on {engines} are wrong.", "", table(found), ""]
    lines += [f"{number} are `partial`: {reason}." for reason, number in sorted(untold.items())]
    lines += [f"{busy} are `error`, since the judge was too busy to tell."] if busy else []
    return "\n".join([*lines, *(f"- {one.line().strip()[:300]}" for one in wrong)])


def write(found: Sequence[Verdict]) -> None:
    """Put the summary at the end of the page."""
    page, _, _ = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{page.rstrip(chr(10))}\n\n{BEGIN}\n\n{summary(found)}\n", encoding="utf-8")
