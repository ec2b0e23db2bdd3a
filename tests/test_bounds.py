"""Test that docs/bounds.md lists each bound that practices.toml may change, and that a change has an effect.

``PYTHONPATH=src python -m tests.test_bounds`` prints the document.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from itertools import groupby
from pathlib import Path

import pytest

from fixtures import PROJECT
from fixtures.bdd.collector import REMEDY
from fixtures.bdd.gherkin import id_of
from fixtures.bdd.vocabulary import ScenarioTemplate, definitions_in, definitions_of
from fixtures.gate.deployment_under_test import gate_environment
from fixtures.run.practices_file import Changeable, changeables
from steps.common.vocabulary import at_most, bound, choices, most, name_pattern, releases
from suite import PLUGINS

DOCUMENT = PROJECT / "docs" / "bounds.md"
HEAD = """\
# Bounds that `practices.toml` may change

[acceptance.md](acceptance.md) says how. A value has the form of the default, and its unit. The list is made from the
features; a bound that is not in it cannot be changed.
"""


def document(bounds: Iterable[Changeable]) -> Iterator[str]:
    """Yield the lines of the document, with a table for each feature."""
    yield from HEAD.splitlines()
    for (role, file), of_feature in groupby(bounds, key=lambda one: (one.role, feature_of(one.scenario))):
        yield from ("", f"## {role.capitalize()}: [{Path(file).stem}](../{file})", "")
        yield from ("| bound | default | scenario | reason |", "|---|---|---|---|")
        for one in of_feature:
            name = " ".join(filter(None, (id_of(one.scenario.tags), one.scenario.name)))
            cells = (f"`{one.name}`", f"`{one.default}`", name, reason(one.scenario))
            yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def feature_of(scenario: ScenarioTemplate) -> str:
    """Return the file of a scenario, relative to the project's root."""
    return Path(scenario.feature.filename).relative_to(PROJECT).as_posix()


def reason(scenario: ScenarioTemplate) -> str:
    """Return the reason for a bound: the description of the scenario or its rule, or the rule itself."""
    rule = scenario.rule
    found = (scenario.description, rule and rule.description, rule and f"{rule.name}.", scenario.feature.description)
    return next(filter(None, (" ".join((text or "").partition(REMEDY)[0].split()) for text in found)))


def test_document_is_current(pytestconfig: pytest.Config) -> None:
    """docs/bounds.md lists every bound in the features, and no other."""
    lines = document(changeables(PROJECT, definitions_of(pytestconfig)))
    assert DOCUMENT.read_text(encoding="utf-8").splitlines() == list(lines)


IMPOSSIBLE: dict[Callable[[str], object], str] = {
    at_most: "at most 0",
    bound: "exactly 987654321",
    choices: "none-of-them",
    name_pattern: "unlike:any",
    releases: "99.0",
}
"""By the kind of bound, a value that no server satisfies."""


@pytest.mark.slow
@pytest.mark.parametrize("place", range(3))
def test_each_bound_is_in_force(pytestconfig: pytest.Config, tmp_path: Path, place: int) -> None:
    """A scenario with an impossible bound fails, and its message shows that bound."""
    wanted = {}
    for _, found in groupby(changeables(PROJECT, definitions_of(pytestconfig)), key=lambda one: one.scenario):
        # The limits of a detector need a worker with the defect: see test_worker_defects.py.
        for one in [one for one in found if one.reads is not most][place : place + 1]:
            wanted[one] = IMPOSSIBLE[one.reads] + " %" * one.default.endswith("%")
    lines = [f'[bounds.{one.role}]\n{one.name} = "{text}"' for one, text in wanted.items()]
    headers = {role: [line.partition("\n")[2] for line in lines if line.startswith(role)] for role in roles(lines)}
    written = "\n".join("\n".join([role, *below]) for role, below in headers.items())
    (tmp_path / "practices.toml").write_text(written, encoding="utf-8")
    files = sorted({str(PROJECT / feature_of(one.scenario)) for one in wanted})
    command = [sys.executable, "-m", "pytest", f"--rootdir={PROJECT}", "-c", str(PROJECT / "pyproject.toml")]
    command += ["--stack=embedded", "--processes", "2", "-m", "not disruptive", "--report", "results", *files]
    subprocess.run(command, cwd=tmp_path, env=gate_environment(), capture_output=True, timeout=120, check=False)
    report = json.loads((tmp_path / "results" / "report.json").read_text(encoding="utf-8"))
    ended = {record["id"]: record for record in report["scenarios"]}
    for one, text in wanted.items():
        record = ended[f"{feature_of(one.scenario)}::{one.scenario.name}"]
        if one.reads is not releases:  # a run does not judge the version of the engine that it starts
            assert record["status"] == "failed", f"{one.role} {one.name}: {record['status']} {record['reason']}"
            shown = text.replace("exactly", "==").partition(" %")[0]
            assert shown in record["reason"], record["reason"]
            assert record["evidence"], f"no log and no configuration of the {one.role} was kept"


def roles(lines: list[str]) -> list[str]:
    """Return the roles in the headers of sections, without repeats."""
    return list(dict.fromkeys(line.partition("\n")[0] for line in lines))


if __name__ == "__main__":
    print(*document(changeables(PROJECT, definitions_in(map(import_module, PLUGINS)))), sep="\n")
