"""What differs between nodes that should be alike: a replica takes over with its own settings and users."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from redis import Redis

from redis_practices.audit import asking, settings

OWN = re.compile(
    r"(cluster|replica|slave)-announce-.*|(tls-)?port|tls-(cert|key)-file|bind|unixsocket|cluster-port"
    r"|cluster-config-file|dbfilename|dir|logfile|pidfile|aclfile|replicaof|slaveof|availability-zone"
)
"""Settings that say which node it is and where; these may differ."""


def setting_differences(nodes: Mapping[str, Redis]) -> list[str]:
    """Return a line for each setting in which `nodes`, by their names, differ (``CONFIG GET *``), but for `OWN`.

    Raises:
        audit.Refused: the user may not ask.
        redis.exceptions.RedisError: a node does not answer.
    """
    found = {name: settings(node) for name, node in nodes.items()}
    names = sorted({setting for told in found.values() for setting in told if not OWN.fullmatch(setting)})
    lines = (_difference(setting, {node: told.get(setting) for node, told in found.items()}) for setting in names)
    return [line for line in lines if line]


def user_differences(nodes: Mapping[str, Redis]) -> list[str]:
    """Return a line for each user that `nodes`, by their names, do not all know with the same rights (``ACL LIST``).

    No line holds a password or its hash.

    Raises:
        audit.Refused: the user may not ask.
        redis.exceptions.RedisError: a node does not answer.
    """
    with asking("ACL LIST"):
        told = {name: map(str, node.execute_command("ACL LIST")) for name, node in nodes.items()}
    # Redis 7.0 lists a user's commands in an order of each process' own.
    rules = {name: {rule.split()[1]: sorted(rule.split()) for rule in lines} for name, lines in told.items()}
    users = sorted({user for known in rules.values() for user in known})
    differing = {}
    for user in users:
        known = {node: " ".join(users_there.get(user, ())) for node, users_there in rules.items()}
        usual, _ = Counter(known.values()).most_common(1)[0]
        differing[user] = [node for node, rule in known.items() if rule != usual]
    return [f"user {user} is another on {', '.join(others)}" for user, others in differing.items() if others]


def _difference(setting: str, values: Mapping[str, str | None]) -> str:
    """Return which nodes have another value than most, an empty string when none has."""
    usual, _ = Counter(values.values()).most_common(1)[0]
    others = [f"{value!r} on {node}" for node, value in values.items() if value != usual]
    # Passwords are settings too.
    secret = any(word in setting for word in ("auth", "pass"))
    shown = f"different on {len(others)} nodes" if secret else f"{', '.join(others)}, {usual!r} elsewhere"
    return f"{setting} is {shown}" if others else ""
