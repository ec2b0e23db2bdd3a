"""Wires the suite together; everything else is in the modules named here."""

import pytest

# Helpers assert too, and their failures should show values.
pytest.register_assert_rewrite("fixtures", "steps")

pytest_plugins = ["fixtures.feature_files", "fixtures.sample_tree", "steps.gate"]
