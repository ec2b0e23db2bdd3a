"""Judge a deployment by what its servers say, without traffic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from pytest_bdd import given, parsers, then

from fixtures.reporting.measurements import Bound
from fixtures.run.keys import Lacks, Unsupported
from fixtures.run.practices_file import AuditBounds, changeable
from fixtures.stacks.protocols import Cluster, Node, Stack, need
from redis_practices.redis_cluster.topology import SLOTS, Member, itself, members
from redis_practices.server_info import Refused, engine_name, facts, may_run, settings, user_of, version_of
from steps.common.vocabulary import TYPES, choices, release, rows
from steps.common.vocabulary import bound as read_bound


@dataclass
class Audited:
    """The servers of one role; each is asked at most once for each kind of answer."""

    nodes: Sequence[Node]
    bounds: AuditBounds
    lacks: Lacks
    _told: dict[str, dict[str, Any]] = field(default_factory=dict)

    def each(self, command: str, ask: Callable[[Any], Any]) -> Iterable[tuple[str, Any]]:
        """Yield address and answer of every server; a command that is refused is the reason of a skip."""
        if command in self.lacks:
            raise Unsupported(f"needs {command}, which the server refuses: {self.lacks[command]}")
        for node in self.nodes:
            with node.client() as client:
                try:
                    yield node.address, ask(client)
                except Refused as refusal:
                    raise Unsupported(f"needs to know: {refusal}") from None

    def told(self, kind: str) -> dict[str, Any]:
        """Return all settings, or else all fields, of every server by its address."""
        if kind not in self._told:
            self._told[kind] = dict(
                self.each("CONFIG GET", settings) if kind == "setting" else self.each("INFO", facts)
            )
        return self._told[kind]

    def engines(self) -> dict[str, str]:
        """Return the engine and version of every server by its address; one that hides them is the reason of a skip."""
        try:
            return {address: engine_name(told) for address, told in self.told("field").items()}
        except Refused as refusal:
            raise Unsupported(f"needs to know: {refusal}") from None

    def values(self, kind: str, name: str) -> dict[str, str]:
        """Return the setting or the field `name` of every server that has it."""
        found = {address: str(told[name]) for address, told in self.told(kind).items() if name in told}
        if not found:
            raise Unsupported(f"the engine has no {kind} {name}")
        return found

    def bound(self, name: str, default: Bound) -> Bound:
        """Return the bound of `name`, changed by practices.toml or not."""
        text = self.bounds.text(name, "")
        return read_bound(text) if text else default


def change(name: str) -> str:
    """Return how a user changes a bound, as the end of a refusal."""
    return f'; practices.toml changes this bound: [bounds] {name} = "..."'


@given(parsers.parse("the servers of the {role:w}"), target_fixture="audited")
def have_servers(role: str, request: pytest.FixtureRequest, stack: Stack, audit_bounds: AuditBounds) -> Audited:
    """Have the servers of a role: cache, broker or cluster."""
    deployment = request.getfixturevalue(role)
    nodes = deployment.nodes if role == "cluster" else [deployment.node]
    return Audited(nodes, audit_bounds, stack.lacks.get(role, {}))


@then(parsers.parse('the {kind:w} "{name}" is one of "{allowed}"'))
@changeable("{name}", "{allowed}", choices)
def check_choice(audited: Audited, kind: str, name: str, allowed: str) -> None:
    """Require one of the listed values on every server; "nothing" stands for an empty one."""
    wanted = audited.bounds.text(name, allowed)
    wrong = {address: value for address, value in audited.values(kind, name).items() if value not in choices(wanted)}
    assert not wrong, f"{name} must be one of {wanted}, but it is {_listed(wrong)}{change(name)}"


def number(name: str, address: str, said: object) -> float:
    """Return what a server says as a number (AssertionError if it is none)."""
    try:
        return float(str(said))
    except ValueError:
        raise AssertionError(f"{address} says {said!r} of {name}, which is no number") from None


@then(parsers.cfparse('the {kind:w} "{name}" is {bound:Bound}', extra_types=TYPES))
@changeable("{name}", "{bound}", read_bound)
def check_number(audited: Audited, kind: str, name: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the number on every server against a bound, which practices.toml may change."""
    for address, value in audited.values(kind, name).items():
        limit = audited.bound(name, bound)
        measure(f"{name} of {address}", unit="", bound=limit, seen=number(name, address, value), change=change(name))


@then(parsers.cfparse('the field "{part}" is {bound:Bound} of the {kind:w} "{whole}"', extra_types=TYPES))
@changeable("{part}-share", "{bound}", read_bound)
def check_share(  # noqa: PLR0913, PLR0917 - the words of the sentence
    audited: Audited, part: str, bound: Bound, kind: str, whole: str, measure: Callable[..., None]
) -> None:
    """Hold a share against a bound on every server that has a whole."""
    wholes = audited.values(kind, whole)
    for address, value in audited.values("field", part).items():
        if all_of_it := number(whole, address, wholes[address]):
            share = round(100 * number(part, address, value) / all_of_it, 1)
            name, limit = f"{part}-share", audited.bound(f"{part}-share", bound)
            measure(f"{part} of {whole}, {address}", unit="%", bound=limit, seen=share, change=change(name))


@then(parsers.parse('the clients of class "{kind}" have bounded output buffers'))
def check_buffers(audited: Audited, kind: str) -> None:
    """Require a hard limit for a class of clients in ``client-output-buffer-limit``."""
    for address, value in audited.values("setting", "client-output-buffer-limit").items():
        words = value.replace("slave", "replica").split()
        assert kind in words, f"{address} has no class {kind} of clients: {value}"
        assert int(words[words.index(kind) + 1]), f"{address} buffers without bound for a {kind} client that is slow"


@then("all of them run the same version")
def check_one_version(audited: Audited) -> None:
    """Require one engine and one version."""
    seen = audited.engines()
    assert len(set(seen.values())) == 1, f"different versions run together: {_listed(seen)}"


@then("their version still gets security fixes")
@changeable("oldest-{ENGINE}", "{OLDEST}", release)
def check_supported(audited: Audited, stack: Stack, datatable: Sequence[Sequence[str]]) -> None:
    """Require at least the oldest version line that is still mended; of an engine that a run brings along, nothing."""
    need(stack, "judge versions")
    oldest = {row["ENGINE"]: row["OLDEST"] for row in rows(datatable, ("ENGINE", "OLDEST"))}
    for address, engine in audited.engines().items():
        name = engine.partition(" ")[0]
        wanted = audited.bounds.text(f"oldest-{name}", oldest.get(name, "0"))
        assert version_of(engine) >= version_of(wanted), (
            f"{address} runs {engine}; {wanted} is the oldest that still gets fixes{change(f'oldest-{name}')}"
        )


@then("their user may not run these commands")
def check_dangerous(audited: Audited, stack: Stack, datatable: Sequence[Sequence[str]]) -> None:
    """Ask of each command whether the user of the URL may run it; nothing is run."""
    need(stack, "judge users")
    if "default" in dict(audited.each("ACL WHOAMI", user_of)).values():
        raise Unsupported("the URL names no user of its own: the default user is meant for those who administer")
    commands = {row["COMMAND"]: row["DANGER"] for row in rows(datatable, ("COMMAND", "DANGER"))}
    asked = audited.each("ACL DRYRUN", lambda client: [name for name in commands if may_run(client, *name.split())])
    for address, allowed in asked:
        dangers = "; ".join(f"{name}: {commands[name]}" for name in allowed)
        assert not allowed, f"{address}: the user may run {dangers}"


def _listed(values: dict[str, Any]) -> str:
    """Return values by server as a clause."""
    return ", ".join(f"{value!r} on {address}" for address, value in values.items())


BAD = {"fail", "fail?", "handshake", "noaddr"}
"""Flags of a node that the others do not see."""


def _members(cluster: Cluster) -> list[Member]:
    """Return every node as the first one knows it."""
    with cluster.nodes[0].client() as client:
        return list(members(client).values())


@then("no node is marked as failed")
def check_failed(cluster: Cluster) -> None:
    """Require that the nodes see each other."""
    bad = {member.address: ",".join(sorted(member.flags)) for member in _members(cluster) if BAD & member.flags}
    assert not bad, f"marked in CLUSTER NODES: {bad}"


@then(parsers.cfparse("there are {bound:Bound} primaries", extra_types=TYPES))
@changeable("primaries", "{bound}", read_bound)
def check_majority(cluster: Cluster, audited: Audited, bound: Bound, measure: Callable[..., None]) -> None:
    """Count the nodes that own slots."""
    seen = sum(bool(member.slots) for member in _members(cluster))
    limit = audited.bound("primaries", bound)
    measure("primaries", unit="", bound=limit, seen=seen, change=change("primaries"))


@then(parsers.cfparse("every primary has {bound:Bound} live replica", extra_types=TYPES))
@changeable("replicas", "{bound}", read_bound)
def check_replicas(cluster: Cluster, audited: Audited, bound: Bound, measure: Callable[..., None]) -> None:
    """Count the replicas of each primary that are not marked as failed."""
    known = _members(cluster)
    live = Counter(member.primary for member in known if not member.failed)
    for primary in (member for member in known if member.slots):
        seen = live[primary.identity]
        name, limit = f"live replicas of {primary.address}", audited.bound("replicas", bound)
        measure(name, unit="", bound=limit, seen=seen, change=change("replicas"))


PING_PERIOD = "repl-ping-replica-period"
"""Seconds after which a primary that has nothing to copy sends a PING to its replicas."""


@then(parsers.parse("every replica heard from its primary at most {seconds:d} seconds or {periods:d} of its pings ago"))
def check_links(audited: Audited, seconds: int, periods: int, measure: Callable[..., None]) -> None:
    """Require that every replica is linked to its primary and hears from it."""
    roles = audited.values("field", "role")
    links = audited.values("field", "master_link_status") if "slave" in roles.values() else {}
    down = {address: link for address, link in links.items() if link != "up"}
    assert not down, (
        f"a replica that is not linked cannot take over: {', '.join(down)} (link {', '.join(down.values())})"
    )
    period = 10.0  # the servers' default, for a user who may not read settings
    with suppress(Unsupported):
        period = max(map(float, audited.values("setting", PING_PERIOD).values()))
    # The pings are counted in loops of a second each, and so is the silence.
    bound = Bound.at_most(max(float(seconds), periods * period) + 1, "s")
    for address, ago in audited.values("field", "master_last_io_seconds_ago").items() if links else []:
        measure(
            f"silence between {address} and its primary",
            unit="s",
            bound=bound,
            seen=number("the silence", address, ago),
        )


@then("no slot is being moved")
def check_moves(cluster: Cluster) -> None:
    """Require that no primary has a slot that is on its way."""
    for node in cluster.nodes:
        with node.client() as client:
            mine = itself(client)
        open_slots = mine.leaving | mine.arriving
        assert not open_slots, f"{node.address} has open slots: {open_slots}"


@then(parsers.cfparse("no primary's share of the slots is off an even one by more than {points:d} %"))
@changeable("slots", "at most {points} %", read_bound)
def check_balance(cluster: Cluster, audited: Audited, points: int, measure: Callable[..., None]) -> None:
    """Compare each primary's number of slots with the mean."""
    shares = [len(member.slots) for member in _members(cluster) if member.slots]
    even = SLOTS / len(shares)
    worst = max(abs(slots - even) / even * 100 for slots in shares)
    limit = audited.bound("slots", Bound.at_most(points, "%"))
    name = "widest deviation from an even share of the slots"
    measure(name, unit="%", bound=limit, seen=round(worst, 1), change=change("slots"))
