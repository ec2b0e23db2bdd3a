"""Make the book: Markdown pages from the features and the guides, and from them a site.

python book/make.py                                   the site is build/book/site/index.html
python book/make.py --report results/report.json      with the values that a run has seen
python book/make.py --report a/report.json --report b/report.json       a column for each engine
python book/make.py --no-site                         the pages alone, for MkDocs Material
"""

from __future__ import annotations

import argparse
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

if find_spec("pytest_bdd") is None:
    sys.exit("book: needs the packages of the project: pip install -r requirements.txt -r requirements-dev.txt")

from book.chapters import (
    Sources,
    code_page,
    code_pages,
    engines_of,
    feature_page,
    page_of,
    title,
    title_of,
)
from book.writing import code, fenced, plain, table
from fixtures import PROJECT
from fixtures.bdd.gherkin import read
from fixtures.reporting.records import ADVICE, remedy_for
from fixtures.reporting.report import Report

BOOK = PROJECT / "book"
GUIDES = {
    "five_minutes": "Judge in five minutes",
    "ci": "Put it into CI",
    "managed": "Managed services",
    "adopt": "Adopt a practice",
    "verdict": "What a verdict does not say",
}
"""The guides in reading order, with their titles in the navigation."""
ERRORS: list[dict[str, Any]] = tomllib.loads((BOOK / "errors.toml").read_text(encoding="utf-8"))["error"]
"""The errors of the index, each with its text, meaning, promises and remedy."""


class BookError(Exception):
    """The book cannot be made; the message says what to do."""


def link(sources: Sources, name: str, root: str = "") -> str:
    """Return a link to the section of a promise (BookError)."""
    if not (promise := sources.promises.get(name)):
        raise BookError(f"{name} is the id of no promise; mend the guide, book/errors.toml or everyday_names.toml")
    return f"[{title(promise)}]({root}{page_of(promise)}#{name}) ({name})"


def front_page(sources: Sources) -> Iterator[str]:
    """Yield the first page: what the book is, the chapters, the runs."""
    yield from filled(sources, BOOK / "guides" / "index.md", "")
    rows = []
    for practice, (name, files) in sources.chapters.items():
        count = sum(len(of_it) for file in files for _, of_it in sources.parts(file))
        rows.append((f"[{plain(name)}]({practice}/index.md)", str(len(files)), str(count)))
    yield from table(["chapter", "features", "promises"], rows)
    for report in sources.reports:
        run = f"the run of {report['started'][:10]} on {engines_of(report)}, whose verdict is {report['verdict']}"
        yield from (f"The seen values are from {run}.", "")
    if not sources.reports:
        yield "No run was given to this book: it has no seen values."


def chapter_page(sources: Sources, practice: str) -> Iterator[str]:
    """Yield the first page of a practice: its features and their promises."""
    name, files = sources.chapters[practice]
    yield from ("---", f"title: {title_of(practice)}", "---", "", f"# {plain(name)}", "")
    for file in files:
        yield from (f"## [{title_of(file.stem)}]({file.stem}.md)", "", plain(read(file).feature["name"]) + ".", "")
        yield from (f"- {link(sources, one.scenario_id, '../')}" for _, of_it in sources.parts(file) for one in of_it)
        yield ""


def errors_page(sources: Sources) -> Iterator[str]:
    """Yield the index of errors: what each means, the promises about it, what to type."""
    yield from ("---", "title: I see this error", "---", "", "# I see this error", "")
    yield from ("Each text is the answer of a server or library. `<...>` stands for the part that differs.", "")
    for error in ERRORS:
        yield from (f"## {plain(error['name'])} {{ #{anchor(error['name'])} }}", "")
        yield from fenced("text", [error["text"]])
        yield from (f"Python raises {code(error['raises'])}. {plain(error['means'])}", "", "What to do:", "")
        steps = [remedy_for("", error["text"]), *error["do"]]
        yield from (f"- {plain(step[0].upper() + step[1:])}" for step in steps if step)
        yield from ("", "The promises about it:", "")
        yield from (f"- {link(sources, name)}" for name in error["promises"])
        yield ""


def anchor(name: str) -> str:
    """Return the anchor of an error in the index."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def words_page(sources: Sources) -> Iterator[str]:
    """Yield the everyday names, each with its promises; the search leads to the promises at once."""
    yield from ("---", "title: Everyday names", "search:", "  exclude: true", "---", "", "# Everyday names", "")
    for word, ids in sorted(sources.everyday.items(), key=lambda one: one[0].lower()):
        yield from (f"## {plain(word)}", "")
        yield from (f"- {link(sources, name)}" for name in ids)
        yield ""


def engines_page() -> Iterator[str]:
    """Yield the comparison of engines."""
    document = (PROJECT / "docs" / "compatibility.md").read_text(encoding="utf-8")
    yield from (
        "---",
        "title: Engines",
        "---",
        "",
        document.replace("Made by `python benchmarks/engines.py`; do not edit. ", ""),
    )


LINKED = re.compile(r"\[\[([a-z]+-\d+)\]\]")
FILE = re.compile(r"\{\{ file (\S+) \}\}")
TABLE = re.compile(r"\{\{ table (\S+): (.+) \}\}")


def filled(sources: Sources, guide: Path, root: str) -> Iterator[str]:
    """Yield a guide with its links to promises and its tables filled in."""
    for text in guide.read_text(encoding="utf-8").splitlines():
        if text == "{{ places }}":
            yield from places()
        elif found := FILE.fullmatch(text):
            path = PROJECT / found[1]
            yield from fenced(path.suffix[1:].replace("yml", "yaml"), path.read_text(encoding="utf-8").splitlines())
        elif found := TABLE.fullmatch(text):
            yield from table_in(PROJECT / found[1], found[2])
        else:
            yield LINKED.sub(lambda found: link(sources, found[1], root), text)


def table_in(document: Path, text: str) -> list[str]:
    """Return the first table of a document in or below the first line with a text; links become plain text."""
    lines = document.read_text(encoding="utf-8").splitlines()
    begin = next((number for number, one in enumerate(lines) if text in one), None)
    if begin is None:
        raise BookError(
            f"{document.relative_to(PROJECT)} has no line with {text!r}; mend the guide that takes its table"
        )
    begin = next(number for number, one in enumerate(lines) if number >= begin and one.startswith("|"))
    end = next((number for number, one in enumerate(lines) if number > begin and not one.startswith("|")), len(lines))
    return [re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", one) for one in lines[begin:end]]


def places() -> Iterator[str]:
    """Yield by managed service where it has each setting."""
    for service in ADVICE["domains"]:
        rows = [(code(name), plain(of_it[service])) for name, of_it in ADVICE["places"].items() if service in of_it]
        yield from (f"### {service}", "")
        yield from table(["setting", "place"], rows)


def pages(sources: Sources) -> dict[str, Iterator[str]]:
    """Return the lines of every page by its path, in the order of the navigation."""
    found = {"index.md": front_page(sources), "errors.md": errors_page(sources), "words.md": words_page(sources)}
    found |= {f"guides/{name}.md": filled(sources, BOOK / "guides" / f"{name}.md", "../") for name in GUIDES}
    for practice, (_, files) in sources.chapters.items():
        found[f"{practice}/index.md"] = chapter_page(sources, practice)
        found |= {f"{practice}/{file.stem}.md": feature_page(sources, file) for file in files}
    found["engines.md"] = engines_page()
    found |= {page: code_page(modules) for page, modules in code_pages(sources).items()}
    return found


def navigation(sources: Sources) -> list[Any]:
    """Return the navigation as MkDocs reads it."""
    first: list[Any] = [{"Guides": ["index.md", *({shown: f"guides/{name}.md"} for name, shown in GUIDES.items())]}]
    first += [{"Errors": ["errors.md", "words.md"]}]
    for practice, (_, files) in sources.chapters.items():
        of_it = [{title_of(file.stem): f"{practice}/{file.stem}.md"} for file in files]
        first.append({title_of(practice): [f"{practice}/index.md", *of_it]})
    by_folder: dict[str, list[Any]] = {}
    for page, (one, *_) in code_pages(sources).items():
        by_folder.setdefault(title_of(one.file.parent.name), []).append({one.file.stem: page})
    return [*first, {"Code": [{folder: many} for folder, many in by_folder.items()]}, {"Engines": "engines.md"}]


def write(sources: Sources, folder: Path) -> int:
    """Write settings, pages and assets into a folder; return the number of pages."""
    shutil.rmtree(folder / "docs", ignore_errors=True)
    found = pages(sources)
    for name, lines in found.items():
        path = folder / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    shutil.copytree(BOOK / "assets", folder / "docs" / "assets")
    settings = (BOOK / "mkdocs.yml").read_text(encoding="utf-8")
    # JSON is YAML, too.
    (folder / "mkdocs.yml").write_text(f"{settings}nav: {json.dumps(navigation(sources))}\n", encoding="utf-8")
    return len(found)


FOREIGN = re.compile(r"<script[^>]* src=\"?https?://[^>]*></script>")


def build(sources: Sources, folder: Path) -> Path:
    """Build the site from the pages, and return its first page."""
    if not find_spec("zensical"):
        raise BookError("needs Zensical: pip install -r requirements-dev.txt; or --no-site, for the pages alone")
    shutil.rmtree(folder / "site", ignore_errors=True)
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    quiet = {**os.environ, "NO_COLOR": "1"}
    ended = subprocess.run(command, cwd=folder, env=quiet, check=False, capture_output=True, text=True)
    if ended.returncode:
        said = (ended.stdout + ended.stderr).partition("Traceback")[0].strip()
        raise BookError(f"Zensical ends with {ended.returncode}:\n{said}")
    for page in (folder / "site").rglob("*.html"):
        # The offline plugin adds a script of another host; assets/iframe-worker.js does its work.
        page.write_text(FOREIGN.sub("", page.read_text(encoding="utf-8")), encoding="utf-8")
    put_first(sources, folder / "site")
    return folder / "site" / "index.html"


def put_first(sources: Sources, site: Path) -> None:
    """Put each everyday name first into the index of the search, with a link to its nearest promise."""
    index = json.loads((site / "search.json").read_text(encoding="utf-8"))
    by_place = {item["location"]: item for item in index["items"]}
    names = []
    for word, (nearest, *_) in sources.everyday.items():
        if not any(word.lower().startswith(error["name"].lower()) for error in ERRORS):  # these have their own index
            promise = by_place[page_of(sources.promises[nearest]).replace(".md", f".html#{nearest}")]
            # The search ranks by the place of a word in the title, then by its place in the text.
            text = f"<p>{html.escape(word)}: {promise['title']}</p>"
            names.append({**promise, "title": html.escape(word[0].upper() + word[1:]), "text": text})
    index["items"] = names + index["items"]
    text = json.dumps(index)
    (site / "search.json").write_text(text, encoding="utf-8")
    (site / "search.js").write_text(f"var __index = {text}", encoding="utf-8")


def report_in(path: Path) -> Report:
    """Return the report of a run (BookError)."""
    try:
        report: Report = json.loads(path.read_text(encoding="utf-8"))
        _ = report["engines"].values(), report["started"], report["verdict"]
        _ = [(one["scenario_id"], one["row"], one["status"], one["measurements"]) for one in report["scenarios"]]
    except OSError as error:
        raise BookError(f"--report {path}: {error.strerror}; give the report.json of a run") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BookError(
            f"--report {path} is no report of this version; give the report.json of a run with --report"
        ) from None
    return report


def main(arguments: list[str] | None = None) -> int:
    """Make the book."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, action="append", default=[], help="the report.json of a run; repeatable")
    parser.add_argument("--folder", type=Path, default=PROJECT / "build" / "book", help="where to build it")
    parser.add_argument("--no-site", action="store_true", help="write the pages, and build no site")
    chosen = parser.parse_args(arguments)
    try:
        sources = Sources([report_in(path) for path in chosen.report])
        count = write(sources, chosen.folder)
        made = chosen.folder / "mkdocs.yml" if chosen.no_site else build(sources, chosen.folder)
    except BookError as error:
        print(f"book: {error}", file=sys.stderr)
        return 4
    except OSError as error:
        print(f"book: {error.filename}: {error.strerror}; give another --folder", file=sys.stderr)
        return 4
    print(f"{count} pages, {len(sources.promises)} promises: {made}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
