"""Run the shell steps of action.yml as GitHub's runner does: ``run_action.py WORKSPACE INPUT=VALUE …``.

Prints the action's outputs and exits with the code of the first failing step. A step that uses another action is named
and left out.

The action holds passwords, and a pull request may add files to the workspace. So the workspace gets a trap for each
module that Python could import and for each settings file of pytest. An import of a trap fails the program.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]


def filled_in(text: str, known: dict[str, str]) -> str:
    """Replace each ``${{ expression }}`` by its known value (KeyError)."""
    return re.sub(r"\$\{\{\s*(.*?)\s*\}\}", lambda found: known[found[1]], text)


def run_step(step: dict[str, Any], known: dict[str, str], workspace: Path, output: Path) -> int:
    """Run one step in a shell and return its exit code."""
    if "uses" in step:
        print(f"(not run here: {step['name']}, {step['uses']})")
        return 0
    assert step["shell"] == "bash", "GitHub refuses a composite step without a shell"
    assert "${{" not in step["run"], "an input of the user must not become part of a script"
    given = {name: filled_in(str(value), known) for name, value in step.get("env", {}).items()}
    environment = {**os.environ, **given, "GITHUB_OUTPUT": str(output), "GITHUB_WORKSPACE": str(workspace)}
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(shell, cwd=workspace, env=environment, check=False).returncode


TRAP = "with open({log!r}, 'a') as log:\n    print(__name__, {name!r}, file=log)\n"
MODULES = ("conftest", "sitecustomize", "usercustomize", "pip", "pytest", "redis", "celery", "celeryconfig", "xdist")
SETTINGS = ("pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg", "pytest.toml", "pyproject.toml")


def set_traps(workspace: Path, log: Path) -> None:
    """Write modules that log their import, and settings with an option unknown to pytest."""
    for name in (*sys.stdlib_module_names, *MODULES):
        workspace.joinpath(f"{name}.py").write_text(TRAP.format(log=str(log), name=name), encoding="utf-8")
    for name in SETTINGS:
        section = {"setup.cfg": "tool:pytest", "pyproject.toml": "tool.pytest.ini_options"}.get(name, "pytest")
        option = '["--of-the-workspace"]' if name.endswith("toml") else "--of-the-workspace"
        workspace.joinpath(name).write_text(f"[{section}]\naddopts = {option}\n", encoding="utf-8")


def main(workspace: str, *inputs: str) -> int:
    """Run the action on `inputs` and return its exit code."""
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    given = dict(text.split("=", 1) for text in inputs)
    assert given.keys() <= action["inputs"].keys(), f"the action knows {', '.join(action['inputs'])}"
    with tempfile.TemporaryDirectory() as folder:
        known = {"github.action_path": str(ROOT), "runner.temp": folder}
        known |= {f"inputs.{name}": given.get(name, said["default"]) for name, said in action["inputs"].items()}
        output = Path(folder, "output")
        output.touch()
        codes: list[int] = []
        traps = Path(folder, "traps")
        set_traps(Path(workspace), traps)
        for step in action["runs"]["steps"]:
            if not any(codes) or step.get("if") == "always()":
                codes.append(run_step(step, known, Path(workspace), output))
        print(output.read_text(encoding="utf-8"), end="")
        if traps.exists():
            print(f"imported from the workspace:\n{traps.read_text(encoding='utf-8')}", file=sys.stderr)
            return 1
    return next(filter(None, codes), 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
