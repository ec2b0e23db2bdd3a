"""Each family of sentences can fail: a scenario changes its colour when a step is mutated.

A mutated step does nothing, compares nothing, ignores a bound or waits for ever. Each row of `MUTATIONS` has a scenario
that is red for that reason alone: it passes with the steps as they are and fails with the mutation, or, where the
mutation lets a false claim pass, the other way round.
"""

from __future__ import annotations

from textwrap import dedent, indent
from typing import NamedTuple

import pytest

from tests.project import Project

SETTINGS = """\
[pytest]
strict = true
markers = ["core: ", "slow: ", "disruptive: ", "pure_cache: ", "redis_cluster: ", "celery_worker: ", "tuning: ", "gate: "]
"""

TOOLS = """\
import sys
import fixtures.context, steps.common.judgements, steps.common.vocabulary

def everywhere(name, function):
    for module in [module for key, module in sys.modules.items() if key.startswith(("steps.", "fixtures."))]:
        if hasattr(module, name):
            setattr(module, name, function)

def nothing(*_, **__):
    return None
"""


class Mutation(NamedTuple):
    """A change of a step, and the scenario that shows it."""

    family: str
    code: str
    """Python that changes the steps."""
    steps: str
    holds: bool = True
    """Whether the scenario's claim is true, so that it passes without the mutation and fails with it."""


FAULT = """\
Given an isolated server
And the server holds "Ann" as "user:1"
When the server is killed
And the server is started
Then the server reads nothing from "user:1"
"""

MUTATIONS = {
    "a fault does nothing": Mutation("faults", 'everywhere("apply_to", nothing)', FAULT),
    "a table of replies compares nothing": Mutation(
        "replies",
        'everywhere("assert_table", nothing)',
        """\
        Given an isolated server
        Then the server replies
          | COMMANDS | REPLY |
          | PING     | NO    |
        """,
        holds=False,
    ),
    "a read compares nothing": Mutation(
        "reads",
        "steps.common.deployments.ServerUnderTest.read = lambda self, key: sys.modules['wrong'].value",
        """\
        Given an isolated server
        Then the server reads "Ann" from "user:1"
        """,
        holds=False,
    ),
    "the settings of a deployment are ignored": Mutation(
        "settings",
        'everywhere("options", lambda *_: {})',
        """\
        Given an isolated server
          | SETTING   | VALUE |
          | maxmemory | 1     |
        And the server replies
        """,
    ),
}
