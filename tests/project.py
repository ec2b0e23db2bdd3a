"""Run a real pytest on a small project of features and sentences."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from fixtures import PROJECT
from fixtures.run.processes import ForkingGroup

SETTINGS = """\
[pytest]
strict = true
testpaths = ["features"]
addopts = ["--tb", "short"]
markers = ["core: ", "slow: ", "pure_cache: "]
"""

IMPORTS = "import os, pytest, signal, sys, time\nfrom pytest_bdd import given, parsers, then, when\n"

REPORTING = """\
from fixtures.reporting.measurements import Bound, Chart, Measure
from fixtures.run.keys import StackError

pytest_plugins = ["fixtures.reporting.plugin"]

@pytest.fixture
def measure(request):
    return Measure(request.node)

@pytest.fixture
def chart(request):
    return Chart(request.node)
"""
"""The sentences of a project whose runs write a report and show a verdict."""


class Project:
    """A folder with features, sentences and settings; pytest runs in a process of `group`."""

    def __init__(self, root: Path, group: ForkingGroup) -> None:
        self.root, self._group = root, group
        self.plugins = ["pytest_bdd.plugin", "fixtures.bdd.collector"]
        self.environment: dict[str, str] = {}
        """Additional environment variables of pytest."""
        self.write("pytest.toml", SETTINGS)

    def read(self, name: str) -> str:
        """Return the text of a file."""
        return (self.root / name).read_text(encoding="utf-8")

    def write(self, name: str, text: str) -> None:
        """Write a file and the folders above it."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def write_sentences(self, *parts: str) -> None:
        """Write the step definitions."""
        self.write("conftest.py", "\n".join([IMPORTS, *parts]))

    def write_changed(self, name: str, copy: str, line: str, changed_to: str) -> None:
        """Write a copy of a file with the one line that reads `line` replaced by others of the same indent."""
        lines = self.read(name).splitlines()
        [found] = [number for number, text in enumerate(lines) if text.strip() == line]
        indent = lines[found][: -len(line)]
        lines[found : found + 1] = [f"{indent}{text}" for text in changed_to.splitlines()]
        self.write(copy, "\n".join(lines))

    def report(self, name: str = "results/report.json") -> dict[str, Any]:
        """Return a report with scenario names in place of ids."""
        report: dict[str, Any] = json.loads(self.read(name))
        for record in report["scenarios"]:
            record["id"] = record["id"].partition("::")[2]
        return report

    def junit(self, name: str = "results/junit.xml") -> list[ET.Element]:
        """Return the tests in a JUnit file."""
        return list(ET.fromstring(self.read(name)).iter("testcase"))  # noqa: S314 - pytest has just written it

    def run(self, *arguments: str) -> pytest.RunResult:
        """Run pytest with `self.plugins`, and the runner for ``--processes`` (TimeoutExpired after 60 seconds)."""
        runner = ["fixtures.run.runner"] if "--processes" in arguments and "suite" not in self.plugins else []
        loaded = [part for plugin in [*self.plugins, *runner] for part in ("-p", plugin)]
        # This run's options and the variables of pytest must not reach the child process.
        others = ("PYTEST_", "GITHUB_", "REPORT")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        environment |= self.environment
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        environment["PYTHONPATH"] = os.pathsep.join(map(str, (self.root, PROJECT, PROJECT / "src")))
        log = self._group.folder / f"{self.root.name}.log"
        log.unlink(missing_ok=True)
        options = [*loaded, "-rpf", "--color=no", *arguments]
        code = self._group.start_python("pytest", options, log, cwd=self.root, env=environment).wait(60)
        return pytest.RunResult(code, log.read_text(encoding="utf-8").splitlines(), [], 0.0)


def assert_said(run: pytest.RunResult, text: str) -> None:
    """Require that pytest printed each line of a text, in this order."""
    said = iter(run.outlines)
    for wanted in filter(None, map(str.strip, text.splitlines())):
        assert any(wanted in line for line in said), f"not said, or not in this order: {wanted}\n{run.stdout}"


def names_run(run: pytest.RunResult) -> list[str]:
    """Return the names of the executed scenarios, sorted."""
    ended = [line for line in run.outlines if line.startswith(("PASSED ", "FAILED "))]
    return sorted(line.partition("::")[2].partition(" - ")[0] for line in ended)


def outcomes(tests: list[ET.Element]) -> set[tuple[str, ...]]:
    """Return class and name of each test in a JUnit file, with the first line of its failure."""
    names = {test: (test.get("classname", ""), test.get("name", "")) for test in tests}
    failures = {test: [one.get("message", "").splitlines()[0] for one in test.iter("failure")] for test in tests}
    return {(*names[test], *failures[test]) for test in tests}
