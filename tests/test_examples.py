"""Test that pytest accepts the commands in docs and examples, and that each accepts a single role."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures import PROJECT
from fixtures.gate.deployment_under_test import DeploymentUnderTest, gate_environment
from fixtures.run.options import ROLES

IMAGE, FEATURES = "redis-practices-gate", "features/"
"""The words before the arguments of a command: the image that runs pytest, or the folder."""

DOCUMENTS = ("README.md", "docs/acceptance.md", "docs/ci.md")


def shown_in(document: str) -> list[list[str]]:
    """Return the arguments of pytest in a document's commands that judge a deployment."""
    blocks = re.findall(
        r"^```sh\n(.*?)^```", (PROJECT / document).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    commands = [shlex.split(line, comments=True) for line in lines]
    judging = [words for words in commands if ("docker" in words[:1] and "run" in words) or _has_url(words)]
    return [words[words.index(IMAGE if IMAGE in words else FEATURES) + 1 :] for words in judging]


def _has_url(words: list[str]) -> bool:
    """Tell whether the arguments name a deployment."""
    return FEATURES in words and any(word.endswith("-url") for word in words)


def without_place(arguments: list[str]) -> tuple[str, ...]:
    """Return arguments without addresses and without the results folder."""
    places = [*(f"--{role}-url" for role in ROLES), "--report", "-p"]
    kept = [word for word, before in zip(arguments, ["", *arguments], strict=False) if not {word, before} & {*places}]
    return tuple(kept)


def _data(name: str) -> Any:
    """Read a YAML file."""
    return yaml.safe_load((PROJECT / name).read_text(encoding="utf-8"))


def all_commands() -> dict[str, list[tuple[str, ...]]]:
    """Return, by file, the arguments of pytest in commands that judge a deployment."""
    found = {name: [without_place(one) for one in shown_in(name)] for name in DOCUMENTS}
    given = _data("examples/github.yml")["jobs"]["accept"]["steps"][-1]["with"]
    arguments = given.get("arguments", _data("action.yml")["inputs"]["arguments"]["default"])
    found["examples/github.yml"] = [(*shlex.split(arguments), "--require", given["require"])]
    words = shlex.split(_data("examples/gitlab.yml")["accept-redis"]["script"][-1])
    found["examples/gitlab.yml"] = [without_place(words[words.index(FEATURES) + 1 :])]
    [container] = _data("examples/kubernetes.yaml")["spec"]["template"]["spec"]["containers"]
    found["examples/kubernetes.yaml"] = [tuple(container["args"])]
    found["charts/redis-practices/values.yaml"] = [tuple(_data("charts/redis-practices/values.yaml")["arguments"])]
    return found


COMMANDS = all_commands()
UNIQUE = sorted({one for shown in COMMANDS.values() for one in shown})


def test_each_file_shows_a_quick_command() -> None:
    """Each document and example has a command for a verdict in seconds."""
    assert [name for name, shown in COMMANDS.items() if not any("--quick" in one for one in shown)] == []


@pytest.mark.parametrize(
    "arguments", [*(pytest.param(one, marks=pytest.mark.slow) for one in UNIQUE[:-1]), UNIQUE[-1]], ids=" ".join
)
def test_arguments_exist(arguments: tuple[str, ...]) -> None:
    """Pytest accepts the arguments and selects scenarios."""
    command = [sys.executable, "-m", "pytest", "features/pure_cache/audit.feature", *arguments, "--collect-only", "-q"]
    ended = subprocess.run(command, cwd=PROJECT, env=gate_environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == pytest.ExitCode.OK, ended.stdout + ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("arguments", [one for one in UNIQUE if "--quick" in one], ids=" ".join)
def test_quick_command_accepts_one_role(tmp_path: Path, arguments: tuple[str, ...], role: str) -> None:
    """Each command accepts a healthy deployment of one role."""
    with ExitStack() as ending:
        gate = DeploymentUnderTest.within(ending, None)
        gate.role, gate.url = role, gate.builder.url(role, None)
        gate.judge(tmp_path, shlex.join(arguments))
    assert gate.report["verdict"] == "accepted", gate.said
