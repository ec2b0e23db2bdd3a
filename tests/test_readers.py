"""Test that the programs which people use read the results of a run: Prometheus, SARIF, JUnit, Cucumber, Markdown."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from junitparser import JUnitXml
from markdown_it import MarkdownIt
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from fixtures import PROJECT
from fixtures.gate.deployment_under_test import gate_environment
from fixtures.reporting import outputs
from fixtures.run.processes import ForkingGroup
from redis_practices.servers.server import BROKER, CACHE, start_server
from tests.messages import problems
from tests.project import REPORTING, Project

pytestmark = pytest.mark.slow  # `.ci/run package` runs them

ANSWER = 'an "answer" <b>of</b> a\\server | `x` [y](z) \x1b[31m ~~{0}~~'
"""What a server may answer: signs with a meaning in each format."""

SENTENCES = f"""
@given(parsers.parse("a cache of {{size:d}} keys"))
def cache(size, measure):
    measure("keys of 127.0.0.1:6379", unit="keys", seen=0)
    measure("keys of 127.0.0.1:6379", unit="keys", seen=size, bound=Bound.between(1, 90))
    measure('share of the "commands", h:1', unit="%", seen=0.1, bound=Bound.at_most(20))
    measure("kinds", unit="", seen="text")

@given("a bad answer")
def answer():
    raise AssertionError({ANSWER!r} + "\\n| KEY |\\n| a |")

@given("no answer")
def skip():
    pytest.skip({ANSWER!r})
"""

FEATURE = """\
Feature: Answers
  @cache-001
  Scenario Outline: <size> keys fit
    Given a cache of <size> keys

    Examples:
      | size |
      | 5    |
      | 95   |
      | 50   |

  @cache-002
  Scenario: answers are plain
    Given a bad answer

  @cache-003
  Scenario: answers come
    Given no answer
"""


@pytest.fixture
def answers(project: Project) -> Project:
    """Give the project of a run with failures that hold signs of each format."""
    project.write_sentences(REPORTING, SENTENCES)
    project.write("features/pure_cache/answers.feature", FEATURE)
    project.write(".git/HEAD", "ref: refs/heads/main\n")
    return project


def samples(text: str) -> dict[str, float]:
    """Return each sample of metrics.prom by its name and the values of its labels."""
    kinds = set(re.findall(r"^# TYPE \S+ (\S+)$", text, flags=re.MULTILINE))
    # https://prometheus.io/docs/instrumenting/exposition_formats: node exporter's collector refuses the other types.
    assert kinds <= {"counter", "gauge", "histogram", "summary", "untyped"}
    found = [one for family in text_string_to_metric_families(text) for one in family.samples]
    named = {" ".join([one.name, *one.labels.values()]).removeprefix("redis_practices_"): one.value for one in found}
    assert len(named) == len(found), "two samples have the same labels"
    return named


def test_metrics(answers: Project) -> None:
    """Prometheus reads verdict, promises, numbers with their bounds, and the time of a run."""
    answers.run("--report", "results")
    found = samples(answers.read("results/metrics.prom"))
    ended = found.pop("run_timestamp_seconds")
    taken = found.pop("run_duration_seconds")
    begun = json.loads(answers.read("results/report.json"))["started"]
    assert 0 < taken < 60
    assert ended == pytest.approx(datetime.fromisoformat(begun).timestamp() + taken, abs=0.01)
    rows, kept = ("5", "95", "50"), {"5": 1, "50": 1, "95": 0}
    keys, share = "keys keys 127.0.0.1:6379", 'share of the "commands" % h:1'
    assert found == {
        **{f"verdict {name}": float(name == "refused") for name in ("accepted", "partial", "refused", "error")},
        **{f"scenarios {name}": 0.0 for name in ("waived", "error")},
        "scenarios passed": 2,
        "scenarios skipped": 1,
        "scenarios failed": 2,
        **{f"promise cache-001 pure_cache {row}": kept[row] for row in rows},
        "promise cache-002 pure_cache": 0,
        **{f"measurement cache-001 pure_cache {row} {keys}": float(row) for row in rows},
        **{f"measurement_low cache-001 pure_cache {row} {keys}": 1 for row in rows},
        **{f"measurement_high cache-001 pure_cache {row} {keys}": 90 for row in rows},
        **{f"measurement cache-001 pure_cache {row} {share}": 0.1 for row in ("5", "50")},
        **{f"measurement_high cache-001 pure_cache {row} {share}": 20 for row in ("5", "50")},
    }


SCHEMA = Draft202012Validator(
    json.loads(Path(__file__).with_name("sarif").joinpath("sarif-2.1.0.json").read_text("utf-8"))
)


def sarif(file: Path) -> dict[str, Any]:
    """Return the run of a valid results.sarif, which `sarif-tools` lists with each of its results."""
    document = json.loads(file.read_text(encoding="utf-8"))
    assert not [error.message for error in SCHEMA.iter_errors(document)]
    [run] = document["runs"]
    for rule in run["tool"]["driver"]["rules"]:
        # https://docs.github.com/code-security: GitHub requires these.
        assert rule["fullDescription"]["text"]
        assert rule["help"]["text"]
    summary = subprocess.run(
        [sys.executable, "-m", "sarif", "summary", str(file)], capture_output=True, text=True, check=True
    ).stdout
    listed = {line.split()[1]: int(line.rpartition(": ")[2]) for line in summary.splitlines() if line.startswith(" - ")}
    assert listed == {one["ruleId"]: 1 for one in run["results"]}
    assert f"error: {len(run['results'])}" in summary.splitlines()
    return dict(run)


def located(run: dict[str, Any]) -> dict[str, list[str]]:
    """Return by rule the file and the line of each location, then of each related one."""
    found: dict[str, list[str]] = {}
    for result in run["results"]:
        for one in [*result["locations"], *result.get("relatedLocations", [])]:
            place = one["physicalLocation"]
            file = place["artifactLocation"]
            found.setdefault(result["ruleId"], []).append(
                f"{file['uriBaseId']}/{file['uri']}:{place['region']['startLine']}"
            )
    return found


def test_sarif_of_features(answers: Project) -> None:
    """Without a deployment under test, SARIF has each failure at its line of the features."""
    answers.run("--report", "results")
    run = sarif(answers.root / "results/results.sarif")
    feature = "%SRCROOT%/features/pure_cache/answers.feature"
    assert located(run) == {"cache-001": [f"{feature}:4"], "cache-002": [f"{feature}:14"]}
    said = {one["ruleId"]: one["message"]["text"] for one in run["results"]}
    assert said["cache-001"] == "<size> keys fit[95]: keys of 127.0.0.1:6379: seen 95 keys, bound 1 to 90 keys"
    assert said["cache-002"].startswith('answers are plain: an "answer" <b>of</b> a\\server | `x` [y] (z) \\x1b[31m')
    names = {rule["id"]: rule["shortDescription"]["text"] for rule in run["tool"]["driver"]["rules"]}
    assert names == {"cache-001": "<size> keys fit", "cache-002": "answers are plain"}


def test_homepage(answers: Project) -> None:
    """SARIF names the public address of the project, if it has one."""
    answers.run("--report", "results", "-k", "cache-002")
    written = Path(answers.root / "homepage.sarif")
    home = "https://example.com/redis-practices"
    written.write_text(outputs.sarif(json.loads(answers.read("results/report.json")), "", home), encoding="utf-8")
    assert sarif(written)["tool"]["driver"]["informationUri"] == home


def test_run_without_a_verdict(answers: Project) -> None:
    """A broken run has the verdict error in its metrics, and no SARIF: without results it would end all alerts."""
    answers.write_sentences(REPORTING, SENTENCES.replace("raise AssertionError", "raise StackError"))
    answers.run("--report", "results")
    assert (answers.root / "results/results.sarif").exists(), "another row failed"
    answers.run("--report", "results", "-k", "cache-002")
    assert not (answers.root / "results/results.sarif").exists()
    assert samples(answers.read("results/metrics.prom"))["verdict error"] == 1


def test_fingerprints(answers: Project) -> None:
    """A failure has the same fingerprint in each run; rows of one rule differ."""
    answers.write("features/pure_cache/answers.feature", FEATURE.replace("| 5 ", "| 96 "))
    seen = []
    for _ in range(2):
        answers.run("--report", "results", "--processes", "2")
        results = json.loads(answers.read("results/results.sarif"))["runs"][0]["results"]
        seen.append([one["partialFingerprints"]["primaryLocationLineHash"] for one in results])
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == 3


def test_junit(answers: Project) -> None:
    """A reader of JUnit counts the tests of junit.xml, and reads an answer with its signs."""
    answers.run("--report", "results")
    suites = JUnitXml.fromfile(str(answers.root / "results/junit.xml"))
    assert (suites.tests, suites.failures, suites.errors, suites.skipped) == (5, 2, 0, 1)
    messages = [result.message for suite in suites for case in suite for result in case.result]
    # Pytest writes its own escapes for signs that XML lacks.
    assert any(ANSWER.replace("\x1b", "#x1B") in message for message in messages), messages


def test_messages(answers: Project) -> None:
    """Each line of messages.ndjson is a message of Cucumber, which is the same after a round trip."""
    answers.run("--report", "results")
    lines = answers.read("results/messages.ndjson").splitlines()
    assert [problem for line in lines for problem in problems(line)] == []
    assert any("<b>of</b>" in line and "testStepFinished" in line for line in lines)


def texts(markdown: str) -> list[str]:
    """Return the texts of a document as a reader of Markdown shows them: those of cells, items and headings."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown)
    inner = [token.children or [] for token in tokens if token.type == "inline"]
    assert {one.type for part in inner for one in part} <= {"text", "html_inline", "softbreak", "text_special"}
    return ["".join(one.content for one in part) for part in inner]


def test_summary(answers: Project) -> None:
    """A reader of Markdown shows the answers in summary.md with all their signs, in tables and lists."""
    answers.run("--report", "results")
    shown, answer = texts(answers.read("results/summary.md")), ANSWER.replace("\x1b", "\\x1b")
    assert "❌ redis-practices: refused" in shown
    cells = shown.index("cache-002 features/pure_cache/answers.feature::answers are plain")
    assert shown[cells + 1] == answer
    assert f"1 times: {answer}" in shown
    assert "cache-001 features/pure_cache/answers.feature::<size> keys fit[95]" in shown


LONG = """
@given(parsers.parse("a long answer {number:d}"))
def answer(number):
    pytest.fail(f"{number} " + "&" * 20_000) if number % 2 else pytest.skip(f"{number} " + "&" * 20_000)
"""


def test_largest_summary(project: Project) -> None:
    """The summary of many long answers is whole Markdown that GitHub takes, and says that there is more."""
    project.write_sentences(REPORTING, LONG)
    scenarios = [f"  @core\n  Scenario: s{number}\n    Given a long answer {number}\n" for number in range(120)]
    project.write("features/pure_cache/long.feature", f"Feature: Long\n{''.join(scenarios)}")
    project.environment = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(project.root / "job.md")}
    project.run("--report", "results", "-q", "--tb=no")
    written = (project.root / "job.md").read_bytes()
    assert len(written) <= 1024**2
    assert sum(cell.startswith("features/pure_cache/long.feature::s") for cell in texts(written.decode())) == 50
    assert written.endswith(b"The rest is in report.json.\n")


@pytest.fixture
def group() -> Iterator[ForkingGroup]:
    """Give a process group for this test."""
    with ForkingGroup("redis-practices-readers") as processes:
        yield processes


class Repository:
    """A repository of a user, in which the gate runs."""

    def __init__(self, root: Path, group: ForkingGroup) -> None:
        self.root, self._group = root, group
        (root / ".git").mkdir()
        self.folder = root / "deploy"
        self.folder.mkdir()

    def judge(self, url: str, *arguments: str, **variables: str) -> tuple[int, list[str]]:
        """Judge a cache from a folder of the repository; return the exit code and the printed lines."""
        plugin = ["-c", str(PROJECT / "pyproject.toml"), "-p", "no:cacheprovider"]
        options = ["--cache-url", url, "--report", "results", "-q", "--processes", "0", *arguments]
        kept = {name: text for name, text in gate_environment().items() if not name.startswith(("REPORT", "GITHUB"))}
        environment = kept | variables | {"PYTHONPATH": os.pathsep.join(map(str, (PROJECT, PROJECT / "src")))}
        log = self._group.folder / "said"
        features = str(PROJECT / "features/pure_cache/audit.feature")
        ended = self._group.start_python("pytest", [*plugin, features, *options], log, cwd=self.folder, env=environment)
        return ended.wait(60), log.read_text(encoding="utf-8").splitlines()

    def metrics(self) -> dict[str, float]:
        """Return the samples of the last run."""
        return samples((self.folder / "results/metrics.prom").read_text(encoding="utf-8"))

    @property
    def sarif(self) -> Path:
        """The SARIF file of the last run."""
        return self.folder / "results/results.sarif"


@pytest.fixture
def repository(tmp_path: Path, group: ForkingGroup) -> Repository:
    """Give the repository of a user."""
    return Repository(tmp_path, group)


def test_refused_cache(repository: Repository, group: ForkingGroup) -> None:
    """A refused cache is located in the user's repository, with the remedy, and its numbers by server."""
    server = start_server(group, BROKER)
    code, _ = repository.judge(server.url, "-k", "cache-005 or cache-007")
    assert code == 1
    run = sarif(repository.sarif)
    assert located(run) == {
        "cache-007": ["%SRCROOT%/deploy/practices.toml:1", "REDIS_PRACTICES/features/pure_cache/audit.feature:32"]
    }
    assert run["results"][0]["message"]["text"].endswith('[bounds] maxmemory-policy = "..."')
    [rule] = run["tool"]["driver"]["rules"]
    command = "`CONFIG SET maxmemory-policy allkeys-lru`"
    assert all(rule["help"][form].startswith(f"Remedy: {command}") for form in ("text", "markdown"))
    found = repository.metrics()
    assert [found[f"promise {name} pure_cache"] for name in ("cache-005", "cache-007")] == [1, 0]
    numbers = {name.removesuffix(f" {server.address}") for name in found if name.startswith("measurement")}
    assert numbers == {f"{name} cache-005 pure_cache maxmemory" for name in ("measurement", "measurement_low")}


def test_accepted_cache(repository: Repository, group: ForkingGroup) -> None:
    """An accepted cache leaves SARIF without results, and an unreachable one no SARIF: it has no verdict."""
    server = start_server(group, CACHE)
    code, _ = repository.judge(server.url, "-k", "cache-007")
    assert code == 0
    assert sarif(repository.sarif)["results"] == []
    assert repository.metrics()["verdict partial"] == 1
    server.stop()
    code, said = repository.judge(server.url, "-k", "cache-007")
    assert code == 4, said
    assert not repository.sarif.exists()
    found = repository.metrics()
    assert [found[f"verdict {name}"] for name in ("accepted", "partial", "refused", "error")] == [0, 0, 0, 1]
    assert time.time() - found["run_timestamp_seconds"] < 60


@pytest.mark.parametrize(
    ("name", "place"),
    [("a b#1.yaml", "deploy/a%20b%231.yaml"), ("../redis.yaml", "redis.yaml"), ("not/there.tf", "deploy/not/there.tf")],
)
def test_sarif_location(repository: Repository, group: ForkingGroup, name: str, place: str) -> None:
    """``--sarif-location`` names the file of the repository at which failures are."""
    repository.judge(start_server(group, BROKER).url, "-k", "cache-007", "--sarif-location", name)
    assert located(sarif(repository.sarif))["cache-007"][0] == f"%SRCROOT%/{place}:1"


def test_practices_file_elsewhere(repository: Repository, group: ForkingGroup, tmp_path_factory: Any) -> None:
    """A ``practices.toml`` that is a link out of the repository is the location by its name."""
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "practices.toml"
    elsewhere.touch()
    (repository.folder / "practices.toml").symlink_to(elsewhere)
    code, said = repository.judge(start_server(group, BROKER).url, "-k", "cache-007")
    assert code == 1, said
    assert located(sarif(repository.sarif))["cache-007"][0] == "%SRCROOT%/deploy/practices.toml:1"


def test_sarif_location_of_the_action(repository: Repository, group: ForkingGroup) -> None:
    """The variables of the action name the file, below the workspace of the job, which may have no checkout."""
    variables = {"GITHUB_WORKSPACE": str(repository.root), "SARIF_LOCATION": "redis.yaml"}
    (repository.root / ".git").rmdir()
    repository.judge(start_server(group, BROKER).url, "-k", "cache-007", **variables)
    assert located(sarif(repository.sarif))["cache-007"][0] == "%SRCROOT%/deploy/redis.yaml:1"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        *(("../../redis.yaml", "'../../redis.yaml'"), ("/etc/redis.conf", "'/etc/redis.conf'"), (".", "'.'")),
        *(("a\nb", r"'a\nb'"), ("\x1b[31m", r"'\x1b[31m'"), ("x" * 3000, f"'{'x' * 80}'")),
    ],
)
def test_wrong_sarif_location(repository: Repository, name: str, shown: str) -> None:
    """A location that is no file of the repository ends the run before it begins, with one line."""
    code, said = repository.judge("redis://127.0.0.1:1", "--sarif-location", name)
    wrong = f"ERROR: --sarif-location: {shown} is no file of your repository; name a file below {repository.root}"
    assert (code, list(filter(None, said))) == (4, [wrong])
    assert repository.metrics()["verdict error"] == 1
