"""Test that a run imports no conftest.py of the folder of its user.

pytest takes the value of an unknown option for the path of a test, and imports each conftest.py above it. So the
options are known from the start: pyproject.toml names suite.py as a plugin.
"""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures import PROJECT
from fixtures.gate.commands import CHECKOUT
from fixtures.gate.deployment_under_test import gate_environment
from redis_practices.servers import CACHE, ProcessGroup, start_server

FEATURE = "features/pure_cache/audit.feature"
TRAP = "raise RuntimeError('a conftest.py of the user is imported')\n"
OPTIONS = [["--report", "results"], ["--baseline", "old/report.json"]]


def write_results(folder: Path) -> None:
    """Write the folders that the options name, as after an earlier run, with traps."""
    for name in ("results", "old"):
        (folder / name).mkdir(parents=True)
        (folder / name / "conftest.py").write_text(TRAP, encoding="utf-8")
    (folder / "old" / "report.json").write_text("{}", encoding="utf-8")


def collected(folder: Path, *arguments: str) -> str:
    """Let pytest collect in a folder, and return its output (AssertionError if it fails)."""
    command = [sys.executable, "-m", "pytest", *arguments, "--collect-only", "-q"]
    ended = subprocess.run(
        command, cwd=folder, env=gate_environment(), check=False, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == pytest.ExitCode.OK, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_folder_of_a_user(tmp_path: Path, options: list[str]) -> None:
    """In a folder with a conftest.py, a run of the checkout's features collects them."""
    write_results(tmp_path)
    (tmp_path / "conftest.py").write_text(TRAP, encoding="utf-8")
    said = collected(tmp_path, "-c", str(PROJECT / "pyproject.toml"), str(PROJECT / FEATURE), *options)
    assert "the cache has a memory limit" in said


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_checkout(tmp_path: Path, options: list[str]) -> None:
    """In a checkout with results, options before the features collect them."""
    write_results(tmp_path)
    for name in CHECKOUT.split():
        copy: Any = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy
        copy(PROJECT / name, tmp_path / name)
    assert "the cache has a memory limit" in collected(tmp_path, *options, FEATURE)


def test_action(tmp_path: Path) -> None:
    """The action judges in a workspace of traps, and compares with its first report there."""
    action = yaml.safe_load((PROJECT / "action.yml").read_text(encoding="utf-8"))
    [step] = [one for one in action["runs"]["steps"] if one.get("id") == "accept"]
    run_action = runpy.run_path(str(PROJECT / ".ci" / "run_action.py"))
    workspace, output, traps = (tmp_path / name for name in ("workspace", "output", "traps"))
    write_results(workspace)
    run_action["set_traps"](workspace, traps)
    (tmp_path / "redis-practices").symlink_to(sys.prefix)  # as if the step before had installed it
    known = {f"inputs.{name}": str(said["default"]) for name, said in action["inputs"].items()}
    known |= {"github.action_path": str(PROJECT), "runner.temp": str(tmp_path), "inputs.report": "results"}
    with ProcessGroup() as group:
        known["inputs.cache-url"] = f"redis://127.0.0.1:{start_server(group, CACHE).port}"
        for more in ("", " --baseline old/report.json"):
            known["inputs.arguments"] = f"--quick -k cache-126{more}"
            assert run_action["run_step"](step, known, workspace, output) == 0
            (workspace / "results" / "report.json").replace(workspace / "old" / "report.json")
    assert output.read_text(encoding="utf-8") == "verdict=partial\n" * 2
    assert not traps.exists(), traps.read_text(encoding="utf-8")
