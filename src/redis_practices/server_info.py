"""Read a server's settings, fields, user and version, without sending it traffic.

Managed services refuse some of these commands; such a refusal raises `Refused`, which names the command.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError
from redis.utils import str_if_bytes


class Refused(Exception):  # noqa: N818 - it is the server's choice, not an error
    """The server refuses the command to this user; the message names the command."""


@contextmanager
def asking(command: str) -> Iterator[None]:
    """Turn a refusal of `command` in the block into `Refused`."""
    try:
        yield
    except ResponseError as error:
        raise Refused(f"{command} is refused: {error}") from None


def by_name(answer: Mapping[Any, Any] | Sequence[Any]) -> dict[str, Any]:
    """Return a reply's values by name. RESP3 gives a map, RESP2 a flat list of names and values."""
    pairs = answer.items() if isinstance(answer, Mapping) else zip(answer[::2], answer[1::2], strict=True)
    return {str_if_bytes(name): value for name, value in pairs}


def settings(client: Redis) -> dict[str, str]:
    """Return every setting of the server (``CONFIG GET *``).

    Raises:
        Refused: the server or its service refuses the command to this user.
        redis.exceptions.RedisError: the server does not answer.
    """
    with asking("CONFIG GET"):
        answer = client.execute_command("CONFIG", "GET", "*")
    return {name: str(value) for name, value in by_name(answer).items()}


def facts(client: Redis) -> dict[str, Any]:
    """Return every field of ``INFO everything``.

    Raises:
        Refused: as `settings` does.
        redis.exceptions.RedisError: the server does not answer.
    """
    with asking("INFO"):
        return dict(client.info("everything"))


def user_of(client: Redis) -> str:
    """Return the user of `client` on the server (``ACL WHOAMI``, since 6.0).

    Raises:
        Refused: as `settings` does.
    """
    with asking("ACL WHOAMI"):
        return str(client.acl_whoami())


def may_run(client: Redis, *command: str) -> bool:
    """Tell whether the user of `client` may run a command, without running it (``ACL DRYRUN``, since 7.0).

    Raises:
        Refused: as `settings` does.
    """
    user = user_of(client)
    with asking("ACL DRYRUN"):
        return str(client.execute_command("ACL DRYRUN", user, *command)) == "OK"


def engine_name(info: Mapping[str, Any]) -> str:
    """Return engine and version of an ``INFO server`` reply, like ``redis 8.0.2`` or ``valkey 9.1.2``.

    Valkey's ``redis_version`` is the Redis version that it is compatible with, so ``valkey_version`` goes first.

    Raises:
        Refused: the reply names no version, because a service hides it.
    """
    if "valkey_version" in info:
        return f"valkey {info['valkey_version']}"
    if "redis_version" not in info:
        raise Refused("INFO names no version")
    return f"{info.get('server_name', 'redis')} {info['redis_version']}"


def version_of(engine: str) -> tuple[int, ...]:
    """Return the version in a name like "valkey 9.1.2" as numbers that compare: (9, 1, 2)."""
    return tuple(int(part) for part in engine.rpartition(" ")[2].split(".") if part.isdigit())
