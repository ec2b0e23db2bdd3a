"""Run a program of benchmarks/, and end it with what it started when it is told to end (SIGTERM)."""

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
"""Seconds for its blocks to end what they started; a thread that still waits for an answer gets no more."""


def run(main: Callable[[], None]) -> NoReturn:
    """Run a program's `main` and exit as `cli.run` does; with 143 after SIGTERM."""
    signal.signal(signal.SIGTERM, _leave)
    cli.run(main)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """Leave all blocks, and then the program; at once when it takes too long, or at a second SIGTERM.

    Late in the end of the interpreter, where no handler is left, the alarm itself ends it.
    """
    for again in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(again, _leave_at_once)
    signal.alarm(GRACE)
    raise SystemExit(128 + number)


def _leave_at_once(_number: int, _frame: FrameType | None) -> NoReturn:
    """Tell every process below this one to end, and end; groups of servers end with this process."""
    for process in tree(os.getpid())[1:]:
        with suppress(psutil.Error):
            process.terminate()
    os._exit(128 + signal.SIGTERM)
