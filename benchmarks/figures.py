"""Renew the figures of README.md and docs/: run the command that each of them names, and write its output.

A block of figures begins with its command in a comment, and ends with a line about machine, load and date. Commands run
one after another, and once even if several blocks name them. Run it on a quiet machine. A ratio with too wide a spread
is written as too noisy, not left out.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lib import PROJECT
from lib.ending import run
from lib.side_by_side import caption

from redis_practices.cli import Failure, Parser, say

EXAMPLES = """\
  python benchmarks/figures.py --list
  python benchmarks/figures.py --only ceiling --only latency"""

BLOCK = re.compile(r"(?<=<!-- )(python \S+\.py[^\n]*?)( -->\n)(.*?)(\n<!-- end -->)", re.DOTALL)
CAPTION = re.compile(r"^Measured with \d+ cores, load .*, (\d{4}-\d\d-\d\d)\.$", re.MULTILINE)
MOST_SECONDS = 7200.0
"""The longest duration of a command in seconds; the slowest takes half an hour."""


class Block(NamedTuple):
    """A block of figures."""

    file: Path
    command: str
    text: str

    @property
    def date(self) -> str:
        """Return the date of the figures, or an empty string if they do not say it."""
        found = CAPTION.findall(self.text)
        return found[-1] if found else ""


def blocks() -> Iterator[Block]:
    """Yield the blocks of README.md and docs/."""
    for file in (PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))):
        for command, _, text, _ in BLOCK.findall(file.read_text(encoding="utf-8")):
            yield Block(file, command, text.strip())


def output_of(command: str) -> str:
    """Run a command, and return its output with a caption (Failure if it fails; its message is on the terminal)."""
    program, *arguments = shlex.split(command)[1:]
    load = os.getloadavg()[0]
    say(f"load {load:.2f}: {command}")
    try:
        done = subprocess.run(
            [sys.executable, program, *arguments],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            check=False,
            timeout=MOST_SECONDS,
            text=True,
        )
    except subprocess.TimeoutExpired as error:
        raise Failure(str(error)) from None
    if done.returncode:
        raise Failure(f"{command} ended with {done.returncode}")
    text = re.sub(r"\n{3,}", "\n\n", done.stdout.strip())
    return text if CAPTION.search(text) else f"{text}\n\n{caption(load)}"


def main() -> None:
    """Run the commands, and write after each."""
    parser = Parser(__doc__, EXAMPLES)
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="only commands that hold TEXT")
    parser.add_argument("--list", action="store_true", help="only list files, dates and commands")
    options = parser.parse_args()
    found = [one for one in blocks() if not options.only or any(text in one.command for text in options.only)]
    if not found:
        raise Failure("no block of figures has such a command: see --list")
    if options.list:
        for one in found:
            print(f"{one.file.relative_to(PROJECT)!s:28} {one.date or 'no date':10}  {one.command}")
        return
    for command in dict.fromkeys(one.command for one in found):
        output = output_of(command)
        for file in {one.file for one in found if one.command == command}:
            file.write_text(
                BLOCK.sub(
                    lambda match, command=command, output=output: (  # type: ignore[misc]
                        f"{match[1]}{match[2]}\n{output}\n{match[4]}" if match[1] == command else match[0]
                    ),
                    file.read_text(encoding="utf-8"),
                ),
                encoding="utf-8",
            )


if __name__ == "__main__":
    run(main)
