"""Wires the suite together; everything else is in the modules named here."""

import pytest

# Helpers assert too, and their failures should show values.
pytest.register_assert_rewrite("fixtures", "steps")

pytest_plugins = [
    "fixtures.options",
    "fixtures.spread",
    "fixtures.spec_check",
    "fixtures.feature_files",
    "fixtures.stacks",
    "fixtures.sample_tree",
    "fixtures.measurements",
    "fixtures.report",
    "steps.celery_worker",
    "steps.gate",
    "steps.pure_cache",
    "steps.report",
]
