"""Test that the list of workers' defects and the cases that make them agree, and that each case starts."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from fixtures import PROJECT
from fixtures.gate.worker_scenes import staged
from fixtures.run.keys import Unsupported
from redis_practices.servers.server import Config
from tests.cases.bench import Bench
from tests.cases.workers.apps import CASES

ROW = re.compile(r"^\| (H?W-\d+) \|", re.MULTILINE)


def test_each_row_has_a_case() -> None:
    """Each row of the list has one case, in the same order."""
    listed = (PROJECT / "docs" / "incidents.md").read_text(encoding="utf-8").partition("### What the verdict saw")[0]
    assert ROW.findall(listed) == [*CASES]


@pytest.mark.slow
@pytest.mark.parametrize("row", CASES)
def test_case_starts(new_bench: Callable[[Config], Bench], row: str) -> None:
    """The programs of a case start on an empty broker, and do what the case needs."""
    try:
        with staged(CASES[row], new_bench({}).url):
            pass
    except Unsupported as error:
        pytest.skip(str(error))
