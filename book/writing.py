"""Write texts, code and tables as Markdown that neither hides nor changes a character."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

CODE = re.compile(r"(`+[^`]+`+)")


def plain(text: str) -> str:
    """Escape a text; its code in backticks stays code."""
    parts = CODE.split(text)
    for place in range(0, len(parts), 2):
        escaped = re.sub(r"([\\*_{}\[\]#`])", r"\\\1", parts[place])
        parts[place] = escaped.replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;")
    return "".join(parts)


def paragraphs(text: str) -> str:
    """Return a description of Gherkin without its indent, escaped."""
    return plain("\n".join(part.strip() for part in text.strip().splitlines()))


def code(text: str) -> str:
    """Return a text as code in a paragraph or a cell; nothing for an empty one."""
    if not text.strip():
        return ""
    fence = "``" if "`" in text else "`"
    space = " " if "`" in text else ""
    return f"{fence}{space}{text}{space}{fence}"


def fenced(language: str, lines: Iterable[str]) -> Iterator[str]:
    """Yield a block of code, fenced by more backticks than it has."""
    lines = list(lines)
    longest = max((len(found) for found in re.findall(r"`+", "\n".join(lines))), default=0)
    fence = "`" * max(3, longest + 1)
    yield from (f"{fence}{language}", *lines, fence, "")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield a table; nothing without rows."""
    names, below = list(head), [list(row) for row in rows]
    if below:
        for cells in (names, ["---"] * len(names), *below):
            yield f"| {' | '.join(cells)} |"
        yield ""


def note(kind: str, title: str, lines: Iterable[str], *, folded: bool = False) -> Iterator[str]:
    """Yield a box with a title."""
    yield from (f'{"???" if folded else "!!!"} {kind} "{title}"', "")
    yield from (f"    {text}".rstrip() for text in lines)
    yield ""
