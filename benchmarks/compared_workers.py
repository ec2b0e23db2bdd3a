"""Let celery-audit and this project judge the same two shops, and write the findings of both into docs/compared.md.

celery-audit reads the code of benchmarks/contenders; `redis-practices --workers` asks its running workers. One shop is
careless: each row of the table is a defect of it. The second one is careful: each finding about it is wrong.

    python -m venv .audit && .audit/bin/pip install celery-audit==0.1.0
    python benchmarks/compared_workers.py --celery-audit .audit/bin/celery-audit --write
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import Celery

from lib import PROJECT
from lib.ending import run
from lib.side_by_side import caption

from fixtures.run.processes import ForkingGroup
from redis_practices.celery_worker.control import Mailbox, Requester
from redis_practices.cli import Failure, Parser, say
from redis_practices.polling import poll
from redis_practices.servers.server import BROKER, Server, start_server

SHOPS = PROJECT / "benchmarks" / "contenders"
PAGE = PROJECT / "docs" / "compared.md"
BEGIN = "<!-- measured by benchmarks/compared_workers.py -->"
"""The line of the page before the measured results."""


@dataclass(frozen=True)
class Defect:
    """A defect of the careless shop, and what each tool calls it."""

    what: str
    where: str
    """Where it can be seen: code, environment, command line, or what runs."""
    rules: frozenset[str]
    """Rules of celery-audit about it."""
    promises: frozenset[str]
    """Scenarios of features/celery_worker/workers.feature about it."""


def defect(what: str, where: str, named: str) -> Defect:
    """Return a defect with the ids of both tools in one text."""
    ids = frozenset(named.split())
    return Defect(what, where, frozenset(one for one in ids if one.startswith("CEL")), ids - {*filter(_is_rule, ids)})


def _is_rule(name: str) -> bool:
    return name.startswith("CEL")


DEFECTS = (
    defect("workers accept pickle", "code", "CEL001 celery-201"),
    defect("results are pickled", "code", "CEL002"),
    defect("no task has a time limit", "code", "CEL004 celery-200"),
    defect("results never expire", "code", "CEL011"),
    defect("four long tasks wait behind one, acknowledged late", "code", "CEL007"),
    defect("the visibility timeout is 5 s, and a task runs for minutes", "environment", "CEL012"),
    defect("a countdown is longer than the visibility timeout", "what runs", ""),
    defect("bills are routed to a queue that no worker reads", "code", "CEL014"),
    defect("the schedule names a task that does not exist", "code", "CEL017"),
    defect("a schedule is set, and no beat runs", "what runs", ""),
    defect("retries of any error, without end, at a fixed rhythm", "code", "CEL008 CEL009 CEL010"),
    defect("tasks are named by their file", "code", "CEL015"),
    defect("ticks of beat never expire; the time zone is left open", "code", "CEL023 CEL026"),
    defect("three tasks in a queue that no worker reads", "what runs", ""),
    defect("a task was sent that no worker of its queue knows", "what runs", ""),
    defect("a worker answers, and reads no queue any more", "what runs", ""),
    defect("two workers have one name", "command line", ""),
)
"""The defects of the careless shop."""

CARELESS: Mapping[str, str] = {
    "packer": "-c 1 -n packer@shop -Q celery",
    "twin": "-P solo -n twin@shop -Q billing",
    "namesake": "-P solo -n twin@shop -Q billing",
    "slow": "-P threads -c 1 --prefetch-multiplier 1 -n slow@shop -Q slow",
    "idle": "-P threads -c 1 -n idle@shop -Q returns",
}
"""The workers of the careless shop, by their flags."""

CAREFUL: Mapping[str, str] = {"packer": "-c 2 -n packer@shop -Q celery,billing --time-limit 300 --soft-time-limit 270"}
"""The workers of the careful shop."""

START_TIMEOUT = 60.0


@contextmanager
def shop(name: str, workers: Mapping[str, str], **variables: str) -> Iterator[Server]:
    """Run the workers of a shop on an isolated broker (Failure if one does not start)."""
    with ForkingGroup("shop") as group:
        broker, folder = start_server(group, BROKER), SHOPS / name
        env = {**os.environ, "BROKER_URL": broker.url, "RESULTS_URL": broker.url, "C_FORCE_ROOT": "1", **variables}
        env["PYTHONPATH"] = str(folder)
        for one, flags in workers.items():
            words = ["-A", f"{name}_shop", "worker", "-l", "WARNING", *flags.split()]
            group.start_python("celery", words, group.folder / f"{one}.log", cwd=folder, env=env)
        with broker.client() as client, Requester(client, [Mailbox()]) as requester:

            def answers() -> int:
                [said] = requester.ask([("ping", {})]).values()
                return sum(said.counts.values())

            count = poll(answers, START_TIMEOUT, until=lambda seen: seen >= len(workers))
        if count < len(workers):
            raise Failure(f"{count} of {len(workers)} workers of the {name} shop answered in {START_TIMEOUT:g} s")
        yield broker


def be_careless(broker: Server) -> None:
    """Send the tasks of the careless shop."""
    app = Celery(broker=broker.url, backend=broker.url)
    for _ in range(3):
        app.send_task("careless_shop.pack")
        app.send_task("careless_shop.pack", queue="mail", ignore_result=True)
    app.send_task("careless_shop.pack", countdown=600, ignore_result=True)
    app.send_task("careless_shop.pack", [600], queue="slow", ignore_result=True)
    with broker.client() as client:
        if not poll(lambda: len(client.keys("celery-task-meta-*")) == 3 and not client.llen("slow"), START_TIMEOUT):  # noqa: PLR2004 - sent above
            raise Failure("the workers of the careless shop do not take their tasks")
    app.send_task("careless_shop.repack", queue="slow", ignore_result=True)
    app.control.cancel_consumer("returns", destination=["idle@shop"], reply=True)


def audited(program: str, name: str) -> list[dict[str, Any]]:
    """Return what celery-audit finds in the code of a shop."""
    command = [program, "--config", f"{name}_shop.py", "--format", "json", "."]
    try:
        ended = subprocess.run(command, cwd=SHOPS / name, capture_output=True, text=True, check=False, timeout=60)
        found: list[dict[str, Any]] = json.loads(ended.stdout)["findings"]
    except (OSError, ValueError) as error:
        raise Failure(
            f"{program} does not work: {error}; pip install celery-audit, or name it: --celery-audit"
        ) from None
    return found


def judged(broker: Server, folder: Path, *options: str) -> tuple[list[dict[str, Any]], float]:
    """Return the records of this project about the workers of a broker, and the seconds that it took."""
    command = [sys.executable, "-m", "redis_practices", "--broker-url", broker.url, "--workers", *options]
    env = {**os.environ, "PYTHONPATH": str(PROJECT / "src")}
    begun = time.monotonic()
    ended = subprocess.run(
        [*command, "--report", str(folder), "--", "-m", "workers"], env=env, capture_output=True, text=True, check=False
    )
    took = time.monotonic() - begun
    try:
        records: list[dict[str, Any]] = json.loads((folder / "report.json").read_text(encoding="utf-8"))["scenarios"]
    except OSError:
        raise Failure(f"no verdict: {ended.stderr}") from None
    return records, took


def table(audit: Sequence[Mapping[str, Any]], records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a row for each defect, with the findings of each tool."""
    failed = {one["scenario_id"]: one for one in records if one["status"] == "failed"}
    lines = ["| defect | it stands in | celery-audit | redis-practices |", "|---|---|---|---|"]
    for one in DEFECTS:
        rules = {
            f"{found['rule_id']}, `{Path(found['file']).name}:{found['line']}`": 0
            for found in audit
            if found["rule_id"] in one.rules
        }
        said = [f"{name}: {_first(failed[name])}" for name in sorted(one.promises & failed.keys())]
        lines.append(f"| {one.what} | {one.where} | {'; '.join(rules) or 'no'} | {'; '.join(said) or 'no'} |")
    return lines


def _first(record: Mapping[str, Any]) -> str:
    """Return the first finding of a failed scenario, and the number of further ones."""
    findings = record.get("findings") or [{"": str(record["reason"]).splitlines()[0]}]
    text = ", ".join(findings[0].values()).replace("|", "\\|")
    return f"{text} (and {len(findings) - 1} more)" if len(findings) > 1 else text


def others(audit: Sequence[Mapping[str, Any]], records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each thing that a tool says besides the defects of the table."""
    rules, promises = ({name for one in DEFECTS for name in getattr(one, kind)} for kind in ("rules", "promises"))
    lines = [
        f"- celery-audit {one['rule_id']} ({one['severity']}): {one['message']}"
        for one in audit
        if one["rule_id"] not in rules
    ]
    more = [one for one in records if one["status"] == "failed" and one["scenario_id"] not in promises]
    lines += [f"- redis-practices {one['scenario_id']}: {_first(one)}" for one in more]
    return lines or ["- nothing"]


def compare(program: str, folder: Path) -> list[str]:
    """Return the measured part of the page."""
    say("the careless shop")
    careless = audited(program, "careless")
    with shop("careless", CARELESS, VISIBILITY_TIMEOUT="5") as broker:
        be_careless(broker)
        records, took = judged(broker, folder / "careless", "--queue", "mail")
    say("the careful shop")
    careful = audited(program, "careful")
    with shop("careful", CAREFUL, PREFETCH="1") as broker:
        fine, _ = judged(broker, folder / "careful")
    skipped = ", ".join(one["scenario_id"] for one in fine if one["status"] == "skipped") or "none"
    return [
        *table(careless, records),
        "",
        "Said of the careless shop besides:",
        "",
        *others(careless, records),
        "",
        "Said of the careful shop, where nothing is wrong:",
        "",
        *[f"- celery-audit {one['rule_id']} ({one['severity']}): {one['message']}" for one in careful],
        *[f"- redis-practices {one['scenario_id']}: {_first(one)}" for one in fine if one["status"] == "failed"],
        f"- redis-practices: {len(fine)} scenarios asked, skipped: {skipped}",
        "",
        f"redis-practices took {took:.1f} s for {len(CARELESS)} workers, its own start included. {caption()}",
    ]


def main() -> None:
    """Print the table, or write it into the page."""
    parser = Parser(
        __doc__ or "", "  python benchmarks/compared_workers.py --celery-audit .audit/bin/celery-audit --write"
    )
    parser.add_argument("--celery-audit", default="celery-audit", metavar="PATH", help="the program (default: on PATH)")
    parser.add_argument("--write", action="store_true", help="write the table into docs/compared.md")
    given = parser.parse_args()
    with ForkingGroup("compared") as group:
        lines = compare(
            str(Path(given.celery_audit).absolute()) if "/" in given.celery_audit else given.celery_audit, group.folder
        )
    if not given.write:
        print("\n".join(lines))
        return
    head = PAGE.read_text(encoding="utf-8").partition(BEGIN)[0]
    PAGE.write_text("\n".join([f"{head}{BEGIN}", "", *lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    run(main)
