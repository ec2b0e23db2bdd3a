"""Judge a deployment by its servers' settings and fields, without traffic."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from itertools import permutations
from typing import Any, TypeVar, cast

import pytest
from pytest_bdd import parsers, then
from redis.utils import str_if_bytes

from fixtures.bdd.vocabulary import register
from fixtures.context import Context
from fixtures.reporting.measurements import Bound
from fixtures.run.keys import Lacks, Unsupported
from fixtures.run.options import OPTIONS
from fixtures.run.practices_file import AuditBounds, change, changeable
from fixtures.stacks.protocols import Node, need, need_right
from redis_practices.cli import shortened
from redis_practices.redis_cluster.every_node import Asked, answers, facts, itself, settings
from redis_practices.server_info import (
    Refused,
    asking,
    by_name,
    engine_name,
    hole_in,
    known_holes,
)
from steps.common.vocabulary import TYPES, Table, choices, releases, rows
from steps.common.vocabulary import bound as read_bound

T = TypeVar("T")

ANSWERS = pytest.StashKey[dict[str, dict[str, Any]]]()
"""On the configuration: the servers' answers in a quick run, by role. All its scenarios judge one moment."""


@dataclass
class Audited:
    """The servers that a scenario is about; each is asked at most once for each kind of answer."""

    nodes: Sequence[Node]
    bounds: AuditBounds
    lacks: Lacks
    is_kept: bool = False
    """Whether all scenarios of the run judge one moment."""
    _told: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, context: Context) -> Audited:
        """Return the servers of the scenario's deployment."""
        config, role = context.request.config, context.role
        is_kept = config.stash[OPTIONS].quick and context.stack.lends
        told = config.stash.setdefault(ANSWERS, {}).setdefault(role, {}) if is_kept else {}
        return cls(context.nodes(role), context.bounds, context.stack.lacks.get(role, {}), is_kept, told)

    def each(self, command: str, ask: Callable[[Asked], Awaitable[T]]) -> dict[str, T]:
        """Ask all servers side by side, and return their answers by address; a refusal is the reason of a skip."""
        need_right(self.lacks, command)
        try:
            return answers(self.once("clients", lambda: {node.address: node.client() for node in self.nodes}), ask)
        except Refused as refusal:
            raise Unsupported(f"needs to know: {refusal}") from None

    def told(self, kind: str) -> dict[str, Any]:
        """Return all answers of a kind of `KINDS` by the server's address, which are asked for once."""
        return self.once(kind, lambda: self.each(*KINDS[kind]))

    def once(self, kind: str, ask: Callable[[], T]) -> T:
        """Return what `ask` has returned the first time."""
        if kind not in self._told:
            self._told[kind] = ask()
        return cast("T", self._told[kind])

    def now(self, kind: str) -> dict[str, Any]:
        """Return the answers of a kind at this moment; those of the whole run if all its scenarios judge one moment."""
        return self.told(kind) if self.is_kept else self.each(*KINDS[kind])

    def engines(self) -> dict[str, str]:
        """Return the engine of every server by its address; a hidden version is the reason of a skip."""
        try:
            return {address: engine_name(told) for address, told in self.told("field").items()}
        except Refused as refusal:
            raise Unsupported(f"needs to know: {refusal}") from None

    def values(self, kind: str, name: str) -> dict[str, str]:
        """Return a setting or a field of every server that has it."""
        found = {address: str(told[name]) for address, told in self.told(kind).items() if name in told}
        if not found:
            raise Unsupported(f"the engine has no {kind} {name}")
        return found

    def numbers(self, kind: str, name: str) -> dict[str, float]:
        """Return a setting or a field of every server that has it, as a number (AssertionError if it is none)."""
        return {address: number(name, address, value) for address, value in self.values(kind, name).items()}


KINDS: dict[str, tuple[str, Callable[[Asked], Awaitable[Any]]]] = {
    "setting": ("CONFIG GET", settings),
    "field": ("INFO", facts),
    "member": ("CLUSTER NODES", itself),
}
"""The kinds of answers that several scenarios judge: the command, and what asks for it."""


def number(name: str, address: str, said: object) -> float:
    """Return what a server says as a number (AssertionError if it is none)."""
    try:
        return float(str(said))
    except ValueError:
        raise AssertionError(f"{address} says {said!r} of {name}, which is no number") from None


@then(parsers.parse('the {kind:Fact} "{name}" is one of "{text}"', extra_types=TYPES))
@changeable("{name}", "{text}", choices)
def check_choice(context: Context, kind: str, name: str, text: str) -> None:
    """Require one of the listed values of a setting or INFO field on every server; ``nothing`` is an empty one.

    `practices.toml` changes the list.

    Example: ``Then the setting "appendfsync" is one of "everysec, always"``
    """
    audited = context.part(Audited)
    wanted = audited.bounds.text(name, text)
    wrong = {address: value for address, value in audited.values(kind, name).items() if value not in choices(wanted)}
    listed = shortened([f"{value!r} on {address}" for address, value in wrong.items()])
    assert not wrong, f"{name} must be one of {wanted}, but it is {listed}{change(name)}"


@then(parsers.parse('the {kind:Fact} "{name}" is {bound:Bound}', extra_types=TYPES))
@changeable("{name}", "{bound}", read_bound)
def check_number(context: Context, kind: str, name: str, bound: Bound) -> None:
    """Compare a setting or INFO field of every server with a bound, which `practices.toml` changes.

    Example: ``Then the setting "cluster-node-timeout" is between 200 and 15000``
    """
    audited = context.part(Audited)
    limit = audited.bounds.read(name, bound, read_bound)
    for address, seen in audited.numbers(kind, name).items():
        context.measure(f"{name} of {address}", unit="", bound=limit, seen=seen, change=change(name))


@then(parsers.parse('the {kind:Fact} "{name}" is {bound:Bound} of the {other:Fact} "{whole}"', extra_types=TYPES))
@changeable("{name}-share", "{bound}", read_bound)
def check_share(context: Context, kind: str, name: str, bound: Bound, other: str, whole: str) -> None:  # noqa: PLR0913, PLR0917 - the words of the sentence
    """Compare the ratio of two settings or INFO fields with a bound, on every server where the second is not 0.

    `practices.toml` changes the bound.

    Example: ``Then the field "used_memory" is at most 80 % of the field "maxmemory"``
    """
    audited = context.part(Audited)
    limit, wholes = audited.bounds.read(f"{name}-share", bound, read_bound), audited.numbers(other, whole)
    for address, seen in audited.numbers(kind, name).items():
        if all_of_it := wholes[address]:
            share, label = round(100 * seen / all_of_it, 1), f"{name} of {whole}, {address}"
            context.measure(label, unit="%", bound=limit, seen=share, change=change(f"{name}-share"))


@then(parsers.parse('the clients of class "{name}" have bounded output buffers'))
def check_buffers(context: Context, name: str) -> None:
    """Require a hard limit of a class of clients in `client-output-buffer-limit`, on every server.

    Example: ``Then the clients of class "pubsub" have bounded output buffers``
    """
    for address, value in context.part(Audited).values("setting", "client-output-buffer-limit").items():
        words = value.replace("slave", "replica").split()
        assert name in words, f"{address} has no class {name} of clients: {value}"
        assert int(words[words.index(name) + 1]), f"{address} buffers without bound for a slow client of class {name}"


NARROWEST = {"normal": 2**20, "pubsub": 2**16, "replica": 2**21}
"""By class of clients, the smallest hard limit of an output buffer in bytes."""

RESULTS = 2**21
"""The smallest hard limit for subscribers that get results: one message of 1 MiB, and another one behind it."""


def serving(audited: Audited) -> dict[str, float]:
    """Return the number of connected replicas of every server that tells it."""
    with suppress(Unsupported):
        return audited.numbers("field", "connected_slaves")
    return {}


@register("finding", "small buffers", "buffers too small for a value of 1 MiB, a message or result, or a replica")
def small_buffers(context: Context) -> list[dict[str, object]]:
    """Return them with their limits; those for replicas only where a replica is connected."""
    audited = context.part(Audited)
    copied, found = serving(audited), list[dict[str, object]]()
    narrowest = {**NARROWEST, **({"pubsub": RESULTS} if context.role in {"broker", "results"} else {})}
    for address, value in audited.values("setting", "client-output-buffer-limit").items():
        words = value.replace("slave", "replica").split()
        limits = dict(zip(words[::4], map(int, words[1::4]), strict=True))
        if not copied.get(address):
            limits.pop("replica", None)
        small = [name for name, least in narrowest.items() if 0 < limits.get(name, 0) < least]
        found += [{"NODE": address, "CLASS": name, "LIMIT": f"{limits[name]} bytes"} for name in small]
    return found


BACKLOG = 1_000_000
"""The smallest replication backlog in bytes; Redis has 1 MiB by default, Valkey 10 MiB."""


@register("finding", "short backlogs", "servers with a replica that keep less than 1 MB of writes for its reconnection")
def short_backlogs(context: Context) -> list[dict[str, object]]:
    """Return these servers with their `repl-backlog-size`."""
    audited = context.part(Audited)
    copied, sizes = serving(audited), audited.numbers("setting", "repl-backlog-size")
    short = {node: size for node, size in sizes.items() if copied.get(node) and size < BACKLOG}
    return [{"NODE": node, "SIZE": f"{size:.0f} bytes"} for node, size in short.items()]


SHORT = 30
"""Seconds; pools of clients reconnect again and again if a server closes idle connections sooner."""


@register("finding", "short timeouts", "servers that close connections after less than 30 idle seconds")
def short_timeouts(context: Context) -> list[dict[str, object]]:
    """Return these servers with their `timeout`, where 0 keeps idle connections."""
    seen = context.part(Audited).numbers("setting", "timeout")
    return [{"NODE": node, "TIMEOUT": f"{value:g} s"} for node, value in seen.items() if 0 < value < SHORT]


STALL, RECENT, REPEATED = 1.0, 600, 2
"""Seconds of a command that stalls a server, seconds for which it is recent, and how many are no accident."""


@register("finding", "stalling commands", "commands of a second or longer, of which a server ran two in 10 minutes")
def stalling_commands(context: Context) -> list[dict[str, object]]:
    """Return their names from the slow log (SLOWLOG GET), without arguments, which are the user's data."""
    found: list[dict[str, object]] = []
    for address, (now, entries) in context.part(Audited).each("SLOWLOG", slow_log).items():
        slow = [one for one in entries if one[2] >= STALL * 1e6 and one[1] > now - RECENT]
        named = [(str_if_bytes(words[0].partition(b" ")[0]), took / 1e6) for _, _, took, words, *_ in slow]
        if len(named) >= REPEATED:
            found += [{"NODE": address, "COMMAND": name, "SECONDS": f"{seconds:.1f}"} for name, seconds in named]
    return found


async def slow_log(asked: Asked) -> tuple[float, list[Any]]:
    """Return the server's clock, and the latest entries of its slow log: number, time, microseconds, words, more."""
    with asking("SLOWLOG"):
        (now, _), entries = await asked("TIME"), await asked("SLOWLOG", "GET", 128)
        return float(now), entries


OLD = 365
"""Days after which the table of known holes is too old to accept a version."""


@then("the version of every server gets security fixes")
@changeable("backports-{ENGINE}", "{BACKPORTS}", releases)
def check_supported(context: Context, datatable: Table) -> None:
    """Require a version without known holes on every server, by the table `known_holes.toml` of `redis_practices`.

    BACKPORTS are versions of an ENGINE that a distribution mends without another number; `practices.toml` names them.
    An unknown version is the reason of a skip. The engine that a run brings along is not judged.

    Example: a table of ENGINE and BACKPORTS
    """
    need(context.stack, "judge versions")
    audited, unknown = context.part(Audited), ""
    backports = {
        f"{row['ENGINE']} {number}"
        for row in rows(datatable, ("ENGINE", "BACKPORTS"))
        for number in releases(audited.bounds.text(f"backports-{row['ENGINE']}", row["BACKPORTS"]))
    }
    renewed = known_holes()["renewed"]
    age = (datetime.now(UTC).date() - renewed).days
    context.measure("age of the table of known holes", unit="days", seen=age)
    told: Mapping[str, Any] = {}
    with suppress(Unsupported):
        told = audited.told("setting")
    for address, engine in audited.engines().items():
        if engine in backports:
            continue
        try:
            hole = hole_in(engine, told.get(address, {}))
        except LookupError as error:
            unknown = unknown or f"{address}: {error.args[0]}"
            continue
        if hole and not told:
            unknown = (
                f"{address} runs {engine}: {hole}. It refuses CONFIG, as services do that mend it unseen: ask them"
            )
        elif hole:
            name, _, number = engine.partition(" ")
            raise AssertionError(f"{address} runs {engine}: {hole}{change(f'backports-{name}', number)}")
    if not unknown and age > OLD:
        unknown = f"the table of known holes is of {renewed}: python benchmarks/known_holes.py renews it"
    if unknown:
        raise Unsupported(unknown)


@register("finding", "version differences", "servers of a deployment that runs more than one engine or version")
def version_differences(context: Context) -> list[dict[str, object]]:
    """Return every server with its version, if they differ; an isolated deployment may change it meanwhile."""
    seen = (Audited.of(context) if context.own else context.part(Audited)).engines()
    return [{"NODE": node, "ENGINE": seen[node]} for node in seen if len(set(seen.values())) > 1]


def copies(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the replicas that a server names in its fields (``slave0`` and so on)."""
    return [value for name, value in told.items() if re.fullmatch(r"slave\d+", name) and isinstance(value, dict)]


@register("finding", "refused replicas", "nodes whose replication password another node of their shard refuses")
def refused_replicas(context: Context) -> list[dict[str, object]]:
    """Compare `masterauth` of each node with the users of the other nodes of its shard (CONFIG GET, ACL LIST).

    A link that is up stays up after a change of passwords, and is refused when it has to be made again.
    """
    audited = context.part(Audited)
    own = audited.told("setting")
    users = {address: dict(map(user_rules, lines)) for address, lines in audited.now("user").items()}
    shards: dict[str, list[str]] = {}
    for address, node in audited.now("member").items():
        shards.setdefault(node.primary or node.identity, []).append(address)
    return [
        {"NODE": address, "PEER": other, "WHY": why}
        for shard in shards.values()
        for address, other in permutations(shard, 2)
        if (why := refusal(own[address], users[other]))
    ]


async def user_lines(asked: Asked) -> list[str]:
    """Return the users of a server as ACL LIST writes them."""
    with asking("ACL LIST"):
        return [str_if_bytes(line) for line in await asked("ACL", "LIST")]


def user_rules(line: str) -> tuple[str, list[str]]:
    """Return the name and the rules of a user."""
    _, name, *rules = line.split()
    return name, rules


def refusal(own: Mapping[str, str], users: Mapping[str, Sequence[str]]) -> str:
    """Return why a node with these settings cannot copy from a node with these users; "" if it can."""
    user, password = own.get("masteruser") or own.get("primaryuser") or "default", own.get("masterauth", "")
    rules = users.get(user, ["off"])
    if not password:
        by_certificate = own.get("tls-auth-clients-user", "off").lower() not in ("", "off")
        return "" if by_certificate or "nopass" in users.get("default", ()) else "it has no masterauth"
    if "off" in rules:
        return f"the user {user} is off or missing"
    if "nopass" in rules:
        return "" if own.get("masteruser") else "it has a masterauth, and the default user has no password"
    right = f"#{sha256(password.encode()).hexdigest()}" in rules
    return "" if right else f"its masterauth is no password of the user {user}"


KINDS["user"] = ("ACL LIST", user_lines)


@register("finding", "function differences", "libraries of functions that a primary lacks, or has in another version")
def function_differences(context: Context) -> list[dict[str, object]]:
    """Compare the libraries of all primaries (FUNCTION LIST), which no node passes on to another shard."""
    audited = context.part(Audited)
    owners = {address for address, node in audited.now("member").items() if node.ranges}
    asked = audited.each("FUNCTION LIST", functions)
    held = {address: libraries for address, libraries in asked.items() if address in owners}
    names = sorted({name for libraries in held.values() for name in libraries})
    found: list[dict[str, object]] = []
    for name in names:
        usual, _ = Counter(libraries.get(name, "") for libraries in held.values()).most_common(1)[0]
        others = [address for address, libraries in held.items() if libraries.get(name, "") != usual]
        found += [{"LIBRARY": name, "NODE": address} for address in others]
    return found


async def functions(asked: Asked) -> dict[str, str]:
    """Return the code of each library of functions by its name."""
    with asking("FUNCTION LIST"):
        libraries = map(by_name, await asked("FUNCTION", "LIST", "WITHCODE"))
        return {str_if_bytes(one["library_name"]): str_if_bytes(one["library_code"]) for one in libraries}


def replicas(audited: Audited, name: str) -> dict[str, str]:
    """Return a field of every replica, which primaries do not have."""
    return audited.values("field", name) if "slave" in audited.values("field", "role").values() else {}


@register("measurement", "missed pings", "silence of a primary in periods of its pings; one counts as 5 s at least")
def count_missed_pings(context: Context, _: object) -> dict[str, float]:
    """Return them by replica, in periods of `repl-ping-replica-period`.

    Silence and period are counted in loops of a second, which is allowed for.
    """
    audited = context.part(Audited)
    period = 10.0  # the default, for a user without the right to CONFIG GET
    with suppress(Unsupported):
        period = max(audited.numbers("setting", "repl-ping-replica-period").values())
    silence = replicas(audited, "master_last_io_seconds_ago")
    late = {address: number("the silence", address, seconds) - 1 for address, seconds in silence.items()}
    return {address: round(max(seconds, 0) / max(period, 5), 2) for address, seconds in late.items()} or {"": 0}


@register("measurement", "memory in use", "share of the memory limit that a node uses which evicts nothing", unit="%")
def memory_in_use(context: Context, _: object) -> dict[str, float]:
    """Return it by node; a node with another policy evicts keys instead."""
    audited = context.part(Audited)
    limits, used = audited.numbers("field", "maxmemory"), audited.numbers("field", "used_memory")
    uncounted = audited.numbers("field", "mem_not_counted_for_evict")
    policies = audited.values("field", "maxmemory_policy")
    full = [address for address, policy in policies.items() if policy == "noeviction" and limits[address]]
    return {
        address: round(100 * (used[address] - uncounted.get(address, 0)) / limits[address], 1) for address in full
    } or {"": 0}
