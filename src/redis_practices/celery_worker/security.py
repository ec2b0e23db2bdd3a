"""Limit access to workers and the broker: signed tasks, a user of least privilege.

A worker with `sign_messages` refuses a task unless it is signed with a key whose certificate the worker has. The
signature proves the sender and the content; it hides nothing. Signing and checking a task cost about a millisecond each
(RSA), and kombu needs the ``cryptography`` package.

`rules` returns the ACL of the user that Celery needs; ``python src/broker_user.py app1:`` prints it.
"""

from __future__ import annotations

import os
from pathlib import Path

from celery import Celery

from redis_practices.cli import UsageError

KEY, CERTIFICATE = "key.pem", "certificate.pem"
"""The files in a party's folder: its private key and its certificate; any other ``*certificate.pem`` is trusted."""


def sign_messages(app: Celery, folder: str | os.PathLike[str]) -> None:
    """Make `app` sign the tasks it sends and refuse unsigned ones, with the files in `folder`.

    This changes the whole process: every other serializer is disabled in it.

    Raises:
        celery.exceptions.ImproperlyConfigured: a file is missing.
    """
    own = Path(folder)
    app.conf.update(
        security_key=str(own / KEY),
        security_certificate=str(own / CERTIFICATE),
        security_cert_store=str(own / "*certificate.pem"),
        task_serializer="auth",
        accept_content=["auth"],
        # Results are data, never code: a reader of results needs no certificate.
        result_accept_content=["json"],
    )
    app.setup_security(allowed_serializers=["json"])


RIGHTS: dict[str, tuple[str, ...]] = {
    "connect": ("ping",),
    "send a task": ("multi", "exec", "sadd", "smembers", "lpush"),
    "take a task, record and acknowledge it": ("brpop", "zadd", "hset", "hdel", "zrem"),
    "redeliver an unacknowledged task": ("set", "watch", "hget", "rpush"),
    "store a result and announce it": ("get", "setex", "publish"),
    "wait for a result, forget it": ("subscribe", "unsubscribe", "del"),
    "end a chord": ("zcount", "zrange", "expire"),
    "control workers": ("psubscribe", "llen", "srem"),
    "remove the queues of replies": ("evalsha", "script|load", "script|exists", "time", "zrangebyscore", "exists"),
}
"""The commands by operation; an operation fails without any one of its commands."""


def rules(prefix: str, database: int = 0) -> list[str]:
    """Return the user's rules for keys and channels with `prefix`, as ``ACL SETUSER`` takes them.

    The user may select `database`, the number at the end of the URL, and no other one.

    A worker subscribes to its mailbox by a pattern, which must be granted literally: the last rule does so. All
    channels are revoked first, since Redis 6.2 grants them to every new user.

    Raises:
        UsageError: `prefix` is empty or holds special characters, so it would also match other applications' keys.
    """
    if not prefix or any(sign in prefix for sign in " *?[]\\"):
        raise UsageError("give the prefix of the application's keys, like app1: (without * ? [ ])")
    commands = [f"+{command}" for group in RIGHTS.values() for command in group]
    if database:
        commands.append(f"+select|{database}")
    mailbox = f"&{prefix}/{database}.celery.pidbox"
    return ["-@all", "resetchannels", *commands, f"~{prefix}*", f"&{prefix}*", mailbox]
