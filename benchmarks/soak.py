"""Run the specification many times, and list every scenario that ever failed.

The order of each run is random. It is drawn from its Hypothesis seed, which is random too. In every second run all
cores are busy. A run that leaves a process or a folder fails too. Unknown options and arguments go to pytest: a folder,
-k, -m, -n. An existing folder of results is continued, and the list covers all of it. A run that was interrupted is
repeated. For a failed run, page, output and evidence are kept.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import time
from pathlib import Path

from lib import PROJECT
from lib.ending import run
from lib.processes import MARK, remains
from lib.soak_list import keep_evidence, last_number, list_of
from lib.whole_run import all_cores_busy, progress, run_once

from redis_practices import cli

EXAMPLES = """\
  python benchmarks/soak.py
  python benchmarks/soak.py --total 30 features/                                     Until there are 30 runs.
  python benchmarks/soak.py --runs 10 features/tuning                                Ten runs of one practice.
  python benchmarks/soak.py --runs 4 --server-binary /usr/bin/redis-server --processes 2     Another server program.
  python benchmarks/soak.py --runs 0                                                 The list of the runs so far.
  python -m pytest -p benchmarks.lib.shuffled --hypothesis-seed 7 features/tuning    One run again, by its seed."""


UNFINISHED = "unfinished"
"""The folder of the current run."""


def soak_once(folder: Path, arguments: list[str]) -> None:
    """Run once, print the result in a line, and keep the evidence of failures; `folder` appears at the end."""
    begun, since = time.monotonic(), time.time()
    unfinished = folder.with_name(UNFINISHED)
    shutil.rmtree(unfinished, ignore_errors=True)  # an incomplete run proves nothing
    os.environ[MARK] = str(folder.absolute())
    progress(f"{folder.name} since {time.strftime('%H:%M:%S')}")
    with all_cores_busy(wanted=folder.name.endswith("busy")):
        done = run_once(unfinished, ["-p", "benchmarks.lib.shuffled", *arguments])
    took = time.monotonic() - begun
    if left := remains(os.environ[MARK], since):
        done.note(left)
    progress()
    found = len(done.report["scenarios"])
    if not found and done.report["verdict"] == "error":
        raise cli.Failure(f"nothing ran: {'; '.join(done.troubles)}")
    print(f"{folder.name}: {done.report['verdict']}, {found} scenarios, {took:.0f} s", flush=True)
    for line in [*done.red_lines, *done.troubles]:
        print(f"    {line}", flush=True)
    for record in done.red:
        keep_evidence(unfinished, record)
    if not done.red and not done.troubles:
        for file in unfinished.iterdir():
            if file.name != "report.json":
                file.unlink()
    unfinished.rename(folder)


def parse() -> tuple[argparse.Namespace, list[str]]:
    """Return the options of this command, and the arguments for pytest."""
    parser = cli.Parser(__doc__ or "", EXAMPLES)
    parser.usage = "%(prog)s [options] [arguments of pytest]"
    number = parser.add_mutually_exclusive_group()
    number.add_argument("--runs", type=int, default=50, help="how many runs (default: 50)")
    number.add_argument("--total", type=int, help="run until the folder has this many runs")
    parser.add_argument("--folder", type=Path, default=PROJECT / "results" / "soak", help="default: results/soak")
    parser.add_argument("--timings", type=cli.count, default=20, help="how many timings to list (default: 20)")
    return parser.parse_known_args()


def main() -> None:
    """Run, and print the list, also after an interruption."""
    options, arguments = parse()
    done = last_number(options.folder)
    last = done + options.runs if options.total is None else options.total
    try:
        for number in range(done + 1, last + 1):
            folder = options.folder / f"run-{number:04}{'' if number % 2 else '-busy'}"
            soak_once(folder, [f"--hypothesis-seed={secrets.randbelow(2**32)}", *arguments])
    except OSError as error:
        raise cli.Failure(f"{options.folder}: {error.strerror}") from None
    finally:
        seen = list_of(options.folder)
        print(seen.text(options.timings))
    if seen.red or seen.troubles:
        raise cli.Failure(f"not all runs were green: see {options.folder}")


if __name__ == "__main__":
    run(main)
