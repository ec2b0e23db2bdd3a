"""Read a server's settings, fields, version and encryption, without sending it traffic.

Managed services refuse some of these commands; such a refusal raises `Refused`, which names the command.
"""

from __future__ import annotations

import re
import socket
import ssl
import tomllib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis import Redis
from redis.exceptions import ResponseError
from redis.utils import str_if_bytes

HOLES = Path(__file__).with_name("known_holes.toml")
"""The table of known holes."""


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


def has_command(client: Redis, name: str) -> bool:
    """Tell whether the server has a command (``COMMAND INFO``); False also if this user may not ask.

    Raises:
        redis.exceptions.RedisError: the server does not answer.
    """
    try:
        # One word: redis-py fails to parse the reply about an unknown command.
        answer = client.execute_command("COMMAND INFO", name)
    except ResponseError:
        return False
    return any(answer.values() if isinstance(answer, Mapping) else answer)


COMPATIBLE = ("valkey", "dragonfly", "garnet", "kvrocks", "rlec")
"""Engines, and Redis Software, that tell a compatible version of Redis beside the one they have."""


def engine_name(info: Mapping[str, Any]) -> str:
    """Return engine and version of an ``INFO server`` reply, like ``redis 8.0.2`` or ``valkey 9.1.2``.

    Valkey's ``redis_version`` is the Redis version that it is compatible with, so `COMPATIBLE` ones go first.

    Raises:
        Refused: the reply names no version, because a service hides it.
    """
    for other in COMPATIBLE:
        if version := info.get(f"{other}_version"):
            return f"{other} {version}"
    if "redis_version" not in info:
        raise Refused("INFO names no version")
    return f"{info.get('server_name', 'redis')} {info['redis_version']}"


def version_of(engine: str) -> tuple[int, ...]:
    """Return the version in a name like "valkey 9.1.2" as numbers that compare: (9, 1, 2)."""
    return tuple(int(part) for part in engine.rpartition(" ")[2].split(".") if part.isdigit())


@cache
def known_holes() -> Mapping[str, Any]:
    """Return the table of known holes: ``renewed``, and by engine and line the first version without them."""
    return tomllib.loads(HOLES.read_text(encoding="utf-8"))


def hole_in(engine: str, settings: Mapping[str, str], today: date | None = None) -> str:
    """Return what is wrong with an engine like "redis 8.2.3", with its source; "" without a known hole.

    Raises:
        LookupError: the table says nothing of this version, which does not mean that it is safe.
    """
    table, name, version = known_holes(), engine.partition(" ")[0], version_of(engine)
    lines = {version_of(line): told for line, told in table.get(name, {}).items()}
    if engine in table["packages"]:
        raise LookupError(f"{table['packages'][engine]} mends {engine} without another number: see its package")
    if not lines or (version[:2] not in lines and version > min(lines)):
        raise LookupError(f"the table of known holes of {table['renewed']} does not know {engine}")
    told = lines.get(version[:2], {"mended": "", "ends": table["renewed"], "source": min(lines.items())[1]["source"]})
    ended = "ends" in told and told["ends"] < (today or datetime.now(UTC).date())
    if not told["mended"] or ended:
        return f"its line gets no more fixes, and has known holes ({told['source']})"
    if version < version_of(told["mended"]):
        return f"it has known holes, which {told['mended']} mends ({told['source']})"
    for hole, one in table["settings"].items():
        last = [version_of(last) for last in one["last"] if last.startswith(f"{name} ")]
        is_old = any(version[:2] == other[:2] and version <= other for other in last)
        if is_old and settings.get(one["setting"], one["closed"]) != one["closed"]:
            return f"it has the hole {hole}, open while {one['setting']} is not {one['closed']} ({one['source']})"
    return ""


def is_loopback(url: str) -> bool:
    """Tell whether only programs on this machine reach the address of a URL."""
    try:
        found = socket.getaddrinfo(urlsplit(url).hostname, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(_is_here(str(address[0])) for *_, address in found)


def _is_here(address: str) -> bool:
    """Tell whether an IP address is one of loopback."""
    known = ip_address(address.partition("%")[0])
    known = getattr(known, "ipv4_mapped", None) or known
    return known.is_loopback or known.is_unspecified


def listens_elsewhere(client: Redis, settings: Mapping[str, str]) -> bool:
    """Tell whether a server on this machine listens on an address of another interface, too (``bind``).

    False also for a server behind a proxy or in a container, which does not see where it can be reached from.
    """
    if "bind" not in settings:
        return False
    try:
        own = str(client.client_info().get("laddr", "")).rpartition(":")[0].strip("[]")
        is_here = _is_here(own)
    except (ResponseError, ValueError):  # a refused command, or a server before Redis 6.2
        return False
    bound = [address.lstrip("-") for address in settings["bind"].split()] or ["*"]
    return is_here and any(not one.startswith("127.") and one not in {"::1", "localhost"} for one in bound)


CREDENTIALS = {
    *("username", "password", "credential_provider", "ssl_certfile", "ssl_keyfile", "ssl_password"),
    *("protocol", "db"),
}
"""The options of a URL by which a server knows a client, or that a server refuses to strangers for another reason."""


def without_credentials(url: str) -> str:
    """Return a URL without user, password, client certificate and database."""
    parts = urlsplit(url)
    options = [(name, value) for name, value in parse_qsl(parts.query) if name not in CREDENTIALS]
    query = urlencode([*options, ("protocol", "2")])  # without HELLO, to which a server may want a password
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], path="", query=query).geturl()


@dataclass(frozen=True)
class Handshake:
    """What a server and a client have agreed on for TLS."""

    version: str
    cipher: str
    certificate: bytes
    """The server's certificate (DER)."""

    @property
    def is_secret_later(self) -> bool:
        """Whether a stolen key of the server leaves recorded traffic secret (forward secrecy)."""
        return self.version == "TLSv1.3" or self.cipher.startswith(("ECDHE-", "DHE-"))

    @property
    def ends(self) -> datetime:
        """The end of the certificate (ValueError if it has none)."""
        found = re.search(
            rb"\x30[\x1e-\x22](?:\x17\x0d\d{12}Z|\x18\x0f\d{14}Z)(\x17\x0d|\x18\x0f)(\d+)Z", self.certificate
        )
        if not found:
            raise ValueError("the certificate has no end")
        digits = found[2].decode()
        century = "" if found[1] == b"\x18\x0f" else "20" if digits < "50" else "19"
        return datetime.strptime(f"{century}{digits}+0000", "%Y%m%d%H%M%S%z")


def handshake(url: str, *, old: bool = False, timeout: float = 2.0) -> Handshake:
    """Connect with the client certificate of a URL; with `old`, offer nothing above TLS 1.1.

    The server's certificate is read, not judged: a client of the URL does that.

    Raises:
        OSError: the server does not answer, or accepts none of the versions and ciphers.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0" if old else "DEFAULT:@SECLEVEL=1")
    if "ssl_certfile" in options:
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"), options.get("ssl_password"))
    if old:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that is why a server should refuse them
            context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    address = (parts.hostname or "", parts.port or 6379)
    with (
        socket.create_connection(address, timeout) as plain,
        context.wrap_socket(plain, server_hostname=parts.hostname) as secure,
    ):
        cipher, certificate = secure.cipher(), secure.getpeercert(binary_form=True)
        return Handshake(secure.version() or "", cipher[0] if cipher else "", certificate or b"")
