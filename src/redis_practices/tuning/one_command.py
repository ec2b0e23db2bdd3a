"""One command in place of two: half the round trips, and no gap between them in which a process can die.

A ``SET`` whose ``EXPIRE`` never came lives for ever; a counter read, raised and written by two clients loses one of
the raises. Not for long work: a script holds up everybody else while it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from redis import Redis
from redis.commands.core import Script
from redis.exceptions import WatchError

RAISE = """
local raised = tonumber(redis.call('GET', KEYS[1]) or 0) * 2 % 1000 + 1
redis.call('SET', KEYS[1], raised)
return raised
"""
"""An update that no single command does."""


def set_then_expire(server: Redis, keys: Sequence[str]) -> None:
    """Naive: write, then give a ttl (``SET``, ``EXPIRE``)."""
    for key in keys:
        server.set(key, "1")
        server.expire(key, 60)


def set_with_ttl(server: Redis, keys: Sequence[str]) -> None:
    """Tuned: write with a ttl (``SET … EX``)."""
    for key in keys:
        server.set(key, "1", ex=60)


def read_modify_write(server: Redis, keys: Sequence[str]) -> None:
    """Naive: watch, read, compute here, write, and begin again when somebody else was faster (``WATCH``)."""
    for key in keys:
        with server.pipeline() as pipe:
            while True:
                try:
                    pipe.watch(key)
                    raised = int(pipe.get(key) or 0) * 2 % 1000 + 1
                    pipe.multi()
                    pipe.set(key, raised)
                    pipe.execute()
                except WatchError:
                    continue
                break


def by_script(server: Redis, keys: Sequence[str]) -> None:
    """Tuned: compute where the data is, by a script that the server keeps (``EVALSHA``)."""
    for key in keys:
        _script(server)(keys=[key])


def by_function(server: Redis, keys: Sequence[str]) -> None:
    """Tuned as well: the same as a function, which is loaded with the data and needs no client to bring it (``FCALL``).

    Servers from version 7.0 on have functions; replicas and backups have them too.
    """
    _function(server)
    for key in keys:
        server.fcall(FUNCTION, 1, key)


@cache
def _script(server: Redis) -> Script:
    """Return the script, once registered for each client."""
    return server.register_script(RAISE)


FUNCTION = "practices_raise"


@cache
def _function(server: Redis) -> None:
    """Load the function into a library of its own, once for each client (``FUNCTION LOAD``)."""
    body = RAISE.replace("KEYS[1]", "keys[1]")
    code = f"#!lua name={FUNCTION}\nredis.register_function('{FUNCTION}', function(keys) {body} end)"
    server.function_load(code, replace=True)
