"""The sentences about command lines, what they print, and what they leave."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from string import Template
from threading import Timer
from typing import NamedTuple

from pytest_bdd import given, parsers, then, when

from fixtures.gate.commands import Ended, Running, Traces, command_where, run, run_at_terminal
from fixtures.gate.endpoints import Addresses
from fixtures.reporting.measurements import Bound
from fixtures.run.keys import StackError, Unsupported
from fixtures.stacks.docker.compose import guard_of, run_project
from fixtures.stacks.docker.engine import check_engine, containers, remove
from redis_practices.clients import cluster_client, node_client, redis_client
from redis_practices.polling import eventually, join, seconds_until
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import BROKER, start_server
from steps.common.vocabulary import TYPES, rows

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


@when(parsers.parse('somebody runs "{command}", and $SERVER {fate} when it holds a key'), target_fixture="outcome")
def run_with_fate(addresses: Addresses, names: Names, command: str, fate: str) -> Ended:
    """Run a command line on a server of its own, which is killed or stopped (SIGSTOP) in the middle."""
    with ProcessGroup() as group, ExitStack() as ending:
        server = start_server(group, BROKER, binary=addresses.binary)
        running = Running(command, {**addresses.environment(command, names), "SERVER": server.address})
        ending.callback(running.close)
        with server.client() as client:
            eventually(lambda: client.dbsize() > 0, within=20.0)
        {"ends": server.kill, "hangs": server.pause}[fate]()
        return running.ended()


@when(
    parsers.parse("a server is killed, and something listens on its port for {seconds:g} seconds more"),
    target_fixture="absence",
)
def hold_port(addresses: Addresses, seconds: float) -> float:
    """Start a killed server again while its port is taken, and return after how many seconds it answers."""
    with ProcessGroup() as group, socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server = start_server(group, BROKER, binary=addresses.binary)
        server.kill()
        listener.bind(("127.0.0.1", server.port))
        listener.listen()
        closing = Timer(seconds, listener.close)
        closing.start()
        begun = time.monotonic()
        server.restart()
        join(closing)
        return time.monotonic() - begun


@then(parsers.cfparse("it came back {bound:Bound}", extra_types=TYPES))
def check_absence(absence: float, bound: Bound, measure: Callable[..., None]) -> None:
    """Measure how long the server was away."""
    measure("back", unit="s", bound=bound, seen=round(absence, 3))


@then(parsers.parse('the server at "{address}" holds "{value}" under "{key}"'))
def check_value(addresses: Addresses, names: Names, address: str, value: str, key: str) -> None:
    """Read a key by a connection of our own."""
    with redis_client(f"redis://{expanded(address, addresses, names)}") as client:
        assert client.get(key) == value


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
    [found] = [one for one in traces.processes() if "exec(eval(sys.stdin.readline()))" in one.command]
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


SLOTS = 16384


class Row(NamedTuple):
    """A row of the table that the script shows."""

    node: str
    role: str
    slots: int
    keys: int
    share: float


def shown(outcome: Ended) -> list[Row]:
    """Return the rows of the table, each of which must end with its bar."""
    found = re.findall(r"^(\S+:\d+) +(primary|replica) +(\d+) +(\d+) +(\d+\.\d) % +#+$", outcome.stdout, re.MULTILINE)
    return [Row(node, role, int(slots), int(keys), float(share)) for node, role, slots, keys, share in found]


@then(
    parsers.parse(
        "it shows a cluster of {primaries:d} primaries and {replicas:d} replicas with all slots and {keys:d} keys"
    )
)
def check_table(outcome: Ended, primaries: int, replicas: int, keys: int) -> None:
    """Count the nodes of each role, and add up what the primaries hold."""
    rows = [row for row in shown(outcome) if row.role == "primary"]
    seen = (len(rows), len(shown(outcome)) - len(rows), sum(row.slots for row in rows), sum(row.keys for row in rows))
    assert seen == (primaries, replicas, SLOTS, keys), str(outcome)
    assert f"Wrote {keys} keys and read them back." in outcome.lines, str(outcome)


@then(parsers.parse("each primary's share is {bound:Bound}", extra_types=TYPES))
def check_shares(outcome: Ended, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the share of each primary against the bound, and against its keys."""
    rows = [row for row in shown(outcome) if row.role == "primary"]
    total = sum(row.keys for row in rows)
    for number, row in enumerate(rows, 1):
        measure(f"share of primary {number}", unit="%", seen=row.share, bound=bound)
        assert abs(row.share - 100 * row.keys / total) <= 0.05, str(outcome)  # noqa: PLR2004 - it shows one decimal


@then("the widest deviation it names is the widest of its table")
def check_deviation(outcome: Ended) -> None:
    """Compare the line about the deviation with the table."""
    rows = [row for row in shown(outcome) if row.role == "primary"]
    even = sum(row.keys for row in rows) / len(rows)
    points = {row.node: 100 * (row.keys - even) / (even * len(rows)) for row in rows}
    line = r"^widest deviation from an even spread: (\S+) holds (\d+\.\d) points (more|less) than 33\.3 %$"
    found = re.search(line, outcome.stdout, re.MULTILINE)
    assert found, str(outcome)
    node, size, direction = found.groups()
    signed = float(size) if direction == "more" else -float(size)
    assert abs(points[node] - signed) <= 0.05, f"{points}\n{outcome}"  # noqa: PLR2004 - it shows one decimal
    assert abs(points[node]) == max(map(abs, points.values())), f"{points}\n{outcome}"


@then(parsers.parse('the journey of its key is as the cluster at "{address}" says'))
def check_journey(addresses: Addresses, names: Names, outcome: Ended, address: str) -> None:
    """Ask the cluster for the slot of the key and for the owner of that slot, and compare."""
    line = r"^(\S+) -> slot (\d+) -> (\S+)\na wrong node, (\S+), answers: MOVED (\d+) (\S+)$"
    found = re.search(line, outcome.stdout, re.MULTILINE)
    assert found, str(outcome)
    key, slot, owner, wrong, moved_slot, moved_to = found.groups()
    with cluster_client(f"redis://{expanded(address, addresses, names)}") as cluster:
        node = cluster.get_node_from_key(key)
        says = (str(cluster.cluster_keyslot(key)), node.name)
    assert (slot, owner) == (moved_slot, moved_to) == says, f"{says}\n{outcome}"
    assert wrong != owner, str(outcome)


@then(parsers.parse('no key is left in the cluster at "{address}"'))
def check_no_key(addresses: Addresses, names: Names, address: str) -> None:
    """Ask every node how many keys it has."""
    with cluster_client(f"redis://{expanded(address, addresses, names)}") as cluster:
        for node in cluster.get_primaries():
            with node_client(node.host, node.port) as client:
                assert client.dbsize() == 0, f"{node.name} holds {client.dbsize()} keys"
