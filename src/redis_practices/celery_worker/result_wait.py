"""Wait for what a task returns, without missing that it is there."""

from __future__ import annotations

import time
from typing import Any

from celery.exceptions import TimeoutError as NoAnswerError
from celery.result import AsyncResult

LOOK_EVERY = 5.0
"""Seconds after which the stored result is looked at again; that is two GETs."""


def value_of(result: AsyncResult, within: float) -> Any:
    """Return what a task returned, once it has; wait `within` seconds at most.

    ``AsyncResult.get`` looks once and then waits for a message. Of a few thousand results one was there, on a busy
    machine, and who waited was never told (celery 5.6.3, redis-py 8.1; celery#4039): so look again now and then.

    Raises:
        celery.exceptions.TimeoutError: there is none in time.
        Exception: the task failed; it is its own error.
    """
    deadline = time.monotonic() + within
    while not result.ready():
        left = deadline - time.monotonic()
        if left <= 0:
            raise NoAnswerError(f"no result within {within:g} s")
        try:
            return result.get(timeout=min(LOOK_EVERY, left))
        except NoAnswerError:
            continue
    return result.get()
