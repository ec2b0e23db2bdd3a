"""Test that a benchmark ends on a signal with its child processes, and cites scenarios that exist."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fixtures import PROJECT
from redis_practices.polling import poll


def _below(pid: int) -> set[int]:
    """Return the running descendants of a process."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, more = set[int](), {pid}
    while more:
        more = {child for child, parent in parents.items() if parent in more} - found
        found |= more
    return found


def _runs(pid: int) -> bool:
    """Tell whether a process runs and is no zombie."""
    try:
        return (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]) != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("command", "processes"),
    [
        pytest.param(["cluster_scale.py", "--sizes", "3", "--seconds", "60"], 4, id="a sleep beside servers"),
        pytest.param(
            ["celery_kills.py", "--orders", "200000"],
            6,
            id="threads that publish, and workers",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["gate_time.py", "--processes=1", "features/pure_cache/expiry.feature"],
            4,
            id="a run of pytest",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_sigterm_ends_it(command: list[str], processes: int, tmp_path: Path) -> None:
    """A benchmark ends within 10 s of SIGTERM, with code 143 or by its alarm, and leaves no process."""
    said = (tmp_path / "said").open("w+")
    program = subprocess.Popen(
        [sys.executable, f"benchmarks/{command[0]}", *command[1:]],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=said,
    )
    try:
        started = poll(lambda: _below(program.pid), 30.0, until=lambda seen: len(seen) >= processes)
        assert len(started) >= processes, "it has not begun"
        time.sleep(1.0)
        started |= _below(program.pid)
        program.send_signal(signal.SIGTERM)
        assert program.wait(10.0) in (128 + signal.SIGTERM, -signal.SIGALRM), (tmp_path / "said").read_text()
        left = poll(lambda: [pid for pid in started if _runs(pid)], 5.0, until=lambda seen: not seen)
        assert not left, "processes that it started still run"
    finally:
        program.kill()
        program.wait(10.0)
        said.close()


LINGERS = """
import sys, time

sys.path[:0] = ["benchmarks", "."]
from lib.ending import run

def main():
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        time.sleep(60)

run(main)
"""


@pytest.mark.slow
def test_alarm_ends_what_lingers() -> None:
    """A program whose blocks do not end is ended with code 143."""
    program = subprocess.Popen([sys.executable, "-c", LINGERS], cwd=PROJECT, stdout=subprocess.PIPE)
    try:
        assert program.stdout
        assert program.stdout.readline() == b"begun\n"
        program.send_signal(signal.SIGTERM)
        assert program.wait(10.0) == 128 + signal.SIGTERM
    finally:
        program.kill()
        program.communicate(timeout=10.0)


def test_figures_are_of_scenarios() -> None:
    """docs/compatibility.md shows figures of scenarios that exist."""
    module = (PROJECT / "benchmarks/lib/engine_results.py").read_text(encoding="utf-8")
    cited = set(re.findall(r'"((?:cache|cluster|broker|tuning)-\d+)"', module))
    tags = {tag for path in PROJECT.glob("features/*/*.feature") for tag in re.findall(r"@(\S+-\d+)", path.read_text())}
    assert cited
    assert cited <= tags
