"""The user that Celery needs on its broker, and nothing beyond: print its rule, or give it to a server.

    python src/broker_user.py app1:                  the rights, for users.acl or ACL SETUSER
    redis-cli ACL SETUSER celery on '>secret' $(python src/broker_user.py app1:)

It reaches only keys and channels with the application's prefix (``KEY_PREFIX`` in ``worker.py``).
"""

from __future__ import annotations

import sys

from redis_practices.cli import UsageError, run

RIGHTS: dict[str, tuple[str, ...]] = {
    "connect": ("ping",),
    "send a task": ("multi", "exec", "sadd", "smembers", "lpush"),
    "take a task, and note that it is taken and done": ("brpop", "zadd", "hset", "hdel", "zrem"),
    "deliver again what nobody finished": ("set", "watch", "hget", "rpush"),
    "store a result and tell who waits": ("get", "setex", "publish"),
    "wait for a result, forget it": ("subscribe", "unsubscribe", "del"),
    "end a chord": ("zcount", "zrange", "expire"),
    "control workers": ("psubscribe", "llen", "srem"),
    "clear away the queues of replies": ("evalsha", "script|load", "script|exists", "time", "zrangebyscore", "exists"),
}
"""The commands, by what needs them; without one of them, that fails."""


def rules(prefix: str) -> list[str]:
    """Return the rules of the user, as ``ACL SETUSER`` takes them, for the keys and channels that begin with `prefix`.

    A pattern must be granted literally as a worker subscribes to it: the last rule is that of its mailbox. All channels
    are taken away first, since Redis 6.2 gives them to every new user.

    Raises:
        UsageError: `prefix` is empty or no plain text, so it would reach keys of others.
    """
    if not prefix or any(sign in prefix for sign in " *?[]\\"):
        raise UsageError("give the prefix of the application's keys, like app1: (without * ? [ ])")
    commands = [f"+{command}" for group in RIGHTS.values() for command in group]
    return ["-@all", "resetchannels", *commands, f"~{prefix}*", f"&{prefix}*", f"&{prefix}/0.celery.pidbox"]


def main() -> None:
    """Print the rules for the prefix that the command line names."""
    if len(sys.argv) != 2:  # noqa: PLR2004 - the command and the prefix
        raise UsageError("give the prefix of the application's keys, like: python src/broker_user.py app1:")
    print(" ".join(rules(sys.argv[1])))


if __name__ == "__main__":
    run(main)
