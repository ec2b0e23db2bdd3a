"""The vocabulary is closed: each sentence and name is used, and defined in docs/VOCABULARY.md.

``PYTHONPATH=src python -m tests.test_vocabulary`` prints the document.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import groupby
from pathlib import Path

import pytest

from fixtures import PROJECT
from fixtures.bdd.vocabulary import (
    NAMES,
    Definition,
    Kind,
    Name,
    ScenarioTemplate,
    definitions_in,
    feature_of,
    find,
    in_sentence,
    in_table,
    matching,
    steps_of,
)
from suite import PLUGINS

MOST_SENTENCES = 150
MOST_USED_ONCE = 8
"""Percent of the sentences."""
MOST_NAMES = 450
MOST_ROWS = 12
"""Rows of a table under a step, the header not counted."""

DOCUMENT = PROJECT / "docs" / "VOCABULARY.md"


@dataclass(frozen=True)
class Use:
    """A step of a scenario as it runs: once for each row of an outline."""

    scenario: ScenarioTemplate
    line: int
    definition: Definition
    text: str
    table: tuple[tuple[str, ...], ...] = ()

    def names(self) -> Iterator[tuple[Kind, str]]:
        """Yield the kinds and texts of the names that the step reads, from its sentence and its table."""
        yield from in_sentence(self.definition.sentence, self.definition.words(self.text))
        if self.table:
            yield from in_table(self.table)

    @property
    def place(self) -> str:
        """Where it is written."""
        path = Path(self.scenario.feature.filename)
        return f"{path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path.name}:{self.line}"


@cache
def our_definitions() -> tuple[Definition, ...]:
    """Return the sentences of this project."""
    return tuple(one for one in definitions_in(map(import_module, PLUGINS)) if not one.is_of_pytest_bdd)


def uses_in(*paths: Path) -> list[Use]:
    """Return every step of some features."""
    found = []
    for scenario in (scenario for path in paths for scenario in feature_of(path).scenarios.values()):
        for step in steps_of(scenario):
            table = tuple(tuple(map(str, row)) for row in step.datatable.raw()) if step.datatable else ()
            definitions = matching(our_definitions(), step.type, step.name)
            found += [Use(scenario, step.line_number, one, step.name, table) for one in definitions]
    return found


@cache
def all_uses() -> list[Use]:
    """Return every step of the features."""
    return uses_in(*sorted(PROJECT.glob("features/*/*.feature")))


def times_used(uses: Iterable[Use]) -> Counter[Definition]:
    """Return how often features write each sentence; the rows of an outline count once."""
    return Counter(definition for definition, _ in {(use.definition, use.place) for use in uses})


def unknown(uses: Iterable[Use]) -> Iterator[str]:
    """Yield the names that are not registered."""
    for use in uses:
        for kind, text in use.names():
            # A directive of the server or an option of Celery needs no entry: its manual defines it.
            if kind != "setting" and not _registered(kind, text):
                yield f"{use.place}: there is no {kind} {text!r}"


def _registered(kind: Kind, text: str) -> Name | None:
    """Return the registered name that a text is."""
    try:
        return find(kind, text)[0]
    except KeyError:
        return None


def unused(uses: Iterable[Use]) -> list[str]:
    """Return the registered names that no feature uses; a measurement that is reported need not be judged."""
    said = {name for use in uses for name in use.names()}
    used = {id(_registered(kind, text)) for kind, text in said}
    words = {word for kind, text in said if _registered(kind, text) for word in find(kind, text)[1].values()}
    lacking = [f"{one.kind} {one.name!r}" for one in NAMES.values() if id(one) not in used and not one.reported]
    return lacking + [f"{one.name!r}: {word}" for one in NAMES.values() for word in one.choices if word not in words]


def not_recorded(uses: Iterable[Use]) -> Iterator[str]:
    """Yield the measurements that a scenario judges and none of its steps records; a state is asked, not recorded."""
    steps = {definition.function for definition in our_definitions()}
    for _, found in groupby(uses, key=lambda use: id(use.scenario)):
        scenario = list(found)
        functions = {use.definition.function for use in scenario}
        for use in scenario:
            for name in (_registered(kind, text) for kind, text in use.names() if kind == "measurement"):
                if name and steps.issuperset(name.functions) and functions.isdisjoint(name.functions):
                    yield f"{use.place}: no step of this scenario records {name.name!r}"


def long_tables(uses: Iterable[Use]) -> list[str]:
    """Return the steps with a table of more rows than a reader takes in at once."""
    return [f"{use.place}: {len(use.table) - 1} rows" for use in uses if len(use.table) - 1 > MOST_ROWS]


_GRAMMAR = (
    (r"\{\w+:?(\w*)\}", r"<\1>"),
    (r"\b(?:an?|the|that|its|their)\b", ""),
    (r"\b(?:is|are|was|were|has|have|had|been)\b", "be"),
    (r"(?<=[a-z]{2})(?:es|s|ed|ing)\b(?!>)", ""),
)


def alike(sentences: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the pairs of sentences, each with its kind, that differ in grammar alone."""

    def plain(kind: str, sentence: str) -> tuple[str, ...]:
        for pattern, instead in _GRAMMAR:
            sentence = re.sub(pattern, instead, sentence.casefold())
        return (kind, *sentence.split())

    known: dict[tuple[str, ...], str] = {}
    return [(first, one) for kind, one in sentences if (first := known.setdefault(plain(kind, one), one)) is not one]


def test_number_of_sentences() -> None:
    """At most 150 sentences exist, and at most 8 % of them are used once."""
    times = times_used(all_uses())
    once = [str(one) for one in our_definitions() if times[one] == 1]
    assert len(our_definitions()) <= MOST_SENTENCES, f"{len(our_definitions())}: use a sentence that exists"
    assert 100 * len(once) <= MOST_USED_ONCE * len(our_definitions()), f"{len(once)} are used once: {once}"


def test_number_of_names() -> None:
    """At most 450 names exist; each has a meaning, and a feature uses it."""
    assert len(NAMES) <= MOST_NAMES, Counter(kind for kind, _ in NAMES)
    assert [name.name for name in NAMES.values() if not name.meaning] == []
    assert unused(all_uses()) == []


def test_each_name_is_registered() -> None:
    """Features use registered names alone."""
    assert sorted(set(unknown(all_uses()))) == []


def test_what_is_judged_was_recorded() -> None:
    """A measurement that a scenario judges is one that a step of the scenario records."""
    assert sorted(set(not_recorded(all_uses()))) == []


def test_tables_are_short() -> None:
    """A table under a step has at most 12 rows."""
    assert sorted(set(long_tables(all_uses()))) == []


def test_sentences_differ_in_more_than_grammar() -> None:
    """No two sentences say the same in singular and plural, or with another article."""
    assert alike([(str(one.kind), one.sentence) for one in our_definitions()]) == []


FAULTY = """\
Feature: Faulty
  Scenario: one
    Given an isolated cache
    When the horse is killed
    Then exactly 0 wishes were lost
    And the cache replies
      | COMMANDS | REPLY |
"""


def test_faulty_feature(tmp_path: Path) -> None:
    """A target and a measurement that are not registered are named by their line, and so is a long table."""
    path = tmp_path / "faulty.feature"
    path.write_text(FAULTY + "      | PING | PONG |\n" * 13, encoding="utf-8")
    uses = uses_in(path)
    assert list(unknown(uses)) == [
        "faulty.feature:4: there is no target 'the horse'",
        "faulty.feature:5: there is no measurement 'wishes lost'",
    ]
    assert long_tables(uses) == ["faulty.feature:6: 13 rows"]


def test_unrecorded_measurement(tmp_path: Path) -> None:
    """A measurement that another scenario's step records is refused in a scenario without that step."""
    steps = {one.function for one in our_definitions()}
    name = next(one.name for one in NAMES.values() if one.kind == "measurement" and steps.issuperset(one.functions))
    path = tmp_path / "unrecorded.feature"
    judging = f"Then the measurements are\n  | MEASUREMENT | BOUND |\n  | {name} | exactly 0 |"
    path.write_text(f"Feature: F\n  Scenario: S\n    Given an isolated cache\n{judging}\n", encoding="utf-8")
    assert list(not_recorded(uses_in(path))) == [f"unrecorded.feature:4: no step of this scenario records {name!r}"]


def test_unused_name() -> None:
    """Without features every name but the reported ones is unused, and every word that a name lists."""
    assert len(unused([])) == sum((not one.reported) + len(one.choices) for one in NAMES.values())


def test_words_of_a_name() -> None:
    """A name with listed words is registered for these words alone."""
    assert _registered("finding", "workers whose clock is wrong")
    assert not _registered("finding", "workers whose clock is late")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{number:Count} tasks were sent", "a task was sent"),
        ("the key is deleted", "keys are deleted"),
    ],
)
def test_alike(one: str, other: str) -> None:
    """Singular and plural, articles and forms of to be make no new sentence; another kind of step does."""
    plain = one.replace("{number:Count} ", "")
    assert alike([("then", plain), ("then", other)]) == [(plain, other)]
    assert alike([("then", plain), ("when", other)]) == []


# The document


FAMILIES = (
    ("common", "Shared by all practices"),
    ("celery_worker", "Celery"),
    ("redis_cluster", "Redis Cluster"),
    ("pure_cache", "Pure cache"),
    ("tuning", "Tuning"),
    ("gate", "Command lines and the gate"),
)

KINDS: dict[Kind, str] = {
    "target": "Targets: what a step acts on or asks",
    "fault": "Faults and operations",
    "setting": "Settings and options: rows of SETTING and OPTION tables",
    "measurement": "Measurements",
    "finding": "Findings of detectors",
    "property": "Properties",
    "load": "Loads",
    "way": "Ways that tuning compares",
}

HEAD = """\
# Vocabulary

The features are written in the sentences below and in no others. Each is defined as an interface: what it does, what it
records or compares, and an example. A word in braces is a placeholder with its type; [Types](#types) lists them. A name
is what such a placeholder reads, or a column of a table: [Names](#names) has them all.

`Given` says what a scenario has. `When` acts and records. `Then` judges what was recorded, asks for a state, or probes
with a value that no later step sees. An error that a `When` records and no `Then` judges fails the scenario.

This document is made from the docstrings of `steps/` and from the registered names.
"""


def document() -> Iterator[str]:
    """Yield the lines of docs/VOCABULARY.md."""
    yield from HEAD.splitlines()
    for folder, title in FAMILIES:
        yield from ("", f"## {title}")
        for _, found in groupby(_of_folder(folder), key=lambda one: one.function.__module__):
            family = list(found)
            yield from ("", f"### {_first_line(sys.modules[family[0].function.__module__].__doc__)}")
            for one in family:
                yield from ("", f"#### {str(one.kind).capitalize()} {_escaped(one.sentence)}", "")
                yield from inspect.cleandoc(one.function.__doc__ or "").splitlines()
    yield from ("", "## Types", "", "| type | reads |", "|---|---|")
    yield from (
        f"| {name} | {_escaped(_first_line(function.__doc__))} |" for name, function in sorted(_types().items())
    )
    yield from ("", "## Names")
    for kind, title in KINDS.items():
        yield from ("", f"### {title}", "", "| name | unit | meaning | recorded by |", "|---|---|---|---|")
        for entry in sorted(
            (name for name in NAMES.values() if name.kind == kind), key=lambda name: name.name.casefold()
        ):
            by = "<br>".join(map(_escaped, _recorded_by(entry)))
            yield f"| {_escaped(entry.name)} | {entry.unit} | {_escaped(entry.meaning)} | {by} |"
            for word, meaning in sorted(entry.choices.items()):
                yield f"| … {_escaped(word)} | | {_escaped(meaning)} | |"


def _of_folder(folder: str) -> list[Definition]:
    """Return the sentences of a folder, in the order of their modules and lines."""
    return [one for one in our_definitions() if one.function.__module__.startswith(f"steps.{folder}.")]


def _first_line(text: str | None) -> str:
    """Return the first line of a docstring without its full stop."""
    return (text or "").strip().partition("\n")[0].removesuffix(".")


def _escaped(text: str) -> str:
    """Return a text that Markdown shows as it is written."""
    return re.sub(r"([|<>*_])", r"\\\1", text)


def _recorded_by(name: Name) -> list[str]:
    """Return the sentences that record a measurement."""
    return [one.sentence for one in our_definitions() if one.function in name.functions]


def _types() -> dict[str, object]:
    """Return the types of placeholders that sentences use, each with the function that reads it."""
    found = {}
    for one in our_definitions():
        known = getattr(getattr(one.context.parser, "parser", None), "_extra_types", {})
        found.update({kind: known[kind] for kind in re.findall(r"\{\w+:(\w+)\}", one.sentence) if kind in known})
    return found


def test_document_is_current() -> None:
    """docs/VOCABULARY.md defines the sentences and names that there are."""
    assert DOCUMENT.read_text(encoding="utf-8").splitlines() == list(document())


def test_each_sentence_is_defined() -> None:
    """The docstring of a step says what its sentence does, with an example or a table."""
    lacking = [str(one) for one in our_definitions() if "Example" not in (one.function.__doc__ or "")]
    assert lacking == []


if __name__ == "__main__":
    print("\n".join(document()))
