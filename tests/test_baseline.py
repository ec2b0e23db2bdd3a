"""Test the comparison with an earlier run: it reports changes, and ignores noise."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from fixtures.reporting.baseline import compare
from tests.project import REPORTING, Project, assert_said
from tests.test_page import assert_shown

SENTENCES = """
@given(parsers.parse("room for {size:d} keys"), target_fixture="size")
def room(size, measure):
    measure("room", unit="keys", seen=size, bound=Bound.at_least(1))
    return size

@then(parsers.parse("{count:d} keys fit"))
def fit(size, count):
    assert count <= size, f"room for {size} keys"
"""

FILE = "features/pure_cache/size.feature"
ROOMS = {"breaks": (5, 10), "recovers": (50, 10), "shrinks": (1, 1), "stays": (30, 1)}
"""Scenarios: their room for keys, and the keys that must fit."""

EARLIER = {"breaks": ("passed", 5), "recovers": ("failed", 50), "shrinks": ("passed", 9), "stays": ("passed", 900)}
"""The status and the room of each scenario in the earlier run."""


@pytest.fixture
def measured(project: Project) -> Project:
    """Give a project with the report of an earlier run."""
    project.write_sentences(REPORTING, SENTENCES)
    lines = [
        f"  Scenario: {name}\n    Given room for {room} keys\n    Then {keys} keys fit\n"
        for name, (room, keys) in ROOMS.items()
    ]
    project.write(FILE, "Feature: Size\n" + "".join(lines))
    project.run("--report", "results")
    return project


def test_changes_are_told(measured: Project) -> None:
    """A run reports broken, fixed and worse scenarios."""
    report = json.loads(measured.read("results/report.json"))
    for record in report["scenarios"]:
        status, seen = EARLIER[record["id"].partition("::")[2]]
        record |= {"status": status, "seconds": 0.01}
        record["measurements"][0]["seen"] = seen
    measured.write("results/report.json", json.dumps(report))
    run = measured.run("--report", "later", "--baseline", "results/report.json")
    assert_said(
        run,
        f"""
        since
        broke: {FILE}::breaks (was passed, is failed: room for 5 keys)
        fixed: {FILE}::recovers (was failed, is passed)
        worse: {FILE}::shrinks (room: was 9 keys, is 1 keys, bound >= 1 keys)
        verdict: refused
        """,
    )
    assert f"worse: {FILE}::stays" not in str(run.stdout)
    assert_shown(
        measured.read("later/index.html"),
        f"""
        Since
        broke
        {FILE}::breaks
        worse
        {FILE}::shrinks
        room: was 9 keys, is 1 keys, bound >= 1 keys
        """,
    )
    assert f"| worse | {FILE.replace('_', chr(92) + '_')}::shrinks |" in measured.read("later/summary.md")


def test_same_run_has_no_changes(measured: Project) -> None:
    """An identical run reports no change."""
    assert_said(measured.run("--baseline", "results/report.json"), ": nothing\nverdict: refused")


@pytest.mark.parametrize(
    ("pace", "noise", "own", "is_slower"),
    [
        (1, 5, 1.4, False),
        (1, 5, 1.8, True),
        (3, 5, 3.5, False),
        (3, 5, 6, True),
        (1, 40, 1.8, False),
        (1, 40, 20, True),
        (0.5, 5, 1, True),
    ],
)
def test_slower_scenario(pace: float, noise: float, own: float, *, is_slower: bool) -> None:
    """One of 12 scenarios is reported as slower only if it exceeds the pace and the noise."""
    spread = [pace * math.exp(noise / 100 * (number - 5) / 3.3) for number in range(11)]
    before = [record(number, 2.0) for number in range(12)]
    after = [record(number, 2.0 * factor) for number, factor in enumerate([*spread, own])]
    older: Any = {"started": "before", "scenarios": before}
    changes = compare(older, after, {})["changes"]
    assert [(one["id"], one["kind"]) for one in changes] == [("11", "slower")] * is_slower


def record(number: int, seconds: float) -> Any:
    """Return a passed scenario with the compared fields."""
    return {"id": str(number), "status": "passed", "seconds": seconds, "measurements": [], "reason": None}


PROMISES = f"""\
id,first,tags,rows,kept_by,dropped
cache-009,features/old.feature::room,,1,cache-001,
cache-002,{FILE}::stays,,1,,
cache-003,,,1,,
"""
"""The list of promises: `room` of version 1.0.0 was merged into a scenario of another file."""


def test_baseline_of_another_version_is_understood(measured: Project) -> None:
    """A scenario is matched by its id even if it was renamed since version 1.0.0."""
    report = json.loads(measured.read("results/report.json"))
    first, same, later, last = (
        {**record, "status": "failed" if record["status"] == "passed" else "passed"} for record in report["scenarios"]
    )
    # In the earlier run, today's `stays` was named `shrinks`. `recovers` has no id in both runs.
    earlier = [
        {**first, "id": "features/old.feature::room"},
        {**same, "id": f"{FILE}::recovers"},
        {**later, "id": f"{FILE}::another", "scenario_id": "cache-003"},
        {**last, "id": f"{FILE}::shrinks", "scenario_id": "cache-002"},
    ]
    for record in earlier[:2]:
        del record["scenario_id"]
    measured.write("old.json", json.dumps({**report, "scenarios": earlier}))
    text = measured.read(FILE)
    for name, scenario_id in (("breaks", "cache-001"), ("stays", "cache-002"), ("shrinks", "cache-003")):
        text = text.replace(f"  Scenario: {name}", f"  @{scenario_id}\n  Scenario: {name}")
    measured.write(FILE, text)
    measured.write("docs/promises.csv", PROMISES)
    run = measured.run("--baseline", "old.json")
    told = {line.partition(" (")[0] for line in run.outlines if line.startswith(("broke: ", "fixed: "))}
    assert told == {
        f"broke: cache-001 {FILE}::breaks",
        f"fixed: {FILE}::recovers",
        f"fixed: cache-002 {FILE}::stays",
        f"fixed: cache-003 {FILE}::shrinks",
    }


def test_name_that_another_scenario_has_now() -> None:
    """A scenario is not compared with another one that once had its name."""
    before = {**record(1, 1.0), "scenario_id": "cache-001", "status": "failed"}
    older: Any = {"started": "before", "scenarios": [before]}
    newer: Any = {**record(1, 1.0), "scenario_id": "cache-002"}
    assert compare(older, [newer], {})["changes"] == []


STRANGE = "it is not as this suite writes it"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "No such file or directory"),
        ("in the way", STRANGE),
        ("[1]", STRANGE),
        ('{"scenarios": [{}]}', STRANGE),
        ('{"scenarios": []}', "it holds no scenario"),
    ],
)
def test_baseline_that_is_none_is_refused(project: Project, text: str | None, why: str) -> None:
    """A file that is no report is refused in one line with the reason, before anything runs."""
    project.write_sentences(REPORTING)
    if text is not None:
        project.write("old.json", text)
    run = project.run("--baseline", "old.json")
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    assert_said(run, f"ERROR: --baseline: cannot use old.json ({why}); name the report.json of an earlier run")
