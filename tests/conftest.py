"""Provide fixtures of all tests, and share the process that forks programs."""

from __future__ import annotations

from collections.abc import Iterator

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
