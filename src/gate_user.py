"""Print the rule of the user that the gate needs on your servers.

    python src/gate_user.py cache                    Its rights, for users.acl or ACL SETUSER.
    redis-cli ACL SETUSER gate on '>secret' $(python src/gate_user.py cache)

    python src/gate_user.py broker --workers         The rights that a run with --workers needs.
    python src/gate_user.py sentinel                 The rights on each sentinel, if the URL names sentinels.

The user reads and writes only keys that begin with ``practices:``, and changes no setting. Remove rights that you do
not grant: scenarios that need them are skipped, and name the missing command.
"""

from __future__ import annotations

import sys

from redis_practices.cli import UsageError, run

WORK = ("@read", "@write", "@pubsub", "@transaction", "@scripting", "@connection")
"""The categories of work on the gate's own keys; the scenarios use every command on data."""

NEVER = ("@dangerous", "@admin", "function", "script")
"""The categories and commands that reach beyond these keys, although some also belong to `WORK`."""

LOOK = (
    *("script|load", "script|exists", "info", "config|get", "latency|reset", "slowlog|get"),
    *("acl|whoami", "acl|dryrun", "acl|list", "client|list", "command", "memory|usage", "time"),
    *("cluster|info", "cluster|nodes", "cluster|slots", "cluster|shards", "cluster|links", "cluster|myid"),
    *("cluster|keyslot", "cluster|countkeysinslot", "cluster|replicas"),
)
"""Commands that only read.

``CONFIG GET`` and ``ACL LIST`` show servers' passwords, and hashes of users' passwords. ``SLOWLOG GET`` shows arguments
of commands.
"""

CHANNELS = {"cache": "&practices:*", "cluster": "&practices:*", "broker": "&*", "results": "&practices:*"}
"""By role. A Celery worker subscribes to a pattern, and Redis grants a pattern only literally."""


WORKERS = ("%R~*", "~*_kombu.binding.reply.*.pidbox", "~*practices-mailbox-*.pidbox")
"""Keys of running workers: queues, which are read, and the lists for answers, which a run writes."""

BUDGET = ("eval", "time", "get", "set"), ("time", "incrby", "expire")
"""The commands by which several judges keep ``--max-ops`` together: of a script, or of counts without scripts.

They use keys that begin with ``practices:max-ops``, on the first server of the URLs. `rules` has these commands.
"""


def rules(role: str) -> list[str]:
    """Return the rules of the user, as ``ACL SETUSER`` takes them, for one of `CHANNELS`.

    All channels are revoked first, since Redis 6.2 grants them to every new user.
    """
    commands = [f"+{name}" for name in WORK] + [f"-{name}" for name in NEVER] + [f"+{name}" for name in LOOK]
    return ["-@all", "resetchannels", *commands, "~practices:*", CHANNELS[role]]


SENTINEL = (
    *("-@all", "+auth", "+hello", "+ping", "+client|setinfo", "+info", "+sentinel|myid"),
    *("+sentinel|masters", "+sentinel|master", "+sentinel|replicas", "+sentinel|sentinels"),
)
"""The rights on a sentinel, which has no keys; ``+sentinel|failover`` too for ``--allow-disruption``."""


def main() -> None:
    """Print the rules for the role on the command line."""
    # Python 3.9 must read this file to say which one it needs.
    role, *further = sys.argv[1:] or [""]
    if role == "sentinel" and not further:
        print(" ".join(SENTINEL))
        return
    if role not in CHANNELS or further not in ([], ["--workers"]) or (further and role != "broker"):
        raise UsageError(f"give the role of the server: {', '.join(CHANNELS)}, sentinel, or broker --workers")
    print(" ".join([*rules(role), *(WORKERS if further else ())]))


if __name__ == "__main__":
    run(main)
