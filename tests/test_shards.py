"""Test that several judges share a run: each scenario, node and slot is asked, and what is whole is asked once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from secrets import token_hex
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from fixtures import PROJECT
from fixtures.gate.deployment_under_test import DeploymentUnderTest, gate_environment, short_id
from fixtures.gate.spoiling import configure
from fixtures.reporting.merging import Judge, join, read_judge, reports_in
from fixtures.reporting.outputs import FILES
from fixtures.run.options import DIVIDED, TOGETHER, Shard
from fixtures.stacks.external.deployments import ExternalNode
from redis_practices.cli import UsageError
from redis_practices.redis_cluster.topology import SLOTS
from tests.conftest import Once

NOWHERE = "redis://127.0.0.1:1"
ROLES = [f"--{role}-url={NOWHERE}" for role in ("cache", "cluster", "broker", "results")]
NUMBERS = (1, 2, 3, 8, 100)

JOB_OF_5 = {"JOB_COMPLETION_INDEX": "3", "JOB_COMPLETIONS": "5"}


@pytest.mark.parametrize(
    ("given", "variables", "judge"),
    [
        (None, {}, Shard(0, 1)),
        ("0/1", {}, Shard(0, 1)),
        ("7/8", {}, Shard(7, 8)),
        (None, JOB_OF_5, Shard(3, 5)),
        ("1/2", JOB_OF_5, Shard(1, 2)),
        (None, {"JOB_COMPLETIONS": "5"}, Shard(0, 1)),
    ],
)
def test_judge_is_read(given: str | None, variables: dict[str, str], judge: Shard) -> None:
    """The option comes before the variables of an Indexed Job."""
    assert Shard.read(given, variables) == judge


NO_JUDGE = "is no judge of several: write I/N, I from 0 to N - 1, like 0/8"


@pytest.mark.parametrize("text", ["8/8", "9/8", "x/y", "-1/8", "0/0", "", "1", "0/2/3", "\x1b[1m/2", "\uff11/\uff12"])
def test_wrong_judge_is_refused(text: str) -> None:
    """A judge that is none of N is refused, and so is an Indexed Job that does not tell how many judges it has."""
    with pytest.raises(UsageError, match=re.escape(f"--shard: {text!r} {NO_JUDGE}")):
        Shard.read(text, {})
    with pytest.raises(UsageError, match=re.escape("JOB_COMPLETION_INDEX/JOB_COMPLETIONS: '3/3'")):
        Shard.read(None, JOB_OF_5 | {"JOB_COMPLETIONS": "3"})
    with pytest.raises(UsageError, match="JOB_COMPLETION_INDEX is set without JOB_COMPLETIONS"):
        Shard.read(None, {"JOB_COMPLETION_INDEX": "0"})


WRONG = [
    (["--shard=8/8"], {}, f"--shard: '8/8' {NO_JUDGE}"),
    (["--shard=0/2", "--allow-disruption"], {}, "--allow-disruption with --shard: the other judges would refuse what"),
    ([], {"JOB_COMPLETION_INDEX": "0"}, "JOB_COMPLETION_INDEX is set without JOB_COMPLETIONS, the number of judges"),
    (["--shard"], {}, "argument --shard: expected one argument"),
]


@pytest.mark.slow  # each starts pytest
@pytest.mark.parametrize(("options", "variables", "said"), WRONG)
def test_wrong_judge_ends_the_run_in_one_line(options: list[str], variables: dict[str, str], said: str) -> None:
    """A wrong number ends the run before it begins, with exit code 4 and what to write."""
    command = [sys.executable, "-m", "pytest", "features", "--quick", f"--cache-url={NOWHERE}", *options]
    environment = gate_environment() | variables
    ended = subprocess.run(command, cwd=PROJECT, env=environment, check=False, capture_output=True, text=True)
    assert ended.returncode == pytest.ExitCode.USAGE_ERROR
    [line] = [line for line in ended.stderr.splitlines() if line.startswith("ERROR")]
    assert said in line
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("number", NUMBERS)
def test_each_slot_and_node_has_one_judge(number: int) -> None:
    """The ranges of slots are all slots once and nearly even; a node with any id has exactly one judge."""
    judges = [Shard(index, number) for index in range(number)]
    assert [slot for judge in judges for slot in judge.slots] == [*range(SLOTS)]
    assert {len(judge.slots) for judge in judges} <= {SLOTS // number, SLOTS // number + 1}
    nodes = [ExternalNode("", "", token_hex(20)) for _ in range(200)]
    assert Counter(node.identity for judge in judges for node in judge.nodes(nodes)) == Counter(
        node.identity for node in nodes
    )
    assert number > 8 or all(judge.nodes(nodes) for judge in judges), "a judge has none of 200 nodes"


PLUGIN = f"""
import json
from pathlib import Path
from fixtures.bdd.collector import scenario_of
from fixtures.run.options import Shard

def pytest_collection_finish(session):
    asked = {{}}
    for item in session.items:
        tags, scenario = sorted({{mark.name for mark in item.iter_markers()}}), scenario_of(item)
        judges = [[one for one in range(n) if Shard(one, n).asks(item)] for n in {NUMBERS[:-1]}]
        asked[item.nodeid] = tags, scenario.only_asks, judges
    Path("asked.json").write_text(json.dumps(asked))
"""


@pytest.mark.parametrize("options", [ROLES, []], ids=["by URL", "on own servers"])
def test_each_scenario_has_one_judge(tmp_path: Path, options: list[str]) -> None:
    """No scenario is asked by no judge, and none by two, except for those whose nodes or slots judges share."""
    (tmp_path / "asking.py").write_text(PLUGIN)
    environment = gate_environment() | {"PYTHONPATH": os.pathsep.join(map(str, (PROJECT, PROJECT / "src", tmp_path)))}
    settings = (
        "-c",
        str(PROJECT / "pyproject.toml"),
        "-p",
        "asking",
        "-m",
        "slow or not slow",
        "--workers",
        "--co",
        "-q",
    )
    command = [sys.executable, "-m", "pytest", str(PROJECT / "features"), *settings, *options]
    command = [word for word in command if options or word != "--workers"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    asked = json.loads((tmp_path / "asked.json").read_text())
    assert len(asked) > 300, "hardly any scenario was collected"
    for scenario, (tags, only_asks, judges) in asked.items():
        for number, found in zip(NUMBERS[:-1], judges, strict=True):
            if options and not DIVIDED.isdisjoint(tags):
                assert found == [*range(number)], scenario
            elif options and (only_asks or not TOGETHER.isdisjoint(tags)):
                assert found == [0], scenario
            else:
                assert len(found) == 1, scenario
    divided = [scenario for scenario, (tags, _, _) in asked.items() if not DIVIDED.isdisjoint(tags)]
    assert len(divided) >= 6 if options else divided
    judges_of_8 = Counter(judges[3][0] for tags, only_asks, judges in asked.values() if len(judges[3]) == 1)
    assert len(judges_of_8) == 8, "a judge has no scenario"


def deployed(ending: ExitStack, role: str, defect: str | None) -> DeploymentUnderTest:
    """Start a deployment whose nodes do not fail over while several judges keep this machine's processors busy."""
    gate = DeploymentUnderTest.within(ending, None)
    gate.role, gate.url = role, gate.builder.url(role, defect)
    if role == "cluster":
        configure([one for one in gate.builder.started if one.runs], {"cluster-node-timeout": 15000})
    return gate


def judged(gate: DeploymentUnderTest, folder: Path, number: int, options: str = "--quick") -> list[Path]:
    """Let several judges ask a deployment side by side, and return their reports."""

    def judge(index: int) -> Path:
        folder.joinpath(str(index)).mkdir(parents=True)
        replace(gate, report={}).judge(folder / str(index), f"{options} --shard {index}/{number}")
        return folder / str(index) / "report.json"

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(judge, range(number)))


FEW = '-k "cluster-001 or cluster-009 or cluster-039 or cluster-042 or cluster-065 or cluster-068"'
"""Scenarios of each kind: asked by the first judge alone, divided by nodes, by slots, and shared by their ids."""

NUMBER = 3


@pytest.fixture(scope="module")
def parts(once_a_run: Once) -> list[Path]:
    """Give the reports of three judges of a cluster."""

    def judge(folder: Path) -> None:
        with ExitStack() as ending:
            judged(deployed(ending, "cluster", None), folder, NUMBER, FEW)

    folder = once_a_run("parts", judge)
    return [folder / str(index) / "report.json" for index in range(NUMBER)]


Edit = Callable[[list[Any]], Any]


def on_second(*keys: str, value: Any) -> Edit:
    """Return an edit that sets a value in the report of the second judge."""

    def edit(documents: list[Any]) -> None:
        place = documents[1]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value(place[keys[-1]]) if callable(value) else value

    return edit


def twice(documents: list[Any]) -> None:
    """Give the first judge's scenarios that are no judge's but its own to the second one, too."""
    documents[1]["part"]["scenarios"] += documents[0]["part"]["scenarios"]


def without_nodes(documents: list[Any]) -> None:
    """Take the nodes of the judge that has the most; by chance another one has none of six."""
    max((one["part"] for one in documents), key=lambda part: len(part["nodes"]))["nodes"] = []


NOT_ALL: Mapping[str, tuple[Edit, str]] = {
    "missing": (lambda documents: documents.pop(1), "judge 1 of 3 is missing: run it with --shard 1/3"),
    "missing, with a failure": (
        lambda documents: (documents.pop(1), documents[0]["scenarios"][0].update(status="failed", reason="it broke")),
        "judge 1 of 3 is missing: run it with --shard 1/3",
    ),
    "double": (lambda documents: documents.append(documents[1]), "judge 1 of 3 is there twice: "),
    "unfinished": (
        on_second("part", "ended", value=False),
        "judge 1 of 3 has not ended (a scenario has no answer): run it again with --shard 1/3",
    ),
    "of another number": (on_second("part", "of", value=4), "the parts are of 3 and 4 judges"),
    "of another version": (on_second("suite", value="0.9.0"), "another version than judge 0: 0.9.0, not "),
    "of another -k": (on_second("judged", "selection", "-k", value="cluster-001"), "another selection than judge 0: "),
    "whole, not quick": (on_second("judged", "quick", value=True), "another selection than judge 0: selection quick"),
    "with another option": (on_second("judged", "options", value=["--max-ops=500"]), "options --max-ops=500, not "),
    "with other bounds": (on_second("judged", "bounds", value={"maxclients": "1"}), "bounds maxclients 1, not "),
    "with other features": (on_second("part", "selected", value="0" * 16), "judge 1 of 3 chose among other scenarios"),
    "of another address": (
        on_second("judged", "addresses", "cluster", value="10.0.0.9:6379"),
        "judge 1 of 3 has another deployment than judge 0: cluster 10.0.0.9:6379 (",
    ),
    "of another engine": (on_second("engines", "cluster", value="redis 7.0.15"), "another deployment than judge 0"),
    "of another cluster": (on_second("part", "members", value=["f" * 40]), "by the ids of its nodes: no node is the"),
    "of a cluster with another node": (
        on_second("part", "members", value=lambda known: [*known, "f" * 40]),
        "by the ids of its nodes: 1 nodes differ",
    ),
    "of another slot map": (
        on_second("part", "maps", value=["0" * 16] * 2),
        "slot map changed before or while judge 1",
    ),
    "of a map that changed": (
        on_second("part", "maps", value=lambda known: [known[0], "0" * 16]),
        "slot map changed before or while judge 1 of 3 asked: run all judges again",
    ),
    "without a map": (on_second("part", "maps", value=["", ""]), "judge 1 of 3 could not read the slot map"),
    "without its nodes": (without_nodes, "nodes are no judge's: "),
    "with a node of another": (
        on_second("part", "nodes", value=lambda own: [*own, "f" * 40]),
        "a node is that of two judges, or of none of the cluster's",
    ),
    "with other slots": (on_second("part", "slots", value=[5461, 10000]), "the slots of the judges are not the 16384"),
    "without a scenario": (on_second("part", "scenarios", value=[]), "the scenarios of the judges are not those that"),
    "with scenarios of another": (twice, " was asked by judge 0 of 3 and judge 1 of 3"),
}
"""By name, how parts are not those of one run, or not all of it, and what is said of them."""


@pytest.mark.parametrize("name", NOT_ALL)
def test_parts_of_no_run_give_no_verdict(parts: list[Path], tmp_path: Path, name: str) -> None:
    """Parts that do not add up to one run give the verdict ``error``, and the first line says which judge to ask."""
    edit, said = NOT_ALL[name]
    documents = [json.loads(path.read_text()) for path in parts]
    edit(documents)
    document, results = join(written(tmp_path, documents))
    assert document["verdict"] == "error"
    assert said in document["troubles"][0]
    assert said in results.summary()


def written(folder: Path, documents: list[Any]) -> list[Judge]:
    """Write reports below a folder, and read them as parts (UsageError)."""
    for number, document in enumerate(documents):
        (folder / str(number)).mkdir()
        (folder / str(number) / "report.json").write_text(json.dumps(document))
    return [read_judge(path) for path in reports_in([folder])]


def test_parts_are_joined_in_any_order(parts: list[Path], tmp_path: Path) -> None:
    """The report of all judges is the same in any order; an unfinished part gives way to a complete one."""
    documents = [json.loads(path.read_text()) for path in parts]
    seen = [join([Judge(path, json.loads(path.read_text())) for path in some])[0] for some in permutations(parts)]
    assert all(document == seen[0] for document in seen), "the order changes the report"
    assert (seen[0]["verdict"], seen[0]["troubles"]) == ("partial", []), "-k leaves a part of the scenarios out"
    assert seen[0]["open"] == [line for line in seen[0]["open"] if line.startswith("-k left out ")]
    assert len(seen[0]["scenarios"]) == 10
    divided = [record for record in seen[0]["scenarios"] if not DIVIDED.isdisjoint(record["tags"])]
    names = [one["name"] for record in divided for one in record["measurements"]]
    # The measurement of a judge's only primary does not name it.
    asked = [name for name in names if name.startswith("redirections")]
    named = [name for name in asked if " of " in name]
    assert len(asked) == 3, "a primary was asked by no judge, or by two"
    assert len(named) == len(set(named)), "two judges asked a node the same"
    broken = [{**documents[1], "part": {**documents[1]["part"], "ended": False}}, documents[1]]
    document, _ = join(written(tmp_path, [*broken, documents[2], documents[0]]))
    assert document == seen[0]


def test_joined_results_are_written(parts: list[Path], tmp_path: Path) -> None:
    """``merge`` writes the files of a results folder; its exit code is that of the verdict, also for a part of them."""
    command = [sys.executable, "-m", "redis_practices", "merge"]
    environment = gate_environment() | {"PYTHONPATH": str(PROJECT / "src")}

    def merge(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *map(str, words)], cwd=tmp_path, env=environment, check=False, capture_output=True, text=True
        )

    ended = merge(parts[0].parents[1], "--report", "whole")
    assert ended.returncode == 0, ended.stderr
    assert re.fullmatch(r"verdict: partial \(10 scenarios of \d+ asked; -k .* — whole/report.json\n", ended.stdout)
    assert {path.name for path in (tmp_path / "whole").iterdir()} == {*FILES}
    [suite] = ET.parse(tmp_path / "whole/junit.xml").getroot()  # noqa: S314 - of this test
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("10", "0")
    assert "judges: 3 of 3" in (tmp_path / "whole/summary.md").read_text()
    ended = merge(*(path.parent for path in parts[1:]), "--report", "whole")
    assert (ended.returncode, ended.stderr) == (2, "")
    assert ended.stdout.splitlines()[0] == "error: judge 0 of 3 is missing: run it with --shard 0/3"
    document = json.loads((tmp_path / "whole/report.json").read_text())
    assert document["verdict"] == "error"
    assert all(line.startswith("the missing parts left out ") for line in document["open"])
    assert not (tmp_path / "whole/results.sarif").exists()


WRONG_PARTS = {
    "no part": ([], "the following arguments are required: PART (see --help)"),
    "no folder": (["none"], "'none' has no report.json: name the results folder of a judge (--shard I/N)"),
    "no JSON": (["text"], "'text' is no report as this suite writes it"),
    "no report": (["list.json"], "'list.json' is no report as this suite writes it"),
    "half a report": (["half.json"], "a part is no report as this suite writes it (KeyError): "),
    "no shard": (["plain.json"], "'plain.json' is the report of a run without --shard I/N: it broke"),
    "the folder of a part": (["part", "--report", "part"], "--report is the folder of a part: name another one"),
    "a URL": (["redis://u:s3cret@h"], "merge takes no URL (see --help)"),
}


@pytest.mark.slow  # each starts the command twice
@pytest.mark.parametrize("name", WRONG_PARTS)
def test_wrong_part_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    """A part that cannot be read ends the command with one line and exit code 4."""
    words, said = WRONG_PARTS[name]
    part = {"part": {"index": 0, "of": 1, "ended": True}}
    for file, text in {
        "text": "x\x1b[1m",
        "list.json": "[]",
        "half.json": json.dumps(part),
        "plain.json": json.dumps({"troubles": ["it broke"]}),
        "part/report.json": json.dumps(part),
    }.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text)
    command = [sys.executable, "-m", "redis_practices", "merge", *words]
    environment = gate_environment() | {"PYTHONPATH": str(PROJECT / "src")}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (4, "")
    [line] = ended.stderr.splitlines()
    assert said in line


DEPLOYMENTS: Sequence[tuple[str, str | None, str, str]] = [
    ("cache", "no memory limit", "cache-005", "maxmemory"),
    ("cache", "small buffers for clients", "cache-125", "normal"),
    ("cache", "a ttl is dropped", "cache-029", "reported ttl"),
    ("cache", "values are cut at 64 KiB", "cache-023[65537]", "bytes changed"),
    ("cache", None, "", ""),
    ("broker", "tasks are evicted", "celery-001", "allkeys-lru"),
    ("broker", "transactions are refused", "celery-028", "EXEC without MULTI"),
    ("broker", "idle workers are cut off", "celery-010", "timeout"),
    ("broker", None, "", ""),
    ("cluster", "no replicas", "cluster-003", "seen 0"),
    ("cluster", "a dead replica", "cluster-003", "failed nodes"),
    ("cluster", "an open slot", "cluster-007", "open slots"),
    ("cluster", "a slot without owner", "cluster-029", "16383"),
    ("cluster", "one node with another memory limit", "cluster-050", "maxmemory"),
    ("cluster", "redirections lead nowhere", "cluster-065", "127.0.0.1:1"),
    ("cluster", "one node that stalls", "cluster-100", "late answers"),
    ("cluster", "a key in a slot of another primary", "cluster-113", "unreachable keys"),
    ("cluster", "one shard without ttls", "cluster-116", "reported ttl"),
    ("cluster", "a condition is dropped", "cluster-017", "locks granted"),
    ("cluster", None, "", ""),
]
"""Deployments: role and defect, with the scenario that fails and words of its cause; or healthy ones."""


@pytest.mark.slow
@pytest.mark.parametrize(("role", "defect", "scenario", "cause"), DEPLOYMENTS)
def test_eight_judges_refuse_as_one(tmp_path: Path, role: str, defect: str | None, scenario: str, cause: str) -> None:
    """Eight judges together give the verdict of one, for the same promises, with the cause."""
    with ExitStack() as ending:
        gate = deployed(ending, role, defect)
        tmp_path.joinpath("one").mkdir()
        gate.judge(tmp_path / "one", "--quick")
        document, _ = join([read_judge(path) for path in judged(gate, tmp_path / "eight", 8)])
    assert document["verdict"] == ("refused" if defect else "accepted"), document["troubles"]

    def refused(report: Any) -> dict[str, str]:
        return {short_id(one): one["id"] for one in report["scenarios"] if one["status"] == "failed"}

    whole: Any = document
    assert (whole["verdict"], refused(whole)) == (gate.report["verdict"], refused(gate.report))
    assert {one["id"] for one in whole["scenarios"]} == {one["id"] for one in gate.report["scenarios"]}
    causes = [one["reason"] or "" for one in whole["scenarios"] if short_id(one) == scenario]
    assert all(cause in text for text in causes)
    assert bool(causes) is bool(defect)
