"""Test that pytest selects, runs and reports the scenarios of feature files like other tests."""

from __future__ import annotations

import pytest

from tests.project import Project, assert_said, names_run, outcomes

SENTENCES = """
@given(parsers.parse("a cache of {size:d} keys"), target_fixture="size")
def cache(size):
    return size

@then(parsers.parse("{count:d} keys fit"))
def fit(size, count):
    assert count <= size, f"room for {size} keys only"
"""

SIZE = """\
@core
Feature: Size
  Scenario: "user:1", and others
    Given a cache of 2 keys
    Then 2 keys fit

  @slow
  Rule: Large caches
    Scenario Outline: many keys
      Given a cache of <size> keys
      Then 10 keys fit

      Examples:
        | size |
        | 10   |
        | 500  |
"""

LIMITS = """\
Feature: Limits
  Scenario: no keys
    Given a cache of 0 keys
    Then 0 keys fit
"""

BROKEN = """\
Feature: Limits
  Scenario: too many
    Given a cache of 2 keys
    Then 3 keys fit
    And 4 keys fit
"""

FILE = "features/pure_cache/size.feature"
USERS, TEN, MANY = '"user:1", and others', "many keys[10]", "many keys[500]"


@pytest.fixture
def caches(project: Project) -> Project:
    """Give a project with two features."""
    project.write_sentences(SENTENCES)
    project.write(FILE, SIZE)
    project.write("features/limits.feature", LIMITS)
    return project


@pytest.mark.parametrize(
    ("arguments", "scenarios"),
    [
        (["features/"], ["no keys", USERS, TEN, MANY]),
        (["features/limits.feature"], ["no keys"]),
        ([f"{FILE}::{USERS}"], [USERS]),
        ([f"{FILE}::many keys"], [TEN, MANY]),
        ([f"{FILE}::{MANY}"], [MANY]),
        (["-m", "pure_cache and core and not slow"], [USERS]),
        (["-k", "keys and not 500", "--deselect", "features/limits.feature"], [TEN]),
        (["--processes", "2"], ["no keys", USERS, TEN, MANY]),
    ],
    ids=" ".join,
)
def test_selection_runs_what_it_names(caches: Project, arguments: list[str], scenarios: list[str]) -> None:
    """A selection runs exactly the named scenarios."""
    run = caches.run(*arguments)
    assert run.ret == pytest.ExitCode.OK
    assert names_run(run) == sorted(scenarios), run.stdout


def test_collecting_names_scenarios(caches: Project) -> None:
    """``--collect-only`` prints an id for each scenario and row, which a command line can name."""
    run = caches.run("--collect-only", "-q")
    assert run.ret == pytest.ExitCode.OK
    ids = [line for line in run.outlines if "::" in line]
    assert ids == ["features/limits.feature::no keys", *(f"{FILE}::{name}" for name in (USERS, TEN, MANY))]


def test_failure_shows_its_sentence(caches: Project) -> None:
    """A failure shows the scenario, the failed sentence with its line, and the assertion's message."""
    caches.write("features/limits.feature", BROKEN)
    run = caches.run("--processes", "2", "--junitxml", "junit.xml")
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    size = [("features.pure_cache.size.feature", name) for name in (USERS, TEN, MANY)]
    failed = ("features.limits.feature", "too many", "Then 3 keys fit: AssertionError: room for 2 keys only")
    assert outcomes(caches.junit("junit.xml")) == {failed, *size}
    assert_said(
        run,
        """
        E   AssertionError: room for 2 keys only

        features/limits.feature:2: Scenario: too many
        Given a cache of 2 keys
        > Then 3 keys fit    <- features/limits.feature:4
        And 4 keys fit
        """,
    )


def test_only_failed_scenario_runs_again(caches: Project) -> None:
    """``--last-failed`` runs only the failed scenarios."""
    caches.write("features/limits.feature", BROKEN)
    assert names_run(caches.run()) == sorted(["too many", USERS, TEN, MANY])
    run = caches.run("--last-failed")
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    assert names_run(run) == ["too many"]
