"""Test the table of versions with a known defect, and how a version is compared with it."""

from __future__ import annotations

import pytest

from redis_practices.celery_worker.worker_audit import defects_table, is_affected
from redis_practices.server_info import version_of


@pytest.mark.parametrize(
    ("version", "defect", "affected"),
    [
        ("5.3.1", {"since": "5.2.3", "mended": "5.4.0"}, True),
        ("5.2.2", {"since": "5.2.3", "mended": "5.4.0"}, False),
        ("5.4.0", {"since": "5.2.3", "mended": "5.4.0"}, False),
        ("5.10.0", {"mended": "5.7.0"}, False),
        ("5.7.0", {"since": "5.7.0", "last": "5.7.0"}, True),
        ("5.7.1", {"since": "5.7.0", "last": "5.7.0"}, False),
    ],
)
def test_affected_version(version: str, defect: dict[str, str], *, affected: bool) -> None:
    """A version is affected from `since` until before `mended`, or until `last`."""
    assert is_affected(version_of(version), defect) == affected


def test_each_defect_can_be_checked() -> None:
    """Each defect has a source, an end, and a package whose newest compared version is named."""
    table = defects_table()
    for one in table["defects"]:
        assert one["source"].startswith("https://"), one
        assert one["package"] in table["known"], one
        assert ("mended" in one) != ("last" in one), one
        assert version_of(one.get("mended") or one["last"]) <= version_of(table["known"][one["package"]]), one
