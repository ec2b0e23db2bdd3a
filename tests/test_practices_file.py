"""Test practices.toml: changed bounds, and failures accepted until a date."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from fixtures import PROJECT
from fixtures.bdd.vocabulary import definitions_of
from fixtures.run.practices_file import read_file, waivers_of
from redis_practices.cli import UsageError
from tests.project import REPORTING, Project, assert_said

SENTENCES = """
import re
from fixtures.run.practices_file import audit_bounds, changeable
from steps.common.vocabulary import bound, choices

@then(parsers.parse('"{name}" is one of "{allowed}"'))
@changeable("{name}", "{allowed}", choices)
def check_choice(request, name, allowed):
    wanted = audit_bounds(request).text(name, allowed)
    assert "green" in choices(wanted), f"{name} must be one of {wanted}"

@then(parsers.parse('the number "{name}" is {limit}'))
@changeable("{name}", "{limit}", bound)
def check_number(request, name, limit, measure):
    measure(name, unit="", seen=5, bound=bound(audit_bounds(request).text(name, limit)))

@then("an error")
def break_stack():
    raise StackError("the server did not start")
"""
AUDIT = """\
Feature: {feature}
  Scenario: colour
    Then "colour" is one of "red, blue"

  @cache-007
  Scenario Outline: size
    Then the number "size-<name>" is at most <most>

    Examples:
      | name  | most |
      | small | 4    |
      | big   | 9    |
"""
OTHER = """\
Feature: Others
  Scenario: of the broker
    Then the number "clients" is at least 9

  Scenario: colour
    Then "colour" is one of "green"

  Scenario: broken
    Then an error
"""
CACHE, BROKER = "features/pure_cache/audit.feature", "features/celery_worker/audit.feature"
TODAY = datetime.now(UTC).date()
LATER, EARLIER = TODAY + timedelta(days=2), TODAY - timedelta(days=2)


@pytest.fixture
def audits(project: Project) -> Project:
    """Give a project whose cache fails two of three rows, and whose broker fails one and breaks another."""
    project.plugins.append("fixtures.run.practices_file")
    project.write_sentences(REPORTING, SENTENCES)
    project.write(CACHE, AUDIT.format(feature="The cache"))
    project.write(BROKER, OTHER)
    return project


EVICTED = "the eviction policy of the cache may evict any entry' = { until = 2027-01-31, reason = 'y' }\n"
TWICE = f"[accept]\n'{EVICTED}'{CACHE}::{EVICTED}"
MISTAKES = [
    ('[bound]\nmaxclients = "at least 5"', "there is no section [bound]; the nearest is [bounds]"),
    ("bounds = 3", "bounds = 3 is no section; write [bounds] and its lines below"),
    ("[bounds", "Expected ']'"),
    (
        '[bounds]\nmax-clients = "at least 5"',
        "[bounds] 'max-clients' is the name of no bound; the nearest is maxclients",
    ),
    ('[bounds]\nmaxmemory-policy = "at least 3"', 'cannot be read; write it like "allkeys-lru, allkeys-lfu'),
    ('[bounds]\nmaxmemory-policy = ["allkeys-lru"]', "maxmemory-policy = ['allkeys-lru'] cannot be read"),
    ('[bounds]\nmaxmemory-policy = "allkeys-lur"', "'allkeys-lur' is no known choice; did you mean allkeys-lru?"),
    ("[bounds]\nmaxclients = 500", '[bounds] maxclients = 500 cannot be read; write it like "at least 1000"'),
    ('[bounds]\nmaxclients = "at least 500 %"', "maxclients = 'at least 500 %' cannot be read"),
    ('[bounds]\nmaxclients = "between 9 and 5"', "maxclients = 'between 9 and 5' cannot be read"),
    ('[bounds]\nmaxclients = "many"', "maxclients = 'many' cannot be read"),
    ('[bounds]\nkey-pattern = "["', "key-pattern = '[' cannot be read"),
    ('[bounds]\nkey-ttl = "at least 5"', 'write it like "at most 2592000"'),
    ('[bounds]\nbackports-redis = "eight"', 'write it like "nothing"'),
    ('[bounds.cach]\nmaxclients = "at least 5"', "[bounds.cach] is no role; the nearest is [bounds.cache]"),
    ('[bounds.cache]\nprimaries = "at least 5"', "[bounds.cache] 'primaries' is the name of no bound"),
    ("[accept]\nx = 3", "[accept] 'x': write { reason ="),
    ("[accept]\nx = { until = 2027-01-31 }", "[accept] 'x': write { reason ="),
    ("[accept]\nx = { until = 2027-01-31, reason = ' ' }", "[accept] 'x': write { reason ="),
    ("[accept]\nx = { until = '2027-01-31', reason = 'y' }", "[accept] 'x': write { reason ="),
    ("[accept]\nx = { until = 2027-01-31T00:00:00, reason = 'y' }", "[accept] 'x': write { reason ="),
    ("[accept]\nx = { until = 2027-01-31, reason = 'y', by = 'me' }", "[accept] 'x': write { reason ="),
    (
        "[accept]\n'all nodes of the cluster run the same versions' = { until = 2027-01-31, reason = 'y' }",
        "names no scenario; the nearest is 'all nodes of the cluster run the same version'",
    ),
    (
        "[accept]\n'celery-029[55]' = { until = 2027-01-31, reason = 'y' }",
        "names no row of its scenario; the nearest is 'celery-029[",
    ),
    (
        "[accept]\n'the eviction policy of the cache may evict any entry[x]' = { until = 2027-01-31, reason = 'y' }",
        "names no row of its scenario; it has none: leave out what is in brackets",
    ),
    (
        TWICE,
        "'the eviction policy of the cache may evict any entry' are the same scenario; leave one out",
    ),
    (b"# M\xe4rz\n[bounds]\n# M\xe4rz", "line 1 is not UTF-8; save the file in that encoding"),
    ('["\\u001b]0;title\\u0007"]', "there is no section [\\x1b]0;title\\x07]"),
    (f'[bounds]\n{"x" * 10**5} = "at least 5"', "xxx... is the name of no bound"),
    (f'[bounds]\nmaxclients = "{"9" * 10**5}"', '999... cannot be read; write it like "at least 1000"'),
    (f"[bounds]\nmaxclients = {'9' * 10**5}", "a number has more digits than can be read"),
    (f"[bounds]\nmaxclients = {'[' * 10**5}", "its tables or lists lie too deep in each other to be read"),
]


@pytest.mark.parametrize(("written", "said"), MISTAKES, ids=[str(written)[:100] for written, _ in MISTAKES])
def test_mistake_is_one_line(tmp_path: Path, pytestconfig: pytest.Config, written: str | bytes, said: str) -> None:
    """A mistake in the file leads to one line with name, place and the nearest known name."""
    path = tmp_path / "practices.toml"
    path.write_bytes(written.encode() if isinstance(written, str) else written)
    with pytest.raises(pytest.UsageError) as error:
        read_file(path, PROJECT, definitions_of(pytestconfig))
    line = str(error.value)
    assert line.startswith("practices.toml: ")
    assert said in line
    assert line.isprintable()
    assert len(line) < 400


def test_name_of_two_scenarios_is_refused(tmp_path: Path) -> None:
    """A name of several scenarios leads to one line with a unique name."""
    for name in ("one", "two"):
        path = tmp_path / f"features/pure_cache/{name}.feature"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("Feature: x\n  Scenario: same\n    Then a\n", encoding="utf-8")
    with pytest.raises(UsageError, match="names 2 scenarios; write one as 'features/pure_cache/one"):
        waivers_of({"same": {"reason": "y", "until": date(2027, 1, 31)}}, tmp_path)


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("nothing")], ids=["a folder", "to nowhere"])
def test_what_is_no_file_ends_the_run(audits: Project, make: Callable[[Path], None]) -> None:
    """A folder in place of the file and a dangling link are errors."""
    make(audits.root / "practices.toml")
    run = audits.run("--processes", "0")
    [line] = [line for line in run.outlines if line]
    assert line.startswith("ERROR: practices.toml: no file to read (")
    assert run.ret == pytest.ExitCode.USAGE_ERROR


def test_editor_of_windows_and_steering_signs(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """A file with a byte order mark is read, and reasons are printed short and without control characters."""
    path = tmp_path / "practices.toml"
    reason = '"\\u001b[31mred' + "x" * 10**5 + '"'
    written = f"[accept]\n'cache-007' = {{ until = 2027-01-31, reason = {reason} }}"
    path.write_text(written, encoding="utf-8-sig")
    [told] = read_file(path, PROJECT, definitions_of(pytestconfig))[1].values()
    assert told["reason"].startswith(r"\x1b[31mred")
    assert len(told["reason"]) < 400


def test_mistake_ends_the_run(audits: Project) -> None:
    """A mistake in the file ends the run before it begins, with exit code 4 and the verdict error."""
    audits.write("practices.toml", '[bounds]\ncolor = "red"')
    run = audits.run("--report", "results", "--processes", "2")
    [line] = [line for line in run.outlines if line]
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    assert line.startswith("ERROR: practices.toml: [bounds] 'color' is the name of no bound; the nearest is colour")
    report = audits.report()
    assert (report["verdict"], report["troubles"][0][:39]) == ("error", "pytest did not begin: practices.toml: [")


@pytest.mark.parametrize("processes", ["0", pytest.param("2", marks=pytest.mark.slow)])
def test_changed_bounds_hold(audits: Project, processes: str) -> None:
    """Changed bounds of all roles, of one role and of one row hold, and messages show them."""
    changed = '[bounds]\nclients = "at most 7"\nsize-small = "at most 5"\nsize-big = "at most 1"\n'
    audits.write("practices.toml", f'{changed}[bounds.cache]\ncolour = "green"\n[bounds.broker]\ncolour = "grey"')
    audits.run("--report", "results", "--processes", processes, "-k", "not broken")
    report = audits.report()
    assert report["judged"]["bounds"]["cache colour"] == "green"
    for file in ("results/index.html", "results/summary.md"):
        assert "broker clients at most 7" in audits.read(file)
    seen = {record["id"]: record["reason"] for record in report["scenarios"] if record["practice"]}
    assert seen == {"colour": None, "size[small-4]": None, "size[big-9]": "size-big: seen 5, bound <= 1"}
    assert_said(audits.run("--processes", processes, BROKER), "colour must be one of grey")


def waiver(*keys: str, until: object = LATER) -> str:
    """Return a section that accepts scenarios."""
    return "[accept]\n" + "".join(f'"{key}" = {{ reason = "not before March", until = {until} }}\n' for key in keys)


@pytest.mark.parametrize("processes", ["0", pytest.param("2", marks=pytest.mark.slow)])
def test_waived_failure_is_not_refused(audits: Project, processes: str) -> None:
    """Failures waived by id or tag are counted and shown, and the run is accepted."""
    audits.write("practices.toml", waiver(f"{CACHE}::colour", "@cache-007"))
    run = audits.run("--report", "results", "--processes", processes, CACHE)
    assert run.ret == 0, run.stdout
    told = f"1 waived until {LATER}: not before March"
    assert_said(run, f"verdict: accepted (3 scenarios, {told}, {told})")
    report = audits.report()
    assert {record["id"]: record["status"] for record in report["scenarios"]} == {
        "colour": "waived",
        "size[small-4]": "waived",
        "size[big-9]": "passed",
    }
    assert report["waivers"] == [told, told]
    reason = f"waived until {LATER}: not before March\ncolour must be one of red, blue"
    assert report["scenarios"][0]["reason"].startswith(reason)
    [skipped] = [one for test in audits.junit() if test.get("name") == "colour" for one in test.iter("skipped")]
    assert skipped.get("message") == reason.partition("\n")[0]
    assert "redis-practices: accepted: 2 waived" in audits.read("results/badge.svg")
    for file in ("index.html", "summary.md"):
        assert "not before March" in audits.read(f"results/{file}")


@pytest.mark.parametrize(
    ("written", "chosen", "code", "said"),
    [
        (
            waiver(f"{BROKER}::colour"),
            BROKER,
            1,
            "refused (3 scenarios, 1 failed, 1 error, the waiver of '{}::colour' was not needed)",
        ),
        (waiver("size[small-4]"), CACHE, 1, "refused (3 scenarios, 1 failed, 1 waived until"),
        (
            waiver("size[big-9]"),
            CACHE,
            1,
            "refused (3 scenarios, 2 failed, the waiver of 'size[big-9]' was not needed)",
        ),
        (
            waiver("size", until=EARLIER),
            CACHE,
            1,
            f"refused (3 scenarios, 2 failed, the waiver of 'size' ended on {EARLIER})",
        ),
        (
            waiver("size", until=TODAY),
            f"{CACHE}::size",
            0,
            f"accepted (2 scenarios of 3 asked, 1 waived until {TODAY}: not before March)",
        ),
        (
            waiver("cache-007[small-4]"),
            CACHE,
            1,
            f"refused (3 scenarios, 1 failed, 1 waived until {LATER}: not before March)",
        ),
        (waiver("broken"), f"{BROKER}::broken", 1, "error (1 scenario, 1 error)"),
    ],
    ids=["not needed", "a row", "another row", "over", "the last day", "a row by its id", "an error"],
)
def test_limits_of_a_waiver(audits: Project, written: str, chosen: str, code: int, said: str) -> None:
    """A waiver holds for failures of its scenario until its date; an unneeded one is reported."""
    audits.write("practices.toml", written)
    run = audits.run("--processes", "0", chosen)
    assert run.ret == code, run.stdout
    assert_said(run, f"verdict: {said.format(BROKER)}")
