"""The sentences about two runs compared."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from pytest_bdd import given, parsers, then

from steps.common.vocabulary import rows

if TYPE_CHECKING:
    from fixtures.gate.sample_project import SampleTree

Table = list[list[str]]


@given(parsers.parse('in "{name}" the run was different'))
def change_report(sample_tree: SampleTree, name: str, datatable: Table) -> None:
    """Let an older report say something else of some scenarios."""
    report = json.loads(sample_tree.read(name))
    wanted = {row["SCENARIO"]: row for row in rows(datatable, ["SCENARIO", "STATUS", "SECONDS", "SEEN"])}
    for record in report["scenarios"]:
        row = wanted[record["id"].partition("::")[2]]
        record |= {"status": row["STATUS"], "seconds": float(row["SECONDS"])}
        record["measurements"][0]["seen"] = int(row["SEEN"])
    sample_tree.write(name, json.dumps(report))


@given(parsers.parse('the text "{text}" in a file "{name}"'))
def write_text(sample_tree: SampleTree, name: str, text: str) -> None:
    """Write a file."""
    sample_tree.write(name, text)


@then(
    parsers.parse(
        "of 12 scenarios at {pace:g} times the time, with a noise of {noise:g} %, one at {own:g} times is told: {told}"
    )
)
def check_slower(pace: float, noise: float, own: float, told: str) -> None:
    """Compare two runs whose scenarios differ as said."""
    from fixtures.reporting.baseline import compare  # noqa: PLC0415 - a run without --baseline shall not import it

    spread = [pace * math.exp(noise / 100 * (number - 5) / 3.3) for number in range(11)]
    before = [_record(number, 2.0) for number in range(12)]
    after = [_record(number, 2.0 * factor) for number, factor in enumerate([*spread, own])]
    changes = compare({"started": "before", "scenarios": before}, after)["changes"]
    assert [(one["id"], one["kind"]) for one in changes] == ([("11", "slower")] if told == "yes" else []), changes


def _record(number: int, seconds: float) -> dict[str, Any]:
    """Return a scenario that passed."""
    return {"id": str(number), "status": "passed", "seconds": seconds, "measurements": [], "reason": None}
