"""Write the compatibility table as Markdown from the results of engine_results.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fixtures.bdd.gherkin import is_id

HEAD = """\
# Which engines keep which promises

Made by `python benchmarks/engines.py`; do not edit. Version {suite} of this specification ran on {machine}, from {from}
to {until}, each practice in a separate run. An engine is *accepted* if every scenario held that any engine can run. It
is *partial* if it lacks something that some of them need, and *refused* if a scenario failed.
"""


def markdown(found: dict[str, Any]) -> str:
    """Return the whole document."""
    engines = found["engines"]
    practices = list(dict.fromkeys(name for one in engines for name in one["practices"]))
    rows = [
        [one["engine"], one["origin"], *(_cell(one["practices"].get(practice)) for practice in practices)]
        for one in engines
    ]
    parts = [HEAD.format(**found), _table(["engine", "from", *practices], rows)]
    parts += [section for one in engines if (section := _section(one))]
    parts.append("## What was measured\n\n" + _figures(engines))
    if found["nowhere"]:
        lines = _by_reason(found["nowhere"])
        parts.append("## What no engine ran\n\nIt needs another stack or another machine.\n\n" + "\n".join(lines))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _cell(cell: dict[str, Any] | None) -> str:
    """Return a cell of the table: the verdict with its numbers."""
    if cell is None:
        return "not run"
    counts = {"failed": len(cell["failed"]), "left out": len(cell["skipped"]), "held": cell["passed"]}
    return f"{cell['verdict']}: " + ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _section(one: dict[str, Any]) -> str:
    """Return the failures of an engine, and by reason what it lacks; nothing if there are none."""
    cells = one["practices"].values()
    lines = [f"- **not run**: {one['trouble']}"] if one.get("trouble") else []
    lines += [f"- **failed**: {name}: {reason}" for cell in cells for name, reason in cell["failed"]]
    lines += _by_reason([pair for cell in cells for pair in cell["skipped"]])
    return f"## {one['engine']}\n\n" + "\n".join(lines) if lines else ""


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
    rows = [[title, *(one["figures"].get(title, "") for one in engines)] for title in titles]
    return _table(["", *(one["engine"] for one in engines)], rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a bar inside a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
