"""Test that any text as a URL or option is accepted, or refused in one line without its password."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from fixtures import PROJECT
from fixtures.gate.deployment_under_test import gate_environment
from fixtures.run.keys import LEFT_OUT
from fixtures.run.options import OPTIONS as OF_RUN
from fixtures.run.options import ROLES, STACKS, Shard, checked, is_quick, pytest_report_header
from fixtures.stacks.external.stack import ExternalStack
from redis_practices.celery_worker.access import address_of
from redis_practices.cli import Failure, UsageError
from redis_practices.clients import checked_url, redis_client

PASSWORD = "s3cret"  # noqa: S105 - of no server
quiet = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))

WORDS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)
HOSTS = st.sampled_from(
    ("127.0.0.1", "localhost", "[::1]", "", "[::1", "a..b", "x" * 70, "ü.invalid", "%00", "a b", "*")
)
PORTS = st.sampled_from(("", ":1", ":0", ":70000", ":x", ":-1", ":"))
TAILS = st.one_of(
    st.sampled_from(
        ("", "/0", "/99", "/x", "?db=x", "?socket_timeout=x", "?ssl_cert_reqs=?", "?protocol=9", "?timeout", "#")
    ),
    WORDS,
)
SCHEMES = st.sampled_from(("redis://", "rediss://", "redis:", "unix://", "amqp://", "REDIS://", "", " r://"))
USERS = st.one_of(
    st.sampled_from((f":{PASSWORD}@", f"u:{PASSWORD}@", f"{PASSWORD}@", f":{PASSWORD}/x@", f"u:{PASSWORD}#@", "")),
    WORDS,
)
NEARLY_URLS = st.tuples(SCHEMES, USERS, HOSTS, PORTS, TAILS).map("".join)


def refusal(url: str, *, connects: bool) -> str:
    """Return the refusal of a URL; "" if it is accepted."""
    try:
        checked_url(url, "--cache-url")
        if connects:
            ExternalStack({"cache": url}).engines()
    except (UsageError, Failure) as error:
        return str(error)
    return ""


def check_line(line: str) -> None:
    """Require one line without the password."""
    assert len(line.splitlines()) <= 1, f"more than one line: {line!r}"
    assert PASSWORD not in line, f"the password is in it: {line}"


@given(NEARLY_URLS)
@settings(quiet, max_examples=300)
def test_any_text_as_a_url(url: str) -> None:
    """A nearly valid URL is accepted, or refused in one line."""
    check_line(refusal(url, connects=False))


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost:1", "[::1]:1", f"{'x' * 70}:1", "a..b:1", "%00:1", "-:1"])
@given(
    scheme=st.sampled_from(("redis://", "rediss://")),
    user=st.sampled_from(("", f":{PASSWORD}@", f"u%20:{PASSWORD}@")),
    tail=st.sampled_from(("", "/0", "/7", "?protocol=2", "?health_check_interval=1")),
)
@settings(quiet, max_examples=6)
def test_url_where_nothing_answers(scheme: str, user: str, host: str, tail: str) -> None:
    """A URL without a server leads to one line within 5 seconds."""
    url = f"{scheme}{user}{host}{tail}"
    begun = time.monotonic()
    line = refusal(url, connects=True)
    assert line, f"{url} is taken"
    check_line(line)
    assert time.monotonic() - begun <= 5, f"{url} took {time.monotonic() - begun:.1f} s"


@pytest.mark.parametrize(
    "option",
    [
        *("protocol=2", "protocol=3", "socket_timeout=2.5", "socket_connect_timeout=1", "socket_keepalive=false"),
        *("health_check_interval=0", "retry_on_timeout=yes", "max_connections=9", "client_name=gate", "db=3"),
        *("username=u", f"password={PASSWORD}", "socket_read_size=4096", "decode_responses=True"),
    ],
)
def test_option_of_redis_py_is_taken(option: str) -> None:
    """A URL may have every option that text can express."""
    assert refusal(f"redis://127.0.0.1:1/0?{option}", connects=False) == ""


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("protocol=4", "the option protocol with a wrong value: give 2 or 3"),
        ("protocol=", "the option protocol with a wrong value: give 2 or 3"),
        ("socket_timeout=0", "a wrong value: give a number of seconds"),
        ("socket_timeout=soon", "a wrong value: give a number of seconds"),
        ("socket_timeout=nan", "a wrong value: give a number of seconds"),
        ("max_connections=-1", "a wrong value: give a number of connections"),
        ("client_name=a%20b", "a wrong value: give a name without blanks"),
        ("decode_responses=false", "a wrong value: give true: answers are read as text"),
        ("retry=3", "the option retry, which takes a Python object: leave it out"),
        ("encoding=latin-1", "the option encoding, which would change the form of the replies: leave it out"),
        ("sokcet_timeout=3", "an option that redis-py does not know: did you mean socket_timeout?"),
        (f"x={PASSWORD}", "an option that redis-py does not know: known are db, username"),
        (f"{PASSWORD}=x", "an option that redis-py does not know: known are db, username"),
        ("ssl_cert_reqs=none", "the option ssl_cert_reqs, which is for TLS: write rediss://"),
    ],
)
def test_option_that_is_of_no_use_is_named(option: str, reason: str) -> None:
    """An option with a wrong name or value leads to one line with the remedy."""
    line = refusal(f"redis://127.0.0.1:1/0?{option}", connects=False)
    assert reason in line
    check_line(line)


@pytest.mark.parametrize("query", ["decode_responses=true", "db=0&decode_responses=1&protocol=2"])
def test_program_decides_what_answers_look_like(query: str) -> None:
    """The options of a program override the text options of a URL, and all others are kept."""
    for wanted in (True, False):
        made = redis_client(f"redis://h/3?{query}", decode_responses=wanted).connection_pool.connection_kwargs
        assert made["decode_responses"] is wanted
        assert made["db"] == (0 if "db=" in query else 3)
        assert ("protocol=2" in query) == (made.get("protocol") == 2)


@pytest.mark.parametrize("host", ["h\xa0x", "h\x1b[31m", "h x"])
def test_host_that_steers_the_terminal_is_refused(host: str) -> None:
    """A host with blanks or control characters is refused."""
    with pytest.raises(UsageError, match="is not a Redis URL"):
        checked_url(f"redis://{host}:1", "--cache-url")


@pytest.mark.parametrize(
    ("url", "address", "results"),
    [
        ("redis://h:1/0", "redis://h:1/0", "redis://h:1/0"),
        ("redis://h:1/0?protocol=2&db=3", "redis://h:1/3", "redis://h:1/3?protocol=2"),
        ("redis://h?username=u&password=a%2Fb", "redis://u:a%2Fb@h", "redis://u:a%2Fb@h"),
        ("redis://u:p%40@h?client_name=x", "redis://u:p%40@h", "redis://u:p%40@h?client_name=x"),
        ("rediss://h/1", "rediss://h/1?ssl_cert_reqs=required", "rediss://h/1?ssl_cert_reqs=required"),
        (
            "rediss://h/1?ssl_cert_reqs=none&protocol=3",
            "rediss://h/1?ssl_cert_reqs=none",
            "rediss://h/1?ssl_cert_reqs=none&protocol=3",
        ),
        ("sentinel://h:1;sentinel://h:2", "sentinel://h:1;sentinel://h:2", "sentinel://h:1;sentinel://h:2"),
    ],
)
def test_address_of_a_broker(url: str, address: str, results: str) -> None:
    """Celery's URL has user, password, database and TLS; the result backend has all options."""
    assert (address_of(url), address_of(url, options=True)) == (address, results)


NUMBERS = st.one_of(st.integers().map(str), st.sampled_from(("core", "core,", "@core", "1e3", "٣")), WORDS)
SWITCHES = ("keep_stack", "allow_disruption", "quick", "workers", "probe_workers")
OPTIONS: dict[str, Any] = {
    **{f"{role}_url": st.one_of(st.none(), NEARLY_URLS) for role in ROLES},
    "stack": st.sampled_from((None, *STACKS)),
    "max_ops": st.one_of(st.none(), NUMBERS),
    "require": WORDS,
    "server_binary": st.one_of(st.none(), WORDS.filter(lambda text: "\0" not in text)),  # no shell can pass it
    "keyword": WORDS,
    "markexpr": WORDS,
    "queue": st.lists(WORDS, max_size=2),
    "key_prefix": st.one_of(st.none(), WORDS),
    "control_exchange": st.one_of(st.none(), WORDS),
    "credentials": st.one_of(st.none(), WORDS),
    "shard": st.one_of(st.none(), NUMBERS, st.sampled_from(("0/1", "1/2", "2/2", "/", "1/"))),
    **dict.fromkeys(SWITCHES, st.booleans()),
}
NOTHING = {name: False if name in SWITCHES else "" for name in OPTIONS} | {"stack": None}


# A newline is not the only end of a line.
@given(st.fixed_dictionaries(OPTIONS))
@example({**NOTHING, "require": "core\x1e0"})
@example({**NOTHING, "server_binary": "redis\n0"})
@example({**NOTHING, "cache_url": "redis://127.0.0.1[", "credentials": "shop.Login"})
@settings(quiet, max_examples=200)
def test_any_text_as_an_option(pytestconfig: pytest.Config, options: dict[str, Any]) -> None:
    """Any set of options is accepted, or refused in one line."""
    config: Any = SimpleNamespace(option=SimpleNamespace(**options), getini=pytestconfig.getini)
    try:
        checked(config)
    except pytest.UsageError as error:
        check_line(str(error))


@pytest.mark.parametrize(
    ("tags", "kept"),
    [
        ("core", True),
        ("audit known_limit", True),
        ("pure_cache", False),
        ("core disruptive", False),
        ("core waits", False),
        ("audit slow", False),
        ("core gate", False),
    ],
)
def test_what_is_quick(tags: str, kept: bool) -> None:  # noqa: FBT001 - a value of the table
    """A quick run selects core and audit scenarios, except for disruptive and long ones."""
    assert is_quick(tags.split()) is kept


FEATURES = {
    "pure_cache/ttl": "Feature: keys\n Scenario Outline: one\n  Examples:\n  | A |\n  | 1 |\n"
    "  @slow\n  Examples: more\n  | A |\n  | 2 |\n  | 3 |\n",
    "gate/verdict": "@slow\nFeature: verdicts\n Scenario: two\n",
}


@pytest.mark.parametrize(
    ("given", "left_out", "line"),
    [
        ({}, {}, ["3 slow rows are left out: -m slow"]),
        ({"args": ["features/gate"]}, {}, ["1 slow row is left out: -m slow"]),
        ({}, {"gate": "for a deployment"}, ["2 slow rows are left out: -m slow"]),
        ({"args": ["features/pure_cache/ttl.feature::one[2]"]}, {}, []),
        ({"quick": True}, {}, []),
        ({"markexpr": "slow or not slow"}, {}, []),
        ({"keyword": "keys"}, {}, []),
    ],
)
def test_header_names_slow_rows(
    tmp_path: Path, given: dict[str, Any], left_out: dict[str, str], line: list[str]
) -> None:
    """The header of a run without a selection has the number of slow rows in its files."""
    for name, text in FEATURES.items():
        (tmp_path / "features" / name).parent.mkdir(parents=True)
        (tmp_path / "features" / f"{name}.feature").write_text(text, encoding="utf-8")
    arguments = given.pop("args", ["features"])
    options = SimpleNamespace(
        quick=False, require=(), keep_stack=False, allow_disruption=False, max_ops=None, workers=None, shard=Shard()
    )
    config: Any = SimpleNamespace(
        args=arguments,
        invocation_params=SimpleNamespace(args=arguments, dir=tmp_path),
        option=SimpleNamespace(
            **{"quick": False, "markexpr": "", "keyword": "", "hypothesis_seed": 7, "credentials": None, **given}
        ),
        stash={LEFT_OUT: left_out, OF_RUN: options},
        hook=SimpleNamespace(pytest_ignore_collect=lambda **_: False),
    )
    assert pytest_report_header(config) == ["hypothesis seed: 7", *line]


WAY_OUT = "; put `and`, `or` or `not` between words, and quotes around them: -m 'core or audit', -k 'user and name'"
WRONG = "Wrong expression passed to"
TYPOS = {
    ("-m", "cor"): "; did you mean core?",
    ("-k", "user name"): f"{WRONG} '-k': user name: at column 6: expected end of input; got identifier{WAY_OUT}",
    ("-m", "core and"): WAY_OUT,
}
"""By option and value, the end of the line."""


FIRST, *REST = TYPOS


@pytest.mark.parametrize("options", [FIRST, *(pytest.param(one, marks=pytest.mark.slow) for one in REST)])
def test_selection_with_a_typo_is_one_line(options: tuple[str, str]) -> None:
    """A typo in -m or -k ends the run with exit code 4 and one line of advice, also with two processes."""
    command = [sys.executable, "-m", "pytest", "features/pure_cache", "--processes", "2", *options]
    ended = subprocess.run(
        command, cwd=PROJECT, env=gate_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    said = [line for line in f"{ended.stdout}{ended.stderr}".splitlines() if line.strip()]
    assert (ended.returncode, len(said)) == (pytest.ExitCode.USAGE_ERROR, 1), said
    assert said[0].endswith(TYPOS[options])
    assert repr(options[0]) in said[0]


@pytest.mark.slow
@given(url=NEARLY_URLS)
@settings(quiet, max_examples=3)
def test_refused_url_ends_a_whole_run(tmp_path: Path, url: str) -> None:
    """A run with a refused URL ends with one line, exit code 4 and the verdict error."""
    assume(url and "\0" not in url and refusal(url, connects=False))
    command = [sys.executable, "-m", "pytest", "features", f"--cache-url={url}", "--report", str(tmp_path)]
    ended = subprocess.run(
        command, cwd=PROJECT, env=gate_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    said = [line for line in f"{ended.stdout}{ended.stderr}".splitlines() if line.strip()]
    assert ended.returncode == pytest.ExitCode.USAGE_ERROR, said
    assert len(said) == 1, said
    check_line(said[0])
    report = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert json.loads(report)["verdict"] == "error", report
    assert PASSWORD not in report, report
