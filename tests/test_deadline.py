"""Test that a scenario beyond its time limit fails and stops its processes, and the run continues."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fixtures import PROJECT
from fixtures.run.deadline import DeadlineError, deadline

SENTENCES = """
import fcntl, os, signal, socket, subprocess, threading

import pytest
from pytest_bdd import given, then, when

import fixtures.run.deadline
from fixtures.run.keys import ROUND_TRIP, SERVERS
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import CACHE, start_server

fixtures.run.deadline.SECONDS, fixtures.run.deadline.AGAIN = 0.5, 0.3
pytest_plugins = ["fixtures.bdd.collector", "fixtures.reporting.plugin", "fixtures.run.deadline", "fixtures.run.runner"]


def pytest_configure(config):
    config.stash[ROUND_TRIP] = 0.001  # 0.5 s more


@pytest.fixture
def group():
    with ProcessGroup() as group:
        yield group


@pytest.fixture
def stubborn():
    yield
    threading.Event().wait()


@given("a server", target_fixture="server")
def have_server(request, group):
    server = start_server(group, CACHE)
    request.node.stash[SERVERS] = lambda: [server]

    with open("started", "a") as file:
        print(server.client().info("server")["process_id"], file=file)
    return server


@when("a reader waits in recv")
def wait_in_recv():
    here, there = socket.socketpair()
    here.recv(1)


@when("a thread waits for a lock")
def wait_for_lock():
    lock = threading.Lock()
    lock.acquire()

    try:
        lock.acquire()
    finally:
        # One signal ends the first wait, not this one.
        threading.Event().wait()


@when("a process waits for another process")
def wait_for_file():
    with open("lock", "w") as one, open("lock", "w") as other:
        fcntl.flock(one, fcntl.LOCK_EX)
        fcntl.flock(other, fcntl.LOCK_EX)


@when("a failure is swallowed")
def swallow():
    try:
        threading.Event().wait()
    except BaseException:
        pass


@when("its end hangs")
def hang_in_teardown(stubborn):
    pass


@then("all is well")
def check_nothing():
    pass
"""

FEATURE = """
Feature: Waits

  Scenario: recv
    Given a server
    When a reader waits in recv
    Then all is well

  Scenario: lock
    Given a server
    When a thread waits for a lock
    Then all is well

  Scenario: file
    When a process waits for another process
    Then all is well

  Scenario: swallowed
    When a failure is swallowed
    Then all is well

  Scenario: teardown
    Given a server
    When its end hangs
    Then all is well

  Scenario: next
    Given a server
    Then all is well
"""


def _run(folder: Path, processes: str) -> dict[str, dict[str, Any]]:
    """Run the feature in a folder, and return the record of each scenario."""
    (folder / "pytest.toml").write_text("[pytest]\nstrict = true\n", encoding="utf-8")
    (folder / "conftest.py").write_text(SENTENCES, encoding="utf-8")
    (folder / "waits.feature").write_text(FEATURE, encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "REPORT", "GITHUB"))}
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:docker", "--processes", processes, "--report", "results", "-q"],
        cwd=folder,
        env={**kept, "PYTHONPATH": os.pathsep.join((str(PROJECT), str(PROJECT / "src")))},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    report = folder / "results" / "report.json"
    assert report.exists(), ended.stdout + ended.stderr
    return {one["id"].partition("::")[2]: one for one in json.loads(report.read_text())["scenarios"]}


STEPS = {"recv": "wait_in_recv", "lock": "wait_for_lock", "file": "wait_for_file", "swallowed": "swallow"}
"""By scenario, the function in which it waits."""


@pytest.mark.parametrize(
    "processes", [pytest.param("0", marks=pytest.mark.slow), "1"], ids=["in one process", "in a forked process"]
)
def test_scenario_that_hangs_fails(tmp_path: Path, processes: str) -> None:
    """Blocked scenarios fail with step, stacks and logs, their processes end, and the run continues."""
    records = _run(tmp_path, processes)
    for name, step in STEPS.items():
        record = records[name]
        assert (record["status"], record["reason"]) == ("failed", "DeadlineError: the scenario is not done after 1 s")
        assert record["seconds"] < 10
        stacks = {one["title"]: one["text"] for one in record["evidence"]}["stacks of all threads"]
        assert f" in {step}\n" in stacks, stacks
        if name != "swallowed":  # the error of this scenario comes after its steps
            assert len(record["steps"]) == (1 if name == "file" else 2), "it fails in the step that waits"
    logs = [one["text"] for one in records["recv"]["evidence"] if one["title"].startswith("log of ")]
    assert any("Ready to accept connections" in log for log in logs)
    hanging = records["teardown"]
    reason = "teardown: DeadlineError: the teardown of the scenario is not done after 1 s"
    assert (hanging["status"], hanging["reason"]) == ("error", reason)
    assert records["next"]["status"] == "passed"
    pids = (tmp_path / "started").read_text().split()
    assert len(pids) == 4
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()], "a server of a scenario that hung still runs"


def test_outer_deadline_stands_still() -> None:
    """The time in a nested deadline does not count against the outer one."""
    with pytest.raises(DeadlineError, match="outer"), deadline(0.2, "outer"):
        _wait_twice()


def _wait_twice() -> None:
    """Wait within a deadline that is longer than the outer one, then wait again."""
    with pytest.raises(DeadlineError, match="inner"), deadline(0.4, "inner"):
        _wait()
    _wait()


def _wait() -> None:
    """Wait forever."""
    read, _ = os.pipe()
    os.read(read, 1)
