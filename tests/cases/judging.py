"""Run the gate as a user does: in a separate process, on the URL of a deployment."""

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
"""The selection for a verdict within seconds."""


@dataclass(frozen=True)
class Judgement:
    """The result of the gate for a deployment."""

    exit_code: int
    said: str
    report: Mapping[str, Any]

    @property
    def verdict(self) -> str:
        """The verdict of the report."""
        return str(self.report["verdict"])

    @property
    def failed(self) -> dict[str, str]:
        """The reason of each failed or broken scenario, by name."""
        return {
            scenario["id"].rpartition("::")[2]: scenario["reason"]
            for scenario in self.report["scenarios"]
            if scenario["status"] in ("failed", "error")
        }

    @property
    def passed(self) -> int:
        """The number of passed scenarios."""
        return sum(scenario["status"] == "passed" for scenario in self.report["scenarios"])


def judge(group: ProcessGroup, role: str, url: str, options: str = QUICK) -> Judgement:
    """Run the gate on the deployment at `url` in its role, with further `options` of pytest."""
    folder = group.folder / "judgement"
    log = group.folder / "said"
    module, *arguments = gate_command(role, url, folder, options)[2:]
    code = group.start_python(module, arguments, log, cwd=PROJECT, env=gate_environment()).wait(TIMEOUT)
    return Judgement(code, log.read_text(encoding="utf-8", errors="replace"), _report(folder))


def _report(folder: Path) -> Mapping[str, Any]:
    """Read report.json of a folder."""
    report: Mapping[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return report
