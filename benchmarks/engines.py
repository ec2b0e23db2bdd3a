"""Run the specification on engines and on client packages, and write the rows of docs/compatibility.md.

Missing engines and packages are fetched first. --server-binary and --image make the row of another engine. Each
practice is a separate run, which makes one cell of the table when it has ended. All other cells keep their date. An
interrupted command continues when it is given again: it takes the runs of the last day. Unknown options and arguments
go to pytest, and stand in the cell. With empty lists the document is written from docs/compatibility.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from lib import PROJECT
from lib import engine_results as results
from lib.ending import run
from lib.engine_sources import SOURCES, NotHadError
from lib.engine_subjects import CLIENTS, Subject, had, image, program
from lib.engine_table import PRACTICES, markdown
from lib.whole_run import WholeRun, progress, run_once

from redis_practices import cli

EXAMPLES = """\
  python benchmarks/engines.py
  python benchmarks/engines.py --engines redis-8.6,valkey-8.1 --clients '' -m core    Two rows, in short.
  python benchmarks/engines.py --image redis:8.8 --by 'the CI of example.org'         One row, on the compose stack.
  python benchmarks/engines.py --server-binary /usr/bin/valkey-server                 The row of an installed engine."""

DAY = 24 * 3600.0


def choice(known: tuple[str, ...]) -> Callable[[str], list[str]]:
    """Return a parser of a list of `known` names."""

    def chosen(text: str) -> list[str]:
        """Split the list at the commas."""
        names = [name for name in text.split(",") if name]
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return names

    return chosen


def subjects(options: Any) -> Iterator[Subject]:
    """Yield what the rows are about; one that cannot be had is reported in a line."""
    makers = [partial(make, name) for make, name in ((program, options.server_binary), (image, options.image)) if name]
    makers = makers or [partial(had, name) for name in (*options.engines, *options.clients)]
    for make in makers:
        progress(f"fetching {make.args[0]}")
        try:
            yield make()
        except NotHadError as error:
            print(f"\r{error}; its row stays as it is", flush=True)
        finally:
            progress()


def ran(subject: Subject, practice: str, options: Any, arguments: list[str]) -> WholeRun:
    """Return the run of a practice: one that is kept, or a new one."""
    folder = options.folder / subject.kind / subject.name / practice
    asked = [*subject.options, f"features/{practice}", *arguments]
    if not options.again and (done := results.kept(folder, asked, DAY)):
        return done
    progress(f"{subject.name}: {practice}")
    done = run_once(folder, asked, python=subject.python, environment=subject.environment)
    results.keep(done, asked)
    progress()
    return done


def make_row(subject: Subject, options: Any, arguments: list[str]) -> None:
    """Run each practice, and write its cell at once; a run without a scenario is only printed."""
    for practice in options.practices:
        done = ran(subject, practice, options, arguments)
        report, cell = done.report, results.cell_of(done, arguments, options.by)
        row = results.row_of(subject, report, practice, cell)
        took = f"{report['seconds']:.0f} s on {report['started'][:10]}"
        print(f"{subject.name}, {row['engine']}: {practice} {report['verdict']}, {took}", flush=True)
        if not report["scenarios"]:
            print(f"not written: no scenario ran: {cell['failed'][0][1]}", flush=True)
            continue
        found = results.read(options.into)
        results.add(found, subject.kind, row)
        write(options.into, found)


def write(folder: Path, found: dict[str, Any]) -> None:
    """Write both documents."""
    whole = results.completed(found)
    results.write(folder, whole, markdown(whole))


def main() -> None:
    """Fetch the engines and packages, run the specification, and write the rows."""
    parser = cli.Parser(__doc__ or "", EXAMPLES)
    parser.usage = "%(prog)s [options] [arguments of pytest]"
    known = {"engines": tuple(SOURCES), "clients": tuple(CLIENTS), "practices": PRACTICES}
    for name, names in known.items():
        parser.add_argument(f"--{name}", type=choice(names), default=names, help=f"default: {','.join(names)}")
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--server-binary", metavar="PATH", help="make the row of this server program alone")
    one.add_argument("--image", help="make the row of this image alone, on the compose stack")
    parser.add_argument("--by", default="this project", help="maker of the rows (default: this project)")
    parser.add_argument("--again", action="store_true", help="run what was run within a day again")
    parser.add_argument("--folder", type=Path, default=PROJECT / "results" / "engines", help="default: results/engines")
    parser.add_argument(
        "--into", type=Path, default=PROJECT / "docs", help="the folder of both documents (default: docs)"
    )
    options, arguments = parser.parse_known_args()
    for subject in subjects(options):
        make_row(subject, options, arguments)
    write(options.into, results.read(options.into))
    print(f"written: {options.into}/compatibility.md and .json")


if __name__ == "__main__":
    run(main)
