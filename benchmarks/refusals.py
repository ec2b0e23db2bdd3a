"""Count the defects that each tool notices: this gate, ``redis-cli --cluster check``, and the server's doctors.

Each defect of features/gate/refusals.feature is built on embedded servers, and each tool inspects it as an external
deployment. The gate (with ``--quick``) must name the defect in the scenario that should see it. ``redis-cli`` must end
with an error or a warning. The doctors (``MEMORY DOCTOR``, ``LATENCY DOCTOR``) must report something that they do not
report about a healthy twin. "-" marks a tool that does not apply to a single server, or is not installed.

With ``--healthy N`` the gate runs against N healthy deployments instead, of the kinds in features/gate/healthy.feature.
A third is quiet, a third has every core busy, a third is behind TLS. The verdicts are kept, and another run continues
after them. A verdict is right if it is the feature's, or an error because the judge is too busy.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from lib import PROJECT
from lib.ending import run
from lib.healthy_verdicts import outline_rows, read, summary, verdicts, write
from lib.side_by_side import machine

from fixtures.gate.defects import Builder
from fixtures.gate.deployment_under_test import DeploymentUnderTest
from fixtures.run.options import PRACTICES
from fixtures.run.processes import ForkingGroup
from redis_practices.cli import count
from redis_practices.clients import redis_client
from redis_practices.servers.binary import engine_of, server_binary
from redis_practices.servers.process_group import ProcessGroup

FEATURE = PROJECT / "features/gate/refusals.feature"
EXAMPLES = """\
examples:
  python benchmarks/refusals.py
  python benchmarks/refusals.py --only "slot" --json
  python benchmarks/refusals.py --healthy 300 --write"""


class Row(NamedTuple):
    """A defect, and the failure that the gate must report."""

    role: str
    defect: str
    scenario: str
    cause: str


def catalogue() -> Iterator[Row]:
    """Yield the rows of the feature's outlines."""
    for role, cells in outline_rows(FEATURE, r'Given a (\w+) with the defect "', "DEFECT"):
        yield Row(role, *cells)


def judged(role: str, defect: str | None, binary: str) -> tuple[DeploymentUnderTest, bool | None, str]:
    """Build a deployment, and return the results of the gate, ``redis-cli`` and the doctors."""
    with ForkingGroup() as group, ExitStack() as ending, tempfile.TemporaryDirectory() as folder:
        gate = DeploymentUnderTest(Builder(group, ending, binary), role)
        gate.url = gate.builder.url(role, defect)
        others = cluster_check(role, gate.url), doctors(gate.url)
        gate.judge(Path(folder), "--quick")
    return gate, *others


def cluster_check(role: str, url: str) -> bool | None:
    """Tell whether ``redis-cli --cluster check`` notices a problem; None if it does not apply."""
    redis_cli = shutil.which("redis-cli") or shutil.which("valkey-cli")
    if role != "cluster" or redis_cli is None:
        return None
    ended = subprocess.run(
        [redis_cli, "--cluster", "check", urlsplit(url).netloc], capture_output=True, text=True, timeout=60, check=False
    )
    return ended.returncode != 0 or "[ERR]" in ended.stdout or "[WARNING]" in ended.stdout


def doctors(url: str) -> str:
    """Return the reports of the server's doctors, without figures."""
    said = []
    with redis_client(url) as client:
        for doctor in ("MEMORY DOCTOR", "LATENCY DOCTOR"):
            try:
                said.append(str(client.execute_command(doctor)))
            except Exception as error:  # noqa: BLE001 - a doctor that fails reports nothing
                said.append(type(error).__name__)
    return re.sub(r"[\d.]+", "#", " ".join(said))


def look(row: Row, binary: str, well: dict[str, str]) -> dict[str, Any]:
    """Return the tools that noticed a defect; `well` has the doctors' reports on a healthy deployment."""
    gate, checked, said = judged(row.role, row.defect, binary)
    refused = gate.report["verdict"] == "refused" and row.cause in (gate.ended("failed").get(row.scenario, ""))
    return {
        **row._asdict(),
        "scenario": gate.cited(row.scenario),
        "gate": refused,
        "cluster check": checked,
        "doctors": said != well[row.role],
    }


def judge_healthy(options: argparse.Namespace) -> None:
    """Print the verdicts on healthy deployments and their table."""
    if options.fresh:
        options.state.unlink(missing_ok=True)
    known, found = read(options.state), []
    for verdict in verdicts(options.healthy, options.state, options.only, options.jobs):
        if verdict.number not in known and not options.json:
            print(verdict.line(), flush=True)
        found.append(verdict)
    if options.json:
        rows = [asdict(verdict) for verdict in found]
        print(json.dumps({"benchmark": "healthy", "machine": machine(), "rows": rows}))
    else:
        print(f"\n{summary(found)}")
    if options.write:
        write(found)


def main() -> None:
    """Build every defect, and print the tools that noticed it."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="defects, or kinds, that contain this text")
    parser.add_argument("--healthy", type=count, metavar="N", help="judge N healthy deployments instead")
    state = PROJECT / "results" / "healthy.jsonl"
    parser.add_argument("--state", type=Path, default=state, help="their verdicts (default: results/healthy.jsonl)")
    parser.add_argument("--fresh", action="store_true", help="forget these verdicts first")
    parser.add_argument("--write", action="store_true", help="write their table into docs/healthy.md")
    parser.add_argument("--jobs", type=count, default=3, help="deployments that are judged at once (default: 3)")
    parser.add_argument("--server-binary", metavar="PATH", help="the engine")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if options.healthy:
        judge_healthy(options)
        return
    binary, rows = server_binary(options.server_binary), []
    with ProcessGroup() as group, ExitStack() as ending:
        well = {role: doctors(Builder(group, ending, binary).url(role, None)) for role in PRACTICES}
    with ThreadPoolExecutor(options.jobs) as pool:
        chosen = [row for row in catalogue() if options.only in row.defect]
        for row in pool.map(partial(look, binary=binary, well=well), chosen):
            rows.append(row)
            if not options.json:
                print(_line(row), flush=True)
    _sum_up(rows, engine_of(binary), as_json=options.json)


def _line(row: dict[str, Any]) -> str:
    """Return a row of the table."""
    marks = {True: "noticed", False: "no", None: "-"}
    told = "  ".join(f"{name}: {marks[row[name]]:7}" for name in ("gate", "cluster check", "doctors"))
    return f"{row['role']:8} {row['defect']:46} {told} {row['scenario']}"


def _sum_up(rows: Sequence[dict[str, Any]], engine: str, *, as_json: bool) -> None:
    """Print the number of defects that each tool noticed."""
    if as_json:
        print(json.dumps({"benchmark": "refusals", "engine": engine, "machine": machine(), "rows": rows}))
        return
    for name in ("gate", "cluster check", "doctors"):
        applied = [row[name] for row in rows if row[name] is not None]
        print(f"{name} noticed {sum(applied)} of {len(applied)} defects it applies to ({engine})")


if __name__ == "__main__":
    run(main)
