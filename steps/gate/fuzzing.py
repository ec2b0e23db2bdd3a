"""The sentences about options and URLs that Hypothesis makes up."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis import HealthCheck, example, settings
from hypothesis import strategies as st
from pytest_bdd import parsers, then

from fixtures import PROJECT
from fixtures.gate.deployment_under_test import gate_environment
from fixtures.run.options import ROLES, STACKS, checked
from fixtures.stacks.external.stack import ExternalStack
from redis_practices.cli import Failure, UsageError
from redis_practices.clients import checked_url
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from pathlib import Path

    from steps.common.vocabulary import Duration

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
