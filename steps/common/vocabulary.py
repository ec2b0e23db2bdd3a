"""Define the words all sentences share: durations, comparators, counts and tables.

A sentence uses them as ``parsers.parse("… within {limit:Duration}", extra_types=TYPES)``; editors find only such
literals, and only placeholders spelled like that.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from parse import with_pattern

from fixtures.bdd.vocabulary import counted
from fixtures.context import FAULTS, Context, Plan
from fixtures.reporting.measurements import Bound

Table = Sequence[Sequence[str]]
"""The table of a step; the first row is its header."""

NUMBER = r"\d+(?:\.\d+)?"
TIME = rf"{NUMBER} (?:milliseconds?|seconds?)"
QUANTITY = rf"{NUMBER}(?: %| milliseconds?| seconds?)?"
CHOICE = r"(?:[\w.+-]+|\d+(?: \d+)+)"


@dataclass(frozen=True)
class Duration:
    """A time as a sentence says it, in part perhaps in node timeouts, which only a cluster can tell."""

    fixed: float
    node_timeouts: float = 0.0

    def seconds(self, node_timeout: float | None = None) -> float:
        """Return it in seconds; ValueError if it counts node timeouts and none (in seconds) is given."""
        if not self.node_timeouts:
            return self.fixed
        if node_timeout is None:
            raise ValueError("this duration counts node timeouts: the step must say of which cluster")
        return self.fixed + self.node_timeouts * node_timeout


@with_pattern(rf"(?:{NUMBER} node timeouts?(?: and {TIME})?|{TIME})")
def duration(text: str) -> Duration:
    """Read "10 seconds", "300 milliseconds", "2 node timeouts and 1.5 seconds"."""
    timeouts, _, rest = text.rpartition(" and ") if " and " in text else ("", "", text)
    if not timeouts and "node timeout" in text:
        timeouts, rest = text, "0 seconds"
    return Duration(float(_quantity(rest)[0]), float(timeouts.split()[0]) if timeouts else 0.0)


def seconds(text: str) -> float:
    """Read "300 milliseconds" in seconds."""
    return float(duration(text).seconds())


@with_pattern(rf"(?:(?:exactly|at least|at most) {QUANTITY}|within {TIME}|between {NUMBER} and {QUANTITY})")
def bound(text: str) -> Bound:
    """Read "exactly 3", "at least 95 %", "at most 20", "within 2.5 seconds", "between 3 and 5"; times are in s."""
    comparator, rest = re.split(r" (?=\d)", text.lower(), maxsplit=1)
    if comparator == "between":
        low, high = rest.split(" and ")
        unit_of_both = high.partition(" ")[2]
        value, unit = _quantity(high)
        return Bound.between(_quantity(f"{low} {unit_of_both}".strip())[0], value, unit)
    makers = {"exactly": Bound.exactly, "at least": Bound.at_least}
    return makers.get(comparator, Bound.at_most)(*_quantity(rest))


def _quantity(text: str) -> tuple[float, str]:
    """Return number and unit of "95 %" or "300 milliseconds"; times become seconds, whole numbers stay whole."""
    number, _, unit = text.partition(" ")
    value = float(number) if "." in number else int(number)
    if unit.startswith("millisecond"):
        return value / 1000, "s"
    return value, "s" if unit.startswith("second") else unit


@with_pattern(r"\d{1,3}(?:,\d{3})+|\d+")
def count(text: str) -> int:
    """Read a whole number that is not negative; thousands may have commas."""
    return int(text.replace(",", ""))


def bound_or_reported(text: str, context: Context) -> Bound | None:
    """Read a bound of a table: as in a sentence, in node timeouts of the scenario's cluster, or ``reported``."""
    if text == "reported":
        return None
    if "node timeout" in text:
        comparator, rest = re.split(r" (?=\d)", text, maxsplit=1)
        seconds = duration(rest).seconds(context.cluster.node_timeout)
        return Bound.at_least(seconds, "s") if comparator == "at least" else Bound.at_most(seconds, "s")
    read: Bound = bound(text)
    return read


@with_pattern(rf"(?:reported|at most {NUMBER}|within {TIME})")
def most(text: str) -> Bound:
    """Read "at most 20" or "within 5 seconds"; "reported" is a time without a bound."""
    return Bound.at_most(math.inf, "s") if text == "reported" else bound(text)


@with_pattern(r"at most \d+")
def at_most(text: str) -> int:
    """Read "at most 3600"."""
    return int(text.rpartition(" ")[2])


@with_pattern(rf"{CHOICE}(?:, {CHOICE})*")
def choices(text: str) -> set[str]:
    """Read "yes, no" or "3600 1, 900 10"; "nothing" stands for an empty one."""
    return {"" if choice == "nothing" else choice for choice in text.split(", ")}


RELEASE = r"(?:\d+:)?\d+(?:\.\d+)+[\w.+~-]*"


@with_pattern(rf"(?:nothing|{RELEASE}(?:, {RELEASE})*)")
def releases(text: str) -> set[str]:
    """Read "7.0.15, 6.0.16", or versions of packages such as "5:7.0.15-1~deb12u5", as versions of the server."""
    return set(re.findall(r"(?:^|, )(?:\d+:)?(\d+(?:\.\d+)+)", text))


@with_pattern(r"(?s:.+)")
def name_pattern(text: str) -> re.Pattern[str]:
    """Read a regular expression (ValueError)."""
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None


COMPARATOR = "exactly|at least|at most"


@with_pattern(rf"(?:(?:{COMPARATOR}) (?:once|twice|\d+ times)|between \d+ and \d+ times)")
def times(text: str) -> Bound:
    """Read "exactly once", "at least twice", "at most 3 times", "between 2 and 12 times"."""
    comparator, number = text.removesuffix(" times").rsplit(" ", 1)
    read: Bound = bound(f"{comparator} {repeats(number)}")
    return read


def repeats(text: str) -> int:
    """Read "once", "twice", "30 times"."""
    return {"once": 1, "twice": 2}.get(text) or number(text)


@with_pattern(r"(?:\d+ writers?(?: and \d+ readers?)?|\d+ readers?)")
def clients(text: str) -> tuple[int, int]:
    """Read "2 writers and 1 reader", either of them alone too, as the numbers of both."""
    found = {noun.rstrip("s"): int(number) for number, noun in re.findall(r"(\d+) (\w+)", text)}
    return found.get("writer", 0), found.get("reader", 0)


@with_pattern(
    r"(?:server|cache|broker|queue|cluster of \d+ primar(?:y|ies) (?:without replicas|with \d+ replicas? each)"
    r"(?: of an older version)?)"
)
def deployment(text: str) -> Plan:
    """Read a kind of deployment; of a cluster with its shape.

    Each node of "an older version" starts the current version when it restarts.
    """
    plan = Plan(text.partition(" ")[0], older=text.endswith("older version"))
    if shape := re.findall(r"\d+", text):
        plan.primaries, plan.replicas = int(shape[0]), int(shape[1]) if len(shape) > 1 else 0
    return plan


def unquoted(text: str) -> str:
    """Return a text without its quotes."""
    return text.removeprefix('"').removesuffix('"')


def reads(pattern: str, meaning: str, read: Callable[[str], Any] = str) -> Any:
    """Return a type of placeholders for texts with a pattern; its `meaning` defines it."""

    def convert(text: str) -> Any:
        return read(text)

    convert.__doc__ = meaning
    return with_pattern(pattern)(convert)


def number(text: str) -> int:
    """Read the number at the beginning of "3 empty nodes" or "2,000 orders are"; an article is 1."""
    return count(text.split(maxsplit=1)[0]) if text[0].isdigit() else 1


NAME = reads(r"(?!measurements\b)[a-z][a-z -]*", "Read a registered name.")
NAME_WITH_NUMBER = reads(
    r"[a-z0-9][a-z0-9 .-]*",
    "Read a registered name, which may contain numbers: ``90th percentile of the round trips``.",
)

TYPES: dict[str, Any] = {
    "Arguments": reads(r"\[.*\]", 'Read the arguments of a task as JSON: ``[2, "text"]``.', json.loads),
    "Asked": NAME,
    "Beats": reads(r"a beat that sends|\d+ beats that send", 'Read "a beat that sends", "2 beats that send".', number),
    "Bound": bound,
    "CacheKind": reads("look-aside|write-through|write-behind|near", "Read a kind of cache in front of an origin."),
    "Clients": clients,
    "Count": count,
    "Counted": reads(
        r"[a-z][a-z0-9 .%-]*? (?:was|were) [a-z][a-z ]*",
        'Read a count as a clause, "writes were lost", and return the name of the measurement, "writes lost".',
        counted,
    ),
    "Deployment": deployment,
    "Duration": duration,
    "EmptyNodes": reads(r"an empty node|\d+ empty nodes", 'Read "an empty node", "3 empty nodes".', number),
    "Fact": reads("setting|field", "Read the kind of a server's fact: a setting (CONFIG GET) or a field (INFO)."),
    "Fault": reads("|".join(sorted(FAULTS, key=len, reverse=True)), "Read a fault; see `fixtures.context.FAULTS`."),
    "Findings": NAME,
    "Json": reads(r"(?:[\[{\"].*|-?\d[\d.]*|true|false|null)", "Read a value of JSON.", json.loads),
    "Load": NAME_WITH_NUMBER,
    "Measured": NAME,
    "Order": reads(r"(?:each order|\"[^\"]+\")", 'Read "each order" or the name of one in quotes.', unquoted),
    "Orders": reads(r"(?:1 order is|[\d,]+ orders are)", 'Read "1 order is" or "2,000 orders are".', number),
    "Property": reads(r"[^\"]+", "Read a registered name in quotes."),
    "Repeats": reads(r"once|twice|\d+ times", 'Read "once", "twice", "30 times".', repeats),
    "Signal": reads("(?:Ctrl-C|SIG[A-Z0-9]+)", "Read the name of a signal."),
    "Stream": reads("the (?:standard output|error output|output)", "Read a stream of a command; the output is both."),
    "Target": reads(
        r"(?:the|that|this|an?|each|every|another|all|their|its|worker|reader) [^\"]*?(?:\"[^\"]*\")?",
        'Read the name of a target, such as ``the primary of "user:1"``; see `fixtures.context.target`.',
    ),
    "Tasks": reads(r"(?:\d+ tasks|1 task)", 'Read "1 task", "4 tasks".', number),
    "Timed": NAME_WITH_NUMBER,
    "Times": times,
    "Value": reads(
        r"(?:\"[^\"]*\"|nothing)",
        "Read a quoted text, or nothing.",
        lambda text: None if text == "nothing" else unquoted(text),
    ),
    "Workers": reads(r"(?:a worker|\d+ workers)", 'Read "a worker", "2 workers".', number),
}


def options(datatable: Table | None, column: str = "OPTION") -> dict[str, str]:
    """Return an optional table of OPTION (or SETTING) and VALUE as a dict."""
    return {row[column]: row["VALUE"] for row in rows(datatable, (column, "VALUE"))} if datatable else {}


def rows(datatable: Table, columns: Sequence[str], optional: Sequence[str] = ()) -> list[dict[str, str]]:
    """Return a table as one dict a row, keyed by its UPPERCASE header.

    Raises AssertionError for a header that is not uppercase or stands twice, and for a missing or unknown column. A row
    must have the length of the header.
    """
    header = list(datatable[0])
    for name in header:
        assert name == name.upper() and name, f"table: the header {name!r} must be uppercase"  # noqa: PT018 - one rule
        assert header.count(name) == 1, f"table: the header {name!r} stands twice"
        assert name in {*columns, *optional}, (
            f"table: unknown column {name!r}; known are {', '.join([*columns, *optional])}"
        )
    missing = [name for name in columns if name not in header]
    assert not missing, f"table: the column {', '.join(missing)} is missing; it has {', '.join(header)}"
    for number, row in enumerate(datatable[1:], start=1):
        assert len(row) == len(header), f"table: row {number} has {len(row)} cells, the header {len(header)}: {row}"
    return [dict(zip(header, row, strict=True)) for row in datatable[1:]]


def assert_table(datatable: Table, seen: Iterable[Mapping[str, object]]) -> None:
    """Hold a table of the feature against what was seen, row by row in this order, in the columns the table has.

    Raises AssertionError showing both as aligned tables with the differing rows marked by ``!``.
    """
    seen = list(seen)
    known = dict.fromkeys(name for row in seen for name in row)
    header = list(datatable[0])
    wanted = rows(datatable, columns=(), optional=tuple(known) or tuple(header))
    expected_cells = [[row[name] for name in header] for row in wanted]
    seen_cells = [[str(row.get(name, "")) for name in header] for row in seen]
    if expected_cells != seen_cells:
        differs = [one != other for one, other in zip_longest(expected_cells, seen_cells)]
        expected_table, seen_table = (_aligned(header, cells, differs) for cells in (expected_cells, seen_cells))
        raise AssertionError(f"the tables differ\nexpected:\n{expected_table}\nseen:\n{seen_table}")


def _aligned(header: list[str], cells: list[list[str]], differs: list[bool]) -> str:
    """Return the cells as a table in Gherkin's form, each differing row marked."""
    lines = [header, *cells]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    marks = [" ", *("!" if differing else " " for differing in differs)]
    return "\n".join(
        f"{mark} | {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |"
        for mark, line in zip(marks, lines, strict=False)
    )
