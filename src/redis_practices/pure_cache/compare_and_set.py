"""Change a key only if it still holds what was read: one command where the engine has it, a script elsewhere.

It is what settles the race between a reader that fills the cache and a writer that empties it: the reader's value is
stored only if nothing happened to the key in between. ``WATCH``/``MULTI`` would do it too, with two more round trips
and a connection that is kept for the length of the computation.
"""

from __future__ import annotations

Command = tuple[str | bytes | int, ...]
"""A command as ``client.execute_command(*command)`` takes it."""

NATIVE = ("DELIFEQ", "DELEX")
"""Valkey 9.0 and Redis 8.4. Who has one of them has ``SET … IFEQ`` as well; ask with ``COMMAND INFO``."""

SCRIPT = "EVAL"
"""The dialect of all other engines."""

_SET = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('SET', KEYS[1], ARGV[2], unpack(ARGV, 3)) end"
_DELETE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


def set_if_equal(dialect: str, key: str, expected: bytes, value: bytes, *options: str | int) -> Command:
    """Return the command that sets `key` to `value` if it holds `expected`; its answer is true if it did.

    `options` are those of ``SET``: ``"PX", 5000``, or ``"KEEPTTL"``.
    """
    if dialect == SCRIPT:
        return (SCRIPT, _SET, 1, key, expected, value, *options)
    return ("SET", key, value, "IFEQ", expected, *options)


def delete_if_equal(dialect: str, key: str, expected: bytes) -> Command:
    """Return the command that deletes `key` if it holds `expected`; its answer is true if it did."""
    if dialect == SCRIPT:
        return (SCRIPT, _DELETE, 1, key, expected)
    if dialect == "DELEX":
        return ("DELEX", key, "IFEQ", expected)
    return ("DELIFEQ", key, expected)
