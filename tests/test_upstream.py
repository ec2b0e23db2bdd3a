"""Test that the faults that docs/upstream/ reports are still there; if one is mended, its workaround can go."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures import PROJECT
from fixtures.run.processes import ForkingGroup
from redis_practices.servers.server import CACHE, engine_of, free_ports, server_binary, start_server

REPORTS = PROJECT / "docs" / "upstream"

LIMIT = 120
"""Seconds that a program may take; the longest takes 20 on 2 idle cores."""

pytestmark = pytest.mark.known_limit


@pytest.fixture
def url() -> Iterator[str]:
    """Give the URL of a server."""
    with ForkingGroup() as group:
        yield start_server(group, CACHE).url


def seen(report: str, *arguments: str) -> tuple[int, str]:
    """Run the program of a report; return its exit code and what it wrote."""
    (program,) = re.findall(r"^```python\n(.*?)^```$", (REPORTS / report).read_text(), re.DOTALL | re.MULTILINE)
    command = [sys.executable, "-c", program, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT)
    return ended.returncode, ended.stdout + ended.stderr


def test_redis_py_confuses_replies(url: str) -> None:
    """Without it, `redis_practices.clients` need not count commands and replies."""
    code, output = seen("redis-py.md", url)
    assert (code, "returned b'value of a'" in output) == (1, True), output


@pytest.mark.slow
def test_kombu_closes_a_channel_twice() -> None:
    """Without it, `redis_practices.celery_worker.consumer` can go."""
    code, output = seen("celery.md", server_binary(), str(*free_ports(1)))
    assert (code, "object has no attribute 'hostname'" in output) == (1, True), output


@pytest.mark.slow
def test_hiredis_py_crashes() -> None:
    """Without it, `redis_practices.clients.as_text` can go."""
    assert seen("hiredis-py.md")[0] == -signal.SIGSEGV


def test_waitaof_of_valkey_replies_early(tmp_path: Path) -> None:
    """Without it, WAITAOF could serve writers that need the disk."""
    if not engine_of(server_binary()).startswith("valkey"):
        pytest.skip("Redis has mended it")
    code, output = seen("valkey.md", server_binary(), str(*free_ports(1)), str(tmp_path))
    assert (code, "10 writes were on disk" in output) == (1, True), output


@pytest.mark.slow
def test_pytest_bdd_looks_through_all_definitions() -> None:
    """Without it, the number of sentences costs no time."""
    code, output = seen("pytest-bdd.md")
    assert (code, "ms a step" in output) == (1, True), output


def test_index_names_each_report() -> None:
    """docs/upstream/README.md names each report."""
    listed = set(re.findall(r"\]\(([\w-]+\.md)\)", (REPORTS / "README.md").read_text()))
    assert listed == {path.name for path in REPORTS.glob("*.md")} - {"README.md"}
