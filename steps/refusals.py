"""The sentences about the gate's judgement of deployments that are well but for one thing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pytest_bdd import given, parsers, then, when

from fixtures.defects import Builder
from processes import ProcessGroup
from server_binary import server_binary

PROJECT = Path(__file__).parent.parent
PRACTICES = {"cache": "pure_cache", "broker": "celery_worker", "cluster": "redis_cluster"}

CHOSEN = {True: "(core or audit) and not disruptive and not slow and not waits", False: "audit and not slow"}
"""What a healthy deployment must pass, and what sees every defect of the catalogue within seconds."""


@dataclass
class Judged:
    """A deployment under judgement, and the report about it."""

    builder: Builder
    role: str = ""
    url: str = ""
    healthy: bool = False
    report: dict[str, Any] = field(default_factory=dict)
    said: str = ""

    def failed(self) -> dict[str, str]:
        """Return the reason of each scenario that failed, by its name."""
        return {
            scenario["id"].rpartition("::")[2]: scenario["reason"]
            for scenario in self.report["scenarios"]
            if scenario["status"] == "failed"
        }


@pytest.fixture
def judged(request: pytest.FixtureRequest) -> Iterator[Judged]:
    """Give what builds deployments for one scenario; they end with it."""
    with ProcessGroup() as group, ExitStack() as ending:
        yield Judged(Builder(group, ending, server_binary(request.config.option.server_binary)))


@given(parsers.parse("a healthy {role:w}"))
def have_healthy(judged: Judged, role: str) -> None:
    """Start a deployment that is well."""
    judged.role, judged.url, judged.healthy = role, judged.builder.url(role, None), True


@given(parsers.parse('a {role:w} with the defect "{defect}"'))
def have_defect(judged: Judged, role: str, defect: str) -> None:
    """Start a deployment that is well but for one thing."""
    judged.role, judged.url = role, judged.builder.url(role, defect)


@when("the gate judges it")
def judge(judged: Judged, tmp_path: Path) -> None:
    """Run the audits of its practice on it as on somebody's deployment, in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", f"features/{PRACTICES[judged.role]}", "-m", CHOSEN[judged.healthy]]
    options = [f"--{judged.role}-url", judged.url, "--report", str(tmp_path), "-n", "0", "-p", "no:cacheprovider"]
    ended = subprocess.run(
        command + options, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    judged.said = f"{ended.stdout}\n{ended.stderr}"
    judged.report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))


@then(parsers.parse('its judgement is "{verdict}"'))
def check_verdict(judged: Judged, verdict: str) -> None:
    """Compare the verdict."""
    assert judged.report["verdict"] == verdict, f"{judged.report['verdict']}\n{judged.said}"


@then(parsers.parse('"{scenario}" fails and says "{cause}"'))
def check_reason(judged: Judged, scenario: str, cause: str) -> None:
    """Require that the scenario which should see the defect does, and names it."""
    failed = judged.failed()
    assert scenario in failed, f"it is refused by {', '.join(failed) or 'nothing'}"
    assert cause in failed[scenario], f'"{scenario}" says: {failed[scenario]}'
