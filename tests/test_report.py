"""Test that a run reports numbers: measurements with bounds, report.json, evidence of failures."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime
from typing import Any

import pytest

from fixtures import PROJECT
from steps.common.vocabulary import bound
from tests.project import REPORTING, Project, assert_said

SENTENCES = """
@then(parsers.parse("a read took {seen:g} of at most {limit:g} seconds"))
def check_read(measure, chart, seen, limit):
    time.sleep(0.01)
    chart("keys per node", unit="keys", kind="bars", points=[("a", 331), ("b", 4)])
    measure("a read", unit="s", seen=seen, bound=Bound.at_most(limit, "s"))

@given("what this stack cannot do")
def skip():
    time.sleep(0.01)
    pytest.skip("one node only")

@given("a stack that broke")
def break_stack():
    time.sleep(0.01)
    raise StackError("the server did not start")
"""

FEATURE = """\
Feature: A sample
  Rule: Reads are fast
    @core
    Scenario: keeps
      Then a read took 0.81 of at most 2.5 seconds

    Scenario: breaks
      Then a read took 3.1 of at most 2.5 seconds

    @core
    Scenario: cannot
      Given what this stack cannot do

    Scenario: stack
      Given a stack that broke
"""

FILE = "features/pure_cache/sample.feature"


@pytest.fixture
def reads(project: Project) -> Project:
    """Give a project with one scenario of each status."""
    project.write_sentences(REPORTING, SENTENCES)
    project.write(FILE, FEATURE)
    return project


def test_failure_names_bound_and_value(reads: Project) -> None:
    """A broken bound fails, and shows bound and value in the terminal and in junit.xml."""
    run = reads.run("--report", "results", "-k", "keeps or breaks")
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    assert_said(
        run,
        """
        E   AssertionError: a read: seen 3.1 s, bound <= 2.5 s
        verdict: refused (2 scenarios of 4 asked, 1 failed) — results/report.json
        """,
    )
    properties = {
        test.get("name"): {one.get("name"): one.get("value") for one in test.iter("property")} for test in reads.junit()
    }
    names = {"feature": "A sample", "rule": "Reads are fast"}
    assert properties == {
        "keeps": {**names, "measurement: a read [s]": "seen 0.81, bound <= 2.5"},
        "breaks": {**names, "measurement: a read [s]": "seen 3.1, bound <= 2.5"},
    }


def test_verbose_run_lists_measurements(reads: Project) -> None:
    """``-v`` lists the measurements of a passed run."""
    run = reads.run("-v", "--report", "results", "-k", "keeps")
    assert run.ret == pytest.ExitCode.OK
    assert_said(
        run,
        f"""
        {FILE}::keeps
        a read: seen 0.81 s, bound <= 2.5 s
        verdict: accepted (1 scenario of 4 asked) — results/report.json
        """,
    )


@pytest.mark.parametrize(
    ("words", "shown", "allowed", "refused"),
    [
        ("exactly 3", "== 3", [3, 3.0], [2.9, 4]),
        ("at least 95 %", ">= 95", [95, 100], [0, 94.9]),
        ("at most 20", "<= 20", [0, 20], [20.1, 90]),
        ("within 300 milliseconds", "<= 0.3", [0, 0.3], [0.31, 1]),
        ("between 3 and 5", "3 to 5", [3, 5], [2.9, 5.1]),
    ],
)
def test_words_of_a_bound(words: str, shown: str, allowed: list[float], refused: list[float]) -> None:
    """The words of a bound match its text in reports, and it allows and refuses accordingly."""
    meant = bound(words)
    assert str(meant) == shown
    assert [value for value in (*allowed, *refused) if meant.allows(value)] == allowed


def masked(record: dict[str, Any], begun: datetime, ended: datetime) -> dict[str, Any]:
    """Return a record with ``...`` for a moment and a duration within the run (AssertionError)."""
    if "started" in record:
        assert record["started"].endswith("+00:00")
        assert begun.replace(microsecond=0) <= datetime.fromisoformat(record["started"]) <= ended
        record |= {"started": ...}
    assert 0 < record["seconds"] <= (ended - begun).total_seconds()
    return record | {"seconds": ...}


ENDS: dict[str, tuple[int, list[str], str, str | None, float | None]] = {
    "breaks": (7, [], "failed", "a read: seen 3.1 s, bound <= 2.5 s", 3.1),
    "cannot": (11, ["core"], "skipped", "one node only", None),
    "keeps": (4, ["core"], "passed", None, 0.81),
    "stack": (14, [], "error", "the server did not start", None),
}
"""Line, tags, status, reason and value of each scenario."""


def wanted(name: str) -> dict[str, Any]:
    """Return the expected record of a scenario."""
    line, tags, status, reason, seen = ENDS[name]
    measured = {"name": "a read", "unit": "s", "bound": "<= 2.5", "low": None, "high": 2.5, "seen": seen}
    charted = {
        "name": "keys per node",
        "unit": "keys",
        "kind": "bars",
        "points": [["a", 331], ["b", 4]],
        "bound": None,
        "low": None,
        "high": None,
    }
    names = {"id": name, "scenario_id": None, "practice": "pure_cache", "feature": "A sample", "rule": "Reads are fast"}
    return {
        **names,
        "line": line,
        "row": {},
        "tags": tags,
        "status": status,
        "reason": reason,
        "started": ...,
        "seconds": ...,
        "steps": [{"line": line + 1, "seconds": ...}],
        "measurements": [measured] if seen else [],
        "charts": [charted] if seen else [],
        "asked": True,
    }


@pytest.mark.parametrize("processes", ["0", pytest.param("2", marks=pytest.mark.slow)])
def test_whole_report(reads: Project, processes: str) -> None:
    """report.json describes every scenario with its result and measurements, from any process."""
    begun = datetime.now(UTC)
    reads.run("--report", "results", "--processes", processes)
    report, ended = reads.report(), datetime.now(UTC)
    scenarios = [masked(record, begun, ended) for record in report.pop("scenarios")]
    for record in scenarios:
        record.pop("evidence")
        record["steps"] = [masked(step, begun, ended) for step in record["steps"]]
    assert scenarios == [wanted(name) for name in ENDS]
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert masked(report, begun, ended) == {
        "suite": project["version"],
        "started": ...,
        "seconds": ...,
        "stack": "embedded",
        "engines": {},
        "verdict": "refused",
        "troubles": [f"{FILE}::stack: the server did not start"],
        "waivers": [],
        "judged": {
            "asked": 4,
            "of": 4,
            "addresses": {},
            "nodes": {},
            "practices": ["pure_cache"],
            "quick": False,
            "selection": {"paths": "features"},
            "options": [],
            "bounds": {},
            "commands": None,
        },
        "open": ["sample: 1 core scenario skipped (one node only)"],
    }


STARTING = """
from fixtures.run.keys import SERVERS
from redis_practices.servers.cluster import start_cluster
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import CACHE, start_server

@pytest.fixture
def group():
    with ProcessGroup() as group:
        yield group

@given("a cache")
def cache(request, group):
    server = start_server(group, {**CACHE, "requirepass": "my-password", "maxmemory-policy": "allkeys-lfu"})
    request.node.stash[SERVERS] = lambda: [server]

@given("a cluster")
def cluster(request, group):
    cluster = start_cluster(group)
    request.node.stash[SERVERS] = lambda: [cluster]

@given("the cache is paused")
def pause(request):
    request.node.stash[SERVERS]()[0].pause()

@then("it answers")
def answer():
    raise AssertionError("no answer")

@then("all is well")
def well():
    pass
"""

FAILING = """\
Feature: A sample
  Scenario: server
    Given a cache
    Then it answers

  Scenario: paused
    Given a cache
    And the cache is paused
    Then it answers

  Scenario: cluster
    Given a cluster
    Then it answers

  Scenario: good
    Given a cache
    Then all is well
"""


@pytest.mark.parametrize(
    ("scenario", "kept"),
    [
        ("server", {"configuration (127": "maxmemory-policy allkeys-lfu", "log of 127": "Ready to accept connections"}),
        pytest.param("paused", {"log of 127": "Ready to accept connections"}, marks=pytest.mark.slow),
        pytest.param(
            "cluster", {"slot map (127": "myself", "log of 127": "Cluster state changed"}, marks=pytest.mark.slow
        ),
        pytest.param("good", {}, marks=pytest.mark.slow),
    ],
)
def test_evidence(project: Project, scenario: str, kept: dict[str, str]) -> None:
    """A failure keeps the evidence of its servers without passwords, also of a paused server."""
    project.write_sentences(REPORTING, STARTING)
    project.write(FILE, FAILING)
    project.run("--report", "results", "--processes", "1", "-k", scenario)
    [record] = project.report()["scenarios"]
    assert record["status"] == ("failed" if kept else "passed")
    for title, text in kept.items():
        assert any(one["title"].startswith(title) and text in one["text"] for one in record["evidence"]), record
    assert bool(record["evidence"]) == bool(kept)
    assert "my-password" not in json.dumps(record)
    files = [path for path in (project.root / "results").rglob("*") if path.is_file()]
    assert files
    assert not [path.name for path in files if "my-password" in path.read_text(encoding="utf-8")]
