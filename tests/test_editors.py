"""Test that editors find every sentence by the settings of VS Code's Cucumber extension.

The extension reads the literals of ``@given("…")`` and of ``parsers.parse("…")``, and treats each placeholder as a
parameter type.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from fixtures import PROJECT
from fixtures.bdd.vocabulary import Definition, definitions_of

SETTINGS = PROJECT / ".vscode" / "settings.json"
DECORATORS = ("given", "when", "then", "step")


PLAIN = {"": r".*", "d": r"[-+]?\d+", "g": r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", "w": r"\w+"}
"""The patterns of types that the parse library defines; "" is a placeholder without a type."""

COLUMN = r"<[^<>]+>"
"""The placeholder of an outline in place of a value."""


def editor_settings(definitions: Iterable[Definition]) -> str:
    """Return ``.vscode/settings.json`` for step definitions (AssertionError for a hidden sentence)."""
    types: dict[str, str] = {}
    for definition in definitions:
        for placeholder in re.findall(r"\{([^{}]*)\}", definition.sentence):
            types[placeholder] = f"{_pattern(definition, placeholder.partition(':')[2])}|{COLUMN}"
    extension: dict[str, Any] = {
        "cucumber.features": ["features/**/*.feature"],
        "cucumber.glue": ["steps/**/*.py"],
        "cucumber.parameterTypes": [{"name": name, "regexp": types[name]} for name in sorted(types)],
    }
    return json.dumps(extension, indent=2) + "\n"


def _pattern(definition: Definition, kind: str) -> str:
    """Return the pattern of a type of the parse library, without capturing groups."""
    if kind in PLAIN:
        return PLAIN[kind]
    converters = getattr(getattr(definition.context.parser, "parser", None), "_extra_types", {})
    pattern = getattr(converters.get(kind), "pattern", None)
    assert pattern, f"{definition} at {definition.place}: editors know no type {kind!r}; give it a with_pattern"
    return str(pattern)


def test_settings_are_current(pytestconfig: pytest.Config) -> None:
    """The settings list every type of placeholder; UPDATE=1 writes them."""
    definitions = [one for one in definitions_of(pytestconfig) if not one.is_of_pytest_bdd]
    wanted = editor_settings(definitions)
    if os.environ.get("UPDATE"):
        SETTINGS.parent.mkdir(exist_ok=True)
        SETTINGS.write_text(wanted, encoding="utf-8")
    seen = SETTINGS.read_text(encoding="utf-8") if SETTINGS.exists() else ""
    assert seen == wanted, "the settings are not current: UPDATE=1 pytest tests/test_editors.py"


def hidden(source: str) -> list[int]:
    """Return the lines of decorators whose sentence is no literal."""
    lines = source.encode().splitlines()
    decorators = [
        one
        for function in ast.walk(ast.parse(source))
        if isinstance(function, ast.FunctionDef)
        for one in function.decorator_list
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id in DECORATORS
    ]
    return [one.lineno for one in decorators if not _is_literal(one.args[0], lines)]


def _is_literal(sentence: ast.expr, lines: list[bytes]) -> bool:
    """Tell whether a sentence is one literal, alone or in parsers.parse or parsers.cfparse."""
    if isinstance(sentence, ast.Call):
        if not (isinstance(sentence.func, ast.Attribute) and sentence.func.attr in ("parse", "cfparse")):
            return False
        sentence = sentence.args[0]
    if not isinstance(sentence, ast.Constant) or sentence.lineno != sentence.end_lineno:
        return False
    text = lines[sentence.lineno - 1][sentence.col_offset : sentence.end_col_offset].decode()
    # Python joins adjacent literals to one constant, and editors do not.
    return text[0] == text[-1] and text[0] in "\"'" and text[0] not in text[1:-1].replace(f"\\{text[0]}", "")


MODULES = sorted((PROJECT / "steps").rglob("[!_]*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_no_sentence_is_hidden(path: Path) -> None:
    """Every sentence is a literal that editors can read."""
    assert not hidden(path.read_text(encoding="utf-8")), "write one literal for parsers.parse"


@pytest.mark.parametrize(
    ("sentence", "is_hidden"),
    [
        ('"a cache"', False),
        (r'"a \"cache\""', False),
        ('parsers.parse("a cache of {size}")', False),
        ('"a " + "cache"', True),
        ('f"a cache of {SIZE}"', True),
        ('"a " "cache"', True),
        ("'a ' \"cache\"", True),
        ('re.compile("a cache")', True),
        ("SENTENCE", True),
    ],
)
def test_hidden_sentence_is_found(sentence: str, *, is_hidden: bool) -> None:
    """A joined, computed or regular expression sentence is found at its line."""
    assert hidden(f"\n@given({sentence})\ndef step(): ...\n") == [2] * is_hidden
