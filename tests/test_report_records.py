"""Test the parts of reports: bounds as numbers, older baselines, escaping on the page, messages."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fixtures import PROJECT
from fixtures.reporting.baseline import compare, read_baseline
from fixtures.reporting.measurements import Bound, is_allowed, limits, share_of_bound
from tests.messages import problems

BOUNDS = {
    "<= 2.5": (Bound.at_most(2.5), 1.25, 0.5),
    ">= 95": (Bound.at_least(95), 190, 0.5),
    "3 to 5": (Bound.between(3, 5), 4, 0.8),
    "== 3": (Bound.exactly(3), 3, None),
    "<= 1e-07": (Bound.at_most(1e-7), 5e-8, 0.5),
    ">= -2": (Bound.at_least(-2), -1, 2.0),
}
"""By its text: a bound, an allowed value, and its share of the bound."""


@pytest.mark.parametrize("text", BOUNDS)
def test_a_bound_has_its_numbers_beside_its_text(text: str) -> None:
    """The record of a bound has its ends as numbers beside its text."""
    bound, seen, share = BOUNDS[text]
    record: Any = json.loads(json.dumps({"name": "n", "unit": "s", **limits(bound), "seen": seen}))
    assert (record.pop("bound"), record["low"], record["high"]) == (text, bound.low, bound.high)
    assert (is_allowed(record), share_of_bound(record)) == (True, share)


def _record(seen: float, **bound: Any) -> Any:
    """Return a passed scenario with one measurement."""
    measured = {"name": "gap", "unit": "", "seen": seen, **bound}
    return {"id": "a", "status": "passed", "seconds": 1.0, "reason": None, "measurements": [measured]}


def test_a_baseline_of_before_bounds_had_numbers(tmp_path: Path) -> None:
    """A baseline with bounds as text only is compared like one with numbers."""
    older = tmp_path / "report.json"
    older.write_text(json.dumps({"started": "before", "scenarios": [_record(1, bound="<= 10")]}), encoding="utf-8")
    now = _record(9, **limits(Bound.at_most(10)))
    changes = compare(read_baseline(older), [now], {})["changes"]
    assert [change["text"] for change in changes] == ["gap: was 1, is 9, bound <= 10"]


def test_the_page_takes_as_safe_what_the_page_has_made() -> None:
    """Templates mark only style, script and charts as safe, and no text of a feature or message."""
    templates = (PROJECT / "fixtures/reporting/page").glob("*.html")
    safe = {
        found for path in templates for found in re.findall(r"([^ {]+)\s*\|\s*safe", path.read_text(encoding="utf-8"))
    }
    assert safe == {"style", "script", "one|bar", "drawn.picture"}


MOMENT = {"seconds": 1, "nanos": 0}
FINISHED = {"success": True, "timestamp": MOMENT}


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        ({"testRunFinished": FINISHED}, None),
        ({"testRunFinished": {"success": True}}, "timestamp"),
        ({"testRunFinished": {**FINISHED, "success": "yes"}}, "TestRunFinished.success is 'yes'"),
        ({"testRunFinished": {**FINISHED, "timestamp": {**MOMENT, "nanos": 0.5}}}, "Timestamp.nanos is 0.5"),
        ({"testRunFinished": {**FINISHED, "colour": "red"}}, "there is more in"),
        ({"testStepFinished": {"testStepResult": {"duration": MOMENT, "status": "BROKEN"}}}, "BROKEN"),
        ({"testRunFinished": FINISHED, "nothing": {}}, "there is more in"),
        ({}, "there is more in"),
    ],
)
def test_the_check_of_messages_refuses_what_cucumber_does_not_know(message: Any, wrong: str | None) -> None:
    """A message with a missing, an additional or a mistyped field is refused."""
    found = problems(json.dumps(message))
    assert [wrong in one for one in found] == [True] if wrong else not found, found
