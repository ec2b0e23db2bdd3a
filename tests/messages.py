"""Check a line of messages.ndjson with the types that Cucumber generates from its schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, get_args, get_type_hints

from cucumber_messages import Envelope, message_converter


def problems(text: str) -> list[str]:
    """Return the problems of a line of messages.ndjson."""
    written = json.loads(text)
    try:
        message = message_converter.from_dict(written, Envelope)
    except TypeError as error:  # a field is missing, or has an unknown value
        return [str(error)]
    # The converter ignores a field that the types lack.
    lost = len(written) != 1 or message_converter.to_dict(message) != written
    return [*_ill_typed(message), *([f"there is more in {text} than in {message}"] if lost else [])]


def _ill_typed(message: Any) -> Iterator[str]:
    """Yield each field of a message with a value of a wrong type."""
    for name, hint in get_type_hints(type(message)).items():
        value, kinds = getattr(message, name), _kinds(hint)
        for one in value if isinstance(value, list) else [value]:
            if type(one) not in kinds:
                yield f"{type(message).__name__}.{name} is {one!r}"
            elif is_dataclass(one):
                yield from _ill_typed(one)


def _kinds(hint: Any) -> set[Any]:
    """Return the types in a type hint: those of ``Optional[list[str]]`` are str and None."""
    return {kind for argument in get_args(hint) for kind in _kinds(argument)} or {hint}
