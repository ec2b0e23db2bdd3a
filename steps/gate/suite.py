"""The sentences about the suite: its checks, bounds, baselines and options."""

from __future__ import annotations

import ast
import json
import math
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import hypothesis
import pytest
from hypothesis import HealthCheck, example, settings
from hypothesis import strategies as st
from pytest_bdd import given, parsers, then, when

from fixtures import PROJECT
from fixtures.bdd.definitions import definitions_seen, editor_settings
from fixtures.gate.deployment_under_test import gate_environment
from fixtures.gate.sample_project import Outcome, SampleTree
from fixtures.reporting.measurements import Bound
from fixtures.run.options import ROLES, STACKS, checked
from fixtures.stacks.external.stack import ExternalStack
from redis_practices.cli import Failure, UsageError
from redis_practices.clients import checked_url
from redis_practices.polling import eventually
from steps.common.vocabulary import TYPES, Duration, rows

Table = list[list[str]]


@given("these sentences")
def write_sentences(sample_tree: SampleTree, docstring: str) -> None:
    """Give the sample tree its step definitions."""
    sample_tree.write("conftest.py", f"from pytest_bdd import given, parsers, then, when\n\n{docstring}\n")


@given("these sentences too")
def add_sentences(sample_tree: SampleTree, docstring: str) -> None:
    """Add step definitions to those of the sample tree."""
    sample_tree.write("conftest.py", f"{sample_tree.read('conftest.py')}\n{docstring}\n")


@given(parsers.parse('the feature "{name}"'))
def write_feature(sample_tree: SampleTree, name: str, docstring: str) -> None:
    """Write a feature file into the sample tree, in place of one of that name."""
    sample_tree.write(f"features/{name}", docstring)


@given(parsers.parse('a pytest-bdd that has no "{name}" in its module "{module}"'))
def remove_internal(sample_tree: SampleTree, name: str, module: str) -> None:
    """Let a plugin take a name out of the real pytest-bdd, after that is loaded and before the checks are."""
    sample_tree.write("later_pytest_bdd.py", f"import pytest_bdd.{module}\n\ndel pytest_bdd.{module}.{name}\n")
    sample_tree.plugins.insert(1, "later_pytest_bdd")


@given(parsers.parse('a user typed "{command}"'))
@when(parsers.parse('a user types "{command}"'), target_fixture="outcome")
def run_pytest(sample_tree: SampleTree, command: str) -> Outcome:
    """Run a command line of pytest in the sample tree."""
    return sample_tree.run(*shlex.split(command)[1:])


@when(parsers.parse('each of these lines is changed in a copy of "{name}"'), target_fixture="changes")
def write_changed_copies(sample_tree: SampleTree, name: str, datatable: Table) -> Table:
    """Write a copy of a feature for each row of the table, with one line of it changed."""
    for number, (line, changed_to, *_) in enumerate(datatable[1:], 1):
        sample_tree.write_changed(f"features/{name}", f"features/change_{number}.feature", line, changed_to)
    return datatable[1:]


@then(parsers.parse("pytest exits with {code:d}"))
def check_exit_code(outcome: Outcome, code: int) -> None:
    """Compare the exit code, and show what was said when it differs."""
    assert outcome.exit_code == code, f"it exited with {outcome.exit_code} and said:\n{outcome.stdout}{outcome.stderr}"


@then("pytest says")
def check_lines(outcome: Outcome, docstring: str) -> None:
    """Find each line of the doc string in a line pytest printed, in this order."""
    printed = iter(outcome.lines)
    for wanted in docstring.splitlines():
        assert any(wanted.strip() in line for line in printed), f"not said, or not in this order: {wanted}\n{outcome}"


@then("each copy is refused at its line for its reason")
def check_refusals(outcome: Outcome, changes: Table) -> None:
    """Find the refusal of every changed copy, and no run of anything."""
    assert outcome.exit_code == pytest.ExitCode.INTERRUPTED, f"it was not refused\n{outcome}"
    for number, (_, changed_to, line, reason) in enumerate(changes, 1):
        start = f"features/change_{number}.feature:"
        said = [text for text in outcome.lines if text.startswith(start)]
        expected = f"{start}{line}: "
        assert any(text.startswith(expected) and reason in text for text in said), (
            f"{changed_to!r} was not refused at line {line} because {reason!r}; said was: {said}"
        )


@then(parsers.parse('"{name}" itself is not'))
def check_not_refused(outcome: Outcome, name: str) -> None:
    """Find no refusal of a feature file."""
    said = [text for text in outcome.lines if text.startswith(f"features/{name}:")]
    assert not said, f"it is refused: {said}"


@then(parsers.parse('the refusal of "{sentence}" is shown {times:d} times'))
def check_unused(outcome: Outcome, sentence: str, times: int) -> None:
    """Count how often an unused sentence is refused."""
    said = [text for text in outcome.lines if "no feature uses" in text and f'"{sentence}"' in text]
    assert len(said) == times, f"shown {len(said)} times\n{outcome}"


@then(parsers.parse("exactly {scenarios} ran"))
def check_ran(outcome: Outcome, scenarios: str) -> None:
    """Compare the scenarios that ran, named with a slash between, with those asked for."""
    ended = [line for line in outcome.lines if line.startswith(("PASSED ", "FAILED "))]
    ran = [line.partition("::")[2].partition(" - ")[0] for line in ended]
    assert sorted(ran) == sorted(scenarios.split(" / ")), f"these ran: {ran}\n{outcome}"


@then(parsers.parse('"{name}" holds these tests'))
def check_junit(sample_tree: SampleTree, name: str, datatable: Table) -> None:
    """Compare the tests of a JUnit file, and what it says of those that failed."""
    found = []
    for case in ET.fromstring(sample_tree.read(name)).iter("testcase"):  # noqa: S314 - pytest has just written it
        failure = case.find("failure")
        message = "" if failure is None else failure.get("message", "").splitlines()[0]
        found.append([case.get("classname"), case.get("name"), message])
    assert sorted(found) == sorted(datatable[1:]), f"it holds {found}"


@then(parsers.parse('"{bound:Bound}" means "{shown}", which allows {allowed} and refuses {refused}', extra_types=TYPES))
def check_bound(bound: Bound, shown: str, allowed: str, refused: str) -> None:
    """Compare how a bound is shown, and what it says to values."""
    assert str(bound) == shown
    judged = {value: bound.allows(float(value)) for value in [*allowed.split(", "), *refused.split(", ")]}
    assert judged == {**dict.fromkeys(allowed.split(", "), True), **dict.fromkeys(refused.split(", "), False)}


@when(parsers.parse("it is waited for within {limit:Duration}", extra_types=TYPES), target_fixture="end_of_waiting")
def wait(limit: Duration, datatable: Table) -> str:
    """Wait for something that becomes true after a time and takes another time to look at; return how that ends."""
    (row,) = rows(datatable, ["TRUE AFTER", "TAKES"])
    true_from = time.monotonic() + float(row["TRUE AFTER"])

    def look() -> str:
        """Look at it."""
        time.sleep(float(row["TAKES"]))
        assert time.monotonic() >= true_from, "not yet true"
        return "it is true"

    try:
        return eventually(look, within=limit.seconds())
    except AssertionError as failure:
        return str(failure)


@then(parsers.parse('the waiting ends with "{end}"'))
def check_end(end_of_waiting: str, end: str) -> None:
    """Compare how the waiting ended; " … " stands for what differs from run to run."""
    assert all(part in end_of_waiting for part in end.split(" … ")), end_of_waiting


@given(parsers.parse('in "{name}" the run was different'))
def change_report(sample_tree: SampleTree, name: str, datatable: Table) -> None:
    """Let an older report say something else of some scenarios."""
    report = json.loads(sample_tree.read(name))
    wanted = {row["SCENARIO"]: row for row in rows(datatable, ["SCENARIO", "STATUS", "SECONDS", "SEEN"])}
    for record in report["scenarios"]:
        row = wanted[record["id"].partition("::")[2]]
        record |= {"status": row["STATUS"], "seconds": float(row["SECONDS"])}
        record["measurements"][0]["seen"] = int(row["SEEN"])
    sample_tree.write(name, json.dumps(report))


@given(parsers.parse('the text "{text}" in a file "{name}"'))
def write_text(sample_tree: SampleTree, name: str, text: str) -> None:
    """Write a file."""
    sample_tree.write(name, text)


@then(
    parsers.parse(
        "of 12 scenarios at {pace:g} times the time, with a noise of {noise:g} %, one at {own:g} times is told: {told}"
    )
)
def check_slower(pace: float, noise: float, own: float, told: str) -> None:
    """Compare two runs whose scenarios differ as said."""
    from fixtures.reporting.baseline import compare  # noqa: PLC0415 - a run without --baseline shall not import it

    spread = [pace * math.exp(noise / 100 * (number - 5) / 3.3) for number in range(11)]
    before = [_record(number, 2.0) for number in range(12)]
    after = [_record(number, 2.0 * factor) for number, factor in enumerate([*spread, own])]
    older: Any = {"started": "before", "scenarios": before}
    changes = compare(older, after)["changes"]
    assert [(one["id"], one["kind"]) for one in changes] == ([("11", "slower")] if told == "yes" else []), changes


def _record(number: int, seconds: float) -> Any:
    """Return as much of a scenario that passed as is compared."""
    return {"id": str(number), "status": "passed", "seconds": seconds, "measurements": [], "reason": None}


FOUND = ("given", "when", "then", "step")


@then(parsers.parse('"{name}" is what the sentences ask for'))
def check_settings(name: str) -> None:
    """Compare the file with what it would be now; UPDATE=1 writes it."""
    wanted, path = editor_settings(definitions_seen()), PROJECT / name
    if os.environ.get("UPDATE"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(wanted, encoding="utf-8")
    seen = path.read_text(encoding="utf-8") if path.exists() else ""
    assert seen == wanted, f"{name} is not current: UPDATE=1 pytest features/gate/editors.feature"


@then("every sentence is a literal that editors can read")
def check_literals() -> None:
    """Find no decorator of a step whose sentence is put together, computed or a regular expression."""
    found = [place for path in sorted((PROJECT / "steps").rglob("*.py")) for place in _unreadable(path)]
    assert not found, f"editors cannot read the sentences at {', '.join(found)}: write one literal for parsers.parse"


def _unreadable(path: Path) -> list[str]:
    """Return the places of sentences that are not one literal."""
    source = path.read_text(encoding="utf-8")
    lines = source.encode().splitlines()
    decorators = [
        one
        for function in ast.walk(ast.parse(source))
        if isinstance(function, ast.FunctionDef)
        for one in function.decorator_list
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id in FOUND
    ]
    return [f"{path.name}:{one.lineno}" for one in decorators if not _readable(one.args[0], lines)]


def _readable(sentence: ast.expr, lines: list[bytes]) -> bool:
    """Tell whether a sentence is one literal, alone or in parsers.parse or parsers.cfparse."""
    if isinstance(sentence, ast.Call):
        if not (isinstance(sentence.func, ast.Attribute) and sentence.func.attr in ("parse", "cfparse")):
            return False
        sentence = sentence.args[0]
    if not isinstance(sentence, ast.Constant) or sentence.lineno != sentence.end_lineno:
        return False
    text = lines[sentence.lineno - 1][sentence.col_offset : sentence.end_col_offset].decode()
    # Two literals side by side are one constant to Python, and none to an editor.
    return text[0] == text[-1] and text[0] in "\"'"


PASSWORD = "s3cr3t"  # noqa: S105 - of nobody
QUIET: dict[str, Any] = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}

_WORDS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)
_HOSTS = st.sampled_from(
    ("127.0.0.1", "localhost", "[::1]", "", "[::1", "a..b", "x" * 70, "ü.invalid", "%00", "a b", "*")
)
_PORTS = st.sampled_from(("", ":1", ":0", ":70000", ":x", ":-1", ":"))
_TAILS = st.one_of(
    st.sampled_from(
        ("", "/0", "/99", "/x", "?db=x", "?socket_timeout=x", "?ssl_cert_reqs=?", "?protocol=9", "?timeout", "#")
    ),
    _WORDS,
)
_SCHEMES = st.sampled_from(("redis://", "rediss://", "redis:", "unix://", "amqp://", "REDIS://", "", " r://"))
_USERS = st.one_of(
    st.sampled_from((f":{PASSWORD}@", f"u:{PASSWORD}@", f"{PASSWORD}@", f":{PASSWORD}/x@", f"u:{PASSWORD}#@", "")),
    _WORDS,
)
NEARLY_URLS = st.tuples(_SCHEMES, _USERS, _HOSTS, _PORTS, _TAILS).map("".join)
URLS = st.tuples(
    st.sampled_from(("redis://", "rediss://")),
    st.sampled_from(("", f":{PASSWORD}@", f"u%20:{PASSWORD}@")),
    st.sampled_from(("127.0.0.1:1", "localhost:1", "[::1]:1", f"{'x' * 70}:1", "a..b:1", "%00:1", "-:1")),
    st.sampled_from(("", "/0", "/7", "?protocol=2", "?health_check_interval=1")),
).map("".join)

_NUMBERS = st.one_of(st.integers().map(str), st.sampled_from(("core", "core,", "@core", "1e3", "٣")), _WORDS)
OPTIONS: dict[str, Any] = {
    **{f"{role}_url": st.one_of(st.none(), NEARLY_URLS) for role in ROLES},
    "stack": st.sampled_from((None, *STACKS)),
    "max_ops": st.one_of(st.none(), _NUMBERS),
    "require": _WORDS,
    "server_binary": st.one_of(st.none(), _WORDS.filter(lambda text: "\0" not in text)),  # no shell can give that
    "keyword": _WORDS,
    "markexpr": _WORDS,
    **dict.fromkeys(("keep_stack", "allow_disruption"), st.booleans()),
}
NOTHING = {name: False if name in ("keep_stack", "allow_disruption") else "" for name in OPTIONS} | {"stack": None}


def _refusal(url: str, *, connects: bool) -> str:
    """Return why a URL is refused; "" when it is taken."""
    try:
        checked_url(url, "--cache-url")
        if connects:
            ExternalStack({"cache": url}).engines()
    except (UsageError, Failure) as error:
        return str(error)
    return ""


def _check_line(line: str) -> None:
    """Require one line without the password."""
    assert len(line.splitlines()) <= 1, f"more than one line: {line!r}"
    assert PASSWORD not in line, f"the password is in it: {line}"


@then(
    parsers.cfparse("each of {number:Count} texts that are nearly URLs is taken, or gets one line", extra_types=TYPES)
)
def fuzz_texts(number: int) -> None:
    """Hand texts to what reads URLs."""

    @settings(max_examples=number, **QUIET)
    @hypothesis.given(NEARLY_URLS)
    def holds(url: str) -> None:
        _check_line(_refusal(url, connects=False))

    holds()


@then(parsers.cfparse("each of {number:Count} URLs of nobody gets one line within {limit:Duration}", extra_types=TYPES))
def fuzz_urls(number: int, limit: Duration) -> None:
    """Connect to where nobody is."""

    @settings(max_examples=number, **QUIET)
    @hypothesis.given(URLS)
    @example(f"redis://:{PASSWORD}@{'x' * 70}:1")
    def holds(url: str) -> None:
        begun = time.monotonic()
        line = _refusal(url, connects=True)
        assert line, f"{url} is taken"
        _check_line(line)
        assert time.monotonic() - begun <= limit.seconds(), f"{url} took {time.monotonic() - begun:.1f} s"

    holds()


@then(parsers.cfparse("each of {number:Count} sets of options is taken, or gets one line", extra_types=TYPES))
def fuzz_options(number: int, request: pytest.FixtureRequest) -> None:
    """Hand values to what checks options."""

    # What ends a line is more than a newline.
    @settings(max_examples=number, **QUIET)
    @hypothesis.given(st.fixed_dictionaries(OPTIONS))
    @example({**NOTHING, "require": "core\x1e0"})
    @example({**NOTHING, "server_binary": "redis\n0"})
    def holds(given_options: dict[str, Any]) -> None:
        config: Any = SimpleNamespace(option=SimpleNamespace(**given_options), getini=request.config.getini)
        try:
            checked(config)
        except pytest.UsageError as error:
            _check_line(str(error))

    holds()


@then(parsers.cfparse("{number:Count} runs with URLs that were made up end in one line each", extra_types=TYPES))
def fuzz_runs(number: int, tmp_path: Path) -> None:
    """Run pytest with some of them."""

    @settings(max_examples=number, **QUIET)
    @hypothesis.given(NEARLY_URLS.filter(lambda url: url and "\0" not in url and _refusal(url, connects=False)))
    def holds(url: str) -> None:
        command = [sys.executable, "-m", "pytest", "features", f"--cache-url={url}", "--report", str(tmp_path)]
        ended = subprocess.run(
            command, cwd=PROJECT, env=gate_environment(), capture_output=True, text=True, timeout=60, check=False
        )
        said = [line for line in f"{ended.stdout}{ended.stderr}".splitlines() if line.strip()]
        assert ended.returncode == pytest.ExitCode.USAGE_ERROR, said
        assert len(said) == 1, said
        _check_line(said[0])
        report = (tmp_path / "report.json").read_text(encoding="utf-8")
        assert json.loads(report)["verdict"] == "error", report
        assert PASSWORD not in report, report

    holds()
