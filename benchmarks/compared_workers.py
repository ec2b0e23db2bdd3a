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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import celery
from celery import Celery

from lib import PROJECT
from lib.ending import run
from lib.pages import renew

from fixtures.reporting.report import Record
from fixtures.run.processes import ForkingGroup
from redis_practices.celery_worker.control import Mailbox, Requester
from redis_practices.cli import Failure, Parser, say
from redis_practices.polling import poll
from redis_practices.servers.server import BROKER, Server, start_server

SHOPS = PROJECT / "benchmarks" / "contenders"
PAGE = PROJECT / "docs" / "compared.md"


@dataclass(frozen=True)
class Defect:
    """A defect of the careless shop, and the ids of its findings in each tool."""

    what: str
    where: str
    """What shows it: code, environment, command line, or what runs."""
    rules: frozenset[str] = frozenset()
    """Rules of celery-audit about it."""
    promise: str = ""
    """The scenario of features/celery_worker about it."""
    word: str = ""
    """A text in each finding of that scenario about this defect."""


DEFECTS = (
    Defect("workers accept pickle", "code", frozenset({"CEL001"}), "celery-201", "accept_content"),
    Defect("results are pickled", "code", frozenset({"CEL002"}), "celery-201", "result_serializer"),
    Defect("no task has a time limit", "code", frozenset({"CEL004"}), "celery-200"),
    Defect("results never expire", "code", frozenset({"CEL011"}), "celery-209", "result_expires"),
    Defect("tasks acknowledged late wait behind a long one", "code", frozenset({"CEL007"}), "celery-208"),
    Defect("bills are routed to a queue that no worker reads", "code", frozenset({"CEL014"}), "celery-221", "biling"),
    Defect("the schedule names a task that does not exist", "code", frozenset({"CEL017"}), "celery-227"),
    Defect("any error is retried, without end, at a fixed rhythm", "code", frozenset({"CEL008", "CEL009", "CEL010"})),
    Defect("tasks are named by their file", "code", frozenset({"CEL015"})),
    Defect("tasks of the schedule never expire; the time zone is left open", "code", frozenset({"CEL023", "CEL026"})),
    Defect("a task runs longer than the visibility timeout", "environment", frozenset({"CEL012"}), "celery-203"),
    Defect("two workers have one name", "command line", promise="celery-212"),
    Defect("a countdown is longer than the visibility timeout", "what runs", promise="celery-204"),
    Defect("a schedule is set, and no beat runs", "what runs", promise="celery-213"),
    Defect("tasks wait in a queue that no worker reads", "what runs", promise="celery-220"),
    Defect("a task was sent that no worker of its queue knows", "what runs", promise="celery-222"),
    Defect("a worker answers, and reads no queue any more", "what runs", promise="celery-229"),
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
    for seconds in (600, 0, 0):
        app.send_task("careless_shop.pack", [seconds], ignore_result=True)
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


def judged(broker: Server, folder: Path, *options: str) -> list[Record]:
    """Return the records of this project about the workers of a broker."""
    command = [sys.executable, "-m", "redis_practices", "--broker-url", broker.url, "--workers", *options]
    env = {**os.environ, "PYTHONPATH": str(PROJECT / "src")}
    ended = subprocess.run(
        [*command, "--report", str(folder), "--", "-m", "workers"], env=env, capture_output=True, text=True, check=False
    )
    try:
        records: list[Record] = json.loads((folder / "report.json").read_text(encoding="utf-8"))["scenarios"]
    except OSError:
        raise Failure(f"no verdict: {ended.stderr}") from None
    return records


def findings_of(defect: Defect, records: Sequence[Record]) -> list[str]:
    """Return the findings of this project about a defect, as text."""
    failed = [one for one in records if one["status"] == "failed" and one["scenario_id"] == defect.promise]
    texts = (", ".join(found.values()) for record in failed for found in record.get("findings", ()))
    return [text for text in texts if defect.word in text]


def table(audit: Sequence[Mapping[str, Any]], records: Sequence[Record]) -> list[str]:
    """Return a row for each defect, with the findings of each tool."""
    unknown = {str(one["scenario_id"]): f"unknown: {one['reason']}" for one in records if one["status"] == "skipped"}
    lines = ["| defect | it stands in | celery-audit | redis-practices |", "|---|---|---|---|"]
    for one in DEFECTS:
        rules = dict.fromkeys(f"{it['rule_id']}, line {it['line']}" for it in audit if it["rule_id"] in one.rules)
        found = findings_of(one, records)
        said = f"{one.promise}: {_first(found)}" if found else unknown.get(one.promise, "no")
        lines.append(f"| {one.what} | {one.where} | {'; '.join(rules) or 'no'} | {said} |")
    return lines


def _first(findings: Sequence[str]) -> str:
    """Return the first finding, and the number of further ones."""
    text = findings[0].replace("|", "\\|").replace("<", "&lt;")
    return f"{text} (and {len(findings) - 1} more)" if len(findings) > 1 else text


def besides(audit: Sequence[Mapping[str, Any]], records: Sequence[Record]) -> list[str]:
    """Return a line for each finding of a tool that no row of the table has."""
    rules, promises = {rule for one in DEFECTS for rule in one.rules}, {one.promise for one in DEFECTS}
    more = [one for one in records if one["status"] == "failed" and one["scenario_id"] not in promises]
    lines = [*_audit_lines([one for one in audit if one["rule_id"] not in rules]), *_our_lines(more)]
    return lines or ["- nothing"]


def _audit_lines(audit: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"- celery-audit {one['rule_id']} ({one['severity']}): {one['message']}" for one in audit]


def _our_lines(records: Sequence[Record]) -> list[str]:
    failed = [one for one in records if one["status"] == "failed"]
    return [f"- redis-practices {one['scenario_id']}: {str(one['reason']).splitlines()[0]}" for one in failed]


def compare(program: str, folder: Path) -> list[str]:
    """Return the measured part of the page."""
    say("the careless shop")
    careless = audited(program, "careless")
    with shop("careless", CARELESS, VISIBILITY_TIMEOUT="5") as broker:
        be_careless(broker)
        records = judged(broker, folder / "careless", "--queue", "mail")
    say("the careful shop")
    careful = audited(program, "careful")
    with shop("careful", CAREFUL, PREFETCH="1") as broker:
        fine = judged(broker, folder / "careful")
    skipped = ", ".join(str(one["scenario_id"]) for one in fine if one["status"] == "skipped") or "none"
    today = datetime.now(UTC).date()
    by_rules = [{it["rule_id"] for it in careless} & one.rules for one in DEFECTS]
    by_promises = [findings_of(one, records) for one in DEFECTS]
    numbers = [sum(map(bool, found)) for found in (by_rules, by_promises)]
    return [
        *table(careless, records),
        "",
        "Of {} defects celery-audit sees {}, redis-practices {}.".format(len(DEFECTS), *numbers),
        "",
        "Said of the careless shop besides:",
        "",
        *besides(careless, records),
        "",
        "Said of the careful shop, where nothing is wrong:",
        "",
        *_audit_lines(careful),
        *_our_lines(fine),
        f"- redis-practices: {len(fine)} scenarios asked, skipped: {skipped}",
        "",
        f"Tried with {len(CARELESS)} workers and with {len(CAREFUL)}, of Celery {celery.__version__}, on {today}.",
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
    if given.write:
        renew(PAGE, "compared_workers.py", lines)
    else:
        print("\n".join(lines))


if __name__ == "__main__":
    run(main)
