"""Write measured lines into a page of docs/, between two comments, and keep the rest."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from redis_practices.cli import Failure

END = "<!-- measured until here -->"
"""The line after measured lines; tables of figures have another one."""


def renew(page: Path, program: str, lines: Iterable[str]) -> None:
    """Replace the lines that `program` has measured (Failure if the page has no place for them)."""
    begin = f"<!-- measured by benchmarks/{program} -->"
    head, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, ends, tail = rest.partition(END)
    if not (found and ends):
        raise Failure(f"{page.name} has no place for this table: write the lines {begin} and {END}")
    page.write_text("\n".join([f"{head}{begin}", "", *lines, "", f"{END}{tail}"]), encoding="utf-8")
