"""Test the checks before a run, and the needs of the collector from pytest-bdd."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fixtures import PROJECT
from tests.project import Project

SENTENCES = """
from pathlib import Path
import pytest
from pytest_bdd import given

@given("a cache")
def cache(): ...

@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart():
    Path("started").touch()
"""
SOUND = "Feature: A\n  Scenario: one\n    Given a cache\n"
TRAP = "Feature: B\n  Scenario: two\n    Given a cache\n    Then nothing is known\n"


@pytest.fixture
def tree(project: Project) -> Project:
    """Give a project with a valid feature and one with a trap."""
    project.write("conftest.py", SENTENCES)
    project.write("features/sound.feature", SOUND)
    project.write("features/more/trap.feature", TRAP)
    return project


@pytest.mark.parametrize(
    "arguments", [[], ["--processes", "2"], ["features/more"], ["features/more/trap.feature::two"]]
)
def test_trap_is_refused_once_before_anything_starts(tree: Project, arguments: list[str]) -> None:
    """A trap ends the run with exit code 4 and one line, before the first hook of a session."""
    outcome = tree.run(*arguments)
    said = [line for line in outcome.outlines if "trap.feature" in line]
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR, outcome.outlines
    [line] = said
    assert line.startswith('features/more/trap.feature:4: no definition for "then nothing is known"; write one')
    assert not (tree.root / "started").exists(), "a session had begun"
    assert "test session starts" not in str(outcome.stdout)


@pytest.mark.parametrize(
    "arguments", [["features/sound.feature"], ["--ignore", "features/more"], ["--ignore-glob", "*trap*"]]
)
def test_trap_elsewhere_is_left_alone(tree: Project, arguments: list[str]) -> None:
    """A trap in a feature that the run does not collect is ignored."""
    outcome = tree.run(*arguments)
    assert outcome.ret == pytest.ExitCode.OK, outcome.outlines
    assert (tree.root / "started").exists()


def test_file_with_byte_order_mark(tree: Project) -> None:
    """A file with a byte order mark, as from editors on Windows, is read."""
    (tree.root / "features" / "sound.feature").write_text(SOUND, encoding="utf-8-sig")
    outcome = tree.run("features/sound.feature")
    assert outcome.ret == pytest.ExitCode.OK, outcome.outlines


def test_failure_of_a_helper_shows_few_lines(tree: Project) -> None:
    """A failure shows the sentences, the assertion's message and at most 25 lines."""
    failing = 'def check(value):\n    assert value == 2, "room for 2"\n\n@given("a cache")\ndef cache(): check(3)\n'
    tree.write("conftest.py", f"from pytest_bdd import given\n\n{failing}")
    outcome = tree.run("features/sound.feature")
    told = str(outcome.stdout).partition("= FAILURES =")[2].partition("short test summary")[0].splitlines()
    assert "E   AssertionError: room for 2" in map(str.strip, told), outcome.outlines
    assert "> Given a cache    <- features/sound.feature:3" in map(str.strip, told), outcome.outlines
    assert len(told) <= 25, outcome.outlines


FOREIGN = re.compile(
    r"create_io|atexit\._(?!run_exitfuncs)|threading\._|\bfrom _pytest|\bimport _pytest|setattr\((?!self)|"
    r"^(?:pytest_bdd|running)(?:\.\w+)+ = ",
    re.MULTILINE,
)


def test_no_internals_of_pytest_and_its_plugins_are_touched() -> None:
    """Fixtures and steps neither import nor replace private parts of pytest and its plugins."""
    found = [
        f"{path.relative_to(PROJECT)}: {match.group()}"
        for folder in ("fixtures/bdd", "fixtures/run", "fixtures/reporting", "steps")
        for path in Path(PROJECT / folder).rglob("*.py")
        for match in FOREIGN.finditer(path.read_text(encoding="utf-8"))
    ]
    assert not found, found
