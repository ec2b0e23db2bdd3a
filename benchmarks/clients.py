"""Bring each client library into trouble on real servers, and write which client keeps which promise.

Each client is made with host and port alone, as it is installed. The cases are in lib/client_promises.py. A case takes
up to 100 s where a client repeats a call for so long.

    python -m venv .clients && .clients/bin/pip install -r requirements.txt valkey-glide valkey-glide-sync
    .clients/bin/python benchmarks/clients.py --write
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from lib import PROJECT
from lib.client_promises import CASES, Case, Seen
from lib.clients_under_test import ALL, Kind, kinds
from lib.ending import run
from lib.pages import renew

from redis_practices.cli import Parser, UsageError, say
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import engine_of, server_binary

PAGE = PROJECT / "docs" / "clients.md"

Results = Mapping[Case, Mapping[str, Seen | None]]
"""What was seen of each client; None where it has no client for clusters."""


def tried(chosen: Sequence[Case], clients: Mapping[str, Kind]) -> Results:
    """Bring each client into each case; each gets its own servers."""
    results: dict[Case, dict[str, Seen | None]] = {}
    for case in chosen:
        for name, kind in clients.items():
            if case.cluster and not kind.many:
                results.setdefault(case, {})[name] = None
                continue
            with ProcessGroup("clients") as group:
                seen = case.run(kind, group)
            say(f"{case.promise}: {name}: {'kept' if seen.kept else 'BROKEN'}: {seen.text}")
            results.setdefault(case, {})[name] = seen
    return results


def word(seen: Seen | None) -> str:
    """Return a cell of the table."""
    return "-" if seen is None else "yes" if seen.kept else "**no**"


def lines_of(results: Results, clients: Mapping[str, Kind]) -> list[str]:
    """Return the measured part of the page."""
    heads = [kind.title for kind in clients.values()]
    lines = [f"| promise | {' | '.join(heads)} | where it is broken |", f"|---|{':-:|' * len(heads)}---|"]
    lines += [
        f"| {case.promise} | {' | '.join(map(word, seen.values()))} | {case.todo} |" for case, seen in results.items()
    ]
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
    given = parser.parse_args()
    known = kinds()
    clients = {name: kind for name, kind in known.items() if not given.client or name.strip("`") in given.client}
    cases = [case for case in CASES if given.case in case.promise]
    if not clients or not cases:
        raise UsageError(f"nothing to try: clients are {', '.join(known)}, promises are those of docs/clients.md")
    if given.write and (clients.keys() != set(ALL) or len(cases) < len(CASES)):
        raise UsageError(f"--write needs all promises and all clients, installed: {', '.join(ALL)}")
    lines = lines_of(tried(cases, clients), clients)
    if given.write:
        renew(PAGE, "clients.py", lines)
    else:
        print("\n".join(lines))


if __name__ == "__main__":
    run(main)
