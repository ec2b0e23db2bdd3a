"""Test the abilities and errors of each stack, and that no other code compares its name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis.exceptions import NoPermissionError, ResponseError

from fixtures import PROJECT
from fixtures.run.keys import StackError, Unsupported
from fixtures.run.options import STACKS as NAMES
from fixtures.run.options import Options
from fixtures.stacks.external import deployments
from fixtures.stacks.external.command_guard import COUNTS
from fixtures.stacks.external.deployments import refused_once
from fixtures.stacks.protocols import Ability, Stack, need
from fixtures.stacks.stack import STACKS
from redis_practices.cli import UsageError
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import CACHE, EmbeddedError, Server, server_binary, start_server

URLS = {"cache": "redis://127.0.0.1:1"}
PLAIN = Options(
    "embedded",
    {},
    None,
    frozenset(),
    keep_stack=False,
    allow_disruption=False,
    max_ops=None,
    quick=False,
    workers=None,
    runs=True,
)


def made(name: str, *, disrupt: bool = False) -> Stack:
    """Create a stack with or without permission to disrupt."""
    urls = URLS if name == "external" else {}
    return STACKS[name](replace(PLAIN, stack=name, urls=urls, allow_disruption=disrupt))


@pytest.mark.parametrize(
    ("name", "ability", "reason"),
    [
        ("embedded", "judge versions", "embedded: the user of this run has chosen the engine"),
        ("docker", "judge users", "docker: its servers know only the user of this suite"),
        ("docker", "cut networks", "docker: a network that is turned off must be the server's own"),
        ("external", "cut networks", "external: a network that is turned off must be the server's own"),
        (
            "external",
            "disrupt",
            "external: it is disrupted only with --allow-disruption, by its servers' own commands",
        ),
    ],
)
def test_what_it_cannot(name: str, ability: Ability, reason: str) -> None:
    """A stack gives the reason for a missing ability."""
    with pytest.raises(Unsupported, match=f"^{re.escape(reason)}$"):
        need(made(name), ability)


def test_what_it_can() -> None:
    """A stack gives no reason for an ability that it has."""
    need(made("embedded"), "disrupt")
    need(made("embedded"), "cut networks")
    need(made("docker"), "disrupt")
    need(made("external"), "judge versions")
    need(made("external", disrupt=True), "disrupt")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            replace(PLAIN, stack="external"),
            "--stack=external needs --cache-url, --cluster-url, --broker-url or --results-url",
        ),
        (replace(PLAIN, max_ops=100), "--max-ops and --allow-disruption are for the deployment of a URL"),
        (
            replace(PLAIN, stack="docker", allow_disruption=True),
            "--max-ops and --allow-disruption are for the deployment of a URL",
        ),
        (
            replace(PLAIN, stack="docker", urls=URLS),
            "--stack=docker starts its own servers: leave the URLs out, or --stack",
        ),
    ],
)
def test_refused_options(options: Options, said: str) -> None:
    """A stack refuses options of other stacks."""
    with pytest.raises(UsageError, match=f"^{re.escape(said)}$"):
        STACKS[options.stack](options)


def test_explanations() -> None:
    """A refused command is a reason to skip, and a failed server is an error."""
    refusal = NoPermissionError("User u has no permissions to run the 'config|get' command")
    explained = made("external").explain(refusal)
    assert explained == f"needs CONFIG GET, which the server refuses: {refusal}"
    assert made("embedded").explain(refusal) is None
    assert made("external").explain(ResponseError("WRONGTYPE")) is None
    with pytest.raises(StackError, match="its log"):
        made("docker").explain(EmbeddedError("its log"))
    with pytest.raises(pytest.fail.Exception, match="processes cannot work with it"):
        made("external").explain(EmbeddedError("its log"))


@pytest.fixture
def server() -> Iterator[Server]:
    """Give a server to judge."""
    with ProcessGroup() as group:
        yield start_server(group, CACHE)


def run_pytest(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in the project's folder, and return how it ended."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "REPORT", "GITHUB"))}
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, cwd=PROJECT, env=kept, capture_output=True, text=True, timeout=50, check=False)


def test_external_run(server: Server) -> None:
    """A run on a deployment skips disruptive scenarios with the reason, and excludes features/gate."""
    chosen = ["features/pure_cache/degradation.feature", "features/gate/tls.feature", "-m", "disruptive or gate"]
    ended = run_pytest(*chosen, "--processes", "0", "-rs", "-q", "--cache-url", server.url)
    assert "external: it is disrupted only with --allow-disruption" in ended.stdout, ended.stdout
    assert re.search(r"^\d+ skipped, \d+ deselected", ended.stdout, flags=re.MULTILINE), ended.stdout


VERSION = """#!/bin/sh
case "$1" in
    --version) {server} --version | sed "s/v=[0-9.]*/v={version}/" ;;
    *) exec {server} "$@" ;;
esac
"""


@pytest.mark.parametrize(
    ("version", "line"),
    [
        ("9.1.0", "holes: valkey 9.1.0: it has known holes, which 9.1.1 mends"),
        ("9.9.0", ""),  # the table does not know it
    ],
)
def test_header_names_an_engine_with_holes(version: str, line: str, tmp_path: Path) -> None:
    """The header of a run on its own servers names known holes of the engine, and the option for another engine."""
    program = tmp_path / "server"
    program.write_text(VERSION.format(server=server_binary(None), version=version))
    program.chmod(0o755)
    chosen = ["features/pure_cache/audit.feature", "-k", "cache-007"]
    ended = run_pytest(*chosen, "--processes", "0", "--server-binary", str(program))
    assert ended.returncode == 0, ended.stdout
    assert f"stack: embedded, valkey {version}" in ended.stdout
    holes = [one for one in ended.stdout.splitlines() if one.startswith("holes: ")]
    assert [one.partition(" (")[0] for one in holes] == ([line] if line else [])
    assert all(one.endswith("; --server-binary PATH runs another") for one in holes)


def test_no_other_code_asks_for_a_name() -> None:
    """No code outside the stacks compares the name of a stack."""
    asks = re.compile(rf"[=!]= \"({'|'.join(NAMES)})\"")
    found = [
        f"{path.relative_to(PROJECT)}:{number}"
        for folder in ("fixtures", "steps")
        for path in (PROJECT / folder).rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if asks.search(line)
    ]
    assert found == []


LOGS = {
    "MISCONF Errors writing to the AOF file: No space left": (
        "[12:01: ERROR/Main] consumer: Cannot connect to redis://:**@h:1/0: {}\nTrying again in 2 s..."
    ),
    "unknown command 'SADD', with args beginning with: ": (
        "redis.exceptions.ResponseError: Command # 1 (SADD _kombu.binding.q q) of pipeline caused error: {}"
    ),
}
"""By the answer of a broker, the end of the log of a failed worker."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a run on a deployment of the user."""
    monkeypatch.setenv(COUNTS, str(tmp_path))


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("answer", LOGS)
def test_broker_that_takes_no_worker_is_found_out_once(answer: str) -> None:
    """The broker's answer is the first line of the error, and no second worker is started."""
    said = f"no Celery worker starts on h:1, which answers it: {answer.strip()}"
    with pytest.raises(EmbeddedError, match=f"^{re.escape(said)}\n"), refused_once("h:1", {"KEY_PREFIX"}):
        raise EmbeddedError(f"the Celery worker is not ready:\n{LOGS[answer].format(answer)}")
    begun = []
    with pytest.raises(EmbeddedError, match=f"^{re.escape(said)}$"), refused_once("h:1", {"PYTHONPATH"}):
        begun.append("another worker")
    assert not begun


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("settings", "log"),
    [
        ({"BROKER_TRANSPORT"}, LOGS["unknown command 'SADD', with args beginning with: "].format("no")),
        (set[str](), "redis.exceptions.ConnectionError: Connection closed by server."),
        (set[str](), "consumer: Cannot connect to redis://h:1/0: Error 111 connecting to h:1. Connection refused."),
    ],
    ids=["further settings", "closed", "refused"],
)
def test_what_ends_one_worker_ends_no_other(settings: set[str], log: str) -> None:
    """A failure that another worker may not have is not remembered."""
    with pytest.raises(EmbeddedError), refused_once("h:1", settings):
        raise EmbeddedError(f"the Celery worker ended at its start:\n{log}")
    with refused_once("h:1", set()):
        pass


@pytest.mark.usefixtures("folder")
def test_busy_judge_says_nothing_of_a_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that does not start on a busy machine is an error of the run."""
    monkeypatch.setattr(deployments, "busy_seconds", iter([3.0, 32.0]).__next__)
    with pytest.raises(StackError, match="processor was busy for 29 s of its start"), refused_once("h:1", set()):
        raise EmbeddedError("the Celery worker is not ready after 30 s:\n")
