"""The sentences about what a run reports, said of a sample tree on which a real pytest runs."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from pytest_bdd import given, parsers, then

from fixtures import PROJECT
from steps.common.vocabulary import assert_table, rows

if TYPE_CHECKING:
    from fixtures.gate.sample_project import SampleTree

Table = list[list[str]]
Record = dict[str, Any]


@given(parsers.parse('an older "{name}" with the verdict "{verdict}"'))
def leave_older_report(sample_tree: SampleTree, name: str, verdict: str) -> None:
    """Leave what a run before would have left."""
    sample_tree.write(name, json.dumps({"verdict": verdict, "scenarios": []}))


@given(parsers.parse('a file named "{name}"'))
def write_file(sample_tree: SampleTree, name: str) -> None:
    """Put a file in the way."""
    sample_tree.write(name, "in the way\n")


@then(parsers.parse('"{name}" holds these properties'))
def check_properties(sample_tree: SampleTree, name: str, datatable: Table) -> None:
    """Compare the properties of each test in a JUnit file."""
    tests = ET.parse(sample_tree.root / name).iter("testcase")  # noqa: S314 - our own run wrote it
    seen = [(test.get("name"), prop.get("name"), prop.get("value")) for test in tests for prop in test.iter("property")]
    assert_table(datatable, [dict(zip(("NAME", "PROPERTY", "VALUE"), row, strict=True)) for row in seen])


@then(parsers.parse('"{name}" says of the run'))
def check_run(sample_tree: SampleTree, name: str, datatable: Table) -> None:
    """Compare every field of the report but the scenarios."""
    run = _report(sample_tree, name)
    run.pop("scenarios")
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    run["suite"] = "this project's" if run["suite"] == version else run["suite"]
    _assert_fields(datatable, [_timed(sample_tree, name, run)])


@then(parsers.parse('"{name}" says of its scenarios'))
def check_scenarios(sample_tree: SampleTree, name: str, datatable: Table) -> None:
    """Compare every field of every scenario but its lists of parts."""
    records = [_timed(sample_tree, name, record) for record in _report(sample_tree, name)["scenarios"]]
    for record in records:
        for part in ("steps", "measurements", "charts", "evidence"):
            record.pop(part)
        record["tags"] = " ".join(record["tags"])
    _assert_fields(datatable, records)


@then(parsers.parse('"{name}" says of the {parts} of its scenarios'))
def check_parts(sample_tree: SampleTree, name: str, parts: str, datatable: Table) -> None:
    """Compare every field of every measurement, chart or step."""
    records = _report(sample_tree, name)["scenarios"]
    seen = [{"id": record["id"], **part} for record in records for part in record[parts]]
    _assert_fields(datatable, [_timed(sample_tree, name, part) if "seconds" in part else part for part in seen])


@then(parsers.parse('"{name}" has the verdict "{verdict}" and the scenarios: {listed}'))
def check_verdict(sample_tree: SampleTree, name: str, verdict: str, listed: str) -> None:
    """Compare the verdict and which scenarios are listed, "none" for an empty list."""
    report = _report(sample_tree, name)
    seen = ", ".join(record["id"] for record in report["scenarios"]) or "none"
    assert (report["verdict"], seen) == (verdict, listed)


@then(parsers.parse('"{name}" names the trouble: {trouble}'))
def check_troubles(sample_tree: SampleTree, name: str, trouble: str) -> None:
    """Find why the run is not whole, "none" for no reason; the reason itself is one line."""
    troubles = _report(sample_tree, name)["troubles"]
    assert [one for one in troubles if trouble in one] or (trouble == "none" and not troubles), troubles
    assert not any("\n" in one for one in troubles), troubles


@then(parsers.parse('"{name}" keeps this evidence'))
def check_evidence(sample_tree: SampleTree, name: str, datatable: Table) -> None:
    """Find each row's words in the evidence of the one scenario, "none" when there is nothing."""
    (record,) = _report(sample_tree, name)["scenarios"]
    for row in rows(datatable, ["TITLE", "TEXT"]):
        found = [
            one for one in record["evidence"] if one["title"].startswith(row["TITLE"]) and row["TEXT"] in one["text"]
        ]
        assert found or (row["TITLE"] == "none" and not record["evidence"]), record["evidence"]


def _report(sample_tree: SampleTree, name: str) -> Record:
    """Return a report with the scenarios' names instead of their whole ids."""
    report: Record = json.loads(sample_tree.read(name))
    for record in report["scenarios"]:
        record["id"] = record["id"].removeprefix("features/pure_cache/sample.feature::")
    return report


def _written(sample_tree: SampleTree, name: str) -> datetime:
    """Return when a file was written."""
    return datetime.fromtimestamp((sample_tree.root / name).stat().st_mtime, UTC)


def _timed(sample_tree: SampleTree, name: str, record: Record) -> Record:
    """Return a record with "within the run" for a duration and "during the run" for a moment that can be true."""
    before, after = (_written(sample_tree, file) for file in ("conftest.py", name))
    started = record.get("started", "")
    if started.endswith("+00:00") and before.replace(microsecond=0) <= datetime.fromisoformat(started) <= after:
        record = {**record, "started": "during the run"}
    possible = 0 < record["seconds"] <= (after - before).total_seconds()
    return {**record, "seconds": "within the run"} if possible else record


def _assert_fields(datatable: Table, records: list[Record]) -> None:
    """Hold a table against records that must have its columns and no others."""
    seen = [{field.upper(): value for field, value in record.items()} for record in records]
    for record in seen:
        assert sorted(record) == sorted(datatable[0]), f"its fields are {', '.join(record)}"
    assert_table(datatable, seen)
