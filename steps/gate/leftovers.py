"""The sentences about what a command leaves on the machine when it ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, then, when

from fixtures.gate.commands import Traces, members
from fixtures.run.forks import ADDRESS, ForkingGroup, ask
from fixtures.run.keys import Unsupported
from redis_practices.polling import eventually, seconds_until
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

    from fixtures.gate.commands import Ended, Running
    from fixtures.reporting.measurements import Bound


@given(parsers.parse("{servers:d} of its servers and workers run"), target_fixture="traces")
def await_servers(running: Running, servers: int) -> Iterator[Traces]:
    """Wait until the servers and workers of the command run, and remember what belongs to it.

    In the end what is left after all is removed, so that a check that fails leaves nothing either.
    """
    traces = Traces(running)

    def look() -> None:
        """Look which run, and where their scratch folders are."""
        seen = [str(one) for one in traces.servers()]
        assert len(seen) == servers, f"these run: {seen}; it said {running.said()}"
        assert traces.files(), "no scratch folder is there"

    eventually(look, within=60.0)
    yield traces
    traces.remove()


@when("it gets Ctrl-C")
def press_ctrl_c(running: Running) -> None:
    """Send what a terminal sends: SIGINT to every process of the command's group."""
    running.interrupt()


@when(parsers.parse("it gets SIG{name}"))
def send_signal(running: Running, name: str) -> None:
    """Send a signal to the process of the command alone."""
    os.kill(running.process.pid, signal.Signals[f"SIG{name}"])


@when("its xdist process gets SIGKILL")
def kill_xdist_process(traces: Traces) -> None:
    """Kill the one process that xdist started to run scenarios in."""
    running = traces.running
    [found] = [one for one in traces.processes() if one.group == running.group and one.pid != running.process.pid]
    os.kill(found.pid, signal.SIGKILL)


@then("it ends", target_fixture="outcome")
def await_end(running: Running) -> Ended:
    """Wait for its end."""
    return running.ended()


@then(parsers.parse("nothing of it is left {bound:Bound}", extra_types=TYPES))
def check_nothing_left(traces: Traces, bound: Bound, measure: Callable[..., None]) -> None:
    """Look for its processes, scratch folders and temporary files until there are none."""

    def look() -> None:
        """Look what is left."""
        left = [str(one) for one in [*traces.processes(), *traces.files()]]
        assert not left, f"left: {left}"

    measure("all gone", unit="s", seen=round(seconds_until(look, give_up=30.0), 2), bound=bound)


@when("a process is asked for by somebody who goes at once", target_fixture="asked")
def ask_for_process(pytestconfig: pytest.Config) -> Iterator[ForkingGroup]:
    """Ask the process that forks for one that would run for ever, and for another to know that it has been forked."""
    if not (address := pytestconfig.stash[ADDRESS]):
        raise Unsupported("needs Linux: elsewhere no process is forked by another")
    with ForkingGroup() as group, Path(os.devnull).open("r+b") as nothing:
        place = {"cwd": str(group.folder), "env": dict(os.environ), "group": group.number}
        request = {"module": "http.server", "arguments": ["0", "--bind", "127.0.0.1"], **place}
        ask(address, [nothing.fileno()] * 3, request).close()
        assert group.start_python("this", [], group.folder / "log", cwd=group.folder).wait(30.0) == 0
        yield group


@then(parsers.parse("it ends by itself {bound:Bound}", extra_types=TYPES))
def check_ended(asked: ForkingGroup, bound: Bound, measure: Callable[..., None]) -> None:
    """Look for processes of its group until there is none but the one that ends the others."""

    def look() -> None:
        """Look who is there."""
        there = [str(one) for one in members(asked.number) if one.pid != asked.number]
        assert not there, f"these run: {there}"

    measure("gone", unit="s", seen=round(seconds_until(look, give_up=30.0), 2), bound=bound)
