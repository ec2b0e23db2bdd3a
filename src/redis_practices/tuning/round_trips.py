"""Spend fewer round trips: pipelines, commands for many keys, scripts.

A pipeline pays from 2 commands on, unless a command needs the reply of an earlier one. It stops paying between 100 and
1000 commands a batch, where only Python's packing and parsing is left. Beyond that only memory grows, on both sides.

One command for many keys (``MGET``) pays for plain strings. Not for huge lists: other clients wait while a command
runs, so stay at some hundred keys. In a cluster all keys must share a slot; else see `redis_practices.tuning.bulk`.

One command in place of two closes a race too. A ``SET`` whose ``EXPIRE`` is lost leaves a key without ttl, and a
counter that two clients read, raise and write loses an update. Not for long work: other clients wait while a script
runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from redis import Redis
from redis.commands.core import Script
from redis.exceptions import WatchError

from redis_practices.server_info import has_command


def one_at_a_time(server: Redis, keys: Sequence[str]) -> list[Any]:
    """Naive: read each key and wait for its reply (``GET``)."""
    return [server.get(key) for key in keys]


def in_pipelines(server: Redis, keys: Sequence[str], depth: int = 100) -> list[Any]:
    """Tuned: send `depth` commands, then read their replies (``GET``, no ``MULTI``)."""
    values: list[Any] = []
    for first in range(0, len(keys), depth):
        with server.pipeline(transaction=False) as pipe:
            for key in keys[first : first + depth]:
                pipe.get(key)
            values += pipe.execute()
    return values


def read_together(server: Redis, keys: Sequence[str], size: int = 100) -> list[Any]:
    """Tuned: read `size` keys with one command (``MGET``)."""
    values: list[Any] = []
    for first in range(0, len(keys), size):
        answer: Any = server.mget(keys[first : first + size])
        values += answer
    return values


def write_each(server: Redis, keys: Sequence[str]) -> None:
    """Naive: write each key and wait for its reply (``SET``)."""
    for key in keys:
        server.set(key, "1")


def write_together(server: Redis, keys: Sequence[str], size: int = 100) -> None:
    """Tuned: write `size` keys with one command (``MSET``; it sets no ttl)."""
    for first in range(0, len(keys), size):
        server.mset(dict.fromkeys(keys[first : first + size], "1"))


def expiring_in_pipelines(server: Redis, keys: Sequence[str], size: int = 100, ttl: int = 60) -> None:
    """Tuned: write `size` keys with their ttl in one round trip (``SET ... EX`` in a pipeline)."""
    for first in range(0, len(keys), size):
        with server.pipeline(transaction=False) as pipe:
            for key in keys[first : first + size]:
                pipe.set(key, "1", ex=ttl)
            pipe.execute()


def expiring_together(server: Redis, keys: Sequence[str], size: int = 100, ttl: int = 60) -> None:
    """Tuned: write `size` keys with their ttl with one command (``MSETEX``), all of them or none.

    Servers before Redis 8.4 and Valkey 9.1 get a pipeline. The keys of one command share a slot of a cluster.
    """
    if not _has(server, "MSETEX"):
        expiring_in_pipelines(server, keys, size, ttl)
        return
    for first in range(0, len(keys), size):
        server.msetex(dict.fromkeys(keys[first : first + size], "1"), ex=ttl)


RAISE = """
local raised = tonumber(redis.call('GET', KEYS[1]) or 0) * 2 % 1000 + 1
redis.call('SET', KEYS[1], raised)
return raised
"""
"""An update for which there is no single command."""


def set_then_expire(server: Redis, keys: Sequence[str]) -> None:
    """Naive: write, then give a ttl (``SET``, ``EXPIRE``)."""
    for key in keys:
        server.set(key, "1")
        server.expire(key, 60)


def set_with_ttl(server: Redis, keys: Sequence[str]) -> None:
    """Tuned: write with a ttl (``SET ... EX``)."""
    for key in keys:
        server.set(key, "1", ex=60)


def set_fields_then_expire(server: Redis, keys: Sequence[str], ttl: int = 60) -> None:
    """Naive: write a field of a hash, then give it a ttl (``HSET``, ``HPEXPIRE``)."""
    for key in keys:
        server.hset(FIELDS, key, "1")
        server.hpexpire(FIELDS, 1000 * ttl, key)


def set_fields_with_ttl(server: Redis, keys: Sequence[str], ttl: int = 60) -> None:
    """Tuned: write a field with its ttl (``HSETEX``).

    Servers before Redis 8.0 and Valkey 9.0 get a transaction of both commands: no field stays without a ttl.
    """
    for key in keys:
        if _has(server, "HSETEX"):
            server.hsetex(FIELDS, key, "1", ex=ttl)
        else:
            with server.pipeline(transaction=True) as both:
                both.hset(FIELDS, key, "1")
                both.hpexpire(FIELDS, 1000 * ttl, key)
                both.execute()


FIELDS = "practices:fields"
"""A hash, which ends with its last field."""


def read_modify_write(server: Redis, keys: Sequence[str]) -> None:
    """Naive: watch, read, compute here, write; start again if another client was faster (``WATCH``)."""
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
    """Tuned: compute where the data is, with a script that the server keeps (``EVALSHA``)."""
    for key in keys:
        _script(server)(keys=[key])


def by_function(server: Redis, keys: Sequence[str]) -> None:
    """Tuned too: a function (``FCALL``). It is stored with the data, so no client has to load it.

    Servers since 7.0 have functions, and copy them to replicas and backups.
    """
    _function(server)
    for key in keys:
        server.fcall(FUNCTION, 1, key)


@cache
def _has(server: Redis, command: str) -> bool:
    """Tell whether a server has a command, asked once for each client."""
    return has_command(server, command)


@cache
def _script(server: Redis) -> Script:
    """Return the script, registered once for each client."""
    return server.register_script(RAISE)


FUNCTION = "practices_raise"


@cache
def _function(server: Redis) -> None:
    """Load the function into a separate library, once for each client (``FUNCTION LOAD``)."""
    body = RAISE.replace("KEYS[1]", "keys[1]")
    code = f"#!lua name={FUNCTION}\nredis.register_function('{FUNCTION}', function(keys) {body} end)"
    server.function_load(code, replace=True)
