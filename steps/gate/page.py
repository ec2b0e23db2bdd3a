"""The sentences about the page of a run, read as a file."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from pytest_bdd import given, parsers, then, when

from fixtures import PROJECT
from fixtures.bdd.gherkin import read
from fixtures.gate.sample_project import PageReader
from fixtures.reporting.redaction import Secrets
from steps.common.vocabulary import TYPES, assert_table, rows

if TYPE_CHECKING:
    from fixtures.gate.sample_project import SampleTree
    from fixtures.reporting.measurements import Bound, Measure

Table = list[list[str]]
OWN = set(
    re.findall(r"<([a-z][a-z0-9]*)", "".join(path.read_text() for path in PROJECT.glob("fixtures/reporting/page/*.py")))
)
"""The elements that the page's own code writes."""


@given("these engines were measured")
def write_engines(sample_tree: SampleTree, docstring: str) -> None:
    """Write what benchmarks/engines.py leaves in a project."""
    sample_tree.write("docs/compatibility.json", docstring)


@then(parsers.parse('"{name}" shows'))
def check_texts(sample_tree: SampleTree, name: str, docstring: str) -> None:
    """Find each line of the doc string in the page's texts, in this order."""
    shown = " ".join(PageReader(sample_tree.read(name)).texts)
    at = 0
    for wanted in map(str.strip, docstring.splitlines()):
        found = shown.find(wanted, at)
        assert found >= 0, f"not shown, or not in this order: {wanted}\n{shown}"
        at = found + len(wanted)


@then(parsers.parse('"{name}" holds these pictures'))
def check_pictures(sample_tree: SampleTree, name: str, datatable: Table) -> None:
    """Compare what is said of each picture, and how often it stands there."""
    seen = PageReader(sample_tree.read(name)).pictures
    wanted = rows(datatable, ["TIMES", "PICTURE"])
    plain = Counter({" ".join(picture.split()): times for picture, times in seen.items()})
    assert plain == {row["PICTURE"]: int(row["TIMES"]) for row in wanted}, f"it holds {dict(plain)}"


@then(parsers.parse('"{name}" holds no element but its own'))
def check_elements(sample_tree: SampleTree, name: str) -> None:
    """Find no element and no handler of events that a text could have brought in."""
    page = PageReader(sample_tree.read(name))
    assert not {*page.elements} - OWN, f"strange elements: {sorted({*page.elements} - OWN)}"
    assert (page.elements["script"], page.elements["i"], page.handlers) == (1, 0, []), "a text became markup"


@then(parsers.parse('no file in "{folder}" holds "{text}"'))
def check_secret(sample_tree: SampleTree, folder: str, text: str) -> None:
    """Search every file of a folder."""
    files = [path for path in (sample_tree.root / folder).rglob("*") if path.is_file()]
    found = [path.name for path in files if text in path.read_text(encoding="utf-8")]
    assert files, "there is no file"
    assert not found, f"it stands in {', '.join(found)}"


@then(parsers.parse('these texts are shown without the passwords of "{first}" and "{second}"'))
def check_hidden(first: str, second: str, datatable: Table) -> None:
    """Hide what a run with these URLs hides."""
    secrets = Secrets([first, second])
    seen = [{"TEXT": row["TEXT"], "SHOWN": secrets.hide(row["TEXT"])} for row in rows(datatable, ["TEXT", "SHOWN"])]
    assert_table(datatable, seen)


@when(parsers.parse("the page of {count:Count} scenarios is made", extra_types=TYPES), target_fixture="times")
def make_large_page(sample_tree: SampleTree, count: int) -> float:
    """Make a page five times, of other files each time; return how many times the least of JSON its least took."""
    seen = [_seconds_to_make(sample_tree, f"pure_cache/many_{attempt}", count // 10) for attempt in range(5)]
    return min(page for page, _ in seen) / min(document for _, document in seen)


def _seconds_to_make(sample_tree: SampleTree, name: str, files: int) -> tuple[float, float]:
    """Make the page of feature files of 10 scenarios each that are read already, and write and read it as JSON.

    Returns the seconds of computing of both.
    """
    from fixtures.reporting.page.page import render  # noqa: PLC0415 - a run without --report shall not import it
    from fixtures.reporting.specification import told  # noqa: PLC0415 - the same

    for file in range(files):
        sample_tree.write(f"features/{name}_{file}.feature", _feature())
        read(sample_tree.root / f"features/{name}_{file}.feature")
    records = [_record(f"features/{name}_{file}.feature", number) for file in range(files) for number in range(10)]
    document = {"started": "2026-01-01T00:00:00+00:00", "seconds": 9.0, "stack": "embedded", "engines": {}}
    document |= {"suite": "1", "verdict": "accepted", "troubles": [], "scenarios": records}
    begun = time.process_time()
    features, strangers = told(records, sample_tree.root)
    page = render(document, features, strangers, {"pure_cache": "what is measured"}, sample_tree.root)
    took = time.process_time() - begun
    assert page.count('<details class="scenario"') == files * 10
    begun = time.process_time()
    assert json.loads(json.dumps(document)) == document
    return took, time.process_time() - begun


def _feature() -> str:
    """Return the text of a feature with ten scenarios of four steps."""
    steps = "\n".join(f'    Given "key {step}" is cached for 10 seconds' for step in range(4))
    return "Feature: Many\n" + "".join(f"  Scenario: number {n}\n{steps}\n" for n in range(10))


def _record(file: str, number: int) -> dict[str, Any]:
    """Return what a scenario of such a feature has shown."""
    line = 2 + number * 5
    measured = {"name": "a read", "unit": "s", "bound": "<= 2.5", "seen": 0.1 + number / 100}
    ended: dict[str, Any] = {
        "status": "passed",
        "reason": None,
        "seconds": 0.1,
        "row": {},
        "tags": ["pure_cache"],
        "rule": None,
    }
    steps = [{"line": line + step, "seconds": 0.1} for step in range(1, 5)]
    shown = {"steps": steps, "measurements": [measured] * 2, "charts": [], "evidence": []}
    return {"id": f"{file}::number {number}", "practice": "pure_cache", "line": line, **ended, **shown}


@then(parsers.parse("that took {bound:Bound} times the computing that JSON takes", extra_types=TYPES))
def check_computing(measure: Measure, times: float, bound: Bound) -> None:
    """Hold it against its bound."""
    measure("making the page: times writing and reading JSON", unit="", seen=round(times, 2), bound=bound)
