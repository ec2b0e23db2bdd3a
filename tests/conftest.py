"""Provide fixtures of all tests, and share the process that forks programs."""

from __future__ import annotations

import fcntl
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


@pytest.fixture(scope="session")
def once_a_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Give a function that returns a folder which the first process of the run fills, and the others wait for."""

    def folder(name: str, fill: Callable[[Path], object]) -> Path:
        made = tmp_path_factory.getbasetemp() / name
        with made.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                being_made = tmp_path_factory.mktemp(name)
                fill(being_made)
                being_made.rename(made)
        return made

    return folder
