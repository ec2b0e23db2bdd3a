"""Who notices which defect of a deployment: this gate, ``redis-cli --cluster check``, or the doctors of the server.

Each defect of features/gate/refusals.feature is built on embedded servers, and each tool looks at it as at somebody's
deployment. The gate must name the defect in the scenario that should see it. ``redis-cli`` counts when it ends with an
error or a warning. The doctors (``MEMORY DOCTOR``, ``LATENCY DOCTOR``) count when they say anything else than of a
healthy twin. A tool that does not apply to one server alone, or is not installed, has a "-".
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from side_by_side import machine  # isort: skip - makes src importable

from processes import ProcessGroup
from server_binary import engine_of, server_binary

PROJECT = Path(__file__).parent.parent
sys.path.insert(0, str(PROJECT))
FEATURE = PROJECT / "features/gate/refusals.feature"
PRACTICES = {"cache": "pure_cache", "broker": "celery_worker", "cluster": "redis_cluster"}
EXAMPLES = """\
examples:
  python benchmarks/refusals.py
  python benchmarks/refusals.py --only "slot" --json"""


class Row(NamedTuple):
    """A defect, and what the gate shall say to it."""

    role: str
    defect: str
    scenario: str
    cause: str


def catalogue() -> Iterator[Row]:
    """Yield the rows of the feature's outlines."""
    role = ""
    for line in FEATURE.read_text(encoding="utf-8").splitlines():
        if found := re.search(r'Given a (\w+) with the defect "', line):
            role = found[1]
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if role and line.strip().startswith("|") and cells[0] != "DEFECT":
            yield Row(role, *cells)


def gate(row: Row, url: str) -> bool:
    """Tell whether the gate refuses a deployment by the scenario that should, with the cause."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pytest", f"features/{PRACTICES[row.role]}", "-m", "audit and not slow"]
        options = ["-n", "0", f"--{row.role}-url", url, "--report", folder, "-p", "no:cacheprovider"]
        subprocess.run(command + options, cwd=PROJECT, capture_output=True, timeout=120, check=False)
        report: dict[str, Any] = json.loads((Path(folder) / "report.json").read_text(encoding="utf-8"))
    failed = {one["id"].rpartition("::")[2]: one["reason"] for one in report["scenarios"] if one["status"] == "failed"}
    return report["verdict"] == "refused" and row.cause in failed.get(row.scenario, "")


def cluster_check(row: Row, url: str) -> bool | None:
    """Tell whether ``redis-cli --cluster check`` notices anything; None where it does not apply."""
    redis_cli = shutil.which("redis-cli") or shutil.which("valkey-cli")
    if row.role != "cluster" or redis_cli is None:
        return None
    ended = subprocess.run(
        [redis_cli, "--cluster", "check", urlsplit(url).netloc], capture_output=True, text=True, timeout=60, check=False
    )
    return ended.returncode != 0 or "[ERR]" in ended.stdout or "[WARNING]" in ended.stdout


def doctors(url: str) -> str:
    """Return what the server's own doctors say, without figures."""
    from connection import redis_client  # noqa: PLC0415 - after the path is set

    said = []
    with redis_client(url) as client:
        for doctor in ("MEMORY DOCTOR", "LATENCY DOCTOR"):
            try:
                said.append(str(client.execute_command(doctor)))
            except Exception as error:  # noqa: BLE001 - whatever stands in the way, the doctor says nothing of it
                said.append(type(error).__name__)
    return re.sub(r"[\d.]+", "#", " ".join(said))


def main() -> None:
    """Build every defect and print who noticed it."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="defects that contain this text")
    parser.add_argument("--server-binary", metavar="PATH", help="the engine")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    from fixtures.defects import Builder  # noqa: PLC0415 - after the path is set

    binary, rows = server_binary(options.server_binary), []
    with ProcessGroup() as group, ExitStack() as ending:
        healthy = {role: doctors(Builder(group, ending, binary).url(role, None)) for role in PRACTICES}
    for row in (row for row in catalogue() if options.only in row.defect):
        with ProcessGroup() as group, ExitStack() as ending:
            url = Builder(group, ending, binary).url(row.role, row.defect)
            checked, sick = cluster_check(row, url), doctors(url) != healthy[row.role]
            rows.append({"role": row.role, "defect": row.defect, "gate": gate(row, url)})
            rows[-1] |= {"cluster check": checked, "doctors": sick}
            if not options.json:
                print(_line(rows[-1]), flush=True)
    _sum_up(rows, engine_of(binary), as_json=options.json)


def _line(row: dict[str, Any]) -> str:
    """Return a row of the table."""
    marks = {True: "noticed", False: "no", None: "-"}
    told = "  ".join(f"{name}: {marks[row[name]]:7}" for name in ("gate", "cluster check", "doctors"))
    return f"{row['role']:8} {row['defect']:46} {told}"


def _sum_up(rows: list[dict[str, Any]], engine: str, *, as_json: bool) -> None:
    """Print how many each noticed."""
    if as_json:
        print(json.dumps({"benchmark": "refusals", "engine": engine, "machine": machine(), "rows": rows}))
        return
    for name in ("gate", "cluster check", "doctors"):
        applied = [row[name] for row in rows if row[name] is not None]
        print(f"{name} noticed {sum(applied)} of {len(applied)} defects it applies to ({engine})")


if __name__ == "__main__":
    main()
