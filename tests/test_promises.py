"""Test that docs/promises.csv lists every promise, so that none vanishes unnoticed.

``python -m tests.test_promises`` prints the list for the current features. With ``--assign`` it gives the next free id
to each scenario without one. A scenario without an id has its ``file::name`` in that column. fixtures/bdd/gherkin.py
explains the columns.
"""

from __future__ import annotations

import ast
import csv
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures import PROJECT
from fixtures.bdd.gherkin import ASSIGN, PREFIXES, Node, id_of, is_id, line, promises, read

FIRST = 457
"""The number of promises of version 1.0.0."""


def written() -> Iterator[dict[str, str]]:
    """Yield id, ``file::name``, tags and number of rows of each scenario; a plain one has one row."""
    for path in sorted(PROJECT.glob("features/**/*.feature")):
        feature = read(path).feature
        for rule in (feature, *read(path).rules()):
            for child in rule["children"]:
                if scenario := child.get("scenario"):
                    yield _promise(path, [feature, rule, scenario])


def _promise(path: Path, parts: list[Node]) -> dict[str, str]:
    """Return the line of the scenario that took over the promise."""
    examples, name = parts[-1]["examples"], f"{path.relative_to(PROJECT).as_posix()}::{parts[-1]['name']}"
    tags = {tag["name"].removeprefix("@") for part in (*parts, *examples) for tag in part["tags"]}
    return {
        "id": id_of(tags) or name,
        "name": name,
        "tags": " ".join(sorted(tag for tag in tags if not is_id(tag))),
        "rows": str(sum(len(table["tableBody"]) for table in examples) or 1),
    }


def current(lines: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return the current lines, with one for each new scenario; no line vanishes."""
    now = list(written())
    known = {one[key]: one for key in ("name", "id") for one in now}
    found = [known.get("" if one["kept_by"] or one["dropped"] else one["id"], {}) for one in lines]
    kept = [
        {**one, **{key: of_it[key] for key in ("id", "tags", "rows") if of_it}}
        for one, of_it in zip(lines, found, strict=True)
    ]
    listed = {one["id"] for one in kept}
    kept += [{**dict.fromkeys(COLUMNS, ""), **one} for one in now if one["id"] not in listed]
    return sorted(
        ({key: one[key] for key in COLUMNS} for one in kept), key=lambda one: (one["id"] or "~", one["first"])
    )


COLUMNS = ("id", "first", "tags", "rows", "kept_by", "dropped")


def assign(root: Path) -> None:
    """Give the next free id to each scenario without one, in the order of files and lines."""
    texts = {path: read(path) for path in sorted(root.glob("features/*/*.feature"))}
    tags = {tag["name"] for text in texts.values() for one, _ in text.scenarios() for tag in one["tags"]}
    used = {name.lstrip("@") for name in tags | {one["id"] for one in promises(root)} if is_id(name)}
    highest = Counter[str]()
    for prefix, _, number in (name.rpartition("-") for name in used):
        highest[prefix] = max(highest[prefix], int(number))
    for path, text in texts.items():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        for scenario, _ in text.scenarios():
            if not id_of(tag["name"] for tag in scenario["tags"]):
                prefix = PREFIXES[path.parent.name]
                highest[prefix] += 1
                above = (scenario["tags"] or [scenario])[0]
                between = " " if scenario["tags"] else "\n" + " " * (above["location"]["column"] - 1)
                tag = f"@{prefix}-{highest[prefix]:03}{between}"
                lines[line(above) - 1] = re.sub(r"(?=\S)", tag, lines[line(above) - 1], count=1)
        path.write_text("".join(lines), encoding="utf-8")


def test_list_is_current() -> None:
    """The list has each scenario with its tags and its number of rows."""
    assert promises(PROJECT) == current(promises(PROJECT))


def test_no_promise_is_lost() -> None:
    """Each promise, including all of 1.0.0, has a scenario, a successor or a reason why it was dropped."""
    ids = {one["id"] for one in written()}
    for one in promises(PROJECT):
        found = [name for name in ("kept_by", "dropped") if one[name]] + ["scenario"] * (one["id"] in ids)
        assert len(found) == 1, f"{one['id'] or one['first']} has {found}: say what keeps it, or why it was dropped"
    assert len({one["first"] for one in promises(PROJECT)} - {""}) == FIRST


def test_no_promise_is_listed_twice() -> None:
    """An id has one line, and so has a name of version 1.0.0."""
    for key in ("first", "id"):
        count = Counter(one[key] for one in promises(PROJECT) if one[key])
        assert [name for name, times in count.items() if times > 1] == []


def test_each_scenario_has_an_id() -> None:
    """Each scenario has a unique id."""
    ids = [one["id"] for one in written()]
    lacking = [name for name in ids if not is_id(name)]
    assert not lacking, f"{len(lacking)} have no id: run {ASSIGN}; the first is {lacking[0]}"
    assert len(ids) == len(set(ids)), [name for name in ids if ids.count(name) > 1]


def test_assigned_ids(tmp_path: Path) -> None:
    """A scenario without an id gets the next unused one before its other tags."""
    keys = tmp_path / "features" / "pure_cache" / "keys.feature"
    keys.parent.mkdir(parents=True)
    keys.write_text(
        "Feature: Keys\n\n  Rule: Some\n    Scenario: one\n      Given a\n\n    @core @audit\n    Scenario: two\n"
        "      Given a\n\n    @cache-007\n    Scenario: three\n      Given a\n",
        encoding="utf-8",
    )
    (tmp_path / "docs").mkdir()
    retired = "id,first,tags,rows,kept_by,dropped\ncache-041,,,1,,no longer of use\ngate-050,,,1,,\n"
    (tmp_path / "docs" / "promises.csv").write_text(retired, encoding="utf-8")
    assign(tmp_path)
    assert keys.read_text(encoding="utf-8") == (
        "Feature: Keys\n\n  Rule: Some\n    @cache-042\n    Scenario: one\n      Given a\n\n"
        "    @cache-043 @core @audit\n    Scenario: two\n      Given a\n\n"
        "    @cache-007\n    Scenario: three\n      Given a\n"
    )


@pytest.mark.parametrize("keeper", sorted({name for line in promises(PROJECT) for name in line["kept_by"].split()}))
def test_keeper_exists(keeper: str) -> None:
    """Each successor of a promise exists, and pytest finds it by its name."""
    if is_id(keeper):
        assert keeper in {one["id"] for one in written()}
        return
    file, _, name = keeper.partition("::")
    functions = ast.parse((PROJECT / file).read_text(encoding="utf-8")).body
    assert name.startswith("test_")
    assert name in {one.name for one in functions if isinstance(one, ast.FunctionDef)}


if __name__ == "__main__":
    if sys.argv[1:] == ["--assign"]:
        assign(PROJECT)
    else:
        out = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
        out.writeheader()
        out.writerows(current(promises(PROJECT)))
