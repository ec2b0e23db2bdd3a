"""The sentences about bounds and waiting themselves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pytest_bdd import parsers, then, when

from redis_practices.polling import eventually
from steps.common.vocabulary import TYPES, rows

if TYPE_CHECKING:
    from fixtures.reporting.measurements import Bound
    from steps.common.vocabulary import Duration

Table = list[list[str]]


@then(parsers.parse('"{bound:Bound}" means "{shown}", which allows {allowed} and refuses {refused}', extra_types=TYPES))
def check_bound(bound: Bound, shown: str, allowed: str, refused: str) -> None:
    """Compare how a bound is shown, and what it says to values."""
    assert str(bound) == shown
    judged = {value: bound.allows(float(value)) for value in [*allowed.split(", "), *refused.split(", ")]}
    assert judged == {**dict.fromkeys(allowed.split(", "), True), **dict.fromkeys(refused.split(", "), False)}


@when(parsers.parse("it is waited for within {limit:Duration}", extra_types=TYPES), target_fixture="end_of_waiting")
def wait(limit: Duration, datatable: Table) -> str:
    """Wait for something that becomes true after a time and takes another time to look at; return how that ends."""
    (row,) = rows(datatable, ["TRUE AFTER", "TAKES"])
    true_from = time.monotonic() + float(row["TRUE AFTER"])

    def look() -> str:
        """Look at it."""
        time.sleep(float(row["TAKES"]))
        assert time.monotonic() >= true_from, "not yet true"
        return "it is true"

    try:
        return eventually(look, within=limit.seconds())
    except AssertionError as failure:
        return str(failure)


@then(parsers.parse('the waiting ends with "{end}"'))
def check_end(end_of_waiting: str, end: str) -> None:
    """Compare how the waiting ended; " … " stands for what differs from run to run."""
    assert all(part in end_of_waiting for part in end.split(" … ")), end_of_waiting
