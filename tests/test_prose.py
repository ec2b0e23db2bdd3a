"""Check the project's English: the subject of a sentence has a name, and a sentence has at most 25 words.

``PYTHONPATH=src python -m tests.test_prose`` lists the sentences to improve, and today's numbers. After improving some,
lower `CEILINGS`; a ceiling never rises.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures import PROJECT

CEILINGS = {
    "features": (0, 0),
    "steps": (0, 0),
    "fixtures": (0, 0),
    "src": (0, 0),
    "tests": (0, 0),
    "benchmarks": (0, 0),
    "book": (0, 0),
    "docs": (0, 0),
    "*.md": (0, 0),
}
"""By place: the most sentences that hide their subject, and the most that are too long."""

GENERATED = {"bounds.md", "compatibility.md", "refusals.md", "VOCABULARY.md"}
"""Documents that are made of sentences in other files."""

HIDDEN = re.compile(
    r"\b(who|whom|whoever|(some|no|any|every)body|whatever|whichever|(of|with|by|from|than|in|to|for|at) what(?! to do)"
    r"|the others|the ones? that|of (its|their) own|of ours|by (itself|themselves)|so many|told|anew|goes on"
    r"|at one stroke)\b",
    re.IGNORECASE,
)
"""Words that replace the name of a thing, and idioms that replace the manual's term."""

LONGEST = 25
"""Words of a sentence; a text in backticks, a path or a link counts as one."""

ONE_WORD = re.compile(r"`+[^`]*`+|\S+[/_]\S+")

KEYWORD = re.compile(r"(Feature|Rule|Scenario|Scenario Outline|Background|Examples):|(Given|When|Then|And|But|\*) ")

ITEM = re.compile(r"[-*] |\d+\. |[\w.]+(, [\w.]+)*: ")
"""The start of an item of a list, or of a line below ``Raises:``."""

NO_PROSE = re.compile(r"^[|@#!<]|\S {2,}\S")
"""The start of tables, tags, headings and pictures; the columns of an index."""


def paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs, list items and lines of a feature in a text, without code and tables."""
    block: list[str] = []
    fenced = ""
    for line in [*text.splitlines(), ""]:
        words = line.strip()
        fence = words.startswith(fenced or ("```", '"""'))
        if fence:
            fenced = "" if fenced else words[:3]
        skipped = fence or bool(fenced) or not words or bool(NO_PROSE.search(words))
        alone = KEYWORD.match(words)
        if skipped or alone or ITEM.match(words):
            yield " ".join(block)
            block = []
        if alone:
            yield KEYWORD.sub("", words)
        elif not skipped:
            block.append(words)


def without_examples(docstring: str) -> str:
    """Return a docstring without its indented examples."""
    below = re.split(r"^(Raises:)$", inspect.cleandoc(docstring), maxsplit=1, flags=re.MULTILINE)
    return "\n".join([re.sub(r"^ {4}.*$", "", below[0], flags=re.MULTILINE), *below[1:]])


def prose_of(module: str) -> Iterator[str]:
    """Yield the paragraphs of a module's docstrings, messages and comments."""
    lines, docstrings = module.splitlines(), set[int]()
    for node in ast.walk(ast.parse(module)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text)) as constant):
                yield from paragraphs(without_examples(text))
                docstrings.add(id(constant))
                last = constant.end_lineno or constant.lineno
                lines[constant.lineno - 1 : last] = [""] * (last - constant.lineno + 1)
            case ast.Constant(value=str(text)) if id(node) not in docstrings and " " in text and "\n" not in text:
                yield text
    # Adjacent lines of comments are one paragraph; a comment behind code is another.
    comment = re.compile(r"\s*# (.*)|.*  # (?!noqa|type)(.*)")
    found = [comment.fullmatch(line) for line in lines]
    yield from paragraphs("\n".join(match[1] or f"\n{match[2]}\n" if match else "" for match in found))


def to_improve(place: str) -> tuple[list[str], list[str]]:
    """Return the sentences in a place that hide their subject, and those that are too long."""
    hidden, long = [], []
    for path in sorted(PROJECT.glob(place if "*" in place else f"{place}/**/*")):
        if path.suffix not in {".py", ".feature", ".md"} or path.name in GENERATED or path == Path(__file__):
            continue
        text = path.read_text(encoding="utf-8")
        for paragraph in prose_of(text) if path.suffix == ".py" else paragraphs(text):
            for sentence in re.split(r"(?<=[.!?]) ", paragraph):
                if HIDDEN.search(sentence):
                    hidden.append(f"{path.relative_to(PROJECT)}: {sentence}")
                if len(re.findall(r"[A-Za-z']+", ONE_WORD.sub("x", sentence))) > LONGEST:
                    long.append(f"{path.relative_to(PROJECT)}: {sentence}")
    return hidden, long


@pytest.mark.parametrize("place", CEILINGS)
def test_english_is_plain(place: str) -> None:
    """No place has more sentences to improve than its ceiling."""
    faults = ("hide their subject", f"have more than {LONGEST} words")
    for found, ceiling, fault in zip(to_improve(place), CEILINGS[place], faults, strict=True):
        assert len(found) <= ceiling, "\n".join([f"{len(found)} sentences {fault}, {ceiling} may:", *found])


MODULE = '''
"""Restart the worker.

The others are told.

    nobody = reads(examples)

Raises:
    ValueError: somebody asked.
"""
limit = 3  # whatever it is
# A comment of one line,
# and another: who knows?
raise ValueError(f"{limit} of its own")
TEMPLATE = """
nobody reads templates
"""
'''


def test_all_prose_of_a_module_is_read() -> None:
    """Docstrings, comments and messages are read; examples and templates are not."""
    found = [paragraph for paragraph in prose_of(MODULE) if HIDDEN.search(paragraph)]
    assert found == [
        "The others are told.",
        "ValueError: somebody asked.",
        " of its own",
        "whatever it is",
        "A comment of one line, and another: who knows?",
    ]


def main() -> None:
    """Print the sentences to improve, and the numbers of each place."""
    for place in CEILINGS:
        hidden, long = to_improve(place)
        print(*hidden, *long, f'"{place}": ({len(hidden)}, {len(long)}),', sep="\n")


if __name__ == "__main__":
    main()
