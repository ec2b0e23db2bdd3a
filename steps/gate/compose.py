"""The sentences about the compose stack of a run that ends in some way."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, then, when

from fixtures.run.keys import StackError, Unsupported
from fixtures.stacks.docker.compose import guard_of, run_project
from fixtures.stacks.docker.engine import check_engine, containers, remove
from redis_practices.polling import eventually, seconds_until
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fixtures.gate.commands import Running
    from fixtures.reporting.measurements import Bound

UP_WITHIN = 120.0
"""Seconds until a stack is up; an image that is missing is built in them."""


@given("its compose stack is up", target_fixture="project")
def await_stack(running: Running) -> Iterator[str]:
    """Wait until the command has its stack, and give the stack's name; what is left of it is removed in the end."""
    try:
        check_engine()
    except StackError as error:
        raise Unsupported(f"needs Docker: {error}") from None
    project = run_project(running.process.pid)

    def is_up() -> None:
        """Look at what it has said, and whether it still runs."""
        if running.process.poll() is not None:
            raise StackError(f"it ended: {running.said()}")
        assert "docker stack ready" in str(running.said()), f"it has said only: {running.said()}"

    eventually(is_up, within=UP_WITHIN)
    assert containers(project), f"there is no container of {project}"
    yield project
    remove(project)


@when("it and the guard of its compose stack get SIGKILL")
def kill_both(running: Running, project: str) -> None:
    """Kill the guard first, which would take the stack down at once."""
    for pid in (guard_of(project), running.process.pid):
        os.kill(pid, signal.SIGKILL)


@then("its compose stack is left")
def check_left(project: str) -> None:
    """Require that its containers are there."""
    assert containers(project), "its containers are gone"


@then(parsers.cfparse("its compose stack is gone {bound:Bound}", extra_types=TYPES))
def check_gone(project: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Look for its containers until there are none."""

    def look() -> None:
        """Look what is left."""
        assert not (left := containers(project)), f"left: {[container['Name'] for container in left]}"

    gone = (StackError,)  # a container may go while the engine is asked about it
    measure("its containers gone", unit="s", seen=round(seconds_until(look, give_up=90.0, also=gone), 2), bound=bound)
