"""Limit what reaches workers and the broker: signed tasks, a user of least privilege.

A worker with `sign_messages` refuses a task that was not signed with a key whose certificate it has. The signature says
who sent a task and that nothing changed it; it hides nothing. It costs about a millisecond (RSA) to sign and to check a
task, and kombu needs the ``cryptography`` package.

`rules` gives the ACL of the user that Celery needs: ``python src/broker_user.py app1:`` prints it.
"""

from __future__ import annotations

import os
from pathlib import Path

from celery import Celery

from redis_practices.cli import UsageError

KEY, CERTIFICATE = "key.pem", "certificate.pem"
"""The files in the folder of a party: its own key, and its own certificate; every other ``.pem`` is one it trusts."""


def sign_messages(app: Celery, folder: str | os.PathLike[str]) -> None:
    """Make `app` sign what it sends and refuse what is unsigned, with the files in `folder`.

    This changes the whole process: every other serializer is turned off in it.

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
        # Results are only read, never obeyed: whoever waits needs no certificate.
        result_accept_content=["json"],
    )
    app.setup_security(allowed_serializers=["json"])


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
