"""Every scenario stands in docs/promises.csv, so that one that vanishes or changes its name is seen.

``python -m tests.test_promises`` prints the list anew.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

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


def test_every_scenario_is_listed() -> None:
    """The list names each scenario with its tags and its rows, and no other."""
    with LIST.open(newline="", encoding="utf-8") as file:
        listed = list(csv.DictReader(file))
    assert listed == list(promises())


if __name__ == "__main__":
    out = csv.DictWriter(sys.stdout, ["id", "tags", "rows"], lineterminator="\n")
    out.writeheader()
    out.writerows(promises())
