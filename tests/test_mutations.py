"""Each family of sentences can fail: the verdict on a scenario turns round when a step is mutated.

A mutated step does nothing, compares nothing, ignores a bound or a deadline. Each row of `MUTATIONS` has a scenario. A
true claim passes with the steps as they are and fails with the mutation. A false claim fails, and passes with it.
"""

from __future__ import annotations

from textwrap import dedent, indent
from typing import NamedTuple

import pytest

from tests.project import Project

SETTINGS = """\
[pytest]
strict = true
markers = [
    "core: ", "slow: ", "disruptive: ", "pure_cache: ", "redis_cluster: ", "celery_worker: ", "tuning: ", "gate: "
]
"""

TOOLS = """\
import inspect, os, sys, time
from pytest_bdd.steps import step_function_context_registry


def everywhere(name, function):
    for module in [module for key, module in sys.modules.items() if key.startswith(("steps.", "fixtures."))]:
        if hasattr(module, name):
            setattr(module, name, function)


def nothing(*_, **__):
    return None


def step(sentence, body="return None"):
    [context] = [one for one in step_function_context_registry.values() if one.parser.name == sentence]
    function = inspect.unwrap(context.step_func)
    code = {}
    names = ", ".join(inspect.signature(function).parameters)
    exec(f"def mutated({names}): {body}", vars(sys.modules[function.__module__]), code)
    function.__code__ = code["mutated"].__code__


def pytest_sessionstart():
    exec(os.environ.get("SABOTAGE", ""), globals())
    exec(os.environ.get("MUTATION", ""), globals())
"""
"""A plugin that changes steps before a run; a sabotage of the code under test is there in both runs."""


class Mutation(NamedTuple):
    """A change of a step, and the scenario that shows it."""

    code: str
    """Python that changes the steps, with the tools above."""
    steps: str
    holds: bool = True
    """Whether the claim is true."""
    sabotage: str = ""


def nothing(sentence: str, steps: str, *, holds: bool = False, sabotage: str = "") -> Mutation:
    """Return a mutation in which a step does nothing; by default that step judges a false claim."""
    return Mutation(f"step({sentence!r})", steps, holds, sabotage)


SERVER = 'Given an isolated cache\nAnd the cache holds "Ann" as "user:1"\n'
TASK = 'Given an isolated broker\nAnd a worker\nWhen the task "add" is sent with [4, 8]\n'

COUNTED = 'Given an isolated broker\nAnd a worker\nWhen the task "stamp" is sent with [0.01]\nAnd the result is read\n'

MUTATIONS = {
    "a deployment without its settings": Mutation(
        'step("an isolated {plan:Deployment}", "context.isolate(plan)")',
        """\
        Given an isolated cache
          | SETTING   | VALUE |
          | databases | 2     |
        Then the cache replies
          | COMMANDS | REPLY |
          | SELECT 1 | OK    |
          | SELECT 2 | ERR   |
        """,
    ),
    "data that is not stored": nothing(
        '{holder:Target} holds "{value}" as "{key}"', f'{SERVER}Then the cache reads "Ann" from "user:1"', holds=True
    ),
    "a fault that does nothing": nothing(
        "{target:Target} is {fault:Fault}",
        f'{SERVER}When the cache is killed\nAnd the cache is started\nThen the cache reads nothing from "user:1"',
        holds=True,
    ),
    "time that does not pass": nothing(
        "{duration:Duration} have passed",
        'Given an isolated cache\nWhen a client runs "SET user:1 Ann PX 200"\nAnd 0.3 seconds have passed\n'
        'Then the cache reads nothing from "user:1"',
        holds=True,
    ),
    "a table of replies that compares nothing": nothing(
        "{target:Target} replies",
        """\
        Given an isolated cache
        Then the cache replies
          | COMMANDS | REPLY |
          | PING     | NO    |
        """,
    ),
    "a read that compares nothing": nothing(
        '{reader:Target} reads {value:Value} from "{key}"', f'{SERVER}Then the cache reads "Bob" from "user:1"'
    ),
    "a count that is not judged": nothing(
        "{bound:Bound} {name:Counted}",
        "Given the cache under test\nWhen the cache serves 5 writes\nThen exactly 1 write was lost",
    ),
    "a bound that is ignored": Mutation(
        "from fixtures.reporting.measurements import Bound; Bound.allows = lambda *_: True",
        "Given the cache under test\nWhen the cache serves 5 writes\nThen at least 1 write was lost",
        holds=False,
    ),
    "a time that is not judged": nothing(
        "the {name:Timed} took {bound:Bound}",
        "Given the cache under test\nWhen the cache serves 1 messages\nThen the message took at least 20 seconds",
    ),
    "a table of measurements that judges nothing": nothing(
        "the measurements are",
        """\
        Given the cache under test
        When the cache serves 5 writes
        Then the measurements are
          | MEASUREMENT | BOUND      |
          | writes lost | at least 1 |
        """,
    ),
    "a state that is not asked": nothing(
        "{target:Target} has {bound:Bound} {name:Asked}", f"{SERVER}Then the cache has exactly 7 keys"
    ),
    "a deadline that never ends": Mutation(
        "from steps.common.vocabulary import Duration; Duration.seconds = lambda *_: 3600.0",
        'Given an isolated cache\nWhen a client runs "SET user:1 Ann PX 3000"\n'
        "Then the cache has exactly 0 keys within 1 second",
        holds=False,
    ),
    "a detector that finds nothing": nothing(
        "the {name:Findings} are",
        """\
        Given an isolated cache
        And these keys
          | KEY    | TYPE   | BYTES | TTL  |
          | user:1 | string | 10    | none |
        Then the key findings are
          | KEY    | PROBLEM |
          | user:2 | no ttl  |
        """,
    ),
    "findings that are not missed": nothing(
        "there are no {name:Findings}",
        """\
        Given an isolated cache
        And these keys
          | KEY    | TYPE   | BYTES | TTL  |
          | user:1 | string | 10    | none |
        Then there are no key findings
        """,
    ),
    "a property that is not tried": nothing(
        '"{name:Property}" holds for {count:Count} {cases:w}',
        'Given the cluster under test\nThen "client and server compute the same slot" holds for 100 keys',
        sabotage='everywhere("slot_of", lambda key: 0)',
    ),
    "an audit that compares no words": nothing(
        'the {kind:Fact} "{name}" is one of "{text}"',
        'Given the cache under test\nThen the setting "maxmemory-policy" is one of "noeviction"',
    ),
    "an audit that compares no number": nothing(
        'the {kind:Fact} "{name}" is {bound:Bound}',
        'Given the cache under test\nThen the setting "maxclients" is at most 1',
    ),
    "a task that is not sent": nothing(
        'the task "{name}" is sent with {given:Arguments}', f"{TASK}Then the result is 12", holds=True
    ),
    "a result that is not compared": nothing("the result is {value:Json}", f"{TASK}Then the result is 13"),
    "runs that are not counted": nothing(
        "{target:Target} ran {bound:Times}", f"{COUNTED}Then the task ran exactly 0 times"
    ),
    "ways that are not run": nothing(
        "each way cost",
        """\
        Given an isolated cache
        And 20 values of 10 bytes
        Then each way cost
          | WAY               | COMMANDS  |
          | GET one at a time | exactly 1 |
        """,
    ),
    "an exit code that is not compared": nothing(
        "{target:Target} exits with {code:d}", 'When I run "python -c pass"\nThen the command exits with 3'
    ),
    "output that is not compared": nothing(
        "{stream:Stream} contains",
        """\
        When I run "python -c pass"
        Then the output contains
          \"""
          something
          \"""
        And the command exits with 0
        """,
    ),
    "a workload that measured nothing": nothing(
        "the workload measured",
        """\
        Given an isolated cluster of 3 primaries without replicas
        And a workload of 2 writers and 1 reader
        Then the workload measured
          | MEASUREMENT         | BOUND     |
          | writes acknowledged | exactly 1 |
        """,
    ),
}


def write(project: Project, *names: str) -> None:
    """Write the plugin, and a feature with the scenarios of these mutations."""
    project.plugins = ["pytest_bdd.plugin", "_hypothesis_pytestplugin", "suite", "mutating"]
    project.write("pytest.toml", SETTINGS)
    project.write("mutating.py", TOOLS)
    text = "Feature: Mutations\n  What each scenario claims.\n"
    for name in names:
        text += f"\n  Scenario: {name}\n{indent(dedent(MUTATIONS[name].steps), ' ' * 4)}\n"
    project.write("features/pure_cache/mutations.feature", text)


def passes(project: Project, name: str) -> bool:
    """Tell whether the scenario of a mutation passes."""
    run = project.run("features", "--report", "results")
    found = [record for record in project.report()["scenarios"] if record["id"] == name]
    assert found, "\n".join(run.outlines)
    return bool(found[0]["status"] == "passed")


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_is_seen(project: Project, name: str) -> None:
    """The scenario passes where its claim is true, and the mutation turns it round."""
    mutation = MUTATIONS[name]
    write(project, name)
    project.environment["SABOTAGE"] = mutation.sabotage
    assert passes(project, name) == mutation.holds
    project.environment["MUTATION"] = mutation.code
    assert passes(project, name) != mutation.holds
