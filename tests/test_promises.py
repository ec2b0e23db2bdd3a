"""Every promise stands in docs/promises.csv, so that one that vanishes or changes its name is seen.

A line is a scenario. One that is gone names in its column `test` the tests that have its promise, with blanks between.
``python -m tests.test_promises`` prints the list anew.
"""

from __future__ import annotations

import ast
import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.bdd.gherkin import Node, read

PROJECT = Path(__file__).parent.parent
LIST = PROJECT / "docs" / "promises.csv"


def promises() -> Iterator[dict[str, str]]:
    """Yield the id, the tags and the number of rows of each scenario; one that is no outline has one row."""
    for path in sorted(PROJECT.glob("features/**/*.feature")):
        feature = read(path).feature
        for rule in (feature, *read(path).rules()):
            for child in rule["children"]:
                if scenario := child.get("scenario"):
                    yield _promise(path, [feature, rule, scenario])


def _promise(path: Path, parts: list[Node]) -> dict[str, str]:
    """Return the line of the scenario that is the last of `parts`; the others hold it."""
    examples = parts[-1]["examples"]
    tags = {tag["name"].removeprefix("@") for part in (*parts, *examples) for tag in part["tags"]}
    return {
        "id": f"{path.relative_to(PROJECT).as_posix()}::{parts[-1]['name']}",
        "tags": " ".join(sorted(tags)),
        "rows": str(sum(len(table["tableBody"]) for table in examples) or 1),
    }


def listed() -> list[dict[str, str]]:
    """Return the lines of the list."""
    with LIST.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def kept(lines: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return a line for each scenario, and those of `lines` whose promise a test has; in the order of their files."""
    now = [{**line, "test": ""} for line in promises()]
    tested = [line for line in lines if line["test"]]
    return sorted([*now, *tested], key=lambda line: line["id"].partition("::")[0])


def test_every_scenario_is_listed() -> None:
    """The list names each scenario with its tags and its rows, and no other that no test has."""
    assert listed() == kept(listed())


def test_no_promise_is_listed_twice() -> None:
    """A scenario is in the features, or its promise is that of a test."""
    ids = [line["id"] for line in listed()]
    assert len(ids) == len(set(ids)), [name for name in ids if ids.count(name) > 1]


@pytest.mark.parametrize("test", sorted({test for line in listed() for test in line["test"].split()}))
def test_named_test_exists(test: str) -> None:
    """A test that has a promise is there, and pytest finds it by its name."""
    file, _, name = test.partition("::")
    functions = ast.parse((PROJECT / file).read_text(encoding="utf-8")).body
    assert name.startswith("test_")
    assert name in {one.name for one in functions if isinstance(one, ast.FunctionDef)}


if __name__ == "__main__":
    out = csv.DictWriter(sys.stdout, ["id", "tags", "rows", "test"], lineterminator="\n")
    out.writeheader()
    out.writerows(kept(listed()))
