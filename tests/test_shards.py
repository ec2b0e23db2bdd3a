"""Test that several judges share a run: each scenario, node and slot is asked, and what is whole is asked once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from secrets import token_hex

import pytest

from fixtures import PROJECT
from fixtures.gate.deployment_under_test import gate_environment
from fixtures.run.options import DIVIDED, TOGETHER, Shard
from fixtures.stacks.external.deployments import ExternalNode
from redis_practices.cli import UsageError
from redis_practices.redis_cluster.topology import SLOTS

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


PLUGIN = f"""
import json
from pathlib import Path
from fixtures.bdd.collector import scenario_of
from fixtures.run.options import Shard

def pytest_collection_finish(session):
    asked = {{}}
    for item in session.items:
        tags, scenario = sorted({{mark.name for mark in item.iter_markers()}}), scenario_of(item)
        judges = [[one for one in range(n) if Shard(one, n).asks(item)] for n in {NUMBERS}]
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
        for number, found in zip(NUMBERS, judges, strict=True):
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
