"""Wires the suite together; everything else is in the modules named here."""

from pathlib import Path

import pytest

# Helpers assert too, and their failures should show values.
pytest.register_assert_rewrite("fixtures", "steps", "tests")

PLUGINS = [
    "fixtures.run.options",
    "fixtures.run.practices_file",
    "fixtures.bdd.lint",
    "fixtures.bdd.collector",
    "fixtures.run.processes",
    "fixtures.run.deadline",
    "fixtures.stacks.stack",
    "fixtures.celery_worker.client",
    "fixtures.celery_worker.workers",
    "fixtures.redis_cluster.faults",
    "fixtures.pure_cache.origin",
    "fixtures.gate.endpoints",
    "fixtures.gate.deployment_under_test",
    "fixtures.reporting.measurements",
    "fixtures.reporting.plugin",
    "fixtures.reporting.redaction",
    "fixtures.context",
    # Every module of sentences: a new one is part of the suite by being there.
    *(f"steps.{module.parent.name}.{module.stem}" for module in sorted(Path(__file__).parent.glob("steps/*/[!_]*.py"))),
]


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Load them by the names of their modules.

    What stands in ``pytest_plugins`` is looked for in every installed package first: half a second a process.
    """
    for name in PLUGINS:
        pluginmanager.import_plugin(name)
