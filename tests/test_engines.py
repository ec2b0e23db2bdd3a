"""Test that a failing engine becomes a row of the table, and that a selection of engines overwrites nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures import PROJECT
from redis_practices.servers.server import server_binary

COMPATIBILITY = [PROJECT / "docs" / f"compatibility.{kind}" for kind in ("json", "md")]


def run(folder: Path, server: str) -> str:
    """Run the command for one engine, with the script `server` as its program, and return the output."""
    tools, engine = folder / "tools", folder / "cache" / "redis-practices" / "engines" / "redis-7.0"
    tools.mkdir()
    (tools / "redis-benchmark").symlink_to("/bin/false")
    for tool in ("sh", "echo"):
        (tools / tool).symlink_to(f"/bin/{tool}")
    if server:
        engine.mkdir(parents=True)
        (engine / "server").write_text(f"#!/bin/sh\n{server}\n")
        (engine / "server").chmod(0o755)
    command = "benchmarks/engines.py --engines=redis-7.0 --practices=pure_cache --rounds=1 -k test_no_such"
    ended = subprocess.run(
        [sys.executable, *command.split(), f"--folder={folder / 'results'}"],
        cwd=PROJECT,
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "PATH": str(tools)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize(
    ("server", "row", "reasons"),
    [
        pytest.param("", "not run", ["- **not run**: needs apt-get"], id="cannot be had"),
        pytest.param(
            "exit 1",
            "refused: 1 failed",
            ["no scenario ran: ", "failed: the server on port"],
            id="ends",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            f'exec {server_binary(None)} "$@"',
            "refused: 1 failed",
            ["failed: Command"],
            id="cannot be measured",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_engine_that_fails_is_a_row(server: str, row: str, reasons: list[str], tmp_path: Path) -> None:
    """A failing engine has a row with the reason, and the table of all engines stays unchanged."""
    before = [path.read_bytes() for path in COMPATIBILITY]
    said = run(tmp_path, server)
    if row == "not run":
        assert "| redis 7.0 | Debian bookworm, redis-server |" in said
    else:
        assert f"Debian bookworm, redis-server | {row} |" in said
    assert [reason for reason in reasons if reason not in said] == []
    assert "stay as they are" in said
    assert [path.read_bytes() for path in COMPATIBILITY] == before
