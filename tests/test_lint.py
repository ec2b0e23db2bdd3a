"""Test that a specification cannot pass by accident: each trap is refused at its line.

Gherkin and pytest-bdd are lenient. They drop the first of two scenarios with one name. They read a step with a
mistyped keyword as prose, and pass an async step without running it. Each trap is one changed line of a small feature.
"""

from __future__ import annotations

import pytest

from tests.project import SETTINGS, Project, assert_said

SENTENCES = """
@given("a cache", target_fixture="cache")
def cache():
    return []

@given(parsers.parse("a cache of {size}"), target_fixture="cache")
def sized_cache(size):
    return []

@when(parsers.parse("{count:d} keys are written"))
def write(cache, count):
    cache.extend(range(count))

@then(parsers.parse("{count:d} keys are there"))
def check(cache, count):
    assert len(cache) == count
"""

FEATURE = """\
Feature: Keys
  Rule: A key can be read
    Scenario: one key
      Given a cache
      When 1 keys are written
      Then 1 keys are there

  Rule: Many keys can be read
    @core
    Scenario Outline: many keys
      Given a cache of <size>
      When <count> keys are written
      Then <count> keys are there

      Examples:
        | count | size |
        | 10    | 1 MB |
        | 50    | 2 MB |
"""

SOUND = "features/pure_cache/keys.feature"
CHANGED = "features/changed.feature"
REFUSED = pytest.ExitCode.USAGE_ERROR
"""The exit code of a run with a trap."""


@pytest.fixture
def keys(project: Project) -> Project:
    """Give a project with the feature and its sentences."""
    project.write_sentences(SENTENCES)
    project.write(SOUND, FEATURE)
    return project


def test_sound_feature_passes(keys: Project) -> None:
    """The feature without a trap passes."""
    run = keys.run("features/")
    assert run.ret == pytest.ExitCode.OK
    assert_said(run, f"{SOUND} ...")


Trap = tuple[str, str, int, str]
"""A line of the feature, its replacement, the refused line, and the reason."""

TRAPS: list[Trap] = [
    # Scenarios that would vanish or pass empty.
    ("Scenario Outline: many keys", "Scenario Outline: one key", 10, '"one key" is the name of the scenario in line 3'),
    ("Scenario: one key", "Scenario: no keys\n\nScenario: one key", 3, '"no keys" has no steps and would pass'),
    ("Scenario: one key", "Scenario:", 3, "a scenario without a name"),
    ("Scenario: one key", "Scenario: one key [a]", 3, 'no command line can select "one key [a]"'),
    ("Scenario: one key", "Scenario one key", 3, '"Scenario one key" is read as description'),
    ("Scenario: one key", "Nothing announces a scenario.", 5, '"When 1 keys are written" is read as description'),
    ("Given a cache", "Given: a cache", 4, '"Given: a cache" is read as description'),
    ("Given a cache", "given a cache", 4, '"given a cache" is read as description'),
    ("Then 1 keys are there", "Then: 1 keys are there", 6, "no such line may stand here: 'Then: 1 keys are there'"),
    ("Rule: A key can be read", "Rule: Unproven\n\nRule: A rule", 2, 'no scenario proves the rule "Unproven"'),
    ("Rule: A key can be read", "Background:\n\nRule: A rule", 2, "a background without steps"),
    ("Feature: Keys", "# Feature: Keys", 2, "no such line may stand here: 'Rule: A key can be read'"),
    # Placeholders, columns and rows without effect.
    ("When <count> keys are written", "When <cuont> keys are written", 12, "examples in line 15 have no column for"),
    ("When 1 keys are written", "When <count> keys are written", 5, "nothing fills <count>"),
    ("Given a cache of <size>", "Given a cache of 1 MB", 16, 'no step uses the column "size"'),
    ("| 50    | 2 MB |", "| 10    | 1 MB |", 18, "the row in line 17 has these values too"),
    ("| 50    | 2 MB |", "| 50 |", 18, "inconsistent cell count within the table"),
    ("Examples:", "Examples:\n| count | size |\n\nExamples:", 15, "examples without rows run nothing"),
    ("@core", "Scenario Outline: none\n  Given a cache\n\n@core", 9, '"none" is an outline without examples'),
    # Mistyped tags, and markers of pytest that would silence a scenario.
    ("@core", "@croe", 9, "unknown tag @croe"),
    ("@core", "@skip", 9, "unknown tag @skip"),
    ("@core", "@xfail", 9, "unknown tag @xfail"),
    # Ids of scenarios; the copy of the feature is in no practice's folder.
    ("@core", "@cache-001", 9, "@cache-001 is no id of the folder features; delete it, run python -m"),
    ("@core", "@cache-1", 9, "unknown tag @cache-1"),
    ("Feature: Keys", "@gate-001\nFeature: Keys", 1, "@gate-001 is the id of one scenario; put it above that"),
    ("Examples:", "@gate-001\nExamples:", 15, "@gate-001 is the id of one scenario; put it above that"),
    ("@core", "@gate-001 @gate-002", 9, "@gate-002 is the second id of this scenario; delete it"),
]


def _ids(traps: list[Trap]) -> list[str]:
    """Return the ids of traps: the broken lines."""
    return [" / ".join(filter(None, changed_to.splitlines())) for _, changed_to, _, _ in traps]


@pytest.mark.parametrize("trap", TRAPS, ids=_ids(TRAPS))
def test_trap_is_refused(keys: Project, trap: Trap) -> None:
    """A trap in the text is refused at its line, and a valid feature beside it is not."""
    _assert_refused(keys, trap)


def _assert_refused(project: Project, trap: Trap) -> None:
    """Write the trap into a copy of the feature, and find its refusal."""
    line, changed_to, at, reason = trap
    project.write_changed(SOUND, CHANGED, line, changed_to)
    run = project.run("--collect-only")
    said = [text for text in run.outlines if f"{CHANGED}:" in text]
    assert run.ret == REFUSED, f"it was not refused\n{run.stdout}"
    assert any(f"{CHANGED}:{at}: " in text and reason in text for text in said), said
    assert f"{SOUND}:" not in str(run.stdout)


MORE_SENTENCES = """
@given("two caches")
@given("two caches")
def two_caches(): ...

@given(parsers.parse("three {things}"))
def three(things): ...

@given("three caches")
def three_caches(): ...

@when("it waits")
async def wait(): ...

@when("it waits and cleans up")
async def wait_and_clean():
    yield

@when(parsers.parse("{count:d} keys are lost"))
def lose(): ...

@then("these keys are there")
def check_table(datatable): ...
"""

STEP_TRAPS: list[Trap] = [
    ("Then 1 keys are there", "Then one key is there", 6, 'no definition for "then one key is there"'),
    ("Then 1 keys are there", "And 1 keys are there", 6, 'no definition for "when 1 keys are there"; there is'),
    ("Rule: A key can be read", "Background:\n  Given a shop\nRule: A rule", 3, 'no definition for "given a shop"'),
    ("| 50    | 2 MB |", "| ten | 2 MB |", 12, 'no definition for "when ten keys are written"'),
    ("Given a cache", "And a cache", 4, "must start with 'Given', 'When' or 'Then'"),
    ("Given a cache", "Given two caches", 4, '"two caches" fits @given("two caches")'),
    ("Given a cache", "Given three caches", 4, 'and @given("three caches") at conftest.py:'),
    ("When 1 keys are written", "When it waits", 5, "is async and never awaited"),
    ("When 1 keys are written", "When it waits and cleans up", 5, "is async and never awaited"),
    ("When 1 keys are written", "When 1 keys are lost", 5, "ignores {count} of its sentence"),
    ("When 1 keys are written", "When 1 keys are written\n| KEY |", 5, "ignores the datatable under the step"),
    ("When 1 keys are written", "When 1 keys are written\n```\na key\n```", 5, "ignores the docstring under the step"),
    ("Then 1 keys are there", "Then these keys are there", 6, "needs a datatable"),
]


@pytest.mark.parametrize("trap", STEP_TRAPS, ids=_ids(STEP_TRAPS))
def test_step_without_effect_is_refused(keys: Project, trap: Trap) -> None:
    """A step that would not run, or would run something else, is refused at its line."""
    keys.write_sentences(SENTENCES, MORE_SENTENCES)
    _assert_refused(keys, trap)


def test_file_without_a_scenario_is_refused(keys: Project) -> None:
    """A file without a scenario is refused at its first line."""
    keys.write("features/empty.feature", "# To be written.\n")
    keys.write("features/later.feature", "Feature: Later\n")
    keys.write(
        "features/german.feature",
        "# language: de\nFunktionalität: Schlüssel\n  Szenario: ein Schlüssel\n    Angenommen a cache\n",
    )
    run = keys.run("features/")
    assert run.ret == REFUSED
    assert_said(
        run,
        """
        features/empty.feature:1: no "Feature:" in this file; write one or delete the file

        features/german.feature:1: these checks read English Gherkin alone; write it without a language line

        features/later.feature:1: a feature without scenarios proves nothing; write one or delete the file
        """,
    )


def test_id_that_is_not_free_is_refused(keys: Project) -> None:
    """A repeated or retired id is refused, also across files."""
    twice = FEATURE.replace("@core", "@core @cache-001").replace(
        "    Scenario: one", "    @cache-001\n    Scenario: one"
    )
    keys.write(SOUND, twice)
    keys.write("features/pure_cache/later.feature", FEATURE.replace("@core", "@cache-001"))
    run = keys.run("features/")
    assert run.ret == REFUSED
    told = f"@cache-001 is the id at {SOUND}:3 too; delete the later one, run python -m tests.test_promises --assign"
    assert_said(run, f"{SOUND}:10: {told}")
    keys.write(SOUND, FEATURE)
    keys.write("docs/promises.csv", "id,first,tags,rows,kept_by,dropped\ncache-001,,,1,,no user needs it\n")
    run = keys.run("features/")
    assert run.ret == REFUSED
    assert_said(run, "later.feature:9: docs/promises.csv retired @cache-001 (no user needs it); delete it, run python")


@pytest.mark.parametrize(
    ("arguments", "code", "times"),
    [
        pytest.param(("-k", "one"), REFUSED, 1, id="all features, a selection of them"),
        pytest.param(("--processes", "2", "."), REFUSED, 1, id="all features, in two processes"),
        pytest.param(("features/pure_cache",), pytest.ExitCode.OK, 0, id="some features"),
    ],
)
def test_unused_sentence_is_refused_once(keys: Project, arguments: tuple[str, ...], code: int, times: int) -> None:
    """A sentence that no feature uses is refused in a run of all features."""
    keys.write_sentences(SENTENCES, '@then("the cache is warm")\ndef warm(): ...\n')
    run = keys.run(*arguments)
    assert run.ret == code
    said = [line for line in run.outlines if "no feature uses" in line and '"the cache is warm"' in line]
    assert len(said) == times, run.stdout


def test_folder_of_tests_is_no_specification(keys: Project) -> None:
    """A run of a folder without features refuses no sentence as unused."""
    keys.write("pytest.toml", SETTINGS.replace('["features"]', '["features", "tests"]'))
    keys.write("tests/test_code.py", "def test_code():\n    pass\n")
    run = keys.run()
    assert run.ret == pytest.ExitCode.OK, run.stdout
    run.assert_outcomes(passed=4)


@pytest.mark.parametrize(
    ("module", "name", "gone"),
    [
        (
            "steps",
            "step_function_context_registry",
            "cannot import name 'step_function_context_registry' from 'pytest_bdd.steps'",
        ),
        ("parser", "ScenarioTemplate.render", "render"),
    ],
)
def test_other_pytest_bdd_is_refused(keys: Project, module: str, name: str, gone: str) -> None:
    """A pytest-bdd that lacks a private part is an error with the name of that part."""
    keys.write("later_pytest_bdd.py", f"import pytest_bdd.{module}\n\ndel pytest_bdd.{module}.{name}\n")
    keys.plugins.insert(1, "later_pytest_bdd")
    run = keys.run("features/")
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    says = "is not as this suite's checks know it (gone: "
    assert_said(run, f"{says}{gone}): install the version pyproject.toml names, or adapt")
