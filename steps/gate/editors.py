"""The sentences about editors that show and complete sentences."""

from __future__ import annotations

import ast
import os
from pathlib import Path

from pytest_bdd import parsers, then

from fixtures import PROJECT
from fixtures.bdd.definitions import definitions_seen, editor_settings

FOUND = ("given", "when", "then", "step")


@then(parsers.parse('"{name}" is what the sentences ask for'))
def check_settings(name: str) -> None:
    """Compare the file with what it would be now; UPDATE=1 writes it."""
    wanted, path = editor_settings(definitions_seen()), PROJECT / name
    if os.environ.get("UPDATE"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(wanted, encoding="utf-8")
    seen = path.read_text(encoding="utf-8") if path.exists() else ""
    assert seen == wanted, f"{name} is not current: UPDATE=1 pytest features/gate/editors.feature"


@then("every sentence is a literal that editors can read")
def check_literals() -> None:
    """Find no decorator of a step whose sentence is put together, computed or a regular expression."""
    found = [place for path in sorted((PROJECT / "steps").rglob("*.py")) for place in _unreadable(path)]
    assert not found, f"editors cannot read the sentences at {', '.join(found)}: write one literal for parsers.parse"


def _unreadable(path: Path) -> list[str]:
    """Return the places of sentences that are not one literal."""
    source = path.read_text(encoding="utf-8")
    lines = source.encode().splitlines()
    decorators = [
        one
        for function in ast.walk(ast.parse(source))
        if isinstance(function, ast.FunctionDef)
        for one in function.decorator_list
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id in FOUND
    ]
    return [f"{path.name}:{one.lineno}" for one in decorators if not _readable(one.args[0], lines)]


def _readable(sentence: ast.expr, lines: list[bytes]) -> bool:
    """Tell whether a sentence is one literal, alone or in parsers.parse or parsers.cfparse."""
    if isinstance(sentence, ast.Call):
        if not (isinstance(sentence.func, ast.Attribute) and sentence.func.attr in ("parse", "cfparse")):
            return False
        sentence = sentence.args[0]
    if not isinstance(sentence, ast.Constant) or sentence.lineno != sentence.end_lineno:
        return False
    text = lines[sentence.lineno - 1][sentence.col_offset : sentence.end_col_offset].decode()
    # Two literals side by side are one constant to Python, and none to an editor.
    return text[0] == text[-1] and text[0] in "\"'"
