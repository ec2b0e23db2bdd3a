"""Shuffle scenarios by the Hypothesis seed: a pytest plugin; one number repeats a whole run.

    python -m pytest -p benchmarks.lib.shuffled --hypothesis-seed 7 features/

Long waits still begin first, as in every run.
"""

from __future__ import annotations

import random

import pytest


@pytest.hookimpl(tryfirst=True)  # before fixtures/run/options.py sorts, whose sort is stable
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Shuffle the items in the same way in every process of the run."""
    random.Random(str(config.option.hypothesis_seed)).shuffle(items)
