"""Test the output for other tools: Cucumber messages, JUnit, GitHub's annotations and summary, the badge."""

from __future__ import annotations

import json
import re
from collections import Counter
from xml.etree import ElementTree as ET

import pytest

from tests.messages import problems
from tests.project import REPORTING, Project, assert_said, outcomes

SENTENCES = """
@given(parsers.parse("a cache of {size:d} keys"), target_fixture="size")
def cache(size, measure):
    measure("room", unit="keys", seen=size, bound=Bound.at_least(1))
    return size

@given("these keys")
def keys(datatable):
    pass

@then(parsers.parse("{count:d} keys fit"))
def fit(size, count):
    assert count <= size, f"room for {size} keys: 100% full\\n::set-output name=a::b"

@then("one replica has it too")
def skip():
    pytest.skip("one node only | no replica")
"""

SIZE = """\
@core
Feature: Size, of caches
  Background:
    Given these keys
      | KEY |
      | a   |

  Rule: Keys fit
    Scenario Outline: a cache of <size>: filled
      Given a cache of <size> keys
      Then 10 keys fit
      And one replica has it too

      Examples:
        | size |
        | 5    |
        | 50   |
"""

LAST = """\
Feature: Last
  Scenario: a small cache
    Given a cache of 1 keys
    Then 1 keys fit
"""


@pytest.fixture
def caches(project: Project) -> Project:
    """Give a project with a passing, a failing and a skipped scenario."""
    project.write_sentences(REPORTING, SENTENCES)
    project.write("features/pure_cache/size.feature", SIZE)
    project.write("features/pure_cache/last.feature", LAST)
    return project


def test_messages_are_those_of_cucumber(caches: Project) -> None:
    """Every line of messages.ndjson is a valid Cucumber message, and no message is missing."""
    caches.run("--report", "results")
    lines = caches.read("results/messages.ndjson").splitlines()
    messages = [json.loads(line) for line in lines]
    found = [f"line {number}: {problem}" for number, line in enumerate(lines, 1) for problem in problems(line)]
    assert not found, "\n".join(found)
    count = Counter(next(iter(one)) for one in messages)
    assert list(count.items()) == [
        ("meta", 1),
        ("source", 2),
        ("gherkinDocument", 2),
        ("pickle", 3),
        ("testRunStarted", 1),
        ("testCase", 3),
        ("testCaseStarted", 3),
        ("testStepStarted", 10),
        ("testStepFinished", 10),
        ("attachment", 3),
        ("testCaseFinished", 3),
        ("testRunFinished", 1),
    ]


def test_messages_tell_how_each_step_ended(caches: Project) -> None:
    """References lead from each case to its pickle and its results, and each id is unique."""
    caches.run("--report", "results", "--processes", "2")
    messages = [next(iter(json.loads(line).items())) for line in caches.read("results/messages.ndjson").splitlines()]
    known = [message["id"] for _, message in messages if "id" in message]
    assert len(known) == len(set(known)), f"ids stand twice: {sorted(known)}"
    pickles = {pickle["id"]: pickle["name"] for kind, pickle in messages if kind == "pickle"}
    results = {one["testStepId"]: one["testStepResult"] for kind, one in messages if kind == "testStepFinished"}
    seen = {}
    for case in (message for kind, message in messages if kind == "testCase"):
        ended = [results[step["id"]] for step in case["testSteps"]]
        said = next((result["message"] for result in ended if "message" in result), "").partition("\n")[0]
        seen[pickles[case["pickleId"]]] = (" ".join(result["status"] for result in ended), said)
    assert seen == {
        "a cache of 50: filled": ("PASSED PASSED PASSED SKIPPED", "one node only | no replica"),
        "a cache of 5: filled": ("PASSED PASSED FAILED SKIPPED", "room for 5 keys: 100% full"),
        "a small cache": ("PASSED PASSED", ""),
    }


def test_junit_names_feature_and_rule(caches: Project) -> None:
    """junit.xml has a test for each scenario, with feature, rule, measurements and the failed sentence."""
    caches.run("--report", "results", "-k", "a and 5 and not 50 or small")
    tests = caches.junit()
    small, five = "a small cache", "a cache of <size>: filled[5]"
    assert outcomes(tests) == {
        ("features.pure_cache.size.feature", five, "Then 10 keys fit: AssertionError: room for 5 keys: 100% full"),
        ("features.pure_cache.last.feature", small),
    }
    seen = {(test.get("name"), one.get("name"), one.get("value")) for test in tests for one in test.iter("property")}
    assert seen == {
        (small, "feature", "Last"),
        (small, "measurement: room [keys]", "seen 1, bound >= 1"),
        (five, "feature", "Size, of caches"),
        (five, "rule", "Keys fit"),
        (five, "measurement: room [keys]", "seen 5, bound >= 1"),
    }


def test_scenario_id_is_shown(job: Project) -> None:
    """The id of a scenario is in every output and selects it, but is no marker."""
    name, size = "a cache of <size>: filled[5]", "features/pure_cache/size.feature"
    job.write(size, SIZE.replace("    Scenario Outline", "    @cache-017\n    Scenario Outline"))
    run = job.run("--report", "results", "-k", "cache-017", "-v")
    assert_said(
        run,
        f"""
        {size}:10: Scenario Outline: cache-017 a cache of 5: filled
        cache-017 {size}::{name}
        ::error file={size},line=12,title=cache-017 a cache of <size>%3A filled[5]::
        """,
    )
    records = job.report()["scenarios"]
    assert [(one["scenario_id"], one["tags"]) for one in records] == [("cache-017", ["core"])] * 2
    properties = {(one.get("name"), one.get("value")) for test in job.junit() for one in test.iter("property")}
    assert ("id", "cache-017") in properties
    page = job.read("results/index.html")
    assert '<details class="scenario" id="cache-017"' in page
    assert '<a href="#cache-017">cache-017 a cache of' in page
    assert '<span class="tag">cache-017</span>' in page
    assert "| cache-017 features/pure" in job.read("results/summary.md").replace("\\", "")
    assert '"name": "@cache-017"' in job.read("results/messages.ndjson")


@pytest.fixture
def job(caches: Project) -> Project:
    """Set the variables that GitHub gives to each step of a job."""
    files = {"GITHUB_WORKSPACE": str(caches.root), "GITHUB_STEP_SUMMARY": str(caches.root / "job.md")}
    caches.environment = {"GITHUB_ACTIONS": "true", **files}
    return caches


def test_github_is_told_the_line(job: Project) -> None:
    """An annotation names the line of the feature file, and text of a message is never a command."""
    run = job.run("--processes", "2")
    place = "file=features/pure_cache/size.feature,line=11,title=a cache of <size>%3A filled[5]"
    message = "room for 5 keys: 100%25 full%0A  ::set-output name=a::b%0Aassert 10 <= 5"
    assert_said(run, f"::error {place}::{message}")
    assert not [line for line in run.outlines if line.startswith("::set-output")]


SUMMARY = r"""
## ❌ redis-practices: refused

1 passed, 1 failed, 1 skipped in … s on embedded (no engine asked)

- asked: 3 scenarios
- selection: whole, paths features

### Without an answer

- size: 1 core scenario skipped (one node only \| no replica)

### Failed scenarios

| scenario | because | remedy |
|---|---|---|
| features/pure\_cache/size.feature::a cache of &lt;size&gt;: filled\[5\] | room for 5 keys: 100% full |  |

### Skipped scenarios

- 1 times: one node only \| no replica
"""


def test_summary_and_badge(job: Project) -> None:
    """The summary of the job is that of the results folder, and the badge shows the verdict."""
    job.run("--report", "results")
    summary = job.read("results/summary.md")
    assert re.sub(r"(?<= in )[\d.]+(?= s )", "…", summary).strip() == SUMMARY.strip()
    assert job.read("job.md") == summary
    assert badge_of(job) == "redis-practices: refused"


def test_badge_of_a_part(job: Project) -> None:
    """The badge of a partial run shows its share."""
    job.run("--report", "results", "-k", "small")
    assert badge_of(job) == "redis-practices: accepted: 1 scenario of 3 asked"


def badge_of(project: Project) -> str | None:
    """Return the text of the badge."""
    title = ET.fromstring(project.read("results/badge.svg")).find("{http://www.w3.org/2000/svg}title")  # noqa: S314 - our own
    assert title is not None
    return title.text
