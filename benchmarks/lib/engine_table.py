"""Write the compatibility tables as Markdown from the rows of engine_results.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lib.engine_sources import SOURCES
from lib.engine_subjects import CLIENTS, UNTRIED

from fixtures.bdd.gherkin import is_id

HEAD = """\
# Which engines and clients keep which promises

Made by `python benchmarks/engines.py`; do not edit. Each practice is a separate run, and each cell keeps its date until
it is run again. An option in a cell selected its scenarios. A cell is *accepted* if every scenario held that any row
has run. It is *partial* if something lacks that scenarios need, and *refused* if a scenario failed.
"""

ENGINES = """\
## Engines

With the packages of requirements.txt. A version that no package registry offers comes as an image, or as a program:
`--server-binary PATH`. A row that another team makes names it: `--by "the CI of example.org"`.
"""

CLIENTS_HEAD = """\
## Client packages

On the engine that the requirements bring along. The packages replace those of requirements.txt.
"""

MEASURED = """\
## What was measured

Columns of different dates do not compare. `-`: no scenario of the row measured it.

"""

COMMAND = "python benchmarks/engines.py"
PRACTICES = ("pure_cache", "redis_cluster", "celery_worker", "tuning")


def markdown(found: dict[str, Any]) -> str:
    """Return the whole document."""
    engines, clients = found["engines"], found["clients"]
    engine_rows = [[one["engine"], one["origin"], *_cells(one)] for one in engines]
    client_rows = [[*one["packages"].values(), one["engine"], *_cells(one)] for one in clients]
    client_columns = ["Python", "celery", "kombu", "redis-py", "engine", "made", *PRACTICES]
    parts = [HEAD, ENGINES, _table(["engine", "from", "made", *PRACTICES], engine_rows)]
    parts += [_untried(_untried_engines(engines)), CLIENTS_HEAD]
    parts += [_table(client_columns, client_rows)] if client_rows else []
    parts += [_untried(_untried_clients(clients))]
    parts += [section for one in engines if (section := _section(one["engine"], one))]
    parts += [section for one in clients if (section := _section(f"Clients: {one['origin']}", one))]
    parts.append(MEASURED + _figures(engines))
    if found["nowhere"]:
        lines = _by_reason(found["nowhere"])
        parts.append("## What no row ran\n\nIt needs another stack or another machine.\n\n" + "\n".join(lines))
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _cells(row: dict[str, Any]) -> list[str]:
    """Return the last columns of a row: its dates and makers, and a cell for each practice."""
    cells = row["practices"]
    made = sorted({f"{cell['started'][:10]} by {cell['by']}, {cell['machine']}" for cell in cells.values()})
    return ["; ".join(made), *(_cell(cells.get(practice)) for practice in PRACTICES)]


def _cell(cell: dict[str, Any] | None) -> str:
    """Return a cell of the table: the verdict with its numbers."""
    if cell is None:
        return "not run"
    counts = {"failed": len(cell["failed"]), "left out": len(cell["skipped"]), "held": cell["passed"]}
    selection = f" (`{cell['selection']}`)" if cell["selection"] else ""
    return f"{cell['verdict']}: " + ", ".join(f"{count} {name}" for name, count in counts.items() if count) + selection


def _untried(lines: Sequence[tuple[str, str]]) -> str:
    """Return a list of the rows that are missing, with the command that makes each; nothing if there are none."""
    commands = [f"- {name}: `{COMMAND} {options}`" for name, options in lines]
    return "\n".join(["Not tried yet:", "", *commands]) if commands else ""


def _untried_engines(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return each engine without a row, and the options that make the row."""
    named = {one["name"] for one in rows}
    had = [f"{one['engine']}." for one in rows]
    lines = [(name.replace("-", " "), f"--engines {name} --clients ''") for name in SOURCES if name not in named]
    lines += [
        (version, f"--image {version.replace(' ', ':') if version.startswith('redis') else _valkey(version)}")
        for version in UNTRIED
        if not any(engine.startswith(f"{version}.") for engine in had)
    ]
    return lines


def _valkey(version: str) -> str:
    """Return the usual name of an image of Valkey."""
    return f"valkey/{version.replace(' ', ':')}"


def _untried_clients(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return each set of client packages without a row, and the options that make the row."""
    named = {one["name"] for one in rows}
    return [
        (f"Python {one.python}" if one.python else ", ".join(one.packages), f"--engines '' --clients {name}")
        for name, one in CLIENTS.items()
        if name not in named
    ]


def _section(title: str, row: dict[str, Any]) -> str:
    """Return the failures of a row, and by reason what it lacks; nothing if there are none."""
    cells = row["practices"].values()
    lines = [f"- **failed**: {name}: {reason}" for cell in cells for name, reason in cell["failed"]]
    lines += _by_reason([pair for cell in cells for pair in cell["skipped"]])
    return f"## {title}\n\n" + "\n".join(lines) if lines else ""


def _by_reason(pairs: Iterable[Sequence[str]]) -> list[str]:
    """Return a line for each reason with the ids of the scenarios that it excluded."""
    reasons: dict[str, dict[str, None]] = {}
    for name, reason in pairs:
        identity = name.partition(" ")[0]
        shown = f"`{identity}`" if is_id(identity) else name.replace("features/", "", 1)
        reasons.setdefault(reason, {})[shown] = None
    return [f"- {reason}: {', '.join(names)}" for reason, names in reasons.items()]


def _figures(engines: list[dict[str, Any]]) -> str:
    """Return the figures, a row each, an engine in each column."""
    titles = list(dict.fromkeys(title for one in engines for title in one["figures"]))
    rows = [[title, *(one["figures"].get(title, "-") for one in engines)] for title in titles]
    return _table(["measurement", *(one["engine"] for one in engines)], rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a bar inside a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
