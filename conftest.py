"""Leave the tests of the code out of a run on a deployment.

Options and plugins are in suite.py, which pyproject.toml names. A conftest.py adds its options too late: pytest has
taken their values for paths by then.
"""

from pathlib import Path

import pytest

from fixtures.run.options import OPTIONS

TESTS = Path(__file__).parent / "tests"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Ignore the tests in a run on a deployment of the user."""
    return True if collection_path.is_relative_to(TESTS) and config.stash[OPTIONS].stack == "external" else None
