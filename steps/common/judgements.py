"""The sentences that judge what a ``When`` recorded, ask for a state, or probe with a value no later step sees."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pytest_bdd import parsers, then
from redis.exceptions import RedisError

from fixtures.bdd.vocabulary import find
from fixtures.context import Context
from fixtures.redis_cluster.nodes import answers, commands, in_words
from fixtures.reporting.measurements import Bound
from fixtures.run.keys import FINDINGS
from fixtures.run.own_time import WorkersClock, moment_of
from fixtures.run.practices_file import AUDITED, change, changeable
from redis_practices.cli import shortened
from redis_practices.polling import eventually, seconds_until
from steps.common.vocabulary import TYPES, Duration, Table, assert_table, bound, bound_or_reported, most, rows
from steps.common.vocabulary import bound as read_bound

PATIENCE = 10.0
"""Seconds in which a state comes that the scenario does not promise within a time."""


@then(parsers.parse("{bound:Bound} {name:Counted}", extra_types=TYPES))
def check_count(context: Context, bound: Bound, name: str) -> None:
    """Compare a count that a step recorded with a bound.

    Example: ``Then exactly 0 writes were lost``
    """
    context.judge(name, bound)


@then(parsers.parse("the {name:Timed} took {bound:Bound}", extra_types=TYPES))
def check_time(context: Context, name: str, bound: Bound) -> None:
    """Compare a time that a step recorded with a bound.

    Example: ``Then the slowest read took at most 1 second``
    """
    context.judge(name, bound)


@then(parsers.parse('the measurement "{name:Measured}" is {bound:Bound}', extra_types=TYPES))
def check_measurement(context: Context, name: str, bound: Bound) -> None:
    """Compare a ratio, rate or share that a step recorded with a bound.

    Example: ``Then the measurement "tasks begun a second" is between 5 and 10.5``
    """
    context.judge(name, bound)


@then("the measurements are")
def check_measurements(context: Context, datatable: Table) -> None:
    """Compare several measurements, each with a bound, or ``reported``; NODE names the part that a row is about.

    Example: a table of MEASUREMENT and BOUND
    """
    for row in rows(datatable, ("MEASUREMENT", "BOUND"), ("NODE",)):
        context.judge(row["MEASUREMENT"], bound_or_reported(row["BOUND"], context), row.get("NODE", ""))


@then(parsers.parse("{target:Target} has {bound:Bound} {name:Asked}", extra_types=TYPES))
@changeable("{name}", "{bound}", read_bound, AUDITED)
def check_state(context: Context, target: str, bound: Bound, name: str) -> None:
    """Ask now how many things a target has, and compare the number with a bound.

    In an audit, `practices.toml` may change the bound.

    Example: ``Then the cluster has at least 3 primaries``
    """
    entry, _ = find("measurement", name)
    ask(context, target, name)
    changed = AUDITED.get(entry.name, "") if context.request.node.get_closest_marker("audit") else ""
    limit = context.bounds.read(changed, bound, read_bound) if changed else bound
    context.judge(entry.name, limit, change=change(changed) if changed else "")


@then(parsers.parse("{target:Target} has {bound:Bound} {name:Asked} within {duration:Duration}", extra_types=TYPES))
def await_state(context: Context, target: str, bound: Bound, name: str, duration: Duration) -> None:
    """Ask how many things a target has, again and again until the bound is kept.

    Example: ``Then that primary has exactly 1 linked replica within 5 seconds``
    """
    entry, most, clock = find("measurement", name)[0], duration.seconds(node_timeout(context)), WorkersClock()
    begun = time.monotonic()

    def kept() -> None:
        ask(context, target, name)
        seen = [
            value(None) if callable(value) else value
            for (what, _), value in context.recorded.items()
            if what == entry.name
        ]
        assert all(bound.allows(value) for value in seen), f"{target} has {seen} {name}"

    with suppress(AssertionError):  # judged below, with the last value
        clock.eventually(kept, within=most)
        clock.within(Bound.at_most(most, "s"))
    context.measure(f"time until {entry.name}", unit="s", seen=round(time.monotonic() - begun, 3))
    context.judge(entry.name, bound)


def ask(context: Context, target: str, name: str) -> None:
    """Record what the registered function of a measurement says of each thing that a target stands for.

    The function returns a number, or numbers by the address of a node.
    """
    entry, _ = find("measurement", name)
    for key in [key for key in context.recorded if key[0] == entry.name]:
        del context.recorded[key]
    things = context.targets(target)
    for thing in things:
        place = getattr(thing, "address", getattr(thing, "name", "")) if len(things) > 1 else ""
        seen = entry.functions[0](context, thing)
        for part, value in (seen if isinstance(seen, Mapping) else {place: seen}).items():
            context.record(entry.name, value, part)


def node_timeout(context: Context) -> float | None:
    """Return the node timeout of the scenario's cluster in seconds; None for another role."""
    return context.cluster.node_timeout if context.role == "cluster" else None


@then(parsers.parse("{target:Target} replies", extra_types=TYPES))
def check_replies(context: Context, target: str, datatable: Table) -> None:
    """Send the commands of each row over one connection, and compare the last reply.

    A word with a colon is a key of this scenario. A reply is a text, a number, a range like ``between 90 and
    100``, the code of an error, or ``nothing``.

    Example: a table of COMMANDS and REPLY
    """
    assert_table(datatable, replies(context, context.target(target), datatable))


@then(parsers.parse("{target:Target} replies within {duration:Duration}", extra_types=TYPES))
def await_replies(context: Context, target: str, duration: Duration, datatable: Table) -> None:
    """Send the commands of each row until the table holds; the time counts from the last fault.

    Example: a table of COMMANDS and REPLY
    """
    node, bound = context.target(target), Bound.at_most(duration.seconds(node_timeout(context)), "s")
    seen = seconds_until(
        lambda: assert_table(datatable, replies(context, node, datatable)), 3 * (bound.high or 0), since=context.since
    )
    context.measure(f"until {target} replies", unit="s", bound=bound, seen=round(seen, 3))


def replies(context: Context, node: Any, datatable: Table) -> list[dict[str, str]]:
    """Return the table with a node's current replies; no key is left on a shared deployment."""
    if not context.own:
        context.ending.callback(
            delete_keys, context, re.findall(r"[^\s;]*:[^\s;]*", " ".join(row[0] for row in datatable))
        )
    seen = []
    for row in rows(datatable, ("COMMANDS", "REPLY")):
        with node.client() as client:
            last = answers(client, list(commands(row["COMMANDS"], context.key)))[-1]
        said, wanted = in_words(last), row["REPLY"]
        is_within = wanted.startswith("between ") and said.isdigit() and bound(wanted).allows(int(said))
        seen.append({"COMMANDS": row["COMMANDS"], "REPLY": wanted if is_within else said})
    return seen


def delete_keys(context: Context, names: Sequence[str]) -> None:
    """Delete keys of this scenario, one by one: a cluster takes no others together."""
    with suppress(RedisError), usual_client(context) as client:
        for name in dict.fromkeys(names):
            client.delete(context.key(name))


def usual_client(context: Context) -> Any:
    """Return a new client of the deployment that the scenario is about."""
    return context.cluster.client() if context.role == "cluster" else context.nodes(context.role)[0].client()


@then(parsers.parse("{target:Target} received these commands", extra_types=TYPES))
def check_received(context: Context, target: str, datatable: Table) -> None:
    """Compare how often a target received each command with a bound; ``any other`` stands for the rest.

    Example: a table of COMMAND and NUMBER
    """
    seen, table = Counter(context.target(target).received()), rows(datatable, ("COMMAND", "NUMBER"))
    named = [row["COMMAND"] for row in table]
    seen["any other"] = sum(number for name, number in seen.items() if name not in named)
    for row in table:
        name, bound = row["COMMAND"], bound_or_reported(row["NUMBER"], context)
        context.measure(f"{name} received", unit="", bound=bound, seen=seen[name])


@then(parsers.parse('{reader:Target} reads {value:Value} from "{key}"', extra_types=TYPES))
def check_read(context: Context, reader: str, value: str | None, key: str) -> None:
    """Read one key through a target once.

    Example: ``Then a client reads "Ann" from "user:1"``
    """
    seen = context.target(reader).read(key)
    assert seen == value, f"{reader} reads {seen!r} from {key}, not {value!r}"


@then(parsers.parse('{reader:Target} reads {value:Value} from "{key}" {bound:Bound}', extra_types=TYPES))
def await_read(context: Context, reader: str, value: str | None, key: str, bound: Bound) -> None:
    """Read one key through a target until it has the value.

    Example: ``Then the near cache reads nothing from "user:1" within 1 second``
    """
    thing = context.target(reader)
    seen = moment_of(lambda: thing.read(key) == value, PATIENCE + (bound.high or 0))
    context.measure(f"until {reader} reads it", unit="s", bound=bound, seen=round(seen.within(bound), 3))


@then(parsers.parse("the {name:Findings} are", extra_types=TYPES))
def check_findings(context: Context, name: str, datatable: Table) -> None:
    """Compare all that a detector finds with the table, in the table's columns: neither more nor less.

    Example: ``Then the failover blockers are`` with a table of NODE and BLOCKER
    """
    detect = detector_of(name)
    eventually(lambda: assert_table(datatable, detect(context)), within=PATIENCE)


def detector_of(name: str) -> Callable[[Context], list[dict[str, object]]]:
    """Return the registered function of a finding, with the words of its placeholder."""
    entry, words = find("finding", name)
    return lambda context: list(entry.functions[0](context, **words))


def finding_text(finding: Mapping[str, object]) -> str:
    """Return a finding in words: what it is about, and the rest after a colon."""
    subject, *rest = map(str, finding.values())
    return f"{subject}: {', '.join(rest)}" if rest else subject


@then(parsers.parse("there are no {name:Findings}", extra_types=TYPES))
@changeable("{LIMIT}", "{BOUND}", most)
def check_no_findings(context: Context, name: str, datatable: Table | None = None) -> None:
    """Require that a detector finds nothing; an isolated deployment has some time to become so.

    A table has the limits of the detector, which `practices.toml` changes; ``reported`` is none.

    Example: ``Then there are no open slots``, or with a table of LIMIT and BOUND
    """
    detect, limited = detector_of(name), rows(datatable, ("LIMIT", "BOUND")) if datatable else []
    context.limits = {row["LIMIT"]: context.bounds.read(row["LIMIT"], most(row["BOUND"]), most) for row in limited}
    hint = "".join(change(row["LIMIT"], row["BOUND"]) for row in limited[:1])

    def nothing() -> None:
        found = detect(context)
        context.request.node.stash[FINDINGS] = [{name: str(value) for name, value in one.items()} for one in found]
        told = "; ".join(map(finding_text, found[:5]))
        assert not found, f"{name} ({len(found)}): {told}{hint}"

    eventually(nothing, within=PATIENCE) if context.own else nothing()


@then(parsers.parse('the {name:Findings} include "{text}"', extra_types=TYPES))
def check_finding(context: Context, name: str, text: str) -> None:
    """Require that one of the things that a detector finds has this text in a column.

    Example: ``Then the failover blockers include "is not linked to its primary"``
    """
    detect = detector_of(name)

    def included() -> None:
        found = ["; ".join(map(str, one.values())) for one in detect(context)]
        assert any(text in one for one in found), f"the {name} are: {shortened(found) or 'none'}"

    eventually(included, within=PATIENCE)


@then(parsers.parse('the {operation:w} failed with "{text}"'))
def check_failure(context: Context, operation: str, text: str) -> None:
    """Require that the last operation of this kind raised an error with this text.

    Example: ``Then the failover failed with "to a replica"``
    """
    error = context.failure(operation)
    seen = "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])
    assert text in seen, f"the {operation} failed with {seen!r}, not with {text!r}"


@then(parsers.parse("{target:Target} is ready within {duration:Duration}", extra_types=TYPES))
def check_ready(context: Context, target: str, duration: Duration) -> None:
    """Require that a target answers and can serve; the time counts from the last fault.

    Example: ``Then the broker is ready within 5 seconds``
    """
    thing, bound = context.target(target), Bound.at_most(duration.seconds(node_timeout(context)), "s")
    seen = moment_of(thing.is_ready, PATIENCE + (bound.high or 0), context.since, context.since)
    context.measure(f"until {target} is ready", unit="s", bound=bound, seen=round(seen.within(bound), 3))


@then(parsers.parse("{target:Target} exits with {code:d}", extra_types=TYPES))
def check_exit(context: Context, target: str, code: int) -> None:
    """Require that a process ends with this exit code; a negative one is the signal that ended it.

    Example: ``Then worker 1 exits with 1``
    """
    process = context.target(target)
    seen = process.wait_end(PATIENCE * 3)
    assert seen == code, f"{target} exits with {seen}, not {code}; it ends with\n{process.log_tail(15)}"


@then(parsers.parse('the log of {target:Target} matches "{pattern}"', extra_types=TYPES))
def check_log(context: Context, target: str, pattern: str) -> None:
    """Require that a regular expression is found in the log of a process.

    Example: ``Then the log of worker 1 matches "Unsupported type"``
    """
    process = context.target(target)

    def found() -> None:
        log = process.log_tail(400)
        assert re.search(pattern, log), f"the log of {target} is\n{process.log_tail(15)}"

    eventually(found, within=PATIENCE)


@then(parsers.parse('every key of {target:Target} matches "{pattern}"', extra_types=TYPES))
def check_keys(context: Context, target: str, pattern: str) -> None:
    """Require that a regular expression matches the whole name of every key; there must be keys.

    Example: ``Then every key of the broker matches "app1:.*"``
    """
    with context.target(target).client() as client:
        keys = list(client.scan_iter(count=1000))
    other = [key for key in keys if not re.fullmatch(pattern, key)]
    assert keys, f"{target} has no keys"
    assert not other, f"{len(other)} keys do not match: {other[:5]}"


@then(parsers.parse("{target:Target} is still the same process", extra_types=TYPES))
def check_same_process(context: Context, target: str) -> None:
    """Require that a process that was started in this scenario has not ended.

    Example: ``Then worker 1 is still the same process``
    """
    process = context.target(target)
    assert process.runs, f"{target} has ended:\n{process.log_tail(15)}"


@then(parsers.parse('"{name:Property}" holds for {count:Count} {cases:w}', extra_types=TYPES))
def check_property(context: Context, name: str, count: int, cases: str, datatable: Table | None = None) -> None:
    """Look for a case that breaks a property: Hypothesis draws the cases, or the table names them.

    Example: ``Then "every key reads as acknowledged" holds for 10 histories``
    """
    assert cases, "a property holds for cases"
    find("property", name)[0].functions[0](context, count, *([datatable] if datatable else ()))
