"""Compare this gate with ``redis-cli --cluster check`` and the server's doctors, on faulty and on healthy deployments.

Each defect of features/gate/refusals.feature is built on embedded servers, and each tool inspects it as an external
deployment. Then the commands of the gate's remedy are typed, if commands mend the defect, and the gate judges again.
Each kind of features/gate/healthy.feature is inspected, too, for false alarms.

noticed       The gate refuses with ``--quick``; ``redis-cli`` ends with an error or a warning; the doctors (``MEMORY
              DOCTOR``, ``LATENCY DOCTOR``) report something that they do not report about a healthy twin.
named         The gate: the scenario about the defect fails with the cause. Others: the report has a word of the cause.
remedy works  After the commands that the gate shows, it accepts the deployment. Others show no commands.
false alarm   A healthy deployment is noticed.

"-" marks a tool that does not apply to a single server, or is not installed. Each result is kept, and another run
continues after the last one.

With ``--whole N`` the gate judges N defects and N kinds, evenly chosen, by the whole specification of their role.
With ``--healthy N`` the gate alone runs against N healthy deployments, of all kinds and on all engines. A third is
quiet, a third has every core busy, a third is behind TLS. A verdict is right if it is the feature's, or an error
because the judge is too busy.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from lib import PROJECT
from lib.ending import run
from lib.healthy_verdicts import kinds, outline_rows, read, summary, verdicts, write
from lib.side_by_side import machine

from fixtures.gate.defects import MENDED, Builder
from fixtures.gate.deployment_under_test import DeploymentUnderTest
from fixtures.gate.healthy import build
from fixtures.run.keys import Unsupported
from fixtures.run.options import PRACTICES
from fixtures.run.processes import ForkingGroup
from redis_practices.cli import count
from redis_practices.clients import redis_client
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import engine_of, server_binary

FEATURE = PROJECT / "features/gate/refusals.feature"
PAGE = PROJECT / "docs/refusals.md"
BEGIN, BEGIN_WHOLE = (
    "<!-- measured by benchmarks/refusals.py -->",
    "<!-- measured by benchmarks/refusals.py --whole -->",
)
"""The lines of the page before the measured results."""
GATE, CHECK, DOCTORS = "this gate", "redis-cli --cluster check", "the doctors"
"""The tools, in the order of the table."""
EXAMPLES = """\
examples:
  python benchmarks/refusals.py
  python benchmarks/refusals.py --only "slot" --json
  python benchmarks/refusals.py --write
  python benchmarks/refusals.py --whole 30 --write
  python benchmarks/refusals.py --healthy 300 --write"""


class Row(NamedTuple):
    """A defect and the failure that the gate must report, or a kind of healthy deployments."""

    role: str
    defect: str
    scenario: str
    cause: str


def catalogue() -> Iterator[Row]:
    """Yield the rows of the feature's outlines."""
    for role, cells in outline_rows(FEATURE, r'Given a (\w+) with the defect "', "DEFECT"):
        yield Row(role, *cells)


def judged(row: Row, binary: str, well: dict[str, str | None], asked: str) -> dict[str, Any]:
    """Build a deployment, and return what each tool says of it.

    `well` has the doctors' reports on healthy deployments, `asked` the options of the gate.
    """
    with ForkingGroup() as group, ExitStack() as ending, tempfile.TemporaryDirectory() as folder:
        gate = DeploymentUnderTest(Builder(group, ending, binary), row.role)
        if row.scenario:
            gate.url = gate.builder.url(row.role, row.defect)
        else:
            built = build(gate.builder, row.role, row.defect)
            gate.url, gate.options = built.url, " ".join(built.options)
        checked, said = cluster_check(row.role, gate.url), doctors(gate.url)
        gate.judge(Path(folder), asked)
        verdict, failed = gate.report["verdict"], gate.ended("failed")
        scenario = gate.cited(row.scenario) if row.scenario else next(iter(failed), "")
        mended = None
        if verdict == "refused" and (commands := MENDED[row.role].get(row.defect)) and row.scenario:
            gate.type_remedy(commands)
            gate.judge(Path(folder), asked)
            # A whole run lacks the core scenarios that disrupt a cluster.
            mended = gate.report["verdict"] in ({"accepted"} if asked else {"accepted", "partial"})
    words = re.compile("|".join(map(re.escape, row.cause.split())) or "$^", re.IGNORECASE)
    notes = said if said is not None and said != well[row.role] else ""
    return {
        **row._asdict(),
        "scenario": scenario,
        "verdict": verdict,
        GATE: (verdict == "refused", bool(row.cause) and row.cause in failed.get(row.scenario, ""), mended),
        CHECK: None if checked is None else (bool(checked), bool(words.search(checked)), None),
        DOCTORS: None if said is None else (bool(notes), bool(words.search(notes)), None),
    }


def cluster_check(role: str, url: str) -> str | None:
    """Return the complaints of ``redis-cli --cluster check``; None if it does not apply."""
    redis_cli = shutil.which("redis-cli") or shutil.which("valkey-cli")
    if role != "cluster" or redis_cli is None:
        return None
    ended = subprocess.run(
        [redis_cli, "--cluster", "check", urlsplit(url).netloc], capture_output=True, text=True, timeout=60, check=False
    )
    lines = [line for line in ended.stdout.splitlines() if "[ERR]" in line or "[WARNING]" in line]
    return "\n".join(lines) or ("it ended with an error" if ended.returncode else "")


def doctors(url: str) -> str | None:
    """Return the reports of the server's doctors, without figures; None for sentinels, which have none."""
    if url.startswith("sentinel"):
        return None
    said = []
    with redis_client(url) as client:
        for doctor in ("MEMORY DOCTOR", "LATENCY DOCTOR"):
            try:
                said.append(str(client.execute_command(doctor)))
            except Exception as error:  # noqa: BLE001 - a doctor that fails reports nothing
                said.append(type(error).__name__)
    return re.sub(r"[\d.]+", "#", " ".join(said))


def look(row: Row, binary: str, well: dict[str, str | None], asked: str) -> dict[str, Any]:
    """Return what each tool says of a deployment; a kind that this engine cannot be of is left out."""
    try:
        return judged(row, binary, well, asked)
    except Unsupported as reason:
        return {**row._asdict(), "left out": str(reason)}


def results(rows: Sequence[Row], state: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the result of each row; those in `state` are not repeated, and new ones are added to it."""
    binary = server_binary(options.server_binary)
    kept = [json.loads(line) for line in state.read_text(encoding="utf-8").splitlines()] if state.exists() else []
    known = {(one["engine"], one["role"], one["defect"], one["cause"]): one for one in kept}
    engine = engine_of(binary)
    left = [row for row in rows if (engine, row.role, row.defect, row.cause) not in known]
    yield from (known[engine, row.role, row.defect, row.cause] for row in rows if row not in left)
    if not left:
        return
    with ProcessGroup() as group, ExitStack() as ending:
        well = {role: doctors(Builder(group, ending, binary).url(role, None)) for role in PRACTICES}
    state.parent.mkdir(parents=True, exist_ok=True)
    asked = "" if options.whole else "--quick"
    with ThreadPoolExecutor(options.jobs) as pool, state.open("a", encoding="utf-8") as lines:
        for found in pool.map(partial(look, binary=binary, well=well, asked=asked), left):
            one = {"engine": engine, **found}
            lines.write(json.dumps(one) + "\n")
            lines.flush()
            if not options.json:
                print(_line(one), flush=True)
            yield one


def table(found: Sequence[dict[str, Any]]) -> str:
    """Return the numbers of each tool as Markdown, and a line for each result of the gate that is wrong."""
    seen = [one for one in found if GATE in one]
    engines = ", ".join(sorted({one["engine"] for one in seen}))
    faulty, healthy = ([one for one in seen if bool(one["cause"]) is wanted] for wanted in (True, False))
    lines = [
        f"{len(faulty)} defects and {len(healthy)} healthy deployments on {engines}.",
        "",
        "| tool | noticed | named | remedy works | false alarms |",
        "|---|---:|---:|---:|---:|",
    ]
    for tool in (GATE, CHECK, DOCTORS):
        cells = [_share(one[tool][place] for one in faulty if one[tool]) for place in range(3)]
        cells.append(_share(one[tool][0] for one in healthy if one[tool]))
        lines.append(f"| {' | '.join([tool, *cells])} |")
    wrong = [_line(one) for one in faulty if not all(mark is not False for mark in one[GATE])]
    wrong += [_line(one) for one in healthy if one[GATE][0]]
    return "\n".join([*lines, *(["", *(f"- {line}" for line in wrong)] if wrong else [])])


def _share(marks: Iterable[bool | None]) -> str:
    """Return how many of the marks that apply are set."""
    applied = [mark for mark in marks if mark is not None]
    return f"{sum(applied)} of {len(applied)}" if applied else "-"


def _line(one: dict[str, Any]) -> str:
    """Return a result as a readable line."""
    what = f"{one['role']}, {one['defect']}"
    if GATE not in one:
        return f"{what}: left out, {one['left out']}"
    names = ("noticed", "named", "remedy works")
    marks = {None: "-", True: "yes", False: "no"}
    said = ["; ".join(f"{name} {marks[mark]}" for name, mark in zip(names, one[GATE], strict=True))]
    said += [f"{tool}: {'noticed' if one[tool][0] else 'no'}" for tool in (CHECK, DOCTORS) if one[tool]]
    return f"{what}: {one['verdict']}, {', '.join([*said, one['scenario']])}"


def healthy() -> Iterator[Row]:
    """Yield the kinds of healthy deployments, which have neither scenario nor cause."""
    for role, kinds_of_it in kinds().items():
        yield from (Row(role, kind.name, "", "") for kind in kinds_of_it)


def judge_healthy(options: argparse.Namespace) -> None:
    """Print the verdicts on healthy deployments and their table."""
    state = options.state or PROJECT / "results" / "healthy.jsonl"
    if options.fresh:
        state.unlink(missing_ok=True)
    known, found = read(state), []
    for verdict in verdicts(options.healthy, state, options.only, options.jobs):
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
    """Build every defect and every healthy kind, and print the table of the tools."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="defects, or kinds, that contain this text")
    parser.add_argument(
        "--whole", type=count, metavar="N", help="judge N defects and N healthy kinds by a whole run each"
    )
    parser.add_argument("--healthy", type=count, metavar="N", help="judge N healthy deployments by this gate alone")
    kept = "the file of earlier results (default: results/refusals.jsonl, or healthy.jsonl)"
    parser.add_argument("--state", type=Path, help=kept)
    parser.add_argument("--fresh", action="store_true", help="forget these results first")
    parser.add_argument("--write", action="store_true", help="write the table into docs/refusals.md, or healthy.md")
    parser.add_argument("--jobs", type=count, default=3, help="deployments that are judged at once (default: 3)")
    parser.add_argument("--server-binary", metavar="PATH", help="the engine")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if options.healthy:
        judge_healthy(options)
        return
    state = options.state or PROJECT / "results" / ("whole.jsonl" if options.whole else "refusals.jsonl")
    if options.fresh:
        state.unlink(missing_ok=True)
    faulty, well = ([row for row in rows if options.only in row.defect] for rows in (catalogue(), healthy()))
    chosen = [*spread(faulty, options.whole), *spread(well, options.whole)]
    found = list(results(chosen, state, options))
    if options.json:
        print(json.dumps({"benchmark": "refusals", "machine": machine(), "rows": found}))
    else:
        print(f"\n{table(found)}")
    if options.write:
        write_table(table(found), whole=bool(options.whole))


def spread(rows: Sequence[Row], most: int | None) -> Sequence[Row]:
    """Return at most `most` rows, evenly from the first to the last."""
    return rows if not most or most >= len(rows) else [rows[place * len(rows) // most] for place in range(most)]


def write_table(text: str, *, whole: bool) -> None:
    """Write the table of the quick verdicts or of the whole ones into the page, and keep the other one."""
    page, _, measured = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    quick, _, of_whole = measured.partition(BEGIN_WHOLE)
    quick, of_whole = (quick, f"By a whole run each: {text}") if whole else (text, of_whole)
    blocks = [f"{BEGIN}\n\n{quick.strip()}", *([f"{BEGIN_WHOLE}\n\n{of_whole.strip()}"] if of_whole else [])]
    PAGE.write_text("\n\n".join([page.rstrip(), *blocks]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(main)
