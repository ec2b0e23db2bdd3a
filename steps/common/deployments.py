"""The sentences that give a scenario its deployments and data, and apply faults to them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from pytest_bdd import given, parsers, when
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, RedisError
from redis.retry import Retry

from fixtures.bdd.vocabulary import find, records, register
from fixtures.context import Context, Plan, target
from fixtures.proxies.streams import TlsProxy
from fixtures.redis_cluster.nodes import commands
from fixtures.run.keys import Unsupported
from fixtures.run.options import ROLES, SPOKEN
from fixtures.stacks.protocols import need_command, need_options
from redis_practices.clients import cluster_client, redis_client, with_login
from redis_practices.credentials import VARIABLE, LoginFile, Logins, LoginStream
from redis_practices.redis_cluster.slot_migration import atomic_interface
from redis_practices.server_info import version_of
from redis_practices.servers.server import CACHE
from redis_practices.tuning.bulk import pipelined, write_bulk
from redis_practices.tuning.connections import address, another
from redis_practices.tuning.measuring import LatencyProxy, latency_proxy
from steps.common.data_path import watch_early
from steps.common.vocabulary import TYPES, Duration, Table, options


@given(parsers.parse("the {kind:w} under test"))
def use_deployment(context: Context, kind: str) -> None:
    """Use the cache, broker, cluster, result backend or running workers that the scenarios of this run share.

    The scenario writes keys with a prefix of this scenario, and disrupts nothing.

    Example: ``Given the cache under test``
    """
    role = SPOKEN.get(kind, kind)
    assert role in ROLES, f"no deployment is called {kind}"
    context.role = role
    getattr(context, kind if kind == "workers" else role)
    watch_early(context)


def setting(name: str, meaning: str) -> Any:
    """Register a row of a SETTING table that is more than a directive: a function of the plan and of the value."""
    return register("setting", name, meaning)


@given(parsers.parse("an isolated {plan:Deployment}", extra_types=TYPES))
def isolate(context: Context, plan: Plan, datatable: Table | None = None) -> None:
    """Start a server, cache, broker or cluster for this scenario alone.

    A SETTING is a directive of the server, or one of the registered settings.

    Example: ``Given an isolated cluster of 3 primaries with 1 replica each``
    """
    for name, value in options(datatable, "SETTING").items():
        try:
            entry, _ = find("setting", name)
        except KeyError:
            plan.config[name] = value
        else:
            entry.functions[0](plan, value)
    if plan.kind == "cluster" and plan.config:
        with context.stack.cluster().nodes[0].client() as client:
            if unknown := [name for name in plan.config if not client.config_get(name)]:
                raise Unsupported(f"needs a server that has the setting {', '.join(unknown)}")
    context.isolate(plan)


@setting("cluster-node-timeout", "milliseconds after which a node that does not answer is taken for dead")
def set_node_timeout(plan: Plan, value: str) -> None:
    """Set the node timeout of every node."""
    plan.node_timeout_ms = int(value)


@given(parsers.parse('{holder:Target} holds "{value}" as "{key}"', extra_types=TYPES))
def hold(context: Context, holder: str, value: str, key: str) -> None:
    """Store one value through the cluster, the cache, the near cache or the origin.

    Example: ``Given the cluster holds "Ann" as "user:1"``
    """
    context.target(holder).hold(key, value)


@dataclass
class Values:
    """The numbered values of a scenario, and the client that reads and writes them."""

    client: Any
    keys: list[str] = field(default_factory=list)
    value: str = ""
    far: LatencyProxy | None = None
    """The proxy in front of the deployment, if a round trip takes its time."""

    @classmethod
    def of(cls, context: Context) -> Values:
        """Connect to the deployment that the scenario is about."""
        return cls(context.ending.enter_context(getattr(context, context.role).client()))


@given(parsers.parse("{count:Count} values of {size:Count} bytes", extra_types=TYPES))
def write_values(context: Context, count: int, size: int) -> None:
    """Store numbered values in the deployment of the scenario; they expire after 10 minutes.

    Example: ``Given 1000 values of 100 bytes``
    """
    values = context.part(Values)
    values.keys, values.value = [f"{context.key_prefix}{number}" for number in range(count)], "1" * size
    if context.role == "cluster":
        replies = write_bulk(values.client, [(key, values.value) for key in values.keys], ttl=600)
    else:
        replies = pipelined(values.client, [("SET", key, values.value, "EX", "600") for key in values.keys])
    assert all(reply in {b"OK", "OK", True} for reply in replies), f"not written: {replies[:3]}"


@given(parsers.parse("a round trip of {duration:Duration}", extra_types=TYPES))
def move_away(context: Context, duration: Duration) -> None:
    """Put a proxy with this delay between the client and the values.

    Example: ``Given a round trip of 1.5 milliseconds``
    """
    values = context.part(Values)
    where = address(values.client)
    values.far = context.ending.enter_context(latency_proxy(where["host"], where["port"], duration.seconds()))
    values.client = context.ending.enter_context(another(values.client, host="127.0.0.1", port=values.far.port))


SINCE = {
    "EXPIRETIME": "Redis 7.0",
    "EXPIRE with options": "Redis 7.0",
    "HPEXPIRE": "Redis 7.4 or Valkey 9.0",
    "HSETEX": "Redis 8.0 or Valkey 9.0",
    "MSETEX": "Redis 8.4 or Valkey 9.1",
    "COMMANDLOG": "Valkey 8.1",
}
"""The first version of an engine that has a command."""


@given(parsers.parse('an engine with "{name}"'))
def need_engine(context: Context, name: str) -> None:
    """Skip the scenario, with the reason, where the engine lacks a command or is older than a version.

    A version of Redis is one of Valkey, too, but none of Valkey is one of Redis.

    Example: ``Given an engine with "HPEXPIRE"``
    """
    node = context.nodes(context.role)[0]
    with node.client() as client:
        if name == "atomic slot migration":
            if not atomic_interface(client):
                raise Unsupported("needs Valkey 9.0 or Redis 8.4: atomic slot migration")
        elif name.startswith("Redis "):
            if version_of(f"redis {client.info('server')['redis_version']}") < version_of(name.lower()):
                raise Unsupported(f"needs {name} or Valkey")
        elif name.startswith("Valkey "):
            own = client.info("server").get("valkey_version", "0")
            if version_of(f"valkey {own}") < version_of(name.lower()):
                raise Unsupported(f"needs {name}")
        elif command := name.removesuffix(" with options"):
            need = need_options if name.endswith(" with options") else need_command
            need(node, command, f"{SINCE.get(name, 'an engine')}: {name}")


@when(parsers.parse('the setting "{name}" of {target:Target} becomes "{value}"', extra_types=TYPES))
def change_setting(context: Context, name: str, target: str, value: str) -> None:
    """Change a setting of running servers until the scenario ends (CONFIG SET).

    If ``tls`` becomes ``another authority``, the certificate is one of it, and all connections are closed.

    Example: ``When the setting "maxclients" of a replica of "user:1" becomes "5000"``
    """
    if (name, value) == ("tls", "another authority"):
        context.named["tls"].renew()
        return
    for thing in context.targets(target):
        with thing.client() as client:
            known = client.config_get(name)
            if name not in known:
                raise Unsupported(f"needs a server that has the setting {name}")
            client.config_set(name, value)
        context.ending.callback(_reset_setting, thing, name, known[name] or "")


def _reset_setting(thing: Any, name: str, value: str) -> None:
    """Give a setting its former value, if the server answers: a lent one is to be left as it was."""
    with suppress(RedisError, OSError), thing.client(socket_timeout=1.0) as client:
        client.config_set(name, value)


@when(parsers.parse("{target:Target} is {fault:Fault}", extra_types=TYPES))
def apply_fault(context: Context, target: str, fault: str, datatable: Table | None = None) -> None:
    """Apply one fault or operation to a target, and wait until it has happened.

    Example: ``When the primary of "user:1" is killed``
    """
    context.apply(target, fault, options(datatable))


@when(parsers.parse('a client runs "{text}"'))
def run_command(context: Context, text: str) -> None:
    """Send one command to the deployment of the scenario; an error is that of the "command".

    A word with a colon is a key of this scenario.

    Example: ``When a client runs "FLUSHALL ASYNC"``
    """
    with context.attempt("command", RedisError), context.target(f"the {context.role}").client() as client:
        for words in commands(text, context.key):
            client.execute_command(*words)


@when(parsers.parse("{duration:Duration} have passed", extra_types=TYPES))
def let_time_pass(duration: Duration) -> None:
    """Wait, where the claim is about time.

    Example: ``When 12 seconds have passed``
    """
    time.sleep(duration.seconds())


def undoing(context: Context) -> ExitStack:
    """Return what undoes the faults of a scenario, at its end at the latest."""
    return context.ending.enter_context(ExitStack())


@dataclass
class ServerUnderTest:
    """The one server of a scenario, as a target of sentences."""

    context: Context
    node: Any
    client: Callable[..., Any]

    @property
    def address(self) -> str:
        """Where it answers, as ``host:port``."""
        return str(self.node.address)

    def read(self, key: str) -> Any:
        """Return the value of a key, or None."""
        with self.client() as client:
            return client.get(self.context.key_prefix + key)

    def flush(self) -> None:
        """Delete every key."""
        with self.client() as client:
            client.flushall()

    def fill(self) -> None:
        """Write blocks of 64 KB until the server refuses one."""
        with self.client() as client, suppress(OutOfMemoryError):
            for _ in range(1000):
                client.rpush("other applications", b"-" * 2**16)
            raise AssertionError("the server was never full")

    def slow_down(self) -> None:
        """Hold up all clients for 2 s again and again, and serve them in between (CLIENT PAUSE)."""
        over = threading.Event()
        self.context.part(undoing).callback(over.set)
        client = self.client(retry=Retry(NoBackoff(), 0))  # retries would hold up the server that replaces this one

        def hold() -> None:
            with suppress(RedisError):
                while not over.wait(0.01):
                    client.client_pause(2000)

        client.client_pause(2000)
        threading.Thread(target=hold, daemon=True).start()

    def refuse_connections(self) -> None:
        """Listen in its place with a full queue: a connection is neither made nor refused."""
        self.node.kill()
        to_undo, (host, port) = self.context.part(undoing), self.address.split(":")
        listener = to_undo.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))
        listener.listen(0)
        for _ in range(3):
            waiting = to_undo.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex((host, int(port)))

    def recover(self) -> None:
        """Undo the fault, and start it again."""
        self.context.part(undoing).close()
        self.node.restart()

    def disconnect(self) -> None:
        """Close what its clients hold (``CLIENT KILL``), as a firewall or a failover does."""
        with self.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
            # The connection on which a worker hears commands always waits for an answer: the worker notices at once.
            assert client.client_kill_filter(_type="pubsub"), "no worker was connected"

    def demote(self) -> None:
        """Make it a replica of another server."""
        host, port = self.context.private.server(CACHE).address.split(":")
        with self.client() as client:
            client.replicaof(host, port)

    def lock(self) -> None:
        """Require a password that clients do not have."""
        with self.client() as client:
            client.config_set("requirepass", "other")

    def is_ready(self) -> bool:
        """Tell whether it answers a PING."""
        with suppress(RedisError, OSError), self.client(socket_timeout=1.0) as client:
            return bool(client.ping())
        return False

    def __getattr__(self, name: str) -> Any:
        """Return what is asked of the server itself: kill, pause, resume, restart, log_tail."""
        return getattr(self.node, name)


def under_test(role: str, context: Context) -> ServerUnderTest:
    """Return the one server of a role."""
    held = getattr(context, role)
    return ServerUnderTest(context, held.node, held.client)


for name, kind, meaning in (
    ("the cache", "cache", "the cache under test, or the isolated one of the scenario"),
    ("the broker", "broker", "the broker under test, or the isolated one of the scenario"),
    ("the backend", "results", "the result backend under test"),
    ("every client", "broker", "all connections of workers and senders to the broker"),
):
    target(name, meaning)(partial(under_test, kind))


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


@when(parsers.parse("the clients get a new login {duration:Duration} {order:w} the old one ends", extra_types=TYPES))
@records("connections cut off", "idle connections that did not work at their next use", unit="connections")
def replace_login(context: Context, duration: Duration, order: str) -> None:
    """Replace the user of the clients on every server; with the old user its connections end.

    The new login is there ``before`` the old one ends, at the latest when no connection has the old one, or ``after``.

    Example: ``When the clients get a new login 100 milliseconds before the old one ends``
    """
    logins: Logins = context.named["logins"]
    context.since = time.monotonic()
    if order == "before":
        context.record("connections cut off", logins.rotate(duration.seconds()))
        return
    assert order == "after", f"a login comes before or after the old one ends, not {order}"
    old = list(logins.users)
    login = logins.add()
    context.record("connections cut off", logins.delete(old))
    time.sleep(duration.seconds())
    logins.announce(login)


@setting("credentials", "what gives the clients their login: a file, or a stream, which tells open connections too")
def have_logins(plan: Plan, value: str) -> None:
    """Let clients log in as users that the scenario replaces."""
    kind = {"a file": LoginFile, "a stream": LoginStream}[value]

    def give(context: Context, made: Any) -> None:
        admins = [context.ending.enter_context(node.client()) for node in context.nodes(plan.kind)]
        logins = Logins(admins, context.request.getfixturevalue("tmp_path") / "login")
        logins.rotate(0)
        context.named["logins"] = logins
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
