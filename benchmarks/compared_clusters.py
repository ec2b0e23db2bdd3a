"""Let the engines' own command lines check clusters with one defect each, and write what they notice.

Each defect of features/gate/refusals.feature about a cluster is built, which this gate refuses. `redis-cli --cluster
check` and `valkey-cli --cluster check` are the newest that can be had. A healthy cluster shows their false alarms.

    python benchmarks/compared_clusters.py --write
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from urllib.parse import unquote, urlsplit

from redis.exceptions import RedisError

from lib import PROJECT
from lib.ending import run
from lib.engine_sources import TOOLS, Tool, tool
from lib.healthy_verdicts import outline_rows
from lib.pages import renew

from fixtures.gate.defects import Builder
from fixtures.run.keys import Unsupported
from redis_practices.cli import Failure, Parser, say
from redis_practices.clients import server_text
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import EmbeddedError, engine_of, server_binary

PAGE = PROJECT / "docs" / "compared.md"
FEATURE = PROJECT / "features" / "gate" / "refusals.feature"
HEALTHY = "a healthy cluster"


def complaint(checker: Tool, url: str) -> str:
    """Return the first complaint of a tool about a cluster, or nothing."""
    parts = urlsplit(url)
    login = ["--user", parts.username or "default", "-a", unquote(parts.password)] if parts.password else []
    tls = ["--tls", "--insecure"] if parts.scheme == "rediss" else []
    command = [checker.path, "--no-auth-warning", *login, *tls, "--cluster", "check", f"{parts.hostname}:{parts.port}"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", ended.stdout)
    said = [line for line in plain.splitlines() if "[ERR]" in line or "[WARNING]" in line]
    return said[0] if said else f"exit code {ended.returncode}" if ended.returncode else ""


Found = Mapping[str, Sequence[str]]
"""The first complaint of each tool, by defect."""


def checked(checkers: Sequence[Tool], defects: Sequence[str], binary: str) -> Found:
    """Return what each tool says of each defect; one that cannot be built here is left out."""
    found: dict[str, list[str]] = {}
    for defect in defects:
        with ProcessGroup("compared") as group, ExitStack() as ending:
            try:
                url = Builder(group, ending, binary).url("cluster", None if defect == HEALTHY else defect)
                found[defect] = [complaint(one, url) for one in checkers]
            except (Unsupported, RedisError, EmbeddedError, AssertionError, subprocess.TimeoutExpired) as reason:
                say(f"{defect}: left out, {server_text(reason)}")
                continue
        say(f"{defect}: {', '.join(said or 'nothing' for said in found[defect])}")
    return found


def lines_of(checkers: Sequence[Tool], found: Found, scenarios: Mapping[str, str], binary: str) -> list[str]:
    """Return the table of the noticed defects, and a list of the defects that no tool noticed."""
    heads = " | ".join(one.name for one in checkers)
    lines = [f"| defect | this gate | {heads} |", f"|---|---|{'---|' * len(checkers)}"]
    faulty = {defect: said for defect, said in found.items() if defect != HEALTHY}
    noticed = {defect: said for defect, said in faulty.items() if any(said)}
    for defect, said in noticed.items():
        cells = " | ".join(one.replace("|", "\\|") or "no" for one in said)
        lines.append(f"| {defect} | {scenarios[defect]} | {cells} |")
    each = "; ".join(
        f"{one.name}: {sum(bool(said[place]) for said in faulty.values())}" for place, one in enumerate(checkers)
    )
    missing = "; ".join(defect for defect in scenarios if defect not in found) or "none"
    wrong = "; ".join(filter(None, found[HEALTHY])) or "nothing"
    return [
        *lines,
        "",
        f"Noticed of {len(faulty)} defects: {each}. Said of a healthy cluster: {wrong}.",
        "",
        f"The other {len(faulty) - len(noticed)} are fine to these tools; [refusals.md](refusals.md) lists them.",
        "",
        f"Not built, as this engine or a busy machine does not allow it: {missing}.",
        "",
        f"Tried on {engine_of(binary)}, {datetime.now(UTC).date()}.",
    ]


def main() -> None:
    """Print the table, or write it into the page."""
    parser = Parser(__doc__ or "", '  python benchmarks/compared_clusters.py --only "slot"')
    parser.add_argument("--only", default="", metavar="TEXT", help="only defects with this text")
    parser.add_argument("--write", action="store_true", help="write the table into docs/compared.md")
    given = parser.parse_args()
    checkers = [found for name in TOOLS if (found := tool(name))]
    if not checkers:
        raise Failure("there is no redis-cli or valkey-cli: install one")
    rows = outline_rows(FEATURE, r'Given a (\w+) with the defect "', "DEFECT")
    scenarios = {cells[0]: cells[1] for role, cells in rows if role == "cluster" and given.only in cells[0]}
    binary = server_binary()
    lines = lines_of(checkers, checked(checkers, [HEALTHY, *scenarios], binary), scenarios, binary)
    if given.write:
        renew(PAGE, "compared_clusters.py", lines)
    else:
        print("\n".join(lines))


if __name__ == "__main__":
    run(main)
