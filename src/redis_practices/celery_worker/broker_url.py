"""Give Celery a Redis URL with any option that redis-py knows.

kombu takes the options of a URL for arguments of its own and ends in a TypeError (kombu 5.7). It has settings for some
of them, but none for ``protocol``. So the broker's URL keeps only the options of TLS, and a class of connections fills
in the others: ``Channel.connection_class`` is kombu's place for that.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from kombu.transport import resolve_transport
from redis.connection import SSLConnection, parse_url

_IN_ADDRESS = {"host", "port", "db", "username", "password", "connection_class"}
"""What stands before the ``?`` of a URL that Celery gets."""

_OTHERWISE = {"decode_responses", "max_connections"}
"""What is no option of Celery's connections: they read bytes, and the number is that of the pool."""


def _is_one_server(url: str) -> bool:
    """Tell whether a URL is that of one Redis server: not of sentinels, nor one of several."""
    return url.startswith(("redis://", "rediss://")) and ";" not in url


def options_of(url: str) -> dict[str, Any]:
    """Return the options of a URL, as redis-py reads them, without what Celery reads elsewhere."""
    given = parse_url(url).items() if _is_one_server(url) else ()
    return {name: value for name, value in given if name not in _IN_ADDRESS}


def pool_options(url: str) -> dict[str, Any]:
    """Return what a URL says of kombu's pool: at most how many connections it has."""
    return {name: value for name, value in options_of(url).items() if name == "max_connections"}


def address_of(url: str, *, options: bool = False) -> str:
    """Return the URL as Celery reads it: user, password and database before the ``?``, and TLS after it.

    With `options` the others stay, too: Celery's results read them.
    """
    if not _is_one_server(url):
        return url
    parts, read = urlsplit(url), parse_url(url)
    user, password = (quote(read.get(name) or "", safe="") for name in ("username", "password"))
    server = parts.netloc.rpartition("@")[2]
    kept = {name: values[0] for name, values in parse_qs(parts.query).items() if name not in _IN_ADDRESS}
    kept.pop("decode_responses", None)
    kept = {name: value for name, value in kept.items() if options or name.startswith("ssl_")}
    if parts.scheme == "rediss":
        kept.setdefault("ssl_cert_reqs", "required")  # redis-py's default; kombu's is to trust any certificate
    return parts._replace(
        netloc=f"{user}:{password}@{server}" if user or password else server,
        path=f"/{read['db']}" if "db" in read else parts.path,
        query=urlencode(kept),
    ).geturl()


def transport_for(url: str, name: str | None) -> Any:
    """Return the transport `name` (None: kombu's own), or one like it whose connections have the options of `url`."""
    options = {name: value for name, value in options_of(url).items() if name not in _OTHERWISE}
    if not options:
        return name
    base: Any = resolve_transport(name or "redis")

    class Channel(base.Channel):  # type: ignore[misc]  # which one is known when it runs
        """A channel whose connections have the options."""

        connection_class = _filled_in(base.Channel.connection_class, options)
        connection_class_ssl = _filled_in(base.Channel.connection_class_ssl, options)

    return type(base.__name__, (base,), {"Channel": Channel})


def _filled_in(kind: Any, options: dict[str, Any]) -> Any:
    """Return a class of connections that has the options, whatever it is told besides."""
    with_tls = issubclass(kind, SSLConnection)
    ours = {name: value for name, value in options.items() if with_tls or not name.startswith("ssl_")}

    class Connection(kind):  # type: ignore[misc]  # see above
        """A connection with the options of the URL."""

        def __init__(self, **others: Any) -> None:
            """Take what redis-py's takes."""
            super().__init__(**{**others, **ours})

    return Connection
