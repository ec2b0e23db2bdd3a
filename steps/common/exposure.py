"""Judge and change the way to a deployment: its addresses, passwords, users, encryption, certificates."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from pytest_bdd import then
from redis.backoff import NoBackoff
from redis.exceptions import MovedError, RedisError
from redis.retry import Retry

from fixtures.bdd.vocabulary import register
from fixtures.context import Context, Plan
from fixtures.proxies.streams import TlsProxy
from fixtures.run.keys import NotAsked, Unsupported
from fixtures.stacks.external.command_guard import guarded_client
from fixtures.stacks.external.deployments import prefix_of_run
from fixtures.stacks.protocols import Addressed, need
from redis_practices.clients import cluster_client, redis_client, with_login
from redis_practices.credentials import VARIABLE, LoginFile, Logins, LoginStream
from redis_practices.server_info import (
    Handshake,
    Refused,
    facts,
    handshake,
    is_loopback,
    listens_elsewhere,
    may_run,
    user_of,
    without_credentials,
)
from steps.common.audit import Audited, user_lines, user_rules
from steps.common.deployments import setting
from steps.common.vocabulary import Table, rows, seconds


@then("the user may not run these commands")
def check_dangerous(context: Context, datatable: Table) -> None:
    """Ask with ACL DRYRUN whether the user of the URL may run each COMMAND; no command is run.

    Example: a table of COMMAND and DANGER
    """
    need(context.stack, "judge users")
    audited = context.part(Audited)
    if "default" in dict(audited.each("ACL WHOAMI", user_of)).values():
        raise Unsupported("the URL names no user: the default user is meant for administrators")
    commands = {row["COMMAND"]: row["DANGER"] for row in rows(datatable, ("COMMAND", "DANGER"))}
    asked = audited.each("ACL DRYRUN", lambda client: [name for name in commands if may_run(client, *name.split())])
    for address, allowed in asked:
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
        with node.client() as client:
            return str(facts(client)["role"])
    except Refused as refusal:
        raise Unsupported(f"needs to know: {refusal}") from None


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

    def why(node: Addressed) -> str:
        told = {name: own.get(node.address, {}).get(name) for name in ("bind", "protected-mode")}
        known = ", ".join(f"{name} is {value}" for name, value in told.items() if value)
        # One try: a server that wants a certificate ends the connection of a client without one.
        once = Retry(NoBackoff(), 0)
        with guarded_client(redis_client(without_credentials(node.url), timeout=2.0, retry=once)) as stranger:
            return " ".join(["serves a client without a password", f"({known})"]) if serves(stranger) else ""

    return exposed(context, why, is_judged)


def serves(client: Any) -> bool:
    """Tell whether a server lets a client read a key."""
    try:
        client.get(f"{prefix_of_run()}none")
    except MovedError:
        return True  # a cluster checks the user first
    except RedisError:
        return False
    return True


@register("finding", "connections of administrators", "servers that the application uses as a user with all rights")
def administrators(context: Context) -> list[dict[str, object]]:
    """Return servers whose default user, the one of the URL, has every right (ACL LIST).

    A service that refuses CONFIG gives no client the rights of an administrator.
    """
    audited = context.part(Audited)

    def why(node: Addressed) -> str:
        one = Audited([node], audited.bounds, audited.lacks)
        if "CONFIG GET" in audited.lacks or dict(one.each("ACL WHOAMI", user_of))[node.address] != "default":
            return ""
        [lines] = dict(one.each("ACL LIST", user_lines)).values()
        rules = dict(map(user_rules, lines)).get("default", ["off"])
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


# Logins and certificates that change


@dataclass
class LoggedIn:
    """A cache or a cluster, as clients with a login see it."""

    made: Any
    url: str

    def client(self, **options: Any) -> Any:
        """Return a new client with the login."""
        return (cluster_client if hasattr(self.made, "nodes") else redis_client)(self.url, **options)

    def __getattr__(self, name: str) -> Any:
        """Return what is asked of the deployment itself."""
        return getattr(self.made, name)


GAP = "none for "
"""What an overlap begins with that is a time without a login."""


@dataclass
class RotatingLogins:
    """The logins of the clients of a scenario."""

    context: Context
    logins: Logins

    def rotate(self, overlap: str) -> None:
        """Replace the login; record how many connections still had the old one."""
        old = list(self.logins.users)
        if overlap.startswith(GAP):
            login, cut = self.logins.add(), self.logins.delete(old)
            time.sleep(seconds(overlap.removeprefix(GAP)))
            self.logins.announce(login)
        else:
            cut = self.logins.rotate(seconds(overlap))
        self.context.record("connections cut off", cut)


register("setting", "overlap", f"how long the old login works beside the new one; `{GAP}1 second`: neither works")(
    RotatingLogins.rotate
)
CUT = "idle connections that did not work at their next use"
register("measurement", "connections cut off", CUT, unit="connections")(RotatingLogins.rotate)


@setting("credentials", "what gives the clients their login: a file, or a stream, which tells open connections too")
def have_logins(plan: Plan, value: str) -> None:
    """Let clients log in as users that the scenario replaces."""
    kind = {"a file": LoginFile, "a stream": LoginStream}[value]

    def give(context: Context, made: Any) -> None:
        admins = [context.ending.enter_context(node.client()) for node in context.nodes(plan.kind)]
        logins = Logins(admins, context.request.getfixturevalue("tmp_path") / "login")
        logins.rotate(0)
        context.named["logins"] = RotatingLogins(context, logins)
        context.ending.enter_context(pytest.MonkeyPatch.context()).setenv(VARIABLE, str(logins.path))
        url = with_login(made.url, f"{kind.__module__}.{kind.__name__}")
        if plan.kind == "broker":
            made.url = url  # its workers take it
        else:
            context.own[plan.kind] = LoggedIn(made, url)

    plan.after.append(give)


@setting("tls", "clients reach the broker through TLS alone")
def have_tls(plan: Plan, value: str) -> None:
    """Put a proxy that ends TLS before the server."""

    def cover(context: Context, made: Any) -> None:
        proxy = context.ending.enter_context(closing(TlsProxy(context.request.getfixturevalue("tmp_path"))))
        context.named["tls"] = proxy
        address = proxy.before(int(made.node.address.rpartition(":")[2]))
        # The URL is the same for tasks and results; Celery's results insist on ssl_cert_reqs.
        url = f"rediss://{address}/0?ssl_cert_reqs=required&ssl_ca_certs={proxy.ca_file}"
        if plan.kind == "broker":
            made.url = url
        else:
            context.own[plan.kind] = LoggedIn(made, url)

    assert value == "yes", "without the row there is no TLS"
    plan.after.append(cover)
