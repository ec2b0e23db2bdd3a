"""The sentences that say what commands answer, for claims that are about those very commands."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pytest_bdd import given, parsers, then
from redis.exceptions import ResponseError

from fixtures.stacks.protocols import need_command, need_options
from steps.common.vocabulary import rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fixtures.stacks.protocols import Cache


@given(parsers.parse('an engine with "{command}", which came with {since}'))
def have_command(cache: Cache, command: str, since: str) -> None:
    """Ask the server whether it has a command."""
    need_command(cache, command, f"{since}: {command}")


@given(parsers.parse('an engine with options of "{command}", which came with {since}'))
def have_options(cache: Cache, command: str, since: str) -> None:
    """Ask the server whether a command takes more than it must."""
    need_options(cache, command, f"{since}: options of {command}")


@then("these commands answer, one after another")
def check_answers(cache: Cache, key_prefix: str, datatable: Sequence[Sequence[str]]) -> None:
    """Run each command, with KEY for a key of this scenario, and compare what it answers; "1 to 9" is a range."""
    with cache.client() as client:
        for row in rows(datatable, ("COMMAND", "ANSWER")):
            seen = _answer(client, [word.replace("KEY", f"{key_prefix}key") for word in row["COMMAND"].split()])
            assert _fits(seen, row["ANSWER"]), f"{row['COMMAND']} answers {seen}, not {row['ANSWER']}"
        client.delete(f"{key_prefix}key")


def _answer(client: Any, words: list[str]) -> str:
    """Return the answer of a command as text; an error is its message."""
    try:
        # Joined, redis-py would parse some answers into shapes of its own.
        seen = client.execute_command(*words)
    except ResponseError as error:
        return f"error: {error}"
    if isinstance(seen, list):
        return " ".join("nil" if part is None else str(part) for part in seen)
    return {None: "nil", True: "OK" if words[0].upper() == "SET" else "1", False: "0"}.get(seen, str(seen))


def _fits(seen: str, expected: str) -> bool:
    """Tell whether an answer is the expected one, or in the expected range."""
    if limits := re.fullmatch(r"(\d+) to (\d+)", expected):
        return seen.isdigit() and int(limits[1]) <= int(seen) <= int(limits[2])
    return seen == expected
