"""Test that verdict, exit code and report.json are right for every end of a run."""

from __future__ import annotations

import json
import signal
from typing import NamedTuple

import pytest

from tests.project import REPORTING, Project, assert_said

ENDINGS = """
@given("what holds")
def hold():
    pass

@given("what does not")
def fail():
    raise AssertionError("it does not")
"""

SENTENCES = f"""{ENDINGS}
@given("what this stack cannot do")
def skip():
    pytest.skip("one node only")

@given("a stack that broke")
def break_stack():
    raise StackError("the server did not start")

@given(parsers.parse("{{name}} is sent to {{target}}"))
def send(name, target):
    os.kill(os.getpid() if target == "this process" else os.getppid(), getattr(signal, name))
    time.sleep(20)
"""

FEATURE = """\
Feature: A sample
  Scenario: dies
    Given SIGKILL is sent to this process

  @core
  Scenario: keeps
    Given what holds

  Scenario: breaks
    Given what does not

  @core
  Scenario: cannot
    Given what this stack cannot do

  Scenario: lacks
    Given what this stack cannot do

  Scenario: stack
    Given a stack that broke

  Scenario: stopped
    Given SIGINT is sent to this process

  Scenario: ended
    Given SIGTERM is sent to this process

  Scenario: parent
    Given SIGTERM is sent to the parent process
"""


@pytest.fixture
def sample(project: Project) -> Project:
    """Give a project with a scenario for each end of a run, and the report of an older accepted run."""
    project.write_sentences(REPORTING, SENTENCES)
    project.write("features/pure_cache/sample.feature", FEATURE)
    project.write("results/report.json", json.dumps({"verdict": "accepted", "scenarios": []}))
    return project


ONE_PROCESS = ("--processes", "1")
NOTHING_RAN = "no scenario ran"
BROKE = "::stack: the server did not start"


class End(NamedTuple):
    """The expected end of a run of some scenarios."""

    chosen: str
    code: int
    verdict: str
    listed: list[str]
    trouble: str | None = None
    options: tuple[str, ...] = ()


ENDS = [
    # Each verdict.
    End("keeps or lacks", 0, "accepted", ["keeps", "lacks"]),
    End("keeps or cannot", 0, "partial", ["cannot", "keeps"]),
    End("breaks or cannot", 1, "refused", ["breaks", "cannot"]),
    End("keeps or stack", 1, "error", ["keeps", "stack"], BROKE),
    End("breaks or stack", 1, "refused", ["breaks", "stack"], BROKE),
    End("lacks", 0, "error", ["lacks"], NOTHING_RAN),
    # An interrupted run keeps its results so far.
    End("keeps or stopped", 2, "error", ["keeps"], "interrupted"),
    End("breaks or stopped", 2, "refused", ["breaks"], "interrupted"),
    End("keeps or ended", 2, "error", ["keeps"], "stopped by SIGTERM"),
    End("keeps or dies", -signal.SIGKILL, "error", [], "the run did not come to its end"),
    # A lost process is replaced, and the next one runs the rest.
    End("keeps or dies", 1, "error", ["dies", "keeps"], "the process of this scenario ended with SIGKILL", ONE_PROCESS),
    End("parent", 2, "error", [], "stopped by SIGTERM", ONE_PROCESS),
    # Runs that did not begin, or selected nothing.
    End("keeps", 4, "error", [], "pytest did not begin: unrecognized arguments: --bogus", ("--bogus",)),
    End("keeps", 4, "error", [], "pytest ended with exit code 4", ("features/missing",)),
    End("nothing", 5, "error", [], NOTHING_RAN),
]
SLOW = {"parent"}


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(end, id=" ".join([end.chosen, *end.options]), marks=[pytest.mark.slow] * (end.chosen in SLOW))
        for end in ENDS
    ],
)
def test_end_of_a_run(sample: Project, end: End) -> None:
    """Only a complete run without a failure is accepted, and no older report is left."""
    run = sample.run("--report", "results", "-k", end.chosen, *end.options)
    assert run.ret == end.code, run.stdout
    report = sample.report()
    assert (report["verdict"], [record["id"] for record in report["scenarios"]]) == (end.verdict, end.listed)
    if end.trouble:
        assert any(end.trouble in one for one in report["troubles"]), report["troubles"]
    else:
        assert not report["troubles"]
    assert not any("\n" in one for one in report["troubles"])


LOST = """
def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput"):
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_process_lost_after_its_last_scenario(sample: Project) -> None:
    """A process that is lost after its last scenario is an error."""
    sample.write_sentences(REPORTING, SENTENCES, LOST)
    sample.run("--report", "results", "-k", "keeps", *ONE_PROCESS)
    report = sample.report()
    assert (report["verdict"], [record["id"] for record in report["scenarios"]]) == ("error", ["keeps"])


def test_feature_that_is_refused(sample: Project) -> None:
    """A refused feature is an error, and nothing runs."""
    sample.write("features/pure_cache/empty.feature", "Feature: Nothing in it\n")
    run = sample.run("--report", "results", "-k", "keeps", "--continue-on-collection-errors")
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    report = sample.report()
    assert (report["verdict"], report["scenarios"]) == ("error", [])


def test_module_that_cannot_be_collected(sample: Project) -> None:
    """A module that cannot be collected is an error, even if the run continues."""
    sample.write("features/test_broken.py", "1 / 0\n")
    run = sample.run("--report", "results", "-k", "keeps", "--continue-on-collection-errors")
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    report = sample.report()
    assert (report["verdict"], [record["id"] for record in report["scenarios"]]) == ("error", ["keeps"])


def test_file_stands_where_results_should_go(project: Project) -> None:
    """An unwritable folder stops the run before it begins."""
    project.write_sentences(REPORTING, SENTENCES)
    project.write("features/pure_cache/sample.feature", FEATURE)
    project.write("results", "in the way\n")
    run = project.run("--report", "results")
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    assert_said(run, "ERROR: --report: cannot write (results is no folder); name a folder that can be made")


FINALIZER = """
class Interrupted:
    def __init__(self, number):
        self.number = number

    def __del__(self):
        os.kill(os.getpid(), self.number)
        time.sleep(0.2)

@given(parsers.parse("a finalizer that gets {name}"))
def finalize(name):
    Interrupted(signal.Signals[name])
    time.sleep(30)
"""


@pytest.mark.parametrize(("name", "why"), [("SIGTERM", "stopped by SIGTERM"), ("SIGINT", "interrupted")])
def test_signal_in_a_finalizer_ends_the_run(project: Project, name: str, why: str) -> None:
    """A signal ends the run, even in a finalizer, where Python ignores exceptions."""
    project.write_sentences(REPORTING, FINALIZER)
    project.write(
        "features/pure_cache/end.feature", f"Feature: End\n  Scenario: one\n    Given a finalizer that gets {name}\n"
    )
    run = project.run("--report", "results")
    assert run.ret == pytest.ExitCode.INTERRUPTED
    assert project.report()["troubles"][0].startswith(why)


JUDGING = """
from fixtures.run.keys import DEPLOYMENT, Deployment

@given("what needs leave")
def need_leave():
    pytest.skip("it is disrupted only with --allow-disruption")

@given("what another role has")
def need_role(request):
    request.node.stash[ASKED] = False
    pytest.skip("no --broker-url is given")

def pytest_configure(config):
    nodes = {"10.0.0.1:6379": "valkey 9.1.2", "10.0.0.2:6379": "valkey 9.1.2"}
    config.stash[LEFT_OUT] = {}
    config.stash[DEPLOYMENT] = Deployment({"cache": "10.0.0.1:6379"}, frozenset({"pure_cache"}), nodes, lambda: 7)
"""
"""The plugin that makes the runs of a project judge a cache of the user."""

KEPT = """\
Feature: What is kept
  @core
  Scenario Outline: rows of <name>
    Given what holds
    And what <name>

    Examples:
      | name  |
      | holds |

    @slow
    Examples:
      | name     |
      | does not |
  Scenario: plain
    Given what holds
  @core
  Scenario: elsewhere
    Given what another role has
"""

LEAVE = """\
@core
Feature: What needs leave
  Scenario: leave
    Given what needs leave
"""


class Answer(NamedTuple):
    """The expected result of a run on a cache of the user."""

    arguments: tuple[str, ...]
    verdict: str
    counts: tuple[int, int]
    open: list[str]


NEEDS_LEAVE = "leave: 1 core scenario needs --allow-disruption"
KEPT_FILE = "features/pure_cache/kept.feature"
ANSWERS = {
    "whole": Answer((), "partial", (3, 3), [NEEDS_LEAVE]),
    "what holds": Answer(("-k", "rows or plain"), "partial", (2, 4), ["-k left out 2 scenarios, 2 of them core"]),
    "no core": Answer(("-m", "not core"), "partial", (1, 4), ["-m left out 3 scenarios, 3 of them core"]),
    "all core": Answer(
        ("-m", "core and not slow"), "partial", (2, 3), [NEEDS_LEAVE, "-m left out 1 scenario, 0 of them core"]
    ),
    "a file": Answer((KEPT_FILE,), "partial", (2, 3), ["the paths left out 1 scenario, 1 of them core"]),
    "an id": Answer((f"{KEPT_FILE}::plain",), "partial", (1, 4), ["the paths left out 3 scenarios, 3 of them core"]),
    "a file and -k": Answer(
        (KEPT_FILE, "-k", "plain"), "partial", (1, 4), ["-k and the paths left out 3 scenarios, 3 of them core"]
    ),
    "slow as well": Answer(("-m", "slow or not slow"), "refused", (4, 4), [NEEDS_LEAVE]),
}


@pytest.fixture
def judging(project: Project) -> Project:
    """Give a project that judges a user's cache, with scenarios that need permission or another role."""
    project.plugins += ["_hypothesis_pytestplugin", "fixtures.run.options"]
    project.write_sentences("from fixtures.run.keys import ASKED, LEFT_OUT", REPORTING, ENDINGS, JUDGING)
    project.write(KEPT_FILE, KEPT)
    project.write("features/pure_cache/leave.feature", LEAVE)
    return project


@pytest.mark.parametrize("name", ANSWERS)
def test_answer_of_a_part(judging: Project, name: str) -> None:
    """Only answers to all scenarios accept a deployment; missing answers are named and counted."""
    answer = ANSWERS[name]
    run = judging.run("--report", "results", *answer.arguments)
    report = judging.report()
    assert (report["verdict"], report["open"]) == (answer.verdict, answer.open), str(run.stdout)
    asked, of = answer.counts
    assert (report["judged"]["asked"], report["judged"]["of"]) == answer.counts
    part = f" of {of} asked" if asked < of else ""
    assert_said(run, f"verdict: {answer.verdict} ({asked} scenario{'' if asked == 1 else 's'}{part}")


def test_what_was_judged(judging: Project) -> None:
    """Each report and page shows the subject and the scope of the verdict."""
    judging.run("--report", "results", "-k", "rows", "--quick", "--require", "core")
    judged = judging.report()["judged"]
    assert judged == {
        "asked": 1,
        "of": 3,
        "addresses": {"cache": "10.0.0.1:6379"},
        "nodes": {"10.0.0.1:6379": "valkey 9.1.2", "10.0.0.2:6379": "valkey 9.1.2"},
        "practices": ["pure_cache"],
        "quick": True,
        "selection": {"-k": "rows", "paths": "features"},
        "options": ["--quick", "--require=core"],
        "bounds": {},
        "commands": 7,
    }
    words = [
        *("1 scenario of 3 asked", "cache 10.0.0.1:6379", "valkey 9.1.2 at 10.0.0.1:6379, 10.0.0.2:6379"),
        *("quick, -k rows", "--quick --require=core"),
    ]
    for file in ("results/index.html", "results/summary.md"):
        assert not [one for one in words if one not in judging.read(file)], judging.read(file)
    assert "partial: 1 scenario of 3 asked" in judging.read("results/badge.svg")


@pytest.mark.parametrize(
    ("until", "code", "verdict"),
    [("2999-01-31", 0, "partial (2 scenarios, 1 skipped; core: 1 core scenario skipped"), ("2020-01-31", 1, "refused")],
)
def test_waiver_of_what_could_not_be_told(project: Project, until: str, code: int, verdict: str) -> None:
    """A waiver of a skipped scenario overrides ``--require``, and the verdict stays partial."""
    project.plugins += ["_hypothesis_pytestplugin", *(f"fixtures.run.{name}" for name in ("options", "practices_file"))]
    project.plugins.append("fixtures.stacks.stack")
    cannot = '@given("a missing ability")\ndef cannot():\n    raise Unsupported("no stack can")\n'
    can = '@given("a common ability")\ndef can(): ...\n'
    project.write_sentences("from fixtures.run.keys import Unsupported", REPORTING, cannot, can)
    scenarios = "  Scenario: one\n    Given a missing ability\n  Scenario: two\n    Given a common ability\n"
    project.write("features/pure_cache/core.feature", f"@core\nFeature: A\n{scenarios}")
    project.write("practices.toml", f'[accept]\none = {{ reason = "no leave", until = {until} }}\n')
    run = project.run("--processes", "0", "--require", "core")
    assert_said(run, f"verdict: {verdict}")
    assert run.ret == code
