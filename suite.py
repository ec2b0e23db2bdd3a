"""Load the plugins of the suite and the modules of sentences; pyproject.toml names this module by ``-p``.

A conftest.py would add its options too late: pytest takes the value of an option that it does not know yet for a path,
and imports every conftest.py above it.
"""

import gc
from pathlib import Path

import pytest

# Imports and collection make a million objects and hardly any garbage: collecting it would take a quarter of the start.
gc.disable()

# Assertions of helpers show their values, too.
pytest.register_assert_rewrite("fixtures", "steps", "tests")

PLUGINS = [
    "fixtures.run.options",
    "fixtures.run.practices_file",
    "fixtures.bdd.lint",
    "fixtures.bdd.collector",
    "fixtures.run.runner",
    "fixtures.run.deadline",
    "fixtures.stacks.stack",
    "fixtures.celery_worker.workers",
    "fixtures.gate.commands",
    "fixtures.reporting.plugin",
    "fixtures.reporting.redaction",
    "fixtures.context",
    # A new module of sentences needs no entry.
    *(f"steps.{module.parent.name}.{module.stem}" for module in sorted(Path(__file__).parent.glob("steps/*/[!_]*.py"))),
]


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Load the plugins.

    pytest searches all installed packages for names in ``pytest_plugins``, which takes 0.5 s a process.
    """
    for name in PLUGINS:
        pluginmanager.import_plugin(name)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Collect garbage from here on, but not among the objects that live until the end of the run."""
    gc.freeze()
    gc.enable()
