"""The sentences about reports, pages and messages of a run."""

from __future__ import annotations

import json
import re
import time
import tomllib
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

from pytest_bdd import given, parsers, then, when

from fixtures import PROJECT
from fixtures.bdd.gherkin import read
from fixtures.gate.sample_project import OpenPage, OpenPageIn, Outcome, PageReader, SampleTree, problems
from fixtures.reporting.measurements import Bound, Measure
from fixtures.reporting.redaction import Secrets
from steps.common.vocabulary import TYPES, assert_table, rows

Table = list[list[str]]
Record = dict[str, Any]


@given(parsers.parse('an older "{name}" with the verdict "{verdict}"'))
def leave_older_report(sample_tree: SampleTree, name: str, verdict: str) -> None:
    """Leave what a run before would have left."""
    sample_tree.write(name, json.dumps({"verdict": verdict, "scenarios": []}))


@given(parsers.parse('a file named "{name}"'))
def write_file(sample_tree: SampleTree, name: str) -> None:
    """Put a file in the way."""
    sample_tree.write(name, "in the way\n")


@then(parsers.parse('"{name}" holds these properties'))
def check_properties(sample_tree: SampleTree, name: str, datatable: Table) -> None:
    """Compare the properties of each test in a JUnit file."""
    tests = ET.parse(sample_tree.root / name).iter("testcase")  # noqa: S314 - our own run wrote it
    seen = [(test.get("name"), prop.get("name"), prop.get("value")) for test in tests for prop in test.iter("property")]
    assert_table(datatable, [dict(zip(("NAME", "PROPERTY", "VALUE"), row, strict=True)) for row in seen])


@then(parsers.parse('"{name}" says of the run'))
def check_run(sample_tree: SampleTree, name: str, datatable: Table) -> None:
    """Compare every field of the report but the scenarios."""
    run = _report(sample_tree, name)
    run.pop("scenarios")
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    run["suite"] = "this project's" if run["suite"] == version else run["suite"]
    _assert_fields(datatable, [_timed(sample_tree, name, run)])


@then(parsers.parse('"{name}" says of its scenarios'))
def check_scenarios(sample_tree: SampleTree, name: str, datatable: Table) -> None:
    """Compare every field of every scenario but its lists of parts."""
    records = [_timed(sample_tree, name, record) for record in _report(sample_tree, name)["scenarios"]]
    for record in records:
        for part in ("steps", "measurements", "charts", "evidence"):
            record.pop(part)
        record["tags"] = " ".join(record["tags"])
    _assert_fields(datatable, records)


@then(parsers.parse('"{name}" says of the {parts} of its scenarios'))
def check_parts(sample_tree: SampleTree, name: str, parts: str, datatable: Table) -> None:
    """Compare every field of every measurement, chart or step."""
    records = _report(sample_tree, name)["scenarios"]
    seen = [{"id": record["id"], **part} for record in records for part in record[parts]]
    _assert_fields(datatable, [_timed(sample_tree, name, part) if "seconds" in part else part for part in seen])


@then(parsers.parse('"{name}" has the verdict "{verdict}" and the scenarios: {listed}'))
def check_verdict(sample_tree: SampleTree, name: str, verdict: str, listed: str) -> None:
    """Compare the verdict and which scenarios are listed, "none" for an empty list."""
    report = _report(sample_tree, name)
    seen = ", ".join(record["id"] for record in report["scenarios"]) or "none"
    assert (report["verdict"], seen) == (verdict, listed)


@then(parsers.parse('"{name}" names the trouble: {trouble}'))
def check_troubles(sample_tree: SampleTree, name: str, trouble: str) -> None:
    """Find why the run is not whole, "none" for no reason; the reason itself is one line."""
    troubles = _report(sample_tree, name)["troubles"]
    assert [one for one in troubles if trouble in one] or (trouble == "none" and not troubles), troubles
    assert not any("\n" in one for one in troubles), troubles


@then(parsers.parse('"{name}" keeps this evidence'))
def check_evidence(sample_tree: SampleTree, name: str, datatable: Table) -> None:
    """Find each row's words in the evidence of the one scenario, "none" when there is nothing."""
    (record,) = _report(sample_tree, name)["scenarios"]
    for row in rows(datatable, ["TITLE", "TEXT"]):
        found = [
            one for one in record["evidence"] if one["title"].startswith(row["TITLE"]) and row["TEXT"] in one["text"]
        ]
        assert found or (row["TITLE"] == "none" and not record["evidence"]), record["evidence"]


def _report(sample_tree: SampleTree, name: str) -> Record:
    """Return a report with the scenarios' names instead of their whole ids."""
    report: Record = json.loads(sample_tree.read(name))
    for record in report["scenarios"]:
        record["id"] = record["id"].removeprefix("features/pure_cache/sample.feature::")
    return report


def _written(sample_tree: SampleTree, name: str) -> datetime:
    """Return when a file was written."""
    return datetime.fromtimestamp((sample_tree.root / name).stat().st_mtime, UTC)


def _timed(sample_tree: SampleTree, name: str, record: Record) -> Record:
    """Return a record with "within the run" for a duration and "during the run" for a moment that can be true."""
    before, after = (_written(sample_tree, file) for file in ("conftest.py", name))
    started = record.get("started", "")
    if started.endswith("+00:00") and before.replace(microsecond=0) <= datetime.fromisoformat(started) <= after:
        record = {**record, "started": "during the run"}
    possible = 0 < record["seconds"] <= (after - before).total_seconds()
    return {**record, "seconds": "within the run"} if possible else record


def _assert_fields(datatable: Table, records: list[Record]) -> None:
    """Hold a table against records that must have its columns and no others."""
    seen = [{field.upper(): value for field, value in record.items()} for record in records]
    for record in seen:
        assert sorted(record) == sorted(datatable[0]), f"its fields are {', '.join(record)}"
    assert_table(datatable, seen)


@given("a job of GitHub")
def pretend_job(sample_tree: SampleTree) -> None:
    """Set what GitHub sets for each step of a job."""
    place = {"GITHUB_WORKSPACE": str(sample_tree.root), "GITHUB_STEP_SUMMARY": str(sample_tree.root / "job.md")}
    sample_tree.environment = {"GITHUB_ACTIONS": "true", **place}


@then(parsers.parse('every line of "{name}" is a valid Cucumber message'))
def check_schema(sample_tree: SampleTree, name: str) -> None:
    """Hold each line against the types of the published schema."""
    lines = sample_tree.read(name).splitlines()
    found = [f"line {number}: {problem}" for number, line in enumerate(lines, 1) for problem in problems(line)]
    assert not found, "\n".join(found)


@then("its messages are")
def check_kinds(sample_tree: SampleTree, datatable: Table) -> None:
    """Count the messages of each kind, in the order of their first."""
    lines = sample_tree.read("results/messages.ndjson").splitlines()
    count = Counter(next(iter(json.loads(line))) for line in lines)
    assert_table(datatable, [{"MESSAGE": kind, "TIMES": times} for kind, times in count.items()])


@then(parsers.parse('"{name}" tells these cases, each id once'))
def check_cases(sample_tree: SampleTree, name: str, datatable: Table) -> None:
    """Follow the references from each case to its pickle and to the results of its steps."""
    messages = [next(iter(json.loads(line).items())) for line in sample_tree.read(name).splitlines()]
    known = [message["id"] for _, message in messages if "id" in message]
    assert len(known) == len(set(known)), f"ids stand twice: {sorted(known)}"
    pickles = {pickle["id"]: pickle["name"] for kind, pickle in messages if kind == "pickle"}
    results = {
        message["testStepId"]: message["testStepResult"] for kind, message in messages if kind == "testStepFinished"
    }
    seen = []
    for case in (message for kind, message in messages if kind == "testCase"):
        ended = [results[step["id"]] for step in case["testSteps"]]
        said = next((result["message"] for result in ended if "message" in result), "").partition("\n")[0]
        steps = ", ".join(result["status"] for result in ended)
        seen.append({"CASE": pickles[case["pickleId"]], "STEPS": steps, "MESSAGE": said})
    assert_table(datatable, sorted(seen, key=lambda row: str(row["CASE"])))


@then(parsers.parse('no line that pytest says begins with "{start}"'))
def check_no_line(outcome: Outcome, start: str) -> None:
    """Find no such line."""
    found = [line for line in str(outcome).splitlines() if line.startswith(start)]
    assert not found, f"it says {found}"


@then(parsers.parse('"{name}" reads, but for the time it took'))
def check_text(sample_tree: SampleTree, name: str, docstring: str) -> None:
    """Compare a whole text, with "…" in place of a number of seconds."""
    seen = re.sub(r"(?<= in )[\d.]+(?= s )", "…", sample_tree.read(name)).strip()
    assert seen == docstring.strip(), seen


@then(parsers.parse('"{name}" holds "{text}"'))
def check_holds(sample_tree: SampleTree, name: str, text: str) -> None:
    """Find a text in a file."""
    assert text in sample_tree.read(name), sample_tree.read(name)


@then(parsers.parse('"{name}" is a picture that says "{text}"'))
def check_picture(sample_tree: SampleTree, name: str, text: str) -> None:
    """Read a picture as XML."""
    root = ET.fromstring(sample_tree.read(name))  # noqa: S314 - our own run wrote it
    title = root.find("{http://www.w3.org/2000/svg}title")
    assert title is not None, "it has no title"
    assert title.text == text


@then(parsers.parse('the summary of the job is that of "{folder}"'))
def check_job(sample_tree: SampleTree, folder: str) -> None:
    """Compare what GitHub shows with the file."""
    assert sample_tree.read("job.md") == sample_tree.read(f"{folder}/summary.md")


CODE = (*PROJECT.glob("fixtures/reporting/page/*.html"), PROJECT / "src/redis_practices/svg.py")
OWN = set(re.findall(r"<([a-z][a-z0-9]*)", "".join(path.read_text() for path in CODE)))
"""The elements that the page's own code writes."""


@given("these engines were measured")
def write_engines(sample_tree: SampleTree, docstring: str) -> None:
    """Write what benchmarks/engines.py leaves in a project."""
    sample_tree.write("docs/compatibility.json", docstring)


@then(parsers.parse('"{name}" shows'))
def check_texts(sample_tree: SampleTree, name: str, docstring: str) -> None:
    """Find each line of the doc string in the page's texts, in this order."""
    shown = " ".join(PageReader(sample_tree.read(name)).texts)
    at = 0
    for wanted in map(str.strip, docstring.splitlines()):
        found = shown.find(wanted, at)
        assert found >= 0, f"not shown, or not in this order: {wanted}\n{shown}"
        at = found + len(wanted)


@then(parsers.parse('"{name}" holds these pictures'))
def check_pictures(sample_tree: SampleTree, name: str, datatable: Table) -> None:
    """Compare what is said of each picture, and how often it stands there."""
    seen = PageReader(sample_tree.read(name)).pictures
    wanted = rows(datatable, ["TIMES", "PICTURE"])
    plain = Counter({" ".join(picture.split()): times for picture, times in seen.items()})
    assert plain == {row["PICTURE"]: int(row["TIMES"]) for row in wanted}, f"it holds {dict(plain)}"


@then(parsers.parse('"{name}" holds no element but its own'))
def check_elements(sample_tree: SampleTree, name: str) -> None:
    """Find no element and no handler of events that a text could have brought in."""
    page = PageReader(sample_tree.read(name))
    assert not {*page.elements} - OWN, f"strange elements: {sorted({*page.elements} - OWN)}"
    assert (page.elements["script"], page.elements["i"], page.handlers) == (1, 0, []), "a text became markup"


@then(parsers.parse('no file in "{folder}" holds "{text}"'))
def check_secret(sample_tree: SampleTree, folder: str, text: str) -> None:
    """Search every file of a folder."""
    files = [path for path in (sample_tree.root / folder).rglob("*") if path.is_file()]
    found = [path.name for path in files if text in path.read_text(encoding="utf-8")]
    assert files, "there is no file"
    assert not found, f"it stands in {', '.join(found)}"


@then(parsers.parse('these texts are shown without the passwords of "{first}" and "{second}"'))
def check_hidden(first: str, second: str, datatable: Table) -> None:
    """Hide what a run with these URLs hides."""
    secrets = Secrets([first, second])
    seen = [{"TEXT": row["TEXT"], "SHOWN": secrets.hide(row["TEXT"])} for row in rows(datatable, ["TEXT", "SHOWN"])]
    assert_table(datatable, seen)


@when(parsers.parse("the page of {count:Count} scenarios is made", extra_types=TYPES), target_fixture="times")
def make_large_page(sample_tree: SampleTree, count: int) -> float:
    """Make a page five times, of other files each time; return how many times the least of JSON its least took."""
    seen = [_seconds_to_make(sample_tree, f"pure_cache/many_{attempt}", count // 10) for attempt in range(5)]
    return min(page for page, _ in seen) / min(document for _, document in seen)


def _seconds_to_make(sample_tree: SampleTree, name: str, files: int) -> tuple[float, float]:
    """Make the page of feature files of 10 scenarios each that are read already, and write and read it as JSON.

    Returns the seconds of computing of both.
    """
    from fixtures.reporting.page.page import render  # noqa: PLC0415 - a run without --report shall not import it
    from fixtures.reporting.specification import told  # noqa: PLC0415 - the same

    for file in range(files):
        sample_tree.write(f"features/{name}_{file}.feature", _feature())
        read(sample_tree.root / f"features/{name}_{file}.feature")
    records = [_record(f"features/{name}_{file}.feature", number) for file in range(files) for number in range(10)]
    document: Any = {"started": "2026-01-01T00:00:00+00:00", "seconds": 9.0, "stack": "embedded", "engines": {}}
    document |= {"suite": "1", "verdict": "accepted", "troubles": [], "scenarios": records}
    begun = time.process_time()
    features, strangers = told(records, sample_tree.root)
    page = render(document, features, strangers, {"pure_cache": "what is measured"}, sample_tree.root)
    took = time.process_time() - begun
    assert page.count('<details class="scenario"') == files * 10
    begun = time.process_time()
    assert json.loads(json.dumps(document)) == document
    return took, time.process_time() - begun


def _feature() -> str:
    """Return the text of a feature with ten scenarios of four steps."""
    steps = "\n".join(f'    Given "key {step}" is cached for 10 seconds' for step in range(4))
    return "Feature: Many\n" + "".join(f"  Scenario: number {n}\n{steps}\n" for n in range(10))


def _record(file: str, number: int) -> Any:
    """Return what a scenario of such a feature has shown."""
    line = 2 + number * 5
    measured = {"name": "a read", "unit": "s", "bound": "<= 2.5", "low": None, "high": 2.5, "seen": 0.1 + number / 100}
    ended: dict[str, Any] = {
        "status": "passed",
        "reason": None,
        "seconds": 0.1,
        "row": {},
        "tags": ["pure_cache"],
        "rule": None,
    }
    steps = [{"line": line + step, "seconds": 0.1} for step in range(1, 5)]
    shown = {"steps": steps, "measurements": [measured] * 2, "charts": [], "evidence": []}
    return {"id": f"{file}::number {number}", "practice": "pure_cache", "line": line, **ended, **shown}


@then(parsers.parse("that took {bound:Bound} times the computing that JSON takes", extra_types=TYPES))
def check_computing(measure: Measure, times: float, bound: Bound) -> None:
    """Hold it against its bound."""
    measure("making the page: times writing and reading JSON", unit="", seen=round(times, 2), bound=bound)


CONTRAST = PROJECT / "fixtures/reporting/page/contrast.js"


@when(parsers.parse('"{name}" is opened in a browser'), target_fixture="opened")
def open_in_browser(open_page: OpenPageIn, sample_tree: SampleTree, name: str) -> OpenPage:
    """Open a page from the file system."""
    return open_page(sample_tree.root / name)


@when(parsers.parse('"{name}" is opened in a browser in {scheme} mode, {width:d} pixels wide'), target_fixture="opened")
def open_in_size(open_page: OpenPageIn, sample_tree: SampleTree, name: str, scheme: str, width: int) -> OpenPage:
    """Open a page on a screen of some width."""
    return open_page(sample_tree.root / name, width, scheme)


@then("it has asked for nothing else, and nothing went wrong")
def check_requests(opened: OpenPage) -> None:
    """Find one request, for the page itself, and no complaint."""
    assert opened.requests == [opened.path.as_uri()], f"it asked for {opened.requests}"
    assert not opened.complaints, f"the browser says {opened.complaints}"


@then("its filters leave these scenarios")
def check_filters(opened: OpenPage, datatable: Table) -> None:
    """Fill in each row and compare the beginnings of the names that can be seen, in the order of the page."""
    for row in rows(datatable, ["STATUS", "PRACTICE", "TEXT", "SCENARIOS"]):
        opened.page.select_option("[name=status]", row["STATUS"])
        opened.page.select_option("[name=practice]", row["PRACTICE"])
        opened.page.fill("[name=text]", row["TEXT"])
        seen = [one.inner_text() for one in opened.page.locator(".scenario > summary .name").all() if one.is_visible()]
        wanted = [] if row["SCENARIOS"] == "none" else row["SCENARIOS"].split(", ")
        said = opened.page.locator("output").inner_text()
        assert len(seen) == len(wanted), f"{row} leaves {seen}"
        assert sorted(wanted) == sorted(want for want in wanted for name in seen if name.startswith(want)), seen
        assert said.startswith(f"{len(wanted)} of "), said


@then(parsers.parse('"{scenario}" is open and shows "{message}"'))
def check_open(opened: OpenPage, scenario: str, message: str) -> None:
    """Find the message where nobody has to search for it."""
    opened.page.reload()
    shown = opened.page.locator(".scenario[open]", has=opened.page.get_by_text(scenario)).first
    assert message in shown.inner_text(), shown.inner_text()


@then(parsers.parse('a link in "{heading}" leads to what failed'))
def check_link(opened: OpenPage, heading: str) -> None:
    """Follow the first link below a heading; it opens a scenario that was closed."""
    opened.run("document.querySelectorAll('.scenario').forEach((one) => { one.open = false; })")
    opened.page.locator("section", has_text=heading).locator("a").first.click()
    shown = opened.page.locator(".scenario[open]")
    shown.wait_for(timeout=5000)
    assert shown.get_attribute("data-status") == "failed"


@then("nothing on it is wider than the screen")
def check_width(opened: OpenPage) -> None:
    """Open everything; the page does not scroll sideways, and nothing reaches beyond it but what scrolls alone."""
    opened.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    wide = "[document.documentElement.scrollWidth, innerWidth]"
    page, screen = opened.run(wide)
    assert page <= screen, f"it is {page} pixels wide"
    beyond = opened.run(
        "[...document.querySelectorAll('body *')].filter((one) => !one.closest('.scroll, .skip, .quiet, pre')"
        " && one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML.slice(0, 80))"
    )
    assert not beyond, f"these reach beyond the screen: {beyond}"


@then(parsers.parse("every text on it has a contrast of at least {least:g}"))
def check_contrast(opened: OpenPage, least: float) -> None:
    """Compute the contrast of every text with what is behind it."""
    faint = opened.page.evaluate(CONTRAST.read_text(encoding="utf-8"), least)
    assert not faint, "\n".join(faint)


@then("the first press of Tab shows the way past the navigation")
def check_skip_link(opened: OpenPage) -> None:
    """Press Tab, then Enter."""
    opened.page.keyboard.press("Tab")
    box = opened.page.locator(".skip").bounding_box()
    assert box and box["x"] >= 0, f"it is at {box}"  # noqa: PT018 - a box that is there and is seen
    opened.page.keyboard.press("Enter")
    assert opened.run("document.activeElement.id") == "specification"


@then("Enter opens a scenario that has the focus, and the focus can be seen")
def check_keyboard(opened: OpenPage) -> None:
    """Press Tab until a scenario that is closed has the focus, look at its outline, and press Enter."""
    closed = "document.activeElement.matches('.scenario:not([open]) > summary')"
    for _ in range(60):
        opened.page.keyboard.press("Tab")
        if opened.run(closed):
            break
    assert opened.run(closed), "Tab reaches no scenario that is closed"
    assert opened.run("parseFloat(getComputedStyle(document.activeElement).outlineWidth)") >= 2  # noqa: PLR2004 - pixels that can be seen
    opened.page.keyboard.press("Enter")
    assert opened.run("document.activeElement.parentElement.open")


@then("every step is printed")
def check_print(opened: OpenPage) -> None:
    """Look at the page as it is printed, without asking for a printer."""
    opened.run("document.querySelectorAll('details').forEach((one) => { one.open = false; })")
    opened.page.emulate_media(media="print")
    steps = opened.page.locator(".steps li").all()
    unseen = [step.text_content() for step in steps if not (step.bounding_box() or {"height": 0})["height"]]
    assert steps, "there is no step"
    assert not unseen, f"these are not printed: {unseen}"


@then("without script every step can be read, and no filter is offered")
def check_without_script(open_page: OpenPageIn, opened: OpenPage) -> None:
    """Open the page with scripts switched off, and each scenario by a click."""
    page = open_page(opened.path, script=False).page
    assert not page.locator("#filters").is_visible()
    for scenario in page.locator(".scenario").all():
        if scenario.get_attribute("open") is None:
            scenario.locator("> summary").click()
    unseen = [step.text_content() for step in page.locator(".steps li").all() if not step.is_visible()]
    assert not unseen, f"these cannot be read: {unseen}"
