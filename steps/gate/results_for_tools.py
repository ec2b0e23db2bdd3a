"""The sentences about what other tools read: messages and CI's files."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from pytest_bdd import given, parsers, then

from fixtures.gate.sample_project import problems
from steps.common.vocabulary import assert_table

if TYPE_CHECKING:
    from fixtures.gate.sample_project import Outcome, SampleTree

Table = list[list[str]]


@given("a job of GitHub")
def pretend_job(sample_tree: SampleTree) -> None:
    """Set what GitHub sets for each step of a job."""
    place = {"GITHUB_WORKSPACE": str(sample_tree.root), "GITHUB_STEP_SUMMARY": str(sample_tree.root / "job.md")}
    sample_tree.environment = {"GITHUB_ACTIONS": "true", **place}


@then(parsers.parse('every line of "{name}" is a valid Cucumber message'))
def check_schema(sample_tree: SampleTree, name: str) -> None:
    """Hold each line against the published schema."""
    lines = sample_tree.read(name).splitlines()
    found = [f"line {number}: {problem}" for number, line in enumerate(lines, 1) for problem in problems(line)]
    assert not found, "\n".join(found)


@then("its messages are")
def check_kinds(sample_tree: SampleTree, datatable: Table) -> None:
    """Count the messages of each kind, in the order of their first."""
    lines = sample_tree.read("results/messages.ndjson").splitlines()
    count = Counter(next(iter(json.loads(line))) for line in lines)
    assert_table(datatable, [{"MESSAGE": kind, "TIMES": times} for kind, times in count.items()])


@then(parsers.parse('"{name}" tells these cases, each id once'))
def check_cases(sample_tree: SampleTree, name: str, datatable: Table) -> None:
    """Follow the references from each case to its pickle and to the results of its steps."""
    messages = [next(iter(json.loads(line).items())) for line in sample_tree.read(name).splitlines()]
    known = [message["id"] for _, message in messages if "id" in message]
    assert len(known) == len(set(known)), f"ids stand twice: {sorted(known)}"
    pickles = {pickle["id"]: pickle["name"] for kind, pickle in messages if kind == "pickle"}
    results = {
        message["testStepId"]: message["testStepResult"] for kind, message in messages if kind == "testStepFinished"
    }
    seen = []
    for case in (message for kind, message in messages if kind == "testCase"):
        ended = [results[step["id"]] for step in case["testSteps"]]
        said = next((result["message"] for result in ended if "message" in result), "").partition("\n")[0]
        steps = ", ".join(result["status"] for result in ended)
        seen.append({"CASE": pickles[case["pickleId"]], "STEPS": steps, "MESSAGE": said})
    assert_table(datatable, sorted(seen, key=lambda row: str(row["CASE"])))


@then(parsers.parse('no line that pytest says begins with "{start}"'))
def check_no_line(outcome: Outcome, start: str) -> None:
    """Find no such line."""
    found = [line for line in str(outcome).splitlines() if line.startswith(start)]
    assert not found, f"it says {found}"


@then(parsers.parse('"{name}" reads, but for the time it took'))
def check_text(sample_tree: SampleTree, name: str, docstring: str) -> None:
    """Compare a whole text, with "…" in place of a number of seconds."""
    seen = re.sub(r"(?<= in )[\d.]+(?= s )", "…", sample_tree.read(name)).strip()
    assert seen == docstring.strip(), seen


@then(parsers.parse('"{name}" holds "{text}"'))
def check_holds(sample_tree: SampleTree, name: str, text: str) -> None:
    """Find a text in a file."""
    assert text in sample_tree.read(name), sample_tree.read(name)


@then(parsers.parse('"{name}" is a picture that says "{text}"'))
def check_picture(sample_tree: SampleTree, name: str, text: str) -> None:
    """Read a picture as XML."""
    root = ET.fromstring(sample_tree.read(name))  # noqa: S314 - our own run wrote it
    title = root.find("{http://www.w3.org/2000/svg}title")
    assert title is not None, "it has no title"
    assert title.text == text


@then(parsers.parse('the summary of the job is that of "{folder}"'))
def check_job(sample_tree: SampleTree, folder: str) -> None:
    """Compare what GitHub shows with the file."""
    assert sample_tree.read("job.md") == sample_tree.read(f"{folder}/summary.md")
