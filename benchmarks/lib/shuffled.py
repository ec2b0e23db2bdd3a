"""A pytest plugin: scenarios in an order drawn from the Hypothesis seed, so that one number repeats a whole run.

    python -m pytest -p benchmarks.lib.shuffled --hypothesis-seed 7 features/

Those that wait still begin first, as in every run.
"""

from __future__ import annotations

import random

import pytest


@pytest.hookimpl(tryfirst=True)  # before fixtures/run/options.py sorts, which keeps the order of equals
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Shuffle the items alike in every process of the run."""
    random.Random(str(config.option.hypothesis_seed)).shuffle(items)
