"""What belongs to nodes and not to keys, and so does not move with slots: functions and users."""

from __future__ import annotations

import re

from redis import Redis
from redis.exceptions import ResponseError


def copy_functions(source: Redis, target: Redis) -> None:
    """Give `target` the functions of `source` (``FUNCTION DUMP``, ``FUNCTION RESTORE``; none before Redis 7.0).

    Raises:
        redis.exceptions.RedisError: a node does not answer, or the target has a function of the same name.
    """
    try:
        payload = source.function_dump()
    except ResponseError as error:
        if "unknown command" in str(error):
            return
        raise
    target.execute_command("FUNCTION RESTORE", payload)


def copy_users(source: Redis, target: Redis) -> None:
    """Give `target` the users of `source`, passwords as hashes (``ACL LIST``, ``ACL DELUSER``, ``ACL SETUSER``).

    Not the default user, as whom whoever set up the target may have connected.

    Raises:
        redis.exceptions.RedisError: a node does not answer or refuses.
    """
    for line in source.acl_list():
        # A selector, in parentheses, is one rule.
        _, name, *rules = re.findall(r"\([^)]*\)|\S+", str(line))
        if name != "default":
            # Not "reset", which makes explicit what is usual, so that two equal users look different.
            target.execute_command("ACL DELUSER", name)
            target.execute_command("ACL SETUSER", name, *rules)
