"""Run the specification in a separate pytest and keep its report, for programs that need many runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lib import PROJECT

from fixtures.reporting.report import Record, Report
from redis_practices.servers.process_group import ProcessGroup

MOST_SECONDS = 1800.0
"""A longer run hangs: it is stopped, and its report says so."""


@dataclass(frozen=True)
class WholeRun:
    """One run of the specification, read from its folder."""

    folder: Path

    @property
    def report(self) -> Report:
        """The content of report.json; only troubles if there is none."""
        try:
            document: Report = json.loads((self.folder / "report.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            return {
                "suite": "",
                "started": "",
                "seconds": 0,
                "stack": "",
                "engines": {},
                "verdict": "error",
                "troubles": [f"no report: {error}"],
                "waivers": [],
                "scenarios": [],
            }
        return document

    @property
    def troubles(self) -> list[str]:
        """Failures outside of scenarios, such as a lost process, and the notes, one line each."""
        broken = {record["id"] for record in self.red}
        lines = [first_line(trouble) for trouble in self.report["troubles"]]
        noted = self._notes.read_text(encoding="utf-8").splitlines() if self._notes.exists() else []
        return [line for line in lines if not any(line.startswith(f"{name}: ") for name in broken)] + noted

    def note(self, lines: Sequence[str]) -> None:
        """Write down observations after its end (OSError)."""
        self._notes.write_text("\n".join(lines) + "\n", encoding="utf-8")

    @property
    def _notes(self) -> Path:
        """The file of the notes."""
        return self.folder / "afterwards.txt"

    @property
    def red_lines(self) -> list[str]:
        """A line for each scenario that failed, with its reason."""
        return [f"{record['id']}: {first_line(record['reason'])}" for record in self.red]

    @property
    def red(self) -> list[Record]:
        """The records of the scenarios that failed or broke."""
        return [one for one in self.report["scenarios"] if one["status"] in ("failed", "error")]


def in_processes(number: int) -> list[str]:
    """Return the options of a run in a number of processes."""
    return ["--processes", str(number)]


def first_line(text: str | None) -> str:
    """Return the first line of a message."""
    return (text or "").strip().partition("\n")[0]


def run_once(
    folder: Path,
    arguments: Sequence[str],
    *,
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
    limit: float = MOST_SECONDS,
) -> WholeRun:
    """Run pytest with `arguments` and its report in `folder`, its output beside it in ``output.txt``.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [python, "-m", "pytest", f"--report={folder.absolute()}", "--color=no", *arguments]
    with (folder / "output.txt").open("wb") as output:
        run = subprocess.Popen(
            command,
            cwd=PROJECT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            run.wait(limit)
        except subprocess.TimeoutExpired:
            run.terminate()
        except BaseException:
            run.terminate()
            raise
        finally:
            _end(run)
    return WholeRun(folder)


def _end(run: subprocess.Popen[bytes]) -> None:
    """Give a run the time to stop its servers; its guards do so if it hangs."""
    try:
        run.wait(30)
    except subprocess.TimeoutExpired:
        run.kill()
        run.wait(30)


@contextmanager
def all_cores_busy(wanted: bool = True) -> Iterator[None]:  # noqa: FBT001, FBT002 - the call reads well
    """Keep every core busy during the block."""
    if not wanted:
        yield
        return
    with ProcessGroup("busy") as group:
        for _ in range(os.cpu_count() or 1):
            group.start([sys.executable, "-c", "while True: pass"], Path(os.devnull), cwd=group.folder)
        yield


def progress(text: str = "") -> None:
    """Show the current activity on a terminal; it stays there."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
