"""Judge the way to a deployment: its addresses, passwords, users, encryption, certificates, and its sentinels."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from operator import not_
from typing import Any, cast
from urllib.parse import urlsplit

from pytest_bdd import given, parsers, then, when
from redis import Redis
from redis.exceptions import MovedError, RedisError
from redis.utils import str_if_bytes

from fixtures.bdd.vocabulary import records, register, restrict
from fixtures.context import Context
from fixtures.run.keys import NotAsked, StackError, Unsupported
from fixtures.run.options import SPOKEN
from fixtures.stacks.external.deployments import prefix_of_run
from fixtures.stacks.protocols import Addressed, need
from redis_practices.cli import Failure
from redis_practices.clients import redis_client, server_text
from redis_practices.polling import eventually, poll
from redis_practices.redis_cluster.every_node import Asked, ask_every
from redis_practices.sentinels import (
    Fault,
    SentinelUrl,
    address_of,
    agreed,
    cannot_log_in,
    cannot_promote,
    differ,
    look,
    set_otherwise,
    unfit,
    with_news,
    without_spare,
)
from redis_practices.server_info import (
    Handshake,
    Refused,
    asking,
    handshake,
    is_loopback,
    listens_elsewhere,
    settings,
    without_credentials,
)
from redis_practices.servers.server import AT_ONCE, BROKER, NAME, sentinel_url
from steps.common.audit import Audited, copies, refusal, user_rules
from steps.common.vocabulary import Table, rows


@then("the user may not run these commands")
def check_dangerous(context: Context, datatable: Table) -> None:
    """Ask with ACL DRYRUN whether the user of the URL may run each COMMAND; no command is run.

    Example: a table of COMMAND and DANGER
    """
    need(context.stack, "judge users")
    audited = context.part(Audited)
    commands = {row["COMMAND"]: row["DANGER"] for row in rows(datatable, ("COMMAND", "DANGER"))}
    users = audited.each("ACL WHOAMI", user_of)
    if "default" in users.values():
        raise Unsupported("the URL names no user: the default user is meant for administrators")

    async def may_run(asked: Asked) -> list[str]:
        user = users[asked.name]
        with asking("ACL DRYRUN"):
            return [name for name in commands if await asked("ACL", "DRYRUN", user, *name.split()) == b"OK"]

    for address, allowed in audited.each("ACL DRYRUN", may_run).items():
        dangers = "; ".join(f"{name}: {commands[name]}" for name in allowed)
        assert not allowed, f"{address}: the user may run {dangers}"


CONNECTIONS = 8
"""New connections to an address; one that is shared by two servers passes for one of them in 1 of 128 verdicts."""


@register("finding", "shared addresses", "addresses of which some new connections reach a primary, others a replica")
def shared_addresses(context: Context) -> list[dict[str, object]]:
    """Return these addresses: a balancer that does not tell both apart sends some writes to the replica."""
    found: list[dict[str, object]] = []
    for node in context.nodes(context.role):
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            roles = Counter(pool.map(lambda _: role_of(node), range(CONNECTIONS)))  # noqa: B023 - ends with the block
        if len(roles) > 1:
            seen = f"{roles['slave']} of {CONNECTIONS} new connections reach a replica"
            found.append({"NODE": node.address, "WHY": seen})
    return found


def role_of(node: Any) -> str:
    """Return the role that a new connection to a server tells (Unsupported)."""
    try:
        with node.client() as client, asking("INFO"):
            return str(client.info("replication")["role"])
    except Refused as refusal:
        raise Unsupported(f"needs to know: {refusal}") from None


async def user_of(asked: Asked) -> str:
    """Return the user of a connection."""
    with asking("ACL WHOAMI"):
        return str_if_bytes(await asked("ACL", "WHOAMI"))


def is_far(node: Addressed) -> bool:
    """Tell whether the address of a server is one that other machines reach."""
    return not is_loopback(node.url)


def exposed(
    context: Context, why: Callable[[Addressed], str], is_judged: Callable[[Addressed], bool] = is_far
) -> list[dict[str, object]]:
    """Return what is wrong with servers that other machines reach; `why` tells it of a server.

    Of other servers it is advice: the reason why the scenario is not asked.
    """
    if reason := context.stack.cannot.get("judge users"):
        raise NotAsked(f"{context.stack.name}: {reason}")
    nodes = cast("Sequence[Addressed]", context.part(Audited).nodes)
    judged = [node for node in nodes if is_judged(node)]
    try:
        found = {node.address: wrong for node in judged or nodes if (wrong := why(node))}
    except Unsupported as lack:
        raise lack if judged else NotAsked(str(lack)) from None
    if found and not judged:
        address, wrong = next(iter(found.items()))
        raise NotAsked(f"advice: {address} {wrong}; it is refused only where other machines reach the address")
    return [{"NODE": address, "WHY": wrong} for address, wrong in found.items()]


@register("finding", "unprotected servers", "servers that serve any client that reaches them, without a password")
def unprotected_servers(context: Context) -> list[dict[str, object]]:
    """Read a key as a client without password and certificate.

    A server with a loopback address that listens on others too, without protected mode, is judged like one of those.
    """
    own: Mapping[str, Any] = {}
    with suppress(Unsupported):
        own = context.part(Audited).told("setting")

    def is_judged(node: Addressed) -> bool:
        told = own.get(node.address, {})
        if is_far(node) or told.get("protected-mode") != "no":
            return is_far(node)
        with node.client() as client:
            return listens_elsewhere(client, told)

    nodes = cast("Sequence[Addressed]", context.part(Audited).nodes)
    served = cache(lambda: serving_strangers(nodes))

    def why(node: Addressed) -> str:
        told = {name: own.get(node.address, {}).get(name) for name in ("bind", "protected-mode")}
        known = ", ".join(f"{name} is {value}" for name, value in told.items() if value)
        is_served = node.address in served()
        return " ".join(["serves a client without a password", f"({known})" * bool(known)]) if is_served else ""

    return exposed(context, why, is_judged)


SEEN = ("SENTINEL", "MASTERS")
"""What a stranger asks a sentinel, which has no keys."""


def serving_strangers(nodes: Sequence[Addressed]) -> set[str]:
    """Return the servers that let a client read a key, or a sentinel what it watches, without credentials.

    A server that wants a certificate ends the connection of a client without one.
    """
    strangers = {node.address: redis_client(without_credentials(node.url), timeout=2.0) for node in nodes}
    sentinels, served = {node.address for node in nodes if isinstance(node, SentinelNode)}, set[str]()

    async def read(asked: Asked) -> None:
        with suppress(MovedError):  # a cluster checks the user first
            await asked(*(SEEN if asked.name in sentinels else ("GET", f"{prefix_of_run()}none")))
        served.add(asked.name)

    ask_every(strangers, read)
    return served


@register("finding", "connections of administrators", "servers that the application uses as a user with all rights")
def administrators(context: Context) -> list[dict[str, object]]:
    """Return servers whose default user, the one of the URL, has every right (ACL LIST).

    A service that refuses CONFIG gives no client the rights of an administrator.
    """
    audited = context.part(Audited)
    names = cache(lambda: audited.each("ACL WHOAMI", user_of))
    lines = cache(lambda: audited.now("user"))

    def why(node: Addressed) -> str:
        if "CONFIG GET" in audited.lacks or names()[node.address] != "default":
            return ""
        rules = dict(map(user_rules, lines()[node.address])).get("default", ["off"])
        every = {"on", "~*", "+@all"} <= set(rules) and not any(rule.startswith("-") for rule in rules)
        return "serves the application as the default user with all rights" if every else ""

    return exposed(context, why)


@register("finding", "connections in plain text", "servers with an address of other machines and a URL without TLS")
def plain_connections(context: Context) -> list[dict[str, object]]:
    """Return these servers."""
    return exposed(context, lambda node: "is reached without TLS" if urlsplit(node.url).scheme == "redis" else "")


@register("finding", "weak encryptions", "servers that accept TLS 1.1 or older, or a cipher without forward secrecy")
def weak_encryptions(context: Context) -> list[dict[str, object]]:
    """Shake hands twice: with nothing above TLS 1.1, and as usual programs do."""

    def why(node: Addressed) -> str:
        if "ssl_cert_reqs=none" in node.url:
            return "is reached with ssl_cert_reqs=none, so its certificate is not checked"
        with suppress(OSError):
            return f"accepts {handshake(node.url, old=True).version}"
        seen = shake(node)
        return "" if seen.is_secret_later else f"chooses {seen.cipher}, which has no forward secrecy"

    return exposed(context, encrypted(why))


@register("finding", "certificates that end soon", "servers whose certificate ends within 30 days")
def ending_certificates(context: Context) -> list[dict[str, object]]:
    """Read the certificates from new connections."""

    def why(node: Addressed) -> str:
        ends = shake(node).ends
        days = (ends - datetime.now(UTC)).total_seconds() / 86400
        return f"has a certificate that ends in {days:.0f} days, on {ends:%Y-%m-%d}" if days < SOON else ""

    return exposed(context, encrypted(why))


SOON = 30
"""Days before the end of a certificate in which it should have been renewed; most tools renew it then."""


def encrypted(why: Callable[[Addressed], str]) -> Callable[[Addressed], str]:
    """Return `why` for servers with TLS; others are not asked."""

    def asked(node: Addressed) -> str:
        if urlsplit(node.url).scheme != "rediss":
            raise NotAsked(f"{node.address} is reached without TLS")
        return why(node)

    return asked


def shake(node: Addressed) -> Handshake:
    """Return what a server and a usual client agree on for TLS (Unsupported)."""
    try:
        return handshake(node.url)
    except (OSError, ValueError) as error:
        raise Unsupported(f"needs a TLS handshake with {node.address}: {error}") from None


# Sentinels


@dataclass(frozen=True)
class SentinelNode:
    """A sentinel of the deployment, as a server that is audited."""

    address: str
    url: str

    def client(self, **options: Any) -> Redis:
        """Return a new client of this sentinel, with options of redis-py."""
        return redis_client(self.url, **options)


@dataclass
class Watching(Audited):
    """The sentinels of a scenario; their fields are what they say of the primary (SENTINEL MASTER)."""

    url: SentinelUrl | None = None

    def told(self, kind: str) -> dict[str, Any]:
        """Return the fields of every sentinel that answers; it has no further settings for a primary."""
        views = look(self.url) if self.url and kind == "field" else []
        return {view.sentinel: dict(view.primary) for view in views if not view.why}


@given(parsers.parse("the sentinels of the {kind:w} under test"))
def use_sentinels(context: Context, kind: str) -> None:
    """Use the sentinels that name the primary of a cache or broker; their fields are those of SENTINEL MASTER.

    Example: ``Given the sentinels of the broker under test``
    """
    context.role = SPOKEN.get(kind, kind)
    is_alone = context.request.node.get_closest_marker("disruptive") and not context.stack.lends
    url = own_sentinels(context) if is_alone else context.stack.watched(context.role)
    nodes = [SentinelNode(address, url.sentinel(address)) for address in url.addresses]
    context.parts[SentinelUrl] = url
    context.parts[Audited] = Watching(cast("Sequence[Addressed]", nodes), context.bounds, {}, url=url)


def own_sentinels(context: Context) -> SentinelUrl:
    """Start a primary with a replica and three sentinels for this scenario alone."""
    primary = context.private.server({**BROKER, **AT_ONCE})
    context.private.server({**BROKER, "replicaof": primary.address.split(":")})
    url = SentinelUrl.read(f"{sentinel_url(context.private.sentinels(primary))}?master_name={NAME}")
    for address in url.addresses:
        # On a busy machine a primary may be silent for half a second, which is no failover of this scenario.
        with redis_client(url.sentinel(address)) as client:
            client.execute_command("SENTINEL", "SET", NAME, "down-after-milliseconds", "5000")
    return url


HEARD = 5.0
"""Seconds in which sentinels that were just started hear of each other: each says hello every 2 s."""

LATE = 3.0
"""Seconds after which a replica has the writes of a moment; it confirms them each second."""


def late_replicas(url: SentinelUrl, primary: str) -> dict[str, str]:
    """Return the replicas that do not get the writes of this moment in time, as the primary counts them (INFO)."""
    with suppress(RedisError, OSError), redis_client(url.server(primary)) as client:
        written = client.info("replication")["master_repl_offset"]
        found = poll(
            lambda: [one for one in copies(client.info("replication")) if one["offset"] < written],
            LATE,
            every=0.25,
            until=not_,
        )
        return {f"{one['ip']}:{one['port']}": f"is more than {LATE:g} s behind its primary" for one in found}
    return {}


def without_replica(url: SentinelUrl) -> list[Fault]:
    """Return the sentinels that know no replica which may take over, and has the primary's writes."""
    late = late_replicas(url, agreed(look(url)))
    within = 0.0 if late else HEARD
    return poll(lambda: cannot_promote(with_news(url, look(url)), late), within, every=0.5, until=not_)


def refused_sentinels(url: SentinelUrl) -> list[Fault]:
    """Return the sentinels whose login is refused, and a primary that could not log in as a replica."""
    found = poll(lambda: cannot_log_in(look(url)), HEARD, every=0.5, until=not_)
    primary = agreed(look(url))
    with suppress(Refused, RedisError), redis_client(url.server(primary)) as client:
        lines = map(str, client.execute_command("ACL LIST"))
        if why := refusal(settings(client), dict(map(user_rules, lines))):
            found.append((primary, f"could not copy another primary after a failover: {why}"))
    return found


def heard(detect: Callable[[Any], list[Fault]]) -> Callable[[SentinelUrl], list[Fault]]:
    """Return a detector that gives sentinels time to hear of each other."""
    return lambda url: poll(lambda: detect(look(url)), HEARD, every=0.5, until=not_)


OF_SENTINELS: dict[str, tuple[str, Callable[[SentinelUrl], list[Fault]]]] = {
    "answer differs": ("those that do not answer, or name another primary than most", heard(differ)),
    "settings differ": ("those with another quorum, or another time, for this primary", heard(set_otherwise)),
    "majority is too small": ("those that cannot fail over after one more sentinel has died", heard(without_spare)),
    "login is refused": ("those that get only errors from a server; a primary without masterauth", refused_sentinels),
    "replicas cannot take over": ("those that know no replica which may and can be promoted", without_replica),
}
"""Defects of sentinels, each with its meaning and its detector."""


@register("finding", "sentinels whose {defect}", "sentinels with a defect that would stop or misdirect a failover")
def faulty_sentinels(context: Context, defect: str) -> list[dict[str, object]]:
    """Return the sentinels with a defect, and what is wrong."""
    found = OF_SENTINELS[defect][1](context.part(SentinelUrl))
    return [{"NODE": server_text(address), "WHY": why} for address, why in found]


restrict("finding", "sentinels whose {defect}", {name: meaning for name, (meaning, _) in OF_SENTINELS.items()})


LONGEST = 60.0
"""Seconds after which a failover on request has failed."""


@when("the sentinels fail over")
@records("failover", "the time from the request of a failover until another primary takes a write", unit="s")
def fail_over(context: Context) -> None:
    """Write a key that a replica confirms, let the sentinels replace the primary, and read the key from the new one.

    Example: ``When the sentinels fail over``
    """
    url, key = context.part(SentinelUrl), f"{context.key_prefix}failover"
    before, token = agreed(look(url)), secrets.token_hex(8)
    with redis_client(url.server(before)) as client:
        client.set(key, token, ex=600)
        assert client.wait(1, 5000), f"no replica confirmed a write to {before} within 5 s"
    begun = time.monotonic()
    start_failover(url)

    def accepted() -> str:
        after = agreed(look(url))
        assert after != before, f"the sentinels name {before} still"
        with redis_client(url.server(after)) as client:
            client.set(f"{key}:after", token, ex=600)
        return after

    after = eventually(accepted, LONGEST, also=(RedisError, OSError, Failure))
    context.record("failover", round(time.monotonic() - begun, 2))
    if context.stack.lends:
        context.ending.callback(fail_back, url, before)
    with redis_client(url.server(after)) as client:
        assert client.get(key) == token, f"{after}, the new primary, lacks a write that a replica had confirmed"


def start_failover(url: SentinelUrl) -> None:
    """Ask the first sentinel that answers to replace the primary (AssertionError if it refuses)."""
    view = next(view for view in look(url) if not view.why)
    with redis_client(url.sentinel(view.sentinel)) as client:
        try:
            client.execute_command("SENTINEL", "FAILOVER", url.name)
        except RedisError as error:
            raise AssertionError(f"{view.sentinel} refuses a failover: {server_text(error)}") from None


def fail_back(url: SentinelUrl, before: str) -> None:
    """Wait until the old primary is a replica, and make it the primary again if it is the only one (StackError)."""

    def is_linked(address: str) -> bool:
        known = [one for view in with_news(url, look(url)) for one in view.replicas if address_of(one) == address]
        return bool(known) and not any(unfit(one) or one.get("role-reported") == "master" for one in known)

    try:
        eventually(lambda: is_linked(before), LONGEST, every=0.5)
        after = agreed(look(url))
        if {address_of(one) for view in look(url) for one in view.replicas} == {before}:
            start_failover(url)
            eventually(lambda: agreed(look(url)) == before and is_linked(after), LONGEST, every=0.5)
    except AssertionError as error:
        raise StackError(f"external: the sentinels are not ready after the failover: {error}") from None
