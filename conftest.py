"""Wires the suite together; everything else is in the modules named here."""

from pathlib import Path

import pytest

# Helpers assert too, and their failures should show values.
pytest.register_assert_rewrite("fixtures", "steps")

PLUGINS = [
    "fixtures.options",
    "fixtures.audit_bounds",
    "fixtures.spread",
    "fixtures.spec_check",
    "fixtures.feature_files",
    "fixtures.turns",
    "fixtures.forks",
    "fixtures.stacks",
    "fixtures.header",
    "fixtures.sample_tree",
    "fixtures.addresses",
    "fixtures.measurements",
    "fixtures.charts",
    "fixtures.browser",
    "fixtures.report",
    "fixtures.masking",
    # Every module of sentences: a new one is part of the suite by being there.
    *(f"steps.{module.stem}" for module in sorted(Path(__file__).parent.glob("steps/[!_]*.py"))),
]


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Load them by the names of their modules.

    What stands in ``pytest_plugins`` is looked for in every installed package first: half a second a process.
    """
    for name in PLUGINS:
        pluginmanager.import_plugin(name)
