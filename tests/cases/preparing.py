"""Waiting for what a case needs before its claim, told apart from the claim itself."""

from __future__ import annotations

from collections.abc import Callable

from redis_practices.polling import eventually


class NotPreparedError(Exception):
    """What a case needs did not come about, so nothing is said of its claim."""


def prepared(check: Callable[[], object], within: float = 20.0, also: tuple[type[Exception], ...] = ()) -> None:
    """Return when `check` holds, as `eventually` does.

    Raises:
        NotPreparedError: it does not hold within so many seconds; a failure that is expected has another type.
    """
    try:
        eventually(check, within, also=also)
    except AssertionError as failure:
        raise NotPreparedError(str(failure)) from failure
