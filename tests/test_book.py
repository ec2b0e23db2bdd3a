"""Test that the book has every promise once, as it is written, and that it works in a browser without a network."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from threading import Thread
from typing import Any, Literal
from urllib.parse import quote_plus

import pytest
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from markdown import Markdown
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from book import make
from book.chapters import Sources, page_of, scenario
from book.writing import code, plain
from fixtures import PROJECT
from fixtures.bdd.gherkin import promises
from fixtures.gate.deployment_under_test import gate_environment
from fixtures.reporting.promises import Promise
from redis_practices.polling import join, poll
from redis_practices.servers import CACHE, ProcessGroup, start_cluster, start_server
from redis_practices.servers import server as servers
from tests.browser import CONTRAST, OpenFile

SEARCHED = {"stampede": "cache-016", "thundering herd": "cache-016", "split brain": "cluster-057"}
"""Words that people type, and the promise that must be the first result."""

ERRORS = [
    *("MOVED", "CROSSSLOT", "READONLY", "OOM", "MISCONF", "NOREPLICAS", "LOADING", "CLUSTERDOWN", "UNBLOCKED"),
    *("Table empty or key no longer exists", "WRONGTYPE", "max number of clients reached", "No master found"),
]
EXTENSIONS = ["tables", "attr_list", "admonition", "pymdownx.details", "pymdownx.superfences", "toc"]
ANCHOR = re.compile(r"\{ #([a-z]+-\d+) \}$", re.MULTILINE)


class Text(HTMLParser):
    """The headings and tables of a page as a reader sees them, with its links and anchors."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.headings: dict[str, str] = {}
        self.rows: list[list[str]] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: list[str] = []
        self._heading = ""
        self._in_cell = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a heading, a row or a cell; note links and anchors."""
        found = {name: value or "" for name, value in attrs}
        self.anchors += [found[name] for name in ("id", "name") if name in found]
        self.links += [found["href"]] if tag == "a" and "href" in found else []
        self.loaded += [found[name] for name in ("src", "href") if name in found and tag in ("script", "link", "img")]
        if re.fullmatch(r"h[1-6]", tag):
            self._heading = found.get("id", "")
            self.headings[self._heading] = ""
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        """End a heading or a cell."""
        if re.fullmatch(r"h[1-6]", tag):
            self._heading = ""
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        """Add a text to the heading or cell that is open."""
        if self._heading:
            self.headings[self._heading] += data
        if self._in_cell:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Give the text of every page, made without a run."""
    folder = tmp_path_factory.mktemp("pages")
    make.write(Sources(), folder)
    docs = folder / "docs"
    return {path.relative_to(docs).as_posix(): path.read_text(encoding="utf-8") for path in docs.rglob("*.md")}


def test_each_promise_is_in_the_book_once(pages: dict[str, str]) -> None:
    """Each promise of docs/promises.csv has one section, on the page of its feature."""
    found = [name for text in pages.values() for name in ANCHOR.findall(text)]
    listed = [one["id"] for one in promises(PROJECT) if not one["kept_by"] and not one["dropped"]]
    assert Counter(found) == Counter(listed)


def test_headings_and_rows_are_as_written(pages: dict[str, str]) -> None:
    """Each name and each row of an outline is read in the book as the feature has it."""
    by_page: dict[str, list[Promise]] = {}
    for one in Sources().promises.values():
        by_page.setdefault(page_of(one), []).append(one)
    for page, of_it in by_page.items():
        seen = Text(Markdown(extensions=EXTENSIONS).convert(pages[page].split("---\n", 2)[2]))
        for one in of_it:
            assert seen.headings[one.scenario_id].lower() == one.scenario["name"].lower()
            for table in one.scenario["examples"]:
                for row in (table["tableHeader"], *table["tableBody"]):
                    assert [cell["value"] for cell in row["cells"]] in seen.rows, f"{one.scenario_id}: {row}"


def test_scenarios_are_whole(pages: dict[str, str]) -> None:
    """Each sentence, row and text of each scenario and its background is in its section."""
    for one in Sources().promises.values():
        section = pages[page_of(one)].partition(f"#{one.scenario_id} }}")[2].partition("\n### ")[0]
        assert "\n".join(scenario(one)) in section
        lines = one.text.path.read_text(encoding="utf-8").splitlines()
        for step in (*one.background, *one.scenario["steps"]):
            wanted = [step["text"], *(lines[row["location"]["line"] - 1] for row in rows_of(step))]
            assert not [text for text in wanted if text.strip() not in section], one.scenario_id


def rows_of(step: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the table of a step."""
    rows: list[dict[str, Any]] = step.get("dataTable", {}).get("rows", [])
    return rows


def test_bounds_and_remedies(pages: dict[str, str]) -> None:
    """A section has each bound with its default, as practices.toml takes it, and each remedy."""
    sources = Sources()
    assert set(sources.bounds) <= set(sources.promises)
    for name, bounds in sources.bounds.items():
        section = pages[page_of(sources.promises[name])].partition(f"#{name} }}")[2].partition("\n### ")[0]
        for one in bounds:
            assert f"{one.name} = {json.dumps(one.default)}" in section
    audit = pages["pure_cache/audit.md"].partition("#cache-007 }")[2].partition("\n### ")[0]
    assert "`CONFIG SET maxmemory-policy allkeys-lru`" in audit
    assert "| Aiven | Advanced configuration: `valkey_maxmemory_policy` |" in audit


def test_code_to_copy(pages: dict[str, str]) -> None:
    """Each module in an index of src has a page, and each line that a page names begins what it says."""
    for name, text in pages.items():
        for word, page, number in re.findall(r"\[`(\w+)`\]\(\.\./(code/[^#)]+)#__codelineno-0-(\d+)\)", text):
            fence = pages[page].partition("```python")[2].splitlines()
            assert re.search(rf"(class|def) {word}\b", fence[int(number)]), f"{name}: {word} in line {number}"
    assert "code/redis_practices-pure_cache-cache_aside.md" in pages


@pytest.mark.parametrize(
    "text", ["<NAME> & co", "a|b", "`x` and <y>", "*not* _this_", "{ #id }", "\\x80 \\|", "# [a](b)"]
)
def test_escaped_text(text: str) -> None:
    """A text with Markdown's characters is read as it is written, as prose and as code in a cell."""
    row = f"| {code(text)} | {plain(text)} |"
    html = Markdown(extensions=EXTENSIONS).convert(f"### {plain(text)} {{ #it }}\n\n| a | b |\n| --- | --- |\n{row}\n")
    seen = Text(html)
    assert seen.headings["it"] == text.replace("`", "")
    assert seen.rows[1] == [text, text.replace("`", "")]


def test_errors_index(pages: dict[str, str]) -> None:
    """The index has each error with its meaning, its promises and a command or setting to type."""
    assert [error["name"] for error in make.ERRORS] == ERRORS
    for error in make.ERRORS:
        section = pages["errors.md"].partition(f"#{make.anchor(error['name'])} }}")[2].partition("\n## ")[0]
        assert error["text"] in section
        assert all(f"#{name})" in section for name in error["promises"])
        assert "`" in section.partition("What to do:")[2].partition("The promises")[0]


def test_everyday_names(pages: dict[str, str]) -> None:
    """Each everyday name leads to promises that exist, and stands in their sections."""
    sources = Sources()
    for word, ids in sources.everyday.items():
        assert ids, f"{word} has no promise"
        assert not [name for name in ids if name not in sources.promises], word
        assert f"## {plain(word)}\n" in pages["words.md"]
    for word, name in SEARCHED.items():
        assert [known for known, ids in sources.everyday.items() if word in known and ids[0] == name], word


Provoke = Callable[[ProcessGroup], object]


def _wrong_node(group: ProcessGroup) -> object:
    with start_cluster(group, primaries=3, replicas=0).nodes[0].client() as client:
        return [client.execute_command("GET", f"user:{number}") for number in range(50)]


def _two_slots(group: ProcessGroup) -> object:
    with start_cluster(group, primaries=3, replicas=0).nodes[0].client() as client:
        return client.execute_command("MGET", "a", "b")


def _no_slot(group: ProcessGroup) -> object:
    with start_server(group, {"cluster-enabled": "yes", "save": ""}).client() as client:
        return client.set("a", 1)


def _replica(group: ProcessGroup) -> object:
    with start_server(group, CACHE).client() as client:
        client.replicaof("127.0.0.1", 1)
        return client.set("a", 1)


def _setting(name: str, value: str, group: ProcessGroup) -> object:
    with start_server(group, {**CACHE, "maxmemory-policy": "noeviction"}).client() as client:
        client.config_set(name, value)
        return client.set("a", 1)


def _other_type(group: ProcessGroup) -> object:
    with start_server(group, CACHE).client() as client:
        client.rpush("a", 1)
        return client.get("a")


def _one_client(group: ProcessGroup) -> object:
    server = start_server(group, {**CACHE, "maxclients": 1})
    with server.client() as first, server.client() as second:
        return first.ping() and second.ping()


def _no_snapshot(group: ProcessGroup) -> object:
    with start_server(group, {**CACHE, "save": "3600 1"}).client() as client:
        (Path(client.config_get("dir")["dir"]) / client.config_get("dbfilename")["dbfilename"]).mkdir()
        client.bgsave()
        assert poll(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", 5)
        return client.set("a", 1)


def _loading(group: ProcessGroup) -> object:
    server = start_server(group, {**CACHE, "enable-debug-command": "local", "key-load-delay": 1000})
    with server.client() as client, Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as other:
        client.mset({str(number): "x" * 100 for number in range(500)})
        client.config_set("loading-process-events-interval-bytes", 1024)
        reload = Thread(target=partial(client.execute_command, "DEBUG", "RELOAD"))
        reload.start()
        try:
            return poll(lambda: not other.ping(), 5)
        finally:
            join(reload)


def _demoted(group: ProcessGroup) -> object:
    server = start_server(group, CACHE)
    with server.client() as client, server.client() as waiting:

        def demote() -> None:
            poll(lambda: client.info("clients")["blocked_clients"] == 1, 5)
            client.replicaof("127.0.0.1", 1)

        demotion = Thread(target=demote)
        demotion.start()
        try:
            return waiting.blpop(["a"], 5)
        finally:
            join(demotion)


def _unknown_name(group: ProcessGroup) -> object:
    primary = start_server(group, CACHE)
    monitor = {"sentinel monitor": ["primary", "127.0.0.1", str(primary.port), "1"]}
    sentinel = servers.Sentinel(group, monitor)
    sentinel.wait_ready()
    return Sentinel([("127.0.0.1", sentinel.port)]).discover_master("mymaster")


PROVOKED: dict[str, Provoke] = {
    "MOVED": _wrong_node,
    "CROSSSLOT": _two_slots,
    "READONLY": _replica,
    "OOM": partial(_setting, "maxmemory", "1"),
    "MISCONF": _no_snapshot,
    "NOREPLICAS": partial(_setting, "min-replicas-to-write", "1"),
    "LOADING": _loading,
    "CLUSTERDOWN": _no_slot,
    "UNBLOCKED": _demoted,
    "WRONGTYPE": _other_type,
    "max number of clients reached": _one_client,
    "No master found": _unknown_name,
}
"""By error, what makes a real server or library raise it."""


@pytest.mark.parametrize("name", PROVOKED)
def test_error_of_a_real_server(name: str) -> None:
    """A real server answers the text in the index, and redis-py raises the class in the index."""
    [error] = [error for error in make.ERRORS if error["name"] == name]
    with ProcessGroup() as group, pytest.raises(Exception) as caught:  # noqa: PT011 - the index names it
        PROVOKED[name](group)
    assert type(caught.value).__name__ == error["raises"]
    # redis-py takes the first word away if it has a class for it.
    texts = [error["text"], error["text"].partition(" ")[2]]
    patterns = [
        "".join(".*" if part[0] == "<" else re.escape(part) for part in re.findall(r"<\w+>|[^<]+", text))
        for text in texts
    ]
    assert any(re.fullmatch(pattern, str(caught.value)) for pattern in patterns), caught.value


def test_lost_binding() -> None:
    """Celery's kombu raises no error for a message without a binding, and drops the message, as the index says."""
    orders = Queue("orders", Exchange("orders"), "orders")
    with ProcessGroup() as group:
        server = start_server(group, CACHE)
        for is_lost in (False, True):
            with Connection(server.url) as connection, connection.channel() as channel, server.client() as client:
                orders(channel).declare()
                assert client.delete("_kombu.binding.orders") if is_lost else True
                connection.Producer(channel).publish("paid", exchange="orders", routing_key="orders")
                assert client.llen("orders") == 1  # the first message alone
    assert {*PROVOKED, "Table empty or key no longer exists"} == {*ERRORS}


MISTAKES = {
    "--report none.json": "No such file or directory",
    "--report book/mkdocs.yml": "is no report of this version",
    "--report docs/compatibility.json": "is no report of this version",
    "--report pyproject.toml --report none.json": "pyproject.toml is no report of this version",
}
"""By wrong options, a part of the one line that explains them."""


@pytest.mark.parametrize("options", MISTAKES)
def test_wrong_report(options: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is no report is one line with the next step, and exit code 4."""
    monkeypatch.chdir(PROJECT)
    assert make.main(options.split()) == 4
    [line] = capsys.readouterr().err.splitlines()
    assert MISTAKES[options] in line
    assert "give the report.json of a run" in line


def test_folder_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that cannot be made is one line with the next step, and exit code 4."""
    assert make.main(["--folder", "/proc/no-folder"]) == 4
    assert capsys.readouterr().err == "book: /proc/no-folder: No such file or directory; give another --folder\n"


def test_lost_table_or_promise() -> None:
    """A guide with a table or a promise that is gone ends the book with its name."""
    with pytest.raises(make.BookError, match="cache-999 is the id of no promise"):
        make.link(Sources(), "cache-999")
    with pytest.raises(make.BookError, match=r"docs/cache.md has no line with 'threads, hats'"):
        make.table_in(PROJECT / "docs" / "cache.md", "threads, hats")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the built book, with the values of a real run of a few features."""
    folder = tmp_path_factory.mktemp("book")
    features = ["features/pure_cache/cache_aside.feature", "features/pure_cache/audit.feature"]
    environment, report = gate_environment(), str(folder / "results" / "report.json")
    for command in (
        ["-m", "pytest", *features, "--processes", "2", "--report", str(folder / "results")],
        ["book/make.py", "--folder", str(folder), "--report", report],
    ):
        ended = subprocess.run(
            [sys.executable, *command],
            cwd=PROJECT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder / "site"


@pytest.mark.slow
def test_values_of_a_run(site: Path) -> None:
    """The book shows each value that a run has seen, in the row of its example; other promises were not run."""
    [report] = (site.parent / "results").glob("report.json")
    records = json.loads(report.read_text(encoding="utf-8"))["scenarios"]
    page = Text((site / "pure_cache" / "cache_aside.html").read_text(encoding="utf-8"))
    rows = [record for record in records if record["scenario_id"] == "cache-016"]
    assert len(rows) == 3
    for record in rows:
        assert [record["row"]["WHERE"], "calls of the origin: 1"] in page.rows
    assert ["calls of the origin", "== 1", "1"] in page.rows
    assert "not run." in (site / "pure_cache" / "memory.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_links(site: Path) -> None:
    """Each link leads to a file and an anchor of the book, and no page loads or names another host."""
    pages = {path: Text(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    anchors = {path: {*page.anchors} for path, page in pages.items()}
    broken, foreign = [], []
    for path, page in pages.items():
        foreign += [f"{path.name}: {link}" for link in (*page.links, *page.loaded) if re.match(r"(\w+:)?//", link)]
        for link in (*page.links, *page.loaded):
            file, _, anchor = link.partition("#")
            target = (path.parent / file.partition("?")[0]).resolve() if file else path
            is_there = target.exists() or path.name == "404.html"
            if not is_there or (anchor and anchor not in anchors.get(target, [anchor])):
                broken.append(f"{path.name}: {link}")
    assert not foreign
    assert not broken, f"{len(broken)}: {broken[:5]}"


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize(("key", "word"), [("Control+k", "stampede"), *(("/", word) for word in (*SEARCHED, *ERRORS))])
def test_search(site: Path, open_file: OpenFile, key: str, word: str) -> None:
    """Keys alone find a word from the file system, and Enter opens its promise or error; no host is asked."""
    opened = open_file(site / "index.html")
    opened.page.keyboard.press(key)
    box = opened.page.get_by_role("combobox")
    box.wait_for(timeout=20000)
    opened.page.keyboard.type(word)
    wanted = SEARCHED.get(word) or make.anchor(word)
    link = f"?h={quote_plus(word)}#{wanted}"
    opened.page.locator(f"[role=option][aria-posinset='1'][href$='{link}']").wait_for(timeout=20000)
    opened.page.keyboard.press("Enter")
    opened.page.wait_for_url(lambda url: url.endswith(link), timeout=20000)
    assert opened.page.locator(f"[id='{wanted}']").is_visible()
    assert not [url for url in opened.requests if not url.startswith(("file:", "data:", "blob:"))]


@pytest.mark.slow
@pytest.mark.browser
def test_search_for_everyday_names(site: Path, open_file: OpenFile) -> None:
    """The first result for each everyday name is one of its promises, its error, or a page with that title."""
    opened = open_file(site / "index.html")
    opened.page.keyboard.press("/")
    box = opened.page.get_by_role("combobox")
    for word, ids in Sources().everyday.items():
        box.fill(word)
        known = [*ids, *(make.anchor(name) for name in ERRORS if word.lower().startswith(name.lower()))]
        first = "[role=option][aria-posinset='1']"
        anchors = [f"{first}[href$='?h={quote_plus(word)}#{name}']" for name in known]
        opened.page.locator(", ".join([*anchors, f"{first}:has(h2:has-text('{word}'))"])).wait_for(timeout=20000)


LEGIBLE = [
    *("index.html", "errors.html", "guides/managed.html", "guides/adopt.html", "gate/refusals.html"),
    *("pure_cache/audit.html", "redis_cluster/partition.html", "code/redis_practices-tuning-bulk.html"),
]


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_book_is_legible(site: Path, open_file: OpenFile, width: int, scheme: Literal["light", "dark"]) -> None:
    """No page is wider than the screen, its colours follow the scheme, and every contrast is at least 4.5."""
    for name in LEGIBLE:
        opened = open_file(site / name, width, scheme)
        page, screen = opened.run("[document.documentElement.scrollWidth, innerWidth]")
        assert page <= screen, f"{name} is {page} pixels wide"
        chosen = opened.run("document.body.dataset.mdColorScheme")
        assert chosen == {"light": "default", "dark": "slate"}[scheme]
        faint = opened.page.evaluate(CONTRAST.read_text(encoding="utf-8"), 4.5)
        assert not faint, f"{name}:\n" + "\n".join(faint)
