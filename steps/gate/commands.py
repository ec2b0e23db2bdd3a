"""The sentences about commands that somebody types, and what they say and leave."""

from __future__ import annotations

from string import Template
from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, then, when

from fixtures.gate.commands import Running, command_where, run, run_at_terminal
from redis_practices.polling import eventually
from steps.common.vocabulary import TYPES, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fixtures.gate.commands import Ended
    from fixtures.gate.endpoints import Addresses
    from fixtures.reporting.measurements import Bound

Table = list[list[str]]
Names = dict[str, str]


@given("these addresses", target_fixture="names")
def name_addresses(datatable: Table) -> Names:
    """Give names to addresses; what is there starts when a command uses its name."""
    return {row["NAME"]: row["OF"] for row in rows(datatable, ["NAME", "OF"])}


@when(parsers.parse('somebody runs "{command}"'), target_fixture="outcome")
def run_command(addresses: Addresses, names: Names, command: str) -> Ended:
    """Run a command line to its end."""
    return run(command, addresses.environment(command, names))


@when(parsers.parse('somebody runs "{command}" where {surroundings}'), target_fixture="outcome")
def run_command_where(addresses: Addresses, names: Names, command: str, surroundings: str) -> Ended:
    """Run a command line to its end on a machine that lacks something."""
    return run(command_where(surroundings, command), addresses.environment(command, names))


@when(parsers.parse('somebody runs "{command}" at a terminal'), target_fixture="outcome")
def run_command_at_terminal(addresses: Addresses, names: Names, command: str) -> Ended:
    """Run a command line whose standard error is a terminal."""
    return run_at_terminal(command, addresses.environment(command, names))


@given(parsers.parse('somebody started "{command}"'), target_fixture="running")
def start_command(addresses: Addresses, names: Names, command: str) -> Iterator[Running]:
    """Start a command line; what still runs of it in the end is ended."""
    running = Running(command, addresses.environment(command, names))
    yield running
    running.close()


@given(parsers.parse('it has said "{words}"'))
def await_words(running: Running, words: str) -> None:
    """Wait until the command that runs has said something, on standard output or standard error."""

    def look() -> None:
        """Look at what it has said, and whether it still runs."""
        assert running.process.poll() is None, f"it ended: {running.said()}"
        assert words in str(running.said()), f"it has said only: {running.said()}"

    eventually(look, within=20.0)


@then(parsers.parse("it exits with {code:d}"))
def check_code(outcome: Ended, code: int) -> None:
    """Compare the exit code."""
    assert outcome.exit_code == code, str(outcome)


@then(parsers.parse("the command took {bound:Bound}", extra_types=TYPES))
def check_time(outcome: Ended, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the time from its start to its end against the bound."""
    measure("the command", unit="s", seen=round(outcome.seconds, 2), bound=bound)


@then("its standard output is")
def check_stdout(addresses: Addresses, names: Names, outcome: Ended, docstring: str) -> None:
    """Compare the standard output, character by character."""
    assert outcome.stdout == f"{expanded(docstring, addresses, names)}\n", str(outcome)


@then("its standard output is empty")
def check_no_stdout(outcome: Ended) -> None:
    """Require that nothing was written to standard output."""
    assert not outcome.stdout, str(outcome)


@then("its standard error is empty")
def check_no_stderr(outcome: Ended) -> None:
    """Require that nothing was written to standard error."""
    assert not outcome.stderr, str(outcome)


@then(parsers.parse('its standard error is the line "{line}"'))
def check_stderr(addresses: Addresses, names: Names, outcome: Ended, line: str) -> None:
    """Require that one line was written to standard error: that very one."""
    assert outcome.stderr == f"{expanded(line, addresses, names)}\n", str(outcome)


@then("it says")
def check_lines(addresses: Addresses, names: Names, outcome: Ended, docstring: str) -> None:
    """Find each line of the doc string in a line of what was said, in this order."""
    said = iter(outcome.lines)
    for wanted in expanded(docstring, addresses, names).splitlines():
        assert any(wanted.strip() in line for line in said), f"not said, or not in this order: {wanted}\n{outcome}"


@then(parsers.parse('it says nothing but "{line}"'))
def check_only_line(addresses: Addresses, names: Names, outcome: Ended, line: str) -> None:
    """Require that one line was said, wherever, and no other."""
    assert [said for said in outcome.lines if said] == [expanded(line, addresses, names)], str(outcome)


@then(parsers.parse('it does not say "{words}"'))
def check_unsaid(outcome: Ended, words: str) -> None:
    """Require that something is nowhere in what was said."""
    assert words not in f"{outcome.stdout}{outcome.stderr}", str(outcome)


@then(parsers.parse('the terminal shows "{text}"'))
def check_terminal(outcome: Ended, text: str) -> None:
    """Find a text in what the terminal got."""
    assert text in outcome.stderr, str(outcome)


def expanded(text: str, addresses: Addresses, names: Names) -> str:
    """Return a text with addresses in place of their names."""
    return Template(text).substitute(addresses.environment(text, names))
