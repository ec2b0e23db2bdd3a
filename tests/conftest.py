"""Provide fixtures of all tests, and share the process that forks programs."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fixtures.run.processes import ForkingGroup, fork_server
from tests.project import Project


def pytest_configure(config: pytest.Config) -> None:
    """Load pytest's fixtures for tests of plugins, and ours for tests in a browser."""
    config.pluginmanager.import_plugin("pytester")
    config.pluginmanager.import_plugin("tests.browser")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Start the processes that fork programs before the run forks, so that all its processes share them."""
    if len(session.items) > 1 and not session.config.option.collectonly:
        fork_server()
        if any("cases" in item.path.parts for item in session.items):  # they judge by the features
            fork_server(collected=True)


@pytest.fixture(scope="session")
def project_group() -> Iterator[ForkingGroup]:
    """Give the process group of runs in small projects."""
    with ForkingGroup("redis-practices-projects") as group:
        yield group


@pytest.fixture
def project(pytester: pytest.Pytester, project_group: ForkingGroup) -> Project:
    """Give an empty project."""
    return Project(pytester.path, project_group)


Once = Callable[[str, Callable[[Path], object]], Path]
"""Return the folder with this name; the function fills it if no process of the run has done so."""


@pytest.fixture(scope="session")
def once_a_run(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Give a function that makes a folder once a run; other processes wait for the first one."""

    def folder(name: str, fill: Callable[[Path], object]) -> Path:
        made = tmp_path_factory.getbasetemp() / name
        with made.with_suffix(".lock").open("a+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.seek(0)
            if not lock.read():
                shutil.rmtree(made, ignore_errors=True)  # of a process that failed
                made.mkdir()
                fill(made)
                lock.write("made")
        return made

    return folder
