"""Wait for the preconditions of a case, with an error that is no failure of its claim."""

from __future__ import annotations

from collections.abc import Callable

from redis_practices.polling import eventually


class NotPreparedError(Exception):
    """A precondition of a case is missing, so its claim was not tested."""


def prepared(check: Callable[[], object], within: float = 20.0, also: tuple[type[Exception], ...] = ()) -> None:
    """Wait for a check as `eventually` does (NotPreparedError, which differs from an expected failure)."""
    try:
        eventually(check, within, also=also)
    except AssertionError as failure:
        raise NotPreparedError(str(failure)) from failure
