"""Test the table of engines: a run replaces its own cell alone, an interrupted one continues, and no row is lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fixtures import PROJECT
from redis_practices.servers.server import engine_of, server_binary

DOCUMENTS = ("compatibility.json", "compatibility.md")


def run(folder: Path, *arguments: str, path: str | None = None) -> str:
    """Run the command with its documents in `folder`, and return its output."""
    ended = subprocess.run(
        [sys.executable, "benchmarks/engines.py", f"--into={folder}", f"--folder={folder / 'results'}", *arguments],
        cwd=PROJECT,
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), **({"PATH": path} if path else {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Make a folder with a copy of the documents."""
    for name in DOCUMENTS:
        shutil.copy(PROJECT / "docs" / name, tmp_path)
    return tmp_path


def texts(folder: Path) -> list[str]:
    """Return both documents."""
    return [(folder / name).read_text(encoding="utf-8") for name in DOCUMENTS]


def test_documents_agree(rows: Path) -> None:
    """docs/compatibility.md is what its command makes of docs/compatibility.json."""
    run(rows, "--engines=", "--clients=")
    assert texts(rows) == texts(PROJECT / "docs"), "run: python benchmarks/engines.py --engines '' --clients ''"


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        pytest.param("", "needs apt-get, as on Debian; its row stays as it is", id="cannot be had"),
        pytest.param("exit 1", "pure_cache error, ", id="ends", marks=pytest.mark.slow),
    ],
)
def test_engine_that_fails_changes_no_row(server: str, reason: str, rows: Path) -> None:
    """A failing engine is a line with the reason, and all rows stay."""
    tools, engine = rows / "tools", rows / "cache" / "redis-practices" / "engines" / "redis-7.0"
    tools.mkdir()
    (tools / "sh").symlink_to("/bin/sh")
    if server:
        engine.mkdir(parents=True)
        (engine / "server").write_text(f"#!/bin/sh\n{server}\n")
        (engine / "server").chmod(0o755)
    said = run(rows, "--engines=redis-7.0", "--clients=", "--practices=pure_cache", "-k=cache-007", path=str(tools))
    assert reason in said
    assert not server or "not written: no scenario ran: " in said
    assert texts(rows) == texts(PROJECT / "docs")


@pytest.mark.slow
def test_cell_is_replaced_alone_and_kept(rows: Path) -> None:
    """A run replaces its cell, with its maker and selection; given again, it takes the run of that day."""

    def cells() -> tuple[dict[str, Any], list[Any]]:
        """Return the cells of the installed engine, and the other rows."""
        engines = json.loads((rows / DOCUMENTS[0]).read_text(encoding="utf-8"))["engines"]
        [own] = [row for row in engines if row["engine"] == engine]
        return own["practices"], [row for row in engines if row is not own]

    engine = engine_of(server_binary(None))
    chosen = ("--engines=valkey-9.1", "--clients=", "--practices=pure_cache", "-k=cache-007")
    before, others = cells()
    run(rows, *chosen, "--by=the CI of example.org")
    after, still = cells()
    made = after.pop("pure_cache")
    assert (made["passed"], made["failed"], made["skipped"], made["ran"]) == (1, [], [], "cache-007")
    assert "by the CI of example.org, " in texts(rows)[1]
    assert "accepted: 1 held (`-k=cache-007`)" in texts(rows)[1]
    assert after == {name: cell for name, cell in before.items() if name != "pure_cache"}
    assert still == others

    first = texts(rows)
    run(rows, *chosen, "--by=the CI of example.org")
    assert texts(rows) == first, "the run was not kept"
    run(rows, *chosen, "--by=the CI of example.org", "--again")
    assert texts(rows) != first, "--again kept it"


@pytest.mark.slow
def test_row_of_another_program(rows: Path) -> None:
    """A server program of the user makes a row beside that of a fetched one; what is no server changes nothing."""
    chosen, program = ("--practices=pure_cache", "-k=cache-007"), server_binary(None)
    run(rows, f"--server-binary={program}", *chosen)
    engines = json.loads(texts(rows)[0])["engines"]
    [row] = [row for row in engines if row["origin"] == f"`--server-binary {program}`"]
    assert (row["engine"], [*row["practices"]]) == (engine_of(program), ["pure_cache"])
    assert [one for one in engines if one is not row] == json.loads(texts(PROJECT / "docs")[0])["engines"]

    before = texts(rows)
    said = run(rows, "--server-binary=/bin/true", *chosen)
    assert "'/bin/true' does not run, or is no Redis or Valkey server; its row stays as it is" in said
    assert texts(rows) == before
