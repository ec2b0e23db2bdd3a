"""Test that each refusal shows a remedy, and that docs/refusals.md lists the defects with theirs.

``PYTHONPATH=src python -m tests.test_remedies`` prints the document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import NamedTuple

import pytest

from fixtures import PROJECT
from fixtures.bdd.collector import REMEDY, remedy_in
from fixtures.bdd.gherkin import Node, id_of, line, read
from fixtures.gate.defects import MENDED, SETTINGS
from fixtures.gate.deployment_under_test import is_written
from fixtures.reporting.records import ADVICE, lines_in, places_of, remedy_for
from fixtures.run.options import PRACTICES, SPOKEN, is_quick
from tests.project import REPORTING, Project, assert_said

DOCUMENT = PROJECT / "docs" / "refusals.md"
MEASURED = "<!-- measured by benchmarks/refusals.py -->"
"""The line before the measured table, which the benchmark writes."""
REFUSALS = PROJECT / "features" / "gate" / "refusals.feature"
REMEDIES = PROJECT / "features" / "gate" / "remedies.feature"

COLUMNS = ("| defect | seen by | cause | remedy | typed |", "|---|---|---|---|---|")
WORKER = "worker"
"""The word of the outlines about running workers, beside those of roles."""
WITH_DEFECT = r'an? (\w+) with the defect "<DEFECT>"'

HEAD = """\
# What is refused, and the remedy

The catalogue of defects: [refusals.feature](../features/gate/refusals.feature) builds each, and requires this cause
from this scenario. A failure shows its remedy, and where a managed service has the setting
([remedies.toml](../fixtures/reporting/remedies.toml)). Where commands mend the defect,
[remedies.feature](../features/gate/remedies.feature) types those of the last column and requires the verdict
`accepted`.
"""

BY_HAND = frozenset({"a log that cannot be rewritten", "snapshots fail"})
"""Defects of `SETTINGS` that no command mends."""


class Promise(NamedTuple):
    """A scenario that ``--quick`` can refuse."""

    place: str
    name: str
    remedy: str


class Defect(NamedTuple):
    """A row of the catalogue."""

    role: str
    name: str
    scenario: str
    cause: str


def promises() -> dict[str, Promise]:
    """Return the scenarios of the practices that ``--quick`` runs, by id."""
    found = {}
    paths = (path for practice in PRACTICES.values() for path in PROJECT.glob(f"features/{practice}/*.feature"))
    for path in sorted(paths):
        text = read(path)
        quick = {one.line for one in text.written() if is_quick(one.tags | {path.parent.name})}
        for part in (text.feature, *text.rules()):
            for scenario in (child["scenario"] for child in part["children"] if "scenario" in child):
                if line(scenario) in quick:
                    remedy = remedy_in(*(node.get("description") for node in (scenario, part, text.feature)))
                    name = id_of(tag["name"] for tag in scenario["tags"]) or scenario["name"]
                    place = f"{path.relative_to(PROJECT).as_posix()}:{line(scenario)}"
                    found[name] = Promise(place, scenario["name"], remedy)
    return found


def rows(feature: Node, sentence: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the role and the cells of each row of the outlines whose first step matches a sentence."""
    for rule in (child["rule"] for child in feature["children"] if "rule" in child):
        for scenario in (child["scenario"] for child in rule["children"] if "scenario" in child):
            if role := re.fullmatch(sentence, scenario["steps"][0]["text"]):
                for table in scenario["examples"]:
                    yield from (
                        (SPOKEN.get(role[1], role[1]), [cell["value"] for cell in row["cells"]])
                        for row in table["tableBody"]
                    )


def catalogue() -> list[Defect]:
    """Return the defects that must be refused."""
    return [Defect(role, *cells) for role, cells in rows(read(REFUSALS).feature, WITH_DEFECT)]


def document() -> Iterator[str]:
    """Yield the lines of the document, with a table for each role."""
    yield from HEAD.splitlines()
    known = promises()
    for role in (*PRACTICES, WORKER):
        yield from ("", f"## {role.capitalize()}", "", *COLUMNS)
        for one in (one for one in catalogue() if one.role == role):
            promise = known[one.scenario.partition("[")[0]]
            seen = f"{one.scenario} {escape(promise.name, quote=False)}"
            typed = "<br>".join(f"`{command}`" for command in MENDED[role].get(one.name, ()))
            cells = (one.name, seen, f"`{one.cause}`", remedy_for(promise.remedy, one.cause), typed)
            shown = " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
            yield f"| {shown} |"


def test_document_is_current() -> None:
    """docs/refusals.md lists each defect with the scenario that sees it, its cause and its remedy."""
    written, _, _ = DOCUMENT.read_text(encoding="utf-8").partition(MEASURED)
    assert written.rstrip().splitlines() == list(document())


def test_each_refusal_has_a_remedy() -> None:
    """Each scenario that ``--quick`` can refuse, its rule or its feature has a remedy."""
    lacking = [f"{one.place}: {name} {one.name}" for name, one in promises().items() if not one.remedy]
    assert not lacking, "\n".join([f'end its description with "{REMEDY} ..."; CONTRIBUTING.md says how', *lacking])


def test_commands_of_a_remedy_can_be_found() -> None:
    """A command of a remedy stands in backticks, so that it can be copied and typed."""
    texts = {name: one.remedy for name, one in promises().items()} | ADVICE["answers"]
    bare = re.compile(r"\b(CONFIG (SET|RESETSTAT|REWRITE)|ACL SETUSER|ACL DELUSER|REPLICAOF|FUNCTION LOAD|BGSAVE)\b")
    wrong = [f"{name}: {text}" for name, text in texts.items() if bare.search(re.sub(r"`[^`]*`", "", text))]
    assert not wrong, "\n".join(["put the commands of these remedies into backticks", *wrong])


def test_each_defect_that_commands_can_mend_has_them() -> None:
    """A defect that is a setting has commands, unless it is in `BY_HAND`; each is written in a remedy that it shows."""
    for role, settings in SETTINGS.items():
        lacking = settings.keys() - MENDED[role].keys() - BY_HAND
        assert not lacking, f"say in fixtures/gate/mended.toml which commands mend {sorted(lacking)}"
    known, unknown = promises(), []
    for one in catalogue():
        shown = lines_in(remedy_for(known[one.scenario.partition("[")[0]].remedy, one.cause))
        commands = MENDED[one.role].get(one.name, ())
        lost = [command for command in commands if not any(is_written(command, text) for text in shown)]
        unknown += [f"{one.role}, {one.name}: {command} is not among {shown}" for command in lost]
    assert not unknown, "\n".join(unknown)


def test_each_remedy_is_tried() -> None:
    """features/gate/remedies.feature has a row for each defect that commands mend."""
    tried = {(role, cells[0]) for role, cells in rows(read(REMEDIES).feature, WITH_DEFECT)}
    assert tried == {(role, name) for role, names in MENDED.items() for name in names}


def test_places_of_managed_services() -> None:
    """Each place is of a known service, and each topic is in a remedy or in a sentence of a feature."""
    services, topics = ADVICE["domains"].keys(), ADVICE["places"]
    assert ADVICE["manuals"].keys() == services
    assert [name for of_it in topics.values() for name in of_it if name not in services] == []
    texts = [one.remedy for one in promises().values()] + list(ADVICE["answers"].values())
    texts += [path.read_text(encoding="utf-8") for path in PROJECT.glob("features/*/*.feature")]
    assert [topic for topic in topics if not any(topic in text for text in texts)] == []


@pytest.mark.parametrize(
    ("sentence", "remedy", "address", "topic", "services"),
    [
        ('the setting "maxmemory-policy" is one of "noeviction"', "", "10.0.0.1:6379", "maxmemory-policy", 5),
        ('the field "used_memory" is at most 80 % of the field "maxmemory"', "", "[::1]:1", "maxmemory", 5),
        ("there are no workers whose countdowns outlive the visibility timeout", "`pip install x`", "[::1]:1", "", 0),
        ("the cache serves 2000 writes", "`ACL SETUSER <user> <rights>`.", "localhost:1", "ACL SETUSER", 5),
        ('the setting "timeout" is one of "0"', "", "x.abc.cache.amazonaws.com:6379", "timeout", 1),
        ("the cache serves 2000 writes", "replace the server.", "localhost:1", "", 0),
    ],
)
def test_place_of_the_setting_at_fault(sentence: str, remedy: str, address: str, topic: str, services: int) -> None:
    """The setting of the sentence, else of the commands, is looked up; for a service's address there alone."""
    found = places_of(sentence, remedy, [address])
    assert len(found) == services
    assert all(found[service] == ADVICE["places"][topic][service] for service in found)


FEATURE = """
Feature: Sizes
  Remedy: replace the server.

  Rule: Keys fit
    @core
    Scenario: one fits
      A full cache is slow.
      Remedy: `CONFIG SET maxmemory <bytes>`,
      or delete keys.

      Then 1 keys fit

    @core
    Scenario: two fit
      Then 2 keys fit
"""
SENTENCE = """
@then(parsers.parse("{number:d} keys fit"))
def fits(number):
    assert number > 2, f"{number} do not fit"
"""


def test_remedy_is_beside_the_failure_everywhere(project: Project) -> None:
    """Terminal, report.json, junit.xml, summary, page and messages show the remedy of the scenario or its feature."""
    project.write_sentences(REPORTING, SENTENCE)
    project.write("features/pure_cache/size.feature", FEATURE)
    run = project.run("--report", "results")
    assert_said(
        run,
        """
        Remedy: `CONFIG SET maxmemory <bytes>`, or delete keys. Write it into redis.conf too: CONFIG SET lasts
        Why it matters: features/pure_cache/size.feature:7
        Remedy: replace the server.
        """,
    )
    how = "Write it into redis.conf too: CONFIG SET lasts until a restart."
    text = f"`CONFIG SET maxmemory <bytes>`, or delete keys. {how}"
    records = project.report()["scenarios"]
    assert [one["remedy"]["text"] for one in records] == [text, "replace the server."]
    assert [one["reason"].partition("\n")[0] for one in records] == ["1 do not fit", "2 do not fit"]
    shown = [one.get("value", "") for test in project.junit() for one in test.iter("property")]
    assert [one.partition("\n")[0] for one in shown if "Remedy" in one] == [
        f"Remedy: {text}",
        "Remedy: replace the server.",
    ]
    failures = [one.get("message", "") for test in project.junit() for one in test.iter("failure")]
    assert [f"Remedy: {text}" in message for message in failures] == [True, False]
    assert "replace the server.<br>Why it matters" in project.read("results/summary.md").replace("\\", "")
    assert "Remedy: replace the server." in project.read("results/messages.ndjson")
    page = project.read("results/index.html")
    assert f"<p>Remedy: <code>CONFIG SET maxmemory &lt;bytes&gt;</code>, or delete keys. {how}</p>" in page
    assert page.count("A full cache is slow.") == 1


def main() -> None:
    """Print the document, with the measured table that it has."""
    _, begin, measured = DOCUMENT.read_text(encoding="utf-8").partition(MEASURED) if DOCUMENT.exists() else ("", "", "")
    print(*document(), *(["", begin + measured.rstrip()] if begin else []), sep="\n")


if __name__ == "__main__":
    main()
