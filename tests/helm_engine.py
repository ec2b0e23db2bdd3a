"""Lint and render a chart: a program that reads one JSON object, and writes another.

Helm's library is in Go, and a process must not fork after loading that library.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from fixtures import PROJECT


class ChartError(Exception):
    """Helm refuses the chart or its values."""


def ask(chart: Path, values: dict[str, Any], *, lint: bool) -> Any:
    """Return the messages of ``helm lint --strict``, or the texts of ``helm template`` by file (ChartError)."""
    asked = json.dumps({"chart": str(chart), "values": values, "lint": lint})
    command = [sys.executable, "-m", "tests.helm_engine"]
    ended = subprocess.run(command, input=asked, cwd=PROJECT, capture_output=True, text=True, check=True)
    answer = json.loads(ended.stdout)
    if "error" in answer:
        raise ChartError(answer["error"])
    return answer["found"]


def main() -> None:
    """Answer on the standard output."""
    import helm_python  # noqa: PLC0415 - in this process alone

    asked = json.load(sys.stdin)
    chart, values = asked["chart"], asked["values"]
    try:
        if asked["lint"]:
            found: Any = helm_python.lint(chart, values, strict=True)["messages"]
        else:
            with helm_python.Chart.load(chart) as loaded:
                found = loaded.render(values, name="practices", namespace="default")
    except helm_python.HelmError as error:
        print(json.dumps({"error": str(error)}))
    else:
        print(json.dumps({"found": found}))


if __name__ == "__main__":
    main()
