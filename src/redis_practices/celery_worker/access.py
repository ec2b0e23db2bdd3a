"""Reach a broker: by a URL with any option, as a user of least privilege, with signed tasks.

`transport_for` gives Celery a Redis URL with any option that redis-py knows. kombu passes the options of a URL on as
its own arguments and fails with a TypeError (kombu 5.7). It has settings for some of them, but none for ``protocol``.
So the broker's URL keeps only the options of TLS. A connection class adds the rest; ``Channel.connection_class`` is
kombu's place for it.

A worker with `sign_messages` refuses a task unless it is signed with a key whose certificate the worker has. The
signature proves the sender and the content; it hides nothing. Signing and checking a task cost about a millisecond each
(RSA), and kombu needs the ``cryptography`` package.

`rules` returns the ACL of the user that Celery needs; ``python src/broker_user.py app1:`` prints it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES, resolve_transport
from redis.connection import SSLConnection, parse_url

from redis_practices.celery_worker import transport
from redis_practices.cli import UsageError
from redis_practices.clients import PROVIDER

# A URL with any option

_IN_ADDRESS = {"host", "port", "db", "username", "password", "connection_class"}
"""The parts of a URL that stand before the ``?``."""

_OF_CELERY = {PROVIDER}
"""The options that Celery reads from the URL of the broker and from that of the results, by the same name."""

_NOT_OF_CONNECTIONS = {"decode_responses", "max_connections"}
"""Options that kombu's connections do not take: they read bytes, and the pool has the limit."""


def _is_one_server(url: str) -> bool:
    """Tell whether a URL names one Redis server, not sentinels or a list of servers."""
    return url.startswith(("redis://", "rediss://")) and ";" not in url


def options_of(url: str) -> dict[str, Any]:
    """Return the options of a URL as redis-py reads them, without the address and the login."""
    given = parse_url(url).items() if _is_one_server(url) else ()
    return {name: value for name, value in given if name not in _IN_ADDRESS | _OF_CELERY}


def pool_options(url: str) -> dict[str, Any]:
    """Return the options of a URL that limit kombu's pool: ``max_connections``."""
    return {name: value for name, value in options_of(url).items() if name == "max_connections"}


def address_of(url: str, *, options: bool = False) -> str:
    """Return the URL as Celery reads it.

    User, password and database stand before the ``?``, TLS options and the name of a credential provider after it.
    With `options` the other options stay too: Celery's result backend reads them.
    """
    if not _is_one_server(url):
        return url
    parts, read = urlsplit(url), parse_url(url)
    user, password = (quote(read.get(name) or "", safe="") for name in ("username", "password"))
    server = parts.netloc.rpartition("@")[2]
    kept = {name: values[0] for name, values in parse_qs(parts.query).items() if name not in _IN_ADDRESS}
    kept.pop("decode_responses", None)
    kept = {name: value for name, value in kept.items() if options or name.startswith("ssl_") or name in _OF_CELERY}
    if parts.scheme == "rediss":
        kept.setdefault("ssl_cert_reqs", "required")  # redis-py's default; kombu's is to trust any certificate
    return parts._replace(
        netloc=f"{user}:{password}@{server}" if user or password else server,
        path=f"/{read['db']}" if "db" in read else parts.path,
        query=urlencode(kept),
    ).geturl()


KEPT = f"{transport.__name__}:Transport"
KEPT_BY_SENTINELS = f"{transport.__name__}:SentinelTransport"

# Under these names, so that logs show a plain URL, and kombu returns to it when it tries the next sentinel.
TRANSPORT_ALIASES.update(redis=KEPT, rediss=KEPT, sentinel=KEPT_BY_SENTINELS)


def transport_for(url: str, name: str | None) -> Any:
    """Return the transport `name` (None: that of `transport`), with the URL's options on each connection if any."""
    options = {name: value for name, value in options_of(url).items() if name not in _NOT_OF_CONNECTIONS}
    if name and url.startswith("sentinel://"):
        TRANSPORT_ALIASES["sentinel"] = name
    if not options:
        return name
    base: Any = resolve_transport(name or KEPT)

    class Channel(base.Channel):  # type: ignore[misc]  # the base is known at run time only
        """A channel whose connections have the options."""

        connection_class = _filled_in(base.Channel.connection_class, options)
        connection_class_ssl = _filled_in(base.Channel.connection_class_ssl, options)

    return type(base.__name__, (base,), {"Channel": Channel})


def _filled_in(kind: Any, options: dict[str, Any]) -> Any:
    """Return a connection class with these options, which win over the caller's."""
    with_tls = issubclass(kind, SSLConnection)
    ours = {name: value for name, value in options.items() if with_tls or not name.startswith("ssl_")}

    class Connection(kind):  # type: ignore[misc]  # see above
        """A connection with the options of the URL."""

        def __init__(self, **others: Any) -> None:
            """Take the arguments of redis-py's connection."""
            super().__init__(**{**others, **ours})

    return Connection


# Signed tasks


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


# A user of least privilege


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
