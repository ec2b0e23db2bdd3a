"""Test that a Python that is too old ends the scripts and the action with one line."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from fixtures import PROJECT

NEEDED = "Python 3.11 or newer is needed"


@pytest.fixture(scope="module")
def old_python() -> str:
    """Give a Python before 3.11 of this machine, as in PATH or of pyenv."""
    installed = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/3.*/bin/python3")
    named = filter(None, map(shutil.which, ("python3.10", "python3.9")))
    for python in (*named, *map(str, sorted(installed, reverse=True))):
        asked = subprocess.run([python, "--version"], capture_output=True, text=True, check=False)
        if asked.stdout.startswith(("Python 3.10.", "Python 3.9.")):
            return python
    pytest.skip("there is no Python 3.9 or 3.10 here")


SCRIPTS = sorted(path.name for path in PROJECT.glob("src/*.py") if path.name != "worker.py")


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_says_which_python_it_needs(old_python: str, script: str) -> None:
    """A script ends with one line, although neither redis-py nor Celery is installed."""
    ended = subprocess.run([old_python, f"src/{script}"], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    [line] = ended.stderr.splitlines()
    assert line.startswith(f"{NEEDED}; this is 3.")


def test_action_says_which_python_it_needs(old_python: str, tmp_path: Path) -> None:
    """The action ends with one line before it installs anything."""
    (tmp_path / "python3").symlink_to(old_python)
    step = yaml.safe_load((PROJECT / "action.yml").read_text(encoding="utf-8"))["runs"]["steps"][0]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "VENV": str(tmp_path / "venv"), "ACTION": str(PROJECT)}
    command = [shutil.which("bash") or "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", f"{NEEDED}\n")
    assert not (tmp_path / "venv").exists()
