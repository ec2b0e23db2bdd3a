"""Wires the suite together; everything else is in the modules named here."""

from pathlib import Path

import pytest

# Helpers assert too, and their failures should show values.
pytest.register_assert_rewrite("fixtures", "steps")

PLUGINS = [
    "fixtures.run.options",
    "fixtures.run.audit_bounds",
    "fixtures.run.spread",
    "fixtures.bdd.spec_check",
    "fixtures.bdd.feature_files",
    "fixtures.run.turns",
    "fixtures.run.forks",
    "fixtures.stacks.stack",
    "fixtures.run.header",
    "fixtures.gate.sample_tree",
    "fixtures.gate.endpoints",
    "fixtures.reporting.measurements",
    "fixtures.reporting.charts",
    "fixtures.gate.browser",
    "fixtures.reporting.report",
    "fixtures.reporting.masking",
    # Every module of sentences: a new one is part of the suite by being there.
    *(f"steps.{module.parent.name}.{module.stem}" for module in sorted(Path(__file__).parent.glob("steps/*/[!_]*.py"))),
]


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Load them by the names of their modules.

    What stands in ``pytest_plugins`` is looked for in every installed package first: half a second a process.
    """
    for name in PLUGINS:
        pluginmanager.import_plugin(name)
