"""Give every script the same command line: one-line errors, exit code 2 for wrong usage, 1 for a failure."""

from __future__ import annotations

import argparse
import io
import math
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

COMMAND = "redis-practices"
"""The command of this package, as pyproject.toml names it."""


class UsageError(Exception):
    """The command line is wrong; the message says how to correct it. Exit code 2."""


class Failure(Exception):  # noqa: N818 - it reads well: `raise Failure("no worker answered")`
    """The command cannot do its work; the message says why. Exit code 1."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def __init__(self, doc: str, examples: str) -> None:
        """Describe the command by the first paragraph of `doc`, and show `examples` below its help."""
        super().__init__(
            description=doc.partition("\n\n")[0],
            epilog=f"examples:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Raise UsageError without the value of an option, so that the command ends with one line and exit code 2."""
        # A URL with a password may be the value of an option that takes none, or of half an option.
        message = re.sub(r"ignored explicit argument .*", "it takes no value", message, flags=re.DOTALL)
        message = re.sub(r"(ambiguous option: [^=]*)=.* could", r"\1 could", message, flags=re.DOTALL)
        raise UsageError(f"{message} (see --help)")

    def add_timeout(self) -> None:
        """Add ``--timeout``, the longest wait for an answer."""
        self.add_argument(
            "--timeout",
            type=seconds,
            default=5.0,
            metavar="SECONDS",
            help="give up on a silent server after that time (default: 5)",
        )


def seconds(text: str) -> float:
    """Return a positive number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    # Redis counts in milliseconds, and an operating system limits the length of a timeout.
    if not 0.001 <= value <= 1e8:  # noqa: PLR2004 - see above
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds: give a positive one, at most 1e8")
    return value


def count(text: str) -> int:
    """Return a positive whole number."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return value


def whole_number(text: str) -> int:
    """Return a whole number, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def port_number(text: str) -> int:
    """Return the number of a TCP port."""
    value = int(text) if text.isdecimal() else 0
    if not 0 < value < 2**16:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: name one from 1 to 65535")
    return value


_CONTROLS = (*range(9), *range(11, 32), *range(127, 160))
_DIRECTIONS = (0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_VISIBLE = {sign: f"\\x{sign:02x}" for sign in _CONTROLS} | {sign: f"\\u{sign:04x}" for sign in _DIRECTIONS}


def printable(text: str) -> str:
    """Return the text with control and direction characters as escapes, safe to print on a terminal.

    Tabs and line ends stay. A server's reply may hold any character; JSON may hold half of one, which is escaped too.
    """
    return text.translate(_VISIBLE).encode(errors="backslashreplace").decode()


def nearest(word: str, known: Iterable[str], least: float = 0.5) -> str:
    """Return the known word nearest to a wrong one, for the end of a message; "" if none is alike by `least`."""
    return "".join(f"; did you mean {near}?" for near in get_close_matches(word, list(known), 1, cutoff=least))


def shortened(names: Sequence[str], most: int = 10) -> str:
    """Return names as one text, of which the first ten are shown: a cluster may have 200 nodes."""
    rest = len(names) - most
    return ", ".join(names) if rest < 2 else f"{', '.join(names[:most])} and {rest} more"  # noqa: PLR2004 - "1 more" is no shorter


def say(line: str) -> None:
    """Print a line for the user on stderr, which is not the command's output."""
    print(line, file=sys.stderr, flush=True)


def show_progress(line: str) -> None:
    """Replace the last line of a terminal on stderr; an empty line removes it."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


def wait(duration: float, what: str) -> None:
    """Sleep for `duration` seconds; a terminal shows the remaining time on stderr."""
    deadline = time.monotonic() + duration
    while (left := deadline - time.monotonic()) > 0:
        show_progress(f"{what}: {math.ceil(left)} s left")
        time.sleep(min(left, 1.0 if sys.stderr.isatty() else left))
    show_progress("")


def run(main: Callable[[], None], wrong_usage: int = 2) -> NoReturn:
    """Run a script's `main` and exit: 0 done, 1 failure, 2 or another code for wrong usage, 130 interrupted."""
    code = 0
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a locale may lack a character
    try:
        main()
        sys.stdout.flush()
    except UsageError as error:
        code = complain(error, wrong_usage)
    except Failure as error:
        code = complain(error, 1)
    except KeyboardInterrupt:
        code = complain("interrupted", 130)
    except BrokenPipeError:
        # The reader of the output has closed it, as `| head -1` does.
        sys.stdout = None  # else the interpreter flushes into the closed pipe at exit
        code = 1
    sys.exit(code)


def complain(error: object, code: int) -> int:
    """Print `error` as one line under the name of the script and return `code`."""
    say(f"{Path(sys.argv[0]).name}: {' '.join(printable(str(error)).split())}")
    return code
