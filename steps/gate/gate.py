"""The sentences about the suite itself: small projects of their own, on which a real pytest runs."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from pytest_bdd import given, parsers, then, when

if TYPE_CHECKING:
    from fixtures.gate.sample_project import Outcome, SampleTree

Table = list[list[str]]


@given("these sentences")
def write_sentences(sample_tree: SampleTree, docstring: str) -> None:
    """Give the sample tree its step definitions."""
    sample_tree.write("conftest.py", f"from pytest_bdd import given, parsers, then, when\n\n{docstring}\n")


@given("these sentences too")
def add_sentences(sample_tree: SampleTree, docstring: str) -> None:
    """Add step definitions to those of the sample tree."""
    sample_tree.write("conftest.py", f"{sample_tree.read('conftest.py')}\n{docstring}\n")


@given(parsers.parse('the feature "{name}"'))
def write_feature(sample_tree: SampleTree, name: str, docstring: str) -> None:
    """Write a feature file into the sample tree, in place of one of that name."""
    sample_tree.write(f"features/{name}", docstring)


@given(parsers.parse('a pytest-bdd that has no "{name}" in its module "{module}"'))
def remove_internal(sample_tree: SampleTree, name: str, module: str) -> None:
    """Let a plugin take a name out of the real pytest-bdd, after that is loaded and before the checks are."""
    sample_tree.write("later_pytest_bdd.py", f"import pytest_bdd.{module}\n\ndel pytest_bdd.{module}.{name}\n")
    sample_tree.plugins.insert(1, "later_pytest_bdd")


@given(parsers.parse('a user typed "{command}"'))
@when(parsers.parse('a user types "{command}"'), target_fixture="outcome")
def run_pytest(sample_tree: SampleTree, command: str) -> Outcome:
    """Run a command line of pytest in the sample tree."""
    return sample_tree.run(*shlex.split(command)[1:])


@when(parsers.parse('each of these lines is changed in a copy of "{name}"'), target_fixture="changes")
def write_changed_copies(sample_tree: SampleTree, name: str, datatable: Table) -> Table:
    """Write a copy of a feature for each row of the table, with one line of it changed."""
    for number, (line, changed_to, *_) in enumerate(datatable[1:], 1):
        sample_tree.write_changed(f"features/{name}", f"features/change_{number}.feature", line, changed_to)
    return datatable[1:]


@then(parsers.parse("pytest exits with {code:d}"))
def check_exit_code(outcome: Outcome, code: int) -> None:
    """Compare the exit code, and show what was said when it differs."""
    assert outcome.exit_code == code, f"it exited with {outcome.exit_code} and said:\n{outcome.stdout}{outcome.stderr}"


@then("pytest says")
def check_lines(outcome: Outcome, docstring: str) -> None:
    """Find each line of the doc string in a line pytest printed, in this order."""
    printed = iter(outcome.lines)
    for wanted in docstring.splitlines():
        assert any(wanted.strip() in line for line in printed), f"not said, or not in this order: {wanted}\n{outcome}"


@then("each copy is refused at its line for its reason")
def check_refusals(outcome: Outcome, changes: Table) -> None:
    """Find the refusal of every changed copy, and no run of anything."""
    assert outcome.exit_code == pytest.ExitCode.INTERRUPTED, f"it was not refused\n{outcome}"
    for number, (_, changed_to, line, reason) in enumerate(changes, 1):
        start = f"features/change_{number}.feature:"
        said = [text for text in outcome.lines if text.startswith(start)]
        expected = f"{start}{line}: "
        assert any(text.startswith(expected) and reason in text for text in said), (
            f"{changed_to!r} was not refused at line {line} because {reason!r}; said was: {said}"
        )


@then(parsers.parse('"{name}" itself is not'))
def check_not_refused(outcome: Outcome, name: str) -> None:
    """Find no refusal of a feature file."""
    said = [text for text in outcome.lines if text.startswith(f"features/{name}:")]
    assert not said, f"it is refused: {said}"


@then(parsers.parse('the refusal of "{sentence}" is shown {times:d} times'))
def check_unused(outcome: Outcome, sentence: str, times: int) -> None:
    """Count how often an unused sentence is refused."""
    said = [text for text in outcome.lines if "no feature uses" in text and f'"{sentence}"' in text]
    assert len(said) == times, f"shown {len(said)} times\n{outcome}"


@then(parsers.parse("exactly {scenarios} ran"))
def check_ran(outcome: Outcome, scenarios: str) -> None:
    """Compare the scenarios that ran, named with a slash between, with those asked for."""
    ended = [line for line in outcome.lines if line.startswith(("PASSED ", "FAILED "))]
    ran = [line.partition("::")[2].partition(" - ")[0] for line in ended]
    assert sorted(ran) == sorted(scenarios.split(" / ")), f"these ran: {ran}\n{outcome}"


@then(parsers.parse('"{name}" holds these tests'))
def check_junit(sample_tree: SampleTree, name: str, datatable: Table) -> None:
    """Compare the tests of a JUnit file, and what it says of those that failed."""
    found = []
    for case in ET.fromstring(sample_tree.read(name)).iter("testcase"):  # noqa: S314 - pytest has just written it
        failure = case.find("failure")
        message = "" if failure is None else failure.get("message", "").splitlines()[0]
        found.append([case.get("classname"), case.get("name"), message])
    assert sorted(found) == sorted(datatable[1:]), f"it holds {found}"
