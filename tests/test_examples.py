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
from redis_practices.cli import COMMAND

FEATURES = "features/"
"""The word before the arguments of pytest."""

DOCUMENTS = ("README.md", "docs/acceptance.md", "docs/ci.md")


def shown_in(document: str) -> list[list[str]]:
    """Return the arguments of pytest in a document's commands that judge a deployment."""
    blocks = re.findall(r"^```sh\n(.*?)^```", _text(document), re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    commands = [shlex.split(line, comments=True) for line in lines]
    # The image has the name of the command that it runs.
    by_image = [words[words.index(COMMAND) + 1 :] for words in commands if words[:2] == ["docker", "run"]]
    by_pytest = [words[words.index(FEATURES) + 1 :] for words in commands if _has_url(words)]
    return [*map(of_pytest, by_image), *by_pytest]


def of_pytest(arguments: list[str]) -> list[str]:
    """Return the arguments of pytest for those of the command, whose default is --quick."""
    return [one for one in arguments if one != "--whole"] + ["--quick"] * ("--whole" not in arguments)


def _has_url(words: list[str]) -> bool:
    """Tell whether the arguments name a deployment."""
    return FEATURES in words and any(word.endswith("-url") for word in words)


def without_place(arguments: list[str]) -> tuple[str, ...]:
    """Return arguments without addresses, without options that need one, and without the results folder."""
    places = [*(f"--{role}-url" for role in ROLES), "--max-ops", "--report", "-p"]
    kept = [word for word, before in zip(arguments, ["", *arguments], strict=False) if not {word, before} & {*places}]
    return tuple(kept)


def _text(name: str) -> str:
    """Read a file of the project."""
    return (PROJECT / name).read_text(encoding="utf-8")


def _data(name: str) -> Any:
    """Read a YAML file."""
    return yaml.safe_load(_text(name))


def arguments_of_image() -> dict[str, list[str]]:
    """Return the arguments of the command by the file that runs the image."""
    inputs = yaml.safe_load(_text("templates/accept.yml").split("\n---\n")[0])["spec"]["inputs"]
    found = {"templates/accept.yml": shlex.split(inputs["arguments"]["default"])}
    for name in ("examples/kubernetes.yaml", "examples/kubernetes-judges.yaml"):
        [container] = list(yaml.safe_load_all(_text(name)))[-1]["spec"]["template"]["spec"]["containers"]
        found[name] = container["args"]
    found["charts/redis-practices/values.yaml"] = _data("charts/redis-practices/values.yaml")["arguments"]
    return found


def all_commands() -> dict[str, list[tuple[str, ...]]]:
    """Return, by file, the arguments of pytest in commands that judge a deployment."""
    found = {name: [without_place(one) for one in shown_in(name)] for name in DOCUMENTS}
    given = _data("examples/github.yml")["jobs"]["accept"]["steps"][-1]["with"]
    arguments = given.get("arguments", _data("action.yml")["inputs"]["arguments"]["default"])
    found["examples/github.yml"] = [(*shlex.split(arguments), "--require", given["require"])]
    found |= {name: [without_place(of_pytest(arguments))] for name, arguments in arguments_of_image().items()}
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


@pytest.mark.parametrize("name", arguments_of_image())
def test_arguments_of_the_image_exist(name: str) -> None:
    """The command of the image accepts the arguments and selects scenarios."""
    command = [sys.executable, "-m", "redis_practices", *arguments_of_image()[name], "--cache-url", "redis://a.invalid"]
    command += ["--", "--collect-only", "-q"]
    environment = {**gate_environment(), "PYTHONPATH": str(PROJECT / "src")}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
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
