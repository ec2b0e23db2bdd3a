"""Bring each client library into trouble on real servers, and write which client keeps which promise.

Each client is made with host and port alone, as it is installed. The cases are in lib/client_promises.py. A case takes
up to 100 s where a client repeats a call for so long. Each result is kept in results/clients.jsonl, and the next run
continues.

    python -m venv .clients && .clients/bin/pip install -r requirements.txt
    .clients/bin/pip install valkey-glide valkey-glide-sync
    .clients/bin/python benchmarks/clients.py --write
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from lib import PROJECT
from lib.client_promises import CASES, BusyError, Case, Seen
from lib.clients_under_test import ALL, Kind, kinds
from lib.ending import run
from lib.pages import renew

from redis_practices.cli import Parser, UsageError, say, seconds
from redis_practices.polling import poll
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import engine_of, server_binary

PAGE = PROJECT / "docs" / "clients.md"

Results = Mapping[Case, Mapping[str, Seen | None]]
"""What was seen of each client; None where it was not tried."""


CALM = 0.3
"""The share of a client's timeout, and the seconds at most, by which a thread may wake up late."""
AT_ONCE = 3
"""Clients that are tried at the same time: most of them wait."""


def lateness() -> float:
    """Return by how many seconds the latest of 50 short sleeps was too long."""
    late = 0.0
    for _ in range(50):
        begun = time.monotonic()
        time.sleep(0.01)
        late = max(late, time.monotonic() - begun - 0.01)
    return late


class Tries:
    """The results of this run and of earlier ones."""

    def __init__(self, kept: Path, patience: float) -> None:
        """Read earlier results; wait `patience` seconds for a calm machine before each new one."""
        self._kept, self._patience = kept, patience
        lines = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
        found = [json.loads(line) for line in lines]
        self._known = {(one["promise"], one["client"]): Seen(one["kept"], one["text"]) for one in found}

    def see(self, case: Case, kind: Kind) -> Seen | None:
        """Return what was seen of a client; None if it has none for clusters, or other programs kept all cores busy."""
        known = self._known.get((case.promise, kind.title))
        if known or (case.cluster and not kind.many):
            return known
        calm = CALM * min(kind.timeout, 1.0)
        try:
            if poll(lateness, self._patience, every=1.0, until=lambda late: late < calm) > calm:
                raise BusyError
            with ProcessGroup("clients") as group:
                seen = case.run(kind, group)
        except BusyError:
            say(f"{case.promise}: {kind.name}: not tried, the machine is too busy")
            return None
        say(f"{case.promise}: {kind.name}: {'kept' if seen.kept else 'BROKEN'}: {seen.text}")
        self._kept.parent.mkdir(parents=True, exist_ok=True)
        with self._kept.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"promise": case.promise, "client": kind.title, **asdict(seen)}) + "\n")
        return seen


def tried(chosen: Sequence[Case], clients: Mapping[str, Kind], tries: Tries) -> Results:
    """Bring each client into each case; each gets its own servers."""
    results: dict[Case, dict[str, Seen | None]] = {}
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for case in chosen:
            seen = threads.map(tries.see, [case] * len(clients), clients.values())
            results[case] = dict(zip(clients, seen, strict=True))
    return results


def word(case: Case, kind: Kind, seen: Seen | None) -> str:
    """Return a cell of the table."""
    if seen:
        return "yes" if seen.kept else "**no**"
    return "-" if case.cluster and not kind.many else "not tried"


def todo(case: Case, seen: Mapping[str, Seen | None]) -> str:
    """Return what to do where a client breaks the promise, or that each keeps it."""
    return case.todo if any(one and not one.kept for one in seen.values()) else "kept by each"


def lines_of(results: Results, clients: Mapping[str, Kind]) -> list[str]:
    """Return the measured part of the page."""
    heads = [kind.title for kind in clients.values()]
    lines = [f"| promise | {' | '.join(heads)} | where it is broken |", f"|---|{':-:|' * len(heads)}---|"]
    for case, seen in results.items():
        cells = [word(case, clients[name], one) for name, one in seen.items()]
        lines.append(f"| {case.promise} | {' | '.join(cells)} | {todo(case, seen)} |")
    lines += ["", "`-`: no client for clusters.", "", "## What was seen", ""]
    for case, seen in results.items():
        lines += [f"**{case.promise[0].upper()}{case.promise[1:]}.** {case.run.__doc__}", ""]
        lines += [f"- {name}: {one.text}" for name, one in seen.items() if one]
        lines.append("")
    today = datetime.now(UTC).date()
    where = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return [*lines, f"Tried on {engine_of(server_binary())}, {where}, {today}."]


def main() -> None:
    """Print the table, or write it into the page."""
    parser = Parser(__doc__ or "", "  .clients/bin/python benchmarks/clients.py --case INCR --client redis-py")
    parser.add_argument("--case", default="", metavar="WORD", help="only promises with this text")
    parser.add_argument("--client", action="append", metavar="NAME", help="only this client; repeatable")
    parser.add_argument("--write", action="store_true", help="write the table into docs/clients.md")
    parser.add_argument(
        "--patience", type=seconds, default=60.0, help="seconds to wait for a calm machine (default: 60)"
    )
    parser.add_argument("--fresh", action="store_true", help="forget the results of earlier runs first")
    given = parser.parse_args()
    known = kinds()
    clients = {name: kind for name, kind in known.items() if not given.client or name.strip("`") in given.client}
    cases = [case for case in CASES if given.case in case.promise]
    if not clients or not cases:
        raise UsageError(f"nothing to try: clients are {', '.join(known)}, promises are those of docs/clients.md")
    if given.write and (clients.keys() != set(ALL) or len(cases) < len(CASES)):
        raise UsageError(f"--write needs all promises and all clients, installed: {', '.join(ALL)}")
    kept = PROJECT / "results" / "clients.jsonl"
    if given.fresh:
        kept.unlink(missing_ok=True)
    lines = lines_of(tried(cases, clients, Tries(kept, given.patience)), clients)
    if given.write:
        renew(PAGE, "clients.py", lines)
    else:
        print("\n".join(lines))


if __name__ == "__main__":
    run(main)
