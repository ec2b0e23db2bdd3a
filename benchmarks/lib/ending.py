"""Run a benchmark program, and on SIGTERM end it with everything it started."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import NoReturn

import psutil

from lib.processes import tree

from redis_practices import cli

GRACE = 5
"""Seconds for its blocks to end their processes; a thread that still waits for a reply gets no more."""


def run(main: Callable[[], None]) -> NoReturn:
    """Run a program's `main` and exit as `cli.run` does; with 143 after SIGTERM."""
    signal.signal(signal.SIGTERM, _leave)
    cli.run(main)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """Leave all blocks, then the program; exit at once after `GRACE` or at a second SIGTERM.

    At the end of the interpreter, after its handlers are gone, the alarm itself ends the process.
    """
    for again in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(again, _leave_at_once)
    signal.alarm(GRACE)
    raise SystemExit(128 + number)


def _leave_at_once(_number: int, _frame: FrameType | None) -> NoReturn:
    """Send SIGTERM to every descendant, and exit; groups of servers end with this process."""
    for process in tree(os.getpid())[1:]:
        with suppress(psutil.Error):
            process.terminate()
    os._exit(128 + signal.SIGTERM)
