"""Write the pages of the practices: a page for each feature, a section for each promise.

All facts are derived: from the features, the index in ``src``, the bounds and the remedies. Numbers come from the
comparison of engines and from the reports of runs.
"""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from itertools import groupby
from pathlib import Path
from textwrap import indent
from typing import Any

from book.writing import code, fenced, note, paragraphs, plain, table
from fixtures import PROJECT
from fixtures.bdd.collector import REMEDY
from fixtures.bdd.gherkin import Node, id_of, is_id, line, read
from fixtures.bdd.vocabulary import definitions_in
from fixtures.reporting.measurements import short
from fixtures.reporting.promises import Promise, everyday_names, promises
from fixtures.reporting.records import places_of
from fixtures.reporting.report import Record, Report, first_line
from fixtures.run.practices_file import Changeable, changeables
from suite import PLUGINS

INDEX = re.compile(r"(?P<promise>\S.*?\.) {2,}(?P<module>\S+) {2,}(?P<features>\w[\w, ]*)")
SERVER = re.compile(r"( of|,) [\w.-]+:\d+")
"""The address of a server in the name of a measurement."""


def title_of(stem: str) -> str:
    """Return the title of a file or folder in the navigation."""
    words = stem.replace("_", " ")
    return words.upper() if words in ("ttl", "tls") else words[0].upper() + words[1:]


@dataclass(frozen=True)
class Module:
    """A module of ``src`` that keeps a promise."""

    file: Path
    promise: str

    @property
    def place(self) -> str:
        """Return its path in the project."""
        return self.file.relative_to(PROJECT).as_posix()

    @property
    def page(self) -> str:
        """Return its page in the book."""
        return f"code/{'-'.join(self.file.relative_to(PROJECT / 'src').with_suffix('').parts)}.md"

    @cached_property
    def names(self) -> list[tuple[str, int]]:
        """Return the names and lines of its two longest public classes or functions, which are the code to copy."""
        body = ast.parse(self.file.read_text(encoding="utf-8")).body
        found = [one for one in body if isinstance(one, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)]
        public = [one for one in found if not one.name.startswith("_") and one.name != "main"]
        public.sort(key=lambda one: one.lineno - (one.end_lineno or one.lineno))
        return sorted(((one.name, one.lineno) for one in public[:2]), key=lambda one: one[1])


def title(promise: Promise) -> str:
    """Return the name of a promise as a heading."""
    is_word = promise.name.partition(" ")[0].isalpha()
    return plain(promise.name[0].upper() + promise.name[1:] if is_word else promise.name)


def page_of(promise: Promise) -> str:
    """Return the page of a promise in the book."""
    return f"{promise.text.path.parent.name}/{promise.text.path.stem}.md"


def tags(promise: Promise) -> list[str]:
    """Return the tags of a promise and those above it, without the id."""
    parts = (promise.scenario, promise.part, promise.text.feature)
    found = {tag["name"] for part in parts for tag in part["tags"] if not is_id(tag["name"])}
    return sorted(name.removeprefix("@") for name in found)


@dataclass(frozen=True)
class Sources:
    """The facts of all promises."""

    reports: list[Report] = field(default_factory=list)

    @cached_property
    def chapters(self) -> dict[str, tuple[str, list[Path]]]:
        """Return the title and the features of each practice, in the reading order of features/README.md."""
        listed = (PROJECT / "features" / "README.md").read_text(encoding="utf-8")
        found = {}
        for section in listed.split("\n## ")[1:]:
            files = [PROJECT / "features" / name for name in re.findall(r"\]\((\w+/\w+\.feature)\)", section)]
            found[files[0].parent.name] = (section.partition("\n")[0], files)
        return found

    @cached_property
    def promises(self) -> dict[str, Promise]:
        """Return every promise by its id."""
        return {one.scenario_id: one for one in promises(PROJECT)}

    def parts(self, file: Path) -> Iterator[tuple[Node, list[Promise]]]:
        """Yield the rules of a feature with their promises, in order; the feature itself for those without a rule."""
        of_it = [one for one in self.promises.values() if one.text.path == file]
        for _, found in groupby(of_it, key=lambda one: id(one.part)):
            together = list(found)
            yield together[0].part, together

    @cached_property
    def everyday(self) -> dict[str, list[str]]:
        """Return the ids by everyday name, the nearest first."""
        return everyday_names(PROJECT)

    @cached_property
    def bounds(self) -> dict[str, list[Changeable]]:
        """Return the bounds that practices.toml may change, by id."""
        found = defaultdict(list)
        for one in changeables(PROJECT, definitions_in(map(import_module, PLUGINS))):
            found[id_of(one.scenario.tags) or ""].append(one)
        return found

    @cached_property
    def modules(self) -> dict[str, list[Module]]:
        """Return the code to copy for the features of a page, by ``practice/feature``, from the indexes in ``src``."""
        found = defaultdict(list)
        for package in PROJECT.glob("src/redis_practices/*/__init__.py"):
            index = ast.get_docstring(ast.parse(package.read_text(encoding="utf-8"))) or ""
            for row in filter(
                None, map(INDEX.fullmatch, re.sub(r" -? ?\(.*\)$", "", index, flags=re.MULTILINE).splitlines())
            ):
                name = row["module"] if row["module"].endswith(".py") else f"{row['module']}.py"
                file = (package.parent / name).resolve()
                for feature in row["features"].split(", ") if row["module"] != "-" else ():
                    found[f"{package.parent.name}/{feature.strip()}"].append(Module(file, row["promise"]))
        return found

    @cached_property
    def engines(self) -> dict[str, Any]:
        """Return the comparison of engines."""
        found: dict[str, Any] = json.loads((PROJECT / "docs" / "compatibility.json").read_text(encoding="utf-8"))
        return found

    @cached_property
    def runs(self) -> dict[str, dict[str | None, list[Record]]]:
        """Return by engine the records of each promise; several reports on an engine are one run."""
        found: dict[str, dict[str | None, list[Record]]] = {}
        for report in self.reports:
            of_it = found.setdefault(engines_of(report), defaultdict(list))
            for record in report["scenarios"]:
                of_it[record["scenario_id"]].append(record)
        return found

    def records(self, name: str) -> Iterator[tuple[str, list[Record]]]:
        """Yield each engine with the records of a promise."""
        yield from ((engine, of_it.get(name, [])) for engine, of_it in self.runs.items())


def engines_of(report: Report) -> str:
    """Return the engines of a run."""
    return plain(", ".join(dict.fromkeys(report["engines"].values())))


def feature_page(sources: Sources, file: Path) -> Iterator[str]:
    """Yield the lines of the page of a feature."""
    feature, path = read(file).feature, file.relative_to(PROJECT).as_posix()
    yield from ("---", f"title: {title_of(file.stem)}", "---", "", f"# {plain(feature['name'])}", "")
    yield from (reason(feature), "", f"Proof: `pytest {path}`", "{ .meta }", "")
    if modules := sources.modules[f"{file.parent.name}/{file.stem}"]:
        yield from ("Code to copy:", "")
        yield from (f"- {plain(one.promise)} {links_to_code(one, '../')}" for one in modules)
        yield ""
    for part, of_it in sources.parts(file):
        if part is not feature:
            yield from (f"## {plain(part['name'])}", "", reason(part), "")
        for promise in of_it:
            yield from section(sources, promise)


def reason(node: Node) -> str:
    """Return the free text of a feature, rule or scenario, without its remedy."""
    return paragraphs(node["description"].partition(REMEDY)[0])


def links_to_code(module: Module, root: str) -> str:
    """Return links to the code of a module: the file, and names with their lines."""
    names = [
        f"[{code(name)}]({root}{module.page}#__codelineno-0-{number}) in line {number}" for name, number in module.names
    ]
    return f"[{code(module.place)}]({root}{module.page}): {', '.join(names)}"


def section(sources: Sources, promise: Promise) -> Iterator[str]:
    """Yield the section of a promise."""
    name = promise.scenario_id
    place = f"{promise.text.path.relative_to(PROJECT).as_posix()}:{line(promise.scenario)}"
    yield from (f"### {title(promise)} {{ #{name} }}", "")
    yield from (" · ".join([f"**{name}**", *tags(promise), code(place)]), "{ .meta }", "")
    if names := [word for word, ids in sources.everyday.items() if name in ids]:
        yield from (f"Everyday names: {', '.join(map(plain, names))}.", "")
    yield from (reason(promise.scenario), "")
    yield from fenced("gherkin", scenario(promise))
    yield from rows(sources, promise)
    yield from seen(sources, promise)
    yield from changeable(sources, promise)
    yield from remedy(promise)
    yield from on_engines(sources, promise)


def scenario(promise: Promise) -> list[str]:
    """Return the lines of a scenario with its background, as the feature has it; its examples stand in tables."""
    background = [promise.written(step) for step in promise.background]
    steps = [promise.written(step) for step in promise.scenario["steps"]]
    before = ["Background:", indent("\n".join(background), "  "), ""] if background else []
    head = f"{promise.scenario['keyword']}: {promise.name}"
    return "\n".join([*before, head, indent("\n".join(steps), "  ")]).splitlines()


def rows(sources: Sources, promise: Promise) -> Iterator[str]:
    """Yield the examples of an outline, with a column for the values that each run saw."""
    runs = list(sources.records(promise.scenario_id))
    for examples in promise.scenario["examples"]:
        head = [one["value"] for one in examples["tableHeader"]["cells"]]
        tags = [code(tag["name"]) for tag in examples["tags"]]
        yield from (" ".join(["Examples", *tags]) + (f": {plain(examples['name'])}" if examples["name"] else ""), "")
        below = []
        for row in examples["tableBody"]:
            cells = [one["value"] for one in row["cells"]]
            named = dict(zip(head, cells, strict=True))
            found = [[one for one in records if one["row"] == named] for _, records in runs]
            below.append(
                [
                    *(link_to(sources, one) for one in cells),
                    *("; ".join(map(outcome, one)) or "not run" for one in found),
                ]
            )
        yield from table([*map(plain, head), *(f"seen on {engine}" for engine, _ in runs)], below)


def link_to(sources: Sources, text: str) -> str:
    """Return a cell as code; the id of a promise is a link to it."""
    known = sources.promises.get(text)
    return f"[{code(text)}](../{page_of(known)}#{text})" if known else code(text)


def outcome(record: Record) -> str:
    """Return the result of a row: its numbers, else why it has none."""
    if record["status"] != "passed":
        return plain(f"{record['status']}: {first_line(record)}")
    return "; ".join(f"{name}: {amount}" for (name, *_), amount in numbers([record]).items()) or "held"


def numbers(records: Iterable[Record]) -> dict[tuple[str, str], str]:
    """Return by name and bound the seen values; those of several servers or rows as a range."""
    found: dict[tuple[str, str], list[tuple[Any, str]]] = defaultdict(list)
    for one in (one for record in records for one in record["measurements"]):
        unit = f" {one['unit']}" if one["unit"] and one["unit"] not in one["name"].split() else ""
        name, bound = plain(SERVER.sub("", one["name"])), f"{one['bound']}{unit}" if one["bound"] else ""
        found[name, plain(bound)].append((one["seen"], unit))
    return {name: plain(spread(values)) for name, values in found.items()}


def spread(values: list[tuple[Any, str]]) -> str:
    """Return one value, the least and the greatest number, or the different texts."""
    unit, seen = values[0][1], [value for value, _ in values]
    if all(isinstance(value, int | float) for value in seen):
        ends = dict.fromkeys((short(min(seen)), short(max(seen))))
        return f"{' to '.join(ends)}{unit}"
    return ", ".join(dict.fromkeys(f"{value}{unit}" for value in seen))


def seen(sources: Sources, promise: Promise) -> Iterator[str]:
    """Yield the numbers of a plain scenario by engine, or that there is no run."""
    if not sources.reports:
        yield from ("No run was given to this book: it has no seen values.", "{ .meta }", "")
    elif not promise.scenario["examples"]:
        runs = [(engine, numbers(records), records) for engine, records in sources.records(promise.scenario_id)]
        names = list(dict.fromkeys(name for _, found, _ in runs for name in found))
        head = ["measured", "bound", *(f"seen on {engine}" for engine, _, _ in runs)]
        yield from table(head, [[*name, *(found.get(name, "") for _, found, _ in runs)] for name in names])
        for engine, found, records in runs:
            if not found or any(one["status"] != "passed" for one in records):
                yield from (f"{engine}: {'; '.join(map(outcome, records)) or 'not run'}.", "{ .meta }", "")


def changeable(sources: Sources, promise: Promise) -> Iterator[str]:
    """Yield the bounds of a promise, and what changes them."""
    if found := sources.bounds.get(promise.scenario_id):
        lines = ["A file `practices.toml` in the current folder changes a bound. With the defaults:", ""]
        lines += [
            *fenced(
                "toml", (f"[bounds.{found[0].role}]", *(f"{one.name} = {json.dumps(one.default)}" for one in found))
            )
        ]
        yield from note("abstract", "Bounds", lines)


def remedy(promise: Promise) -> Iterator[str]:
    """Yield what a failure says to type, and where managed services have the setting."""
    if text := promise.remedy:
        yield from note("tip", "If it fails", [plain(text[0].upper() + text[1:])])
        sentences = " ".join(step["text"] for step in promise.scenario["steps"])
        if places := places_of(sentences, text, ()):
            lines = table(["service", "place"], ([service, plain(place)] for service, place in places.items()))
            yield from note("info", "Where managed services have the setting", lines, folded=True)


def on_engines(sources: Sources, promise: Promise) -> Iterator[str]:
    """Yield the engines that broke or lack a promise; that none did, if some have run it."""
    practice, name, troubles, held = promise.text.path.parent.name, promise.scenario_id, defaultdict(list), 0
    for engine in sources.engines["engines"]:
        cell = engine["practices"].get(practice, {"failed": (), "skipped": (), "ran": ""})
        held += name in cell["ran"].split()
        for kind, verb in (("failed", "Broken"), ("skipped", "Left out")):
            for why in dict.fromkeys(why for cited, why in cell[kind] if cited.split()[0] == name):
                troubles[verb, why].append(engine["engine"])
    where = f"[engines](../engines.md), compared until {sources.engines['until'][:10]}"
    for (verb, why), names in troubles.items():
        yield from (f"{verb} on {', '.join(names)}: {plain(why)} ({where}).", "{ .meta }", "")
    if held and not troubles:
        yield from (f"No failure on {held} {where}.", "{ .meta }", "")


def code_page(modules: list[Module]) -> Iterator[str]:
    """Yield a module as code to copy, with its promises; the search leaves it out."""
    file = modules[0].file
    yield from ("---", f"title: {file.stem}", "search:", "  exclude: true", "hide: [toc]", "---", "")
    yield from (f"# {code(modules[0].place)}", "")
    yield from (f"- {plain(promise)}" for promise in dict.fromkeys(one.promise for one in modules))
    yield ""
    yield from fenced('python linenums="1"', file.read_text(encoding="utf-8").rstrip().splitlines())


def code_pages(sources: Sources) -> dict[str, list[Module]]:
    """Return by page the module with each of its promises."""
    found: dict[str, list[Module]] = {}
    for one in (one for many in sources.modules.values() for one in many):
        found.setdefault(one.page, []).append(one)
    return dict(sorted(found.items()))
