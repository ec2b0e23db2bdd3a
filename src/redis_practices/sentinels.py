"""Find a primary by its sentinels, and tell what would stop them from replacing it.

    url = SentinelUrl.read("sentinel://one:26379;sentinel://two:26379/0?master_name=orders")
    views = look(url)
    with redis_client(url.server(agreed(views))) as client:
        ...
    for sentinel, why in cannot_promote(views):
        print(sentinel, why)

Celery writes the same URL, and the name of the primary as ``broker_transport_options={"master_name": "orders"}``. User
and password before the ``@`` are those of the primary. Sentinels with a password have theirs in ``sentinel_password``;
in Celery that is ``"sentinel_kwargs": {"password": ...}``.

A `View` is what one sentinel says. The detectors compare views, and return pairs: a sentinel, and what is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Self
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from redis import Redis
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from redis_practices.cli import Failure, UsageError
from redis_practices.clients import checked_url, explained, redis_client, server_text

SCHEME = "sentinel://"

FORM = "write sentinel://[[user]:password@]host[:port][;sentinel://host[:port]][/db][?master_name=NAME]"

PORT = 26379

OURS = {"master_name", "sentinel_username", "sentinel_password", "ssl", "sentinel_ssl"}
"""The options of such a URL that redis-py does not know."""

OF_BOTH = ("ssl_", "socket_", "protocol")
"""The beginnings of options that are for the sentinels, too."""

TIMEOUT = 2.0
"""Seconds for the answer of a sentinel, which does little."""

NO_ANSWER = (RedisError, OSError, ValueError, TypeError, LookupError, AttributeError)
"""Errors of a server that does not answer, or not like a sentinel."""

Fault = tuple[str, str]
"""A sentinel or server, and what is wrong with it."""


@dataclass(frozen=True)
class SentinelUrl:
    """The sentinels of a URL, and how to reach them and the servers that they name."""

    addresses: tuple[str, ...]
    """Of the sentinels, as ``host:port``."""
    name: str
    """The name of the primary; empty if the URL has none."""
    login: str
    """User and password of the servers, as the URL has them, with the ``@``."""
    path: str
    """The database, with the ``/``."""
    options: Mapping[str, str]

    @classmethod
    def read(cls, url: str, variable: str = "the URL") -> Self:
        """Read a URL of sentinels.

        Raises:
            UsageError: redis-py could not use it. The message names the variable, and shows no part of the URL.
        """
        try:
            parts = [urlsplit(one.strip()) for one in url.strip(";").split(";")]
            addresses = tuple(_address(part.hostname or "", part.port or PORT) for part in parts)
            usable = all(part.scheme == "sentinel" and part.hostname for part in parts)
        except ValueError:
            usable = False
        if not usable:
            raise UsageError(f"{variable} is no list of sentinels: {FORM}")
        options = dict(pair for part in parts for pair in parse_qsl(part.query, keep_blank_values=True))
        logins = {part.netloc.rpartition("@")[0] for part in parts} - {""}
        paths = {part.path.strip("/") for part in parts} - {""}
        if len(logins) > 1 or len(paths) > 1:
            raise UsageError(f"{variable} has several logins or databases: give one, that of the primary")
        for name in ("ssl", "sentinel_ssl"):
            if options.get(name, "true") not in {"true", "false"}:
                raise UsageError(f"{variable} has the option {name} with a wrong value: give true or false")
        if options.get("master_name") == "":
            raise UsageError(f"{variable} has the option master_name without a value: give the name of the primary")
        login, path = (next(iter(found), "") for found in (logins, paths))
        read = cls(
            addresses, options.get("master_name", ""), f"{login}@" if login else "", f"/{path}" * bool(path), options
        )
        for one in (read.server(addresses[0]), read.sentinel(addresses[0])):
            checked_url(one, variable)
        return read

    def server(self, address: str) -> str:
        """Return the URL of a server that the sentinels name."""
        options = {name: value for name, value in self.options.items() if name not in OURS}
        return self._url("ssl", self.login, f"{address}{self.path}", options)

    def sentinel(self, address: str) -> str:
        """Return the URL of a sentinel."""
        user, password = (quote(self.options.get(f"sentinel_{name}", ""), safe="") for name in ("username", "password"))
        options = {name: value for name, value in self.options.items() if name.startswith(OF_BOTH)}
        return self._url("sentinel_ssl", f"{user}:{password}@" if user or password else "", address, options)

    def _url(self, switch: str, login: str, rest: str, options: Mapping[str, str]) -> str:
        """Return a URL with TLS if `switch` is true, without its options otherwise."""
        has_files = any(name.startswith("ssl_") for name in self.options)
        secure = self.options.get(switch, self.options.get("ssl", str(has_files).lower())) == "true"
        kept = {name: value for name, value in options.items() if secure or not name.startswith("ssl_")}
        return f"redis{'s' * secure}://{login}{rest}{'?' * bool(kept)}{urlencode(kept)}"


def is_of_sentinels(url: str) -> bool:
    """Tell whether a URL names sentinels."""
    return url.startswith(SCHEME)


def _address(host: str, port: int | str) -> str:
    """Return host and port as one word."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


Fields = Mapping[str, str]
"""What a sentinel says of a server or of another sentinel, by Redis' names."""


@dataclass(frozen=True)
class View:
    """What one sentinel says of a primary."""

    sentinel: str
    """Its address."""
    why: str = ""
    """Why it says nothing."""
    identity: str = ""
    primary: Fields = field(default_factory=dict)
    replicas: Sequence[Fields] = ()
    others: Sequence[Fields] = ()
    """The other sentinels that it knows."""

    @property
    def named(self) -> str:
        """The address of the primary."""
        return address_of(self.primary) if self.primary else ""


def address_of(told: Fields) -> str:
    """Return the address in the fields of a server."""
    return _address(told["ip"], told["port"])


def _fields(answer: Any) -> dict[str, str]:
    """Return names and values: RESP3 gives a map, RESP2 a flat list."""
    pairs = answer.items() if isinstance(answer, Mapping) else zip(answer[::2], answer[1::2], strict=True)
    return {str(name): str(value) for name, value in pairs}


def view_of(client: Redis, sentinel: str, name: str) -> View:
    """Ask one sentinel about a primary.

    Raises:
        redis.exceptions.RedisError: it does not answer, does not know the primary, or refuses the user.
    """
    identity = sentinel
    with suppress(ResponseError):  # before Redis 6.2
        identity = str(client.execute_command("SENTINEL", "MYID"))
    primary = _fields(client.execute_command("SENTINEL", "MASTER", name))
    replicas, others = (client.execute_command("SENTINEL", asked, name) for asked in ("REPLICAS", "SENTINELS"))
    return View(sentinel, "", identity, primary, tuple(map(_fields, replicas)), tuple(map(_fields, others)))


def names_at(client: Redis) -> list[str]:
    """Return the names of all primaries that a sentinel watches."""
    return [_fields(one)["name"] for one in client.execute_command("SENTINEL", "MASTERS")]


def _tried(url: SentinelUrl, sentinel: str) -> View:
    """Ask one sentinel; the view says why it has none."""
    try:
        with redis_client(url.sentinel(sentinel), timeout=TIMEOUT) as client:
            return view_of(client, sentinel, url.name)
    except NO_ANSWER as error:
        if "No such master" in str(error):
            return View(sentinel, f"knows no primary {server_text(url.name)}")
        return View(sentinel, _why(error))


def _why(error: Exception) -> str:
    """Return why a sentinel says nothing."""
    if isinstance(error, AuthenticationError):
        return "refuses the login: give sentinel_password in the URL, the password of the sentinels themselves"
    if "unknown command" in str(error):
        return "is no sentinel"
    return explained(error, "", TIMEOUT).strip()


def look(url: SentinelUrl) -> list[View]:
    """Ask the sentinels of a URL, then those that they know and that can be reached from here."""
    views = [_tried(url, address) for address in url.addresses]
    seen, tried = {view.identity for view in views}, set(url.addresses)
    for other in [other for view in views for other in view.others]:
        address = address_of(other)
        if other.get("runid") in seen or address in tried:
            continue
        tried.add(address)
        # An announced address may be meant for other sentinels alone; `is_down` has their opinion of it.
        if not (view := _tried(url, address)).why and view.identity not in seen:
            views.append(view)
            seen.add(view.identity)
    return views


def with_news(url: SentinelUrl, views: Sequence[View]) -> list[View]:
    """Return the views with the present state of the replicas, which sentinels read every 10 s."""
    addresses = {address_of(one) for view in views for one in view.replicas}
    news = {address: _news(url, address) for address in sorted(addresses)}
    return [replace(view, replicas=[{**one, **news[address_of(one)]} for one in view.replicas]) for view in views]


NEWS = {
    "slave-priority": "slave_priority",
    "master-link-status": "master_link_status",
    "slave-repl-offset": "slave_repl_offset",
    "role-reported": "role",
}
"""The fields of a replica for sentinels, and in its own INFO."""


def _news(url: SentinelUrl, address: str) -> dict[str, str]:
    """Return what a replica says of itself, nothing if it cannot be reached from here."""
    try:
        with redis_client(url.server(address), timeout=TIMEOUT) as client:
            told = client.info("replication")
    except NO_ANSWER:
        return {}
    status = {"up": "ok", "down": "err"}
    found = {ours: str(told[theirs]) for ours, theirs in NEWS.items() if theirs in told}
    return {name: status.get(value, value) for name, value in found.items()}


def with_name(url: SentinelUrl) -> SentinelUrl:
    """Return the URL with the name of its primary, which the sentinels tell if they watch one alone.

    Raises:
        Failure: no sentinel answers, or they watch several.
    """
    if url.name:
        return url
    whys = []
    for sentinel in url.addresses:
        try:
            with redis_client(url.sentinel(sentinel), timeout=TIMEOUT) as client:
                known = names_at(client)
        except NO_ANSWER as error:
            whys.append(f"{sentinel} {_why(error)}")
            continue
        if len(known) != 1:
            listed = ", ".join(map(server_text, known)) or "none"
            raise Failure(f"{sentinel} watches {listed}: name the primary in the URL (?master_name=NAME)")
        return replace(url, name=known[0])
    raise Failure(f"no sentinel answers: {'; '.join(whys)}")


def agreed(views: Sequence[View]) -> str:
    """Return the address of the primary that most sentinels name.

    Raises:
        Failure: none names one.
    """
    named = Counter(view.named for view in views if view.named)
    if not named:
        raise Failure(f"no sentinel names a primary: {'; '.join(f'{view.sentinel} {view.why}' for view in views)}")
    return named.most_common(1)[0][0]


# Detectors


SETTINGS = ("quorum", "down-after-milliseconds", "failover-timeout")
"""What all sentinels of a primary should have alike."""

DOWN = {"s_down", "o_down", "disconnected"}
"""Flags of a server or sentinel that does not answer."""


def is_down(told: Fields) -> bool:
    """Tell whether a sentinel takes another sentinel or a server for dead."""
    return not DOWN.isdisjoint(told.get("flags", "").split(","))


def _speaking(views: Iterable[View]) -> list[View]:
    return [view for view in views if not view.why]


def differ(views: Sequence[View]) -> list[Fault]:
    """Return the sentinels that do not answer, do not know the primary, or name another one than most."""
    usual = Counter(view.named for view in _speaking(views)).most_common(1)
    return [
        (view.sentinel, view.why or f"names {server_text(view.named)}, most others {server_text(usual[0][0])}")
        for view in views
        if view.why or view.named != usual[0][0]
    ]


def set_otherwise(views: Sequence[View]) -> list[Fault]:
    """Return the sentinels whose quorum or times for this primary are not those of most."""
    speaking, found = _speaking(views), []
    for name in SETTINGS:
        values = Counter(view.primary.get(name, "") for view in speaking)
        usual = values.most_common(1)[0][0] if values else ""
        found += [
            (view.sentinel, f"has {name} {view.primary.get(name)}, most others {usual}")
            for view in speaking
            if view.primary.get(name, "") != usual
        ]
    return found


def without_spare(views: Sequence[View]) -> list[Fault]:
    """Return the sentinels that could not replace the primary after one more sentinel has died.

    A failover needs the quorum, and the votes of a majority of all sentinels that were ever known: dead ones count.
    Most sentinels must see so few alive, since one of them may have lost the link to another.
    """
    speaking, found = _speaking(views), []
    for view in speaking:
        total, quorum = len(view.others) + 1, int(view.primary.get("quorum", 0))
        alive = total - sum(map(is_down, view.others))
        needed = max(total // 2 + 1, quorum)
        if alive - 1 < needed:
            counted = f"knows {total} sentinels, of which {alive} live, and has a quorum of {quorum}"
            found.append(
                (view.sentinel, f"{counted}: after one more death {alive - 1} of {needed} needed ones are left")
            )
    return found if 2 * len(found) >= len(speaking) else []


REFUSED = 5000
"""Milliseconds of answers that are all errors, after which a login counts as refused."""


def cannot_log_in(views: Sequence[View]) -> list[Fault]:
    """Return the sentinels whose login a server refuses, or that take a primary for dead which others reach."""
    speaking, found = _speaking(views), []
    for view in speaking:
        refused = [server_text(address_of(told)) for told in (view.primary, *view.replicas) if _is_refused(told)]
        found += [(view.sentinel, f"gets only errors from {address}: its auth-pass is wrong") for address in refused]
        if is_down(view.primary) and not refused:
            found.append((view.sentinel, f"takes {server_text(view.named)} for dead, which answers this client"))
    return found


def _is_refused(told: Fields) -> bool:
    """Tell whether a server answers a sentinel's PING, but only with errors."""
    answered, fine = (int(told.get(name, 0)) for name in ("last-ping-reply", "last-ok-ping-reply"))
    return fine - answered > REFUSED


def unfit(replica: Fields) -> str:
    """Return why a sentinel would not promote a replica; "" if it would."""
    if is_down(replica):
        return "is dead for the sentinel"
    if replica.get("slave-priority") == "0":
        return "has the priority 0"
    if replica.get("master-link-status") != "ok":
        seconds = max(0, int(replica.get("master-link-down-time", 0)) // 1000)
        never = replica.get("slave-repl-offset", "0") == "0"
        return "never had a copy of the primary" if never else f"lost its primary {seconds} s ago"
    return ""


def cannot_promote(views: Sequence[View], late: Mapping[str, str] | None = None) -> list[Fault]:
    """Return the sentinels that know no replica which may take over.

    `late` has further reasons, by the address of a replica. One fit replica is enough: others may be meant for backups.
    """
    found = []
    for view in _speaking(views):
        whys = {address_of(one): unfit(one) or (late or {}).get(address_of(one), "") for one in view.replicas}
        if all(whys.values()):
            listed = "; ".join(f"{server_text(address)} {why}" for address, why in whys.items())
            found.append((view.sentinel, listed or "knows no replica"))
    return found


def unsettled(views: Sequence[View]) -> str:
    """Return what is still in motion after a failover or a start; "" if nothing is."""
    for view in _speaking(views):
        if "failover_in_progress" in view.primary.get("flags", ""):
            return f"{view.sentinel} replaces {server_text(view.named)}"
        for one in view.replicas:
            address = server_text(address_of(one))
            if not is_down(one) and one.get("role-reported") == "master":
                return f"{address} was the primary, and becomes a replica"
    return ""
