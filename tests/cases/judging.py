"""The gate as an operator runs it: in a process of its own, on a deployment given by a URL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fixtures import PROJECT
from fixtures.gate.deployment_under_test import TIMEOUT, gate_command, gate_environment
from redis_practices.servers.process_group import ProcessGroup

QUICK = "--quick"
"""The selection that gives a verdict within seconds."""


@dataclass(frozen=True)
class Judgement:
    """What the gate said of a deployment."""

    exit_code: int
    said: str
    report: Mapping[str, Any]

    @property
    def verdict(self) -> str:
        """The verdict of the report."""
        return str(self.report["verdict"])

    @property
    def failed(self) -> dict[str, str]:
        """The reason of each scenario that failed or broke, by its name."""
        return {
            scenario["id"].rpartition("::")[2]: scenario["reason"]
            for scenario in self.report["scenarios"]
            if scenario["status"] in ("failed", "error")
        }

    @property
    def passed(self) -> int:
        """How many scenarios passed."""
        return sum(scenario["status"] == "passed" for scenario in self.report["scenarios"])


def judge(group: ProcessGroup, role: str, url: str, options: str = QUICK) -> Judgement:
    """Let the gate judge the deployment at `url` in its role, as far as `options` of pytest say."""
    folder = group.folder / "judgement"
    log = group.folder / "said"
    module, *arguments = gate_command(role, url, folder, options)[2:]
    code = group.start_python(module, arguments, log, cwd=PROJECT, env=gate_environment()).wait(TIMEOUT)
    return Judgement(code, log.read_text(encoding="utf-8", errors="replace"), _report(folder))


def _report(folder: Path) -> Mapping[str, Any]:
    """Return report.json of a folder."""
    report: Mapping[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return report
