"""The user that the gate needs on somebody's servers: print its rule, or give it to a server.

    python src/gate_user.py cache                    the rights, for users.acl or ACL SETUSER
    redis-cli ACL SETUSER gate on '>secret' $(python src/gate_user.py cache)

It reads and writes only keys that begin with ``practices:``, and changes no setting. Leave out what it may not look at:
the scenarios that need it are then skipped, and say which command they lack.
"""

from __future__ import annotations

import sys
from typing import get_args

from redis_practices.cli import UsageError, run
from redis_practices.servers.locate import Kind

WORK = ("@read", "@write", "@pubsub", "@transaction", "@scripting", "@connection")
"""What the scenarios do with keys of ours: every command on data, since they hold a server to each of them."""

NEVER = ("@dangerous", "@admin", "function", "script")
"""What reaches beyond these keys, although some of it counts as work with data."""

LOOK = (
    *("script|load", "script|exists", "info", "config|get", "latency|reset"),
    *("acl|whoami", "acl|dryrun", "acl|list", "client|list", "command", "memory|usage", "time"),
    *("cluster|info", "cluster|nodes", "cluster|slots", "cluster|shards", "cluster|links", "cluster|myid"),
    *("cluster|keyslot", "cluster|countkeysinslot", "cluster|replicas"),
)
"""What changes nothing. ``CONFIG GET`` and ``ACL LIST`` show passwords of servers, and hashes of those of users."""

CHANNELS = {"cache": "&practices:*", "cluster": "&practices:*", "broker": "&*"}
"""A worker of Celery subscribes to a pattern, and Redis grants a pattern only as it is written, not what it covers."""


def rules(role: str) -> list[str]:
    """Return the rules of the user, as ``ACL SETUSER`` takes them, for a ``cache``, ``cluster`` or ``broker``.

    All channels are taken away first, since Redis 6.2 gives them to every new user.
    """
    commands = [f"+{name}" for name in WORK] + [f"-{name}" for name in NEVER] + [f"+{name}" for name in LOOK]
    return ["-@all", "resetchannels", *commands, "~practices:*", CHANNELS[role]]


def main() -> None:
    """Print the rules for the role that the command line names."""
    if len(sys.argv) != 2 or sys.argv[1] not in get_args(Kind):  # noqa: PLR2004 - the command and the role
        raise UsageError(f"give the role of the server: {', '.join(get_args(Kind))}")
    print(" ".join(rules(sys.argv[1])))


if __name__ == "__main__":
    run(main)
