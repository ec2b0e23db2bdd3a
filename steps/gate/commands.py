"""The sentences about command lines: their output, their exit code, and their leftovers."""

from __future__ import annotations

import os
import re
import signal
from dataclasses import dataclass, field
from string import Template

from pytest_bdd import given, parsers, then, when

from fixtures.bdd.vocabulary import records, register
from fixtures.context import Context, target
from fixtures.gate.commands import (
    MACHINES,
    TIMEOUT,
    Addresses,
    Leaks,
    Outcome,
    Process,
    Running,
    on_machine,
    run,
    run_at_terminal,
)
from fixtures.redis_cluster.nodes import primaries
from fixtures.reporting.measurements import Bound
from fixtures.run.keys import StackError, Unsupported
from fixtures.run.own_time import WorkersClock
from fixtures.stacks.docker.compose import check_engine, containers, guard_of, remove, run_project
from redis_practices.clients import redis_client
from redis_practices.polling import eventually, seconds_until
from steps.common.judgements import PATIENCE
from steps.common.vocabulary import TYPES, Duration, Table, options, rows


@dataclass(repr=False)
class CommandLine:
    """The command line of a scenario: what it may connect to, what runs of it, and how it ended."""

    context: Context
    addresses: Addresses
    names: dict[str, str] = field(default_factory=dict)
    running: Running | None = None
    leaks: Leaks | None = None
    ended: Outcome | None = None

    @classmethod
    def of(cls, context: Context) -> CommandLine:
        """Begin without a command."""
        return cls(context, context.request.getfixturevalue("addresses"))

    def environment(self, text: str) -> dict[str, str]:
        """Return the environment of a command, in which `$NAME` is an address."""
        isolated, role = {}, self.context.role
        if self.context.planned or role in self.context.own:
            isolated = {f"{role.upper()}_URL": getattr(self.context, role).url}
            isolated["SERVER"] = self.context.nodes(role)[0].address
        return {**self.addresses.environment(text, self.names), **isolated}

    def expanded(self, text: str) -> str:
        """Return a text with addresses in place of their names."""
        return Template(text).substitute(self.environment(text))

    @property
    def runs(self) -> Running:
        """The command that is running (AssertionError if there is none)."""
        assert self.running, "no command is running"
        return self.running

    @property
    def known_leaks(self) -> Leaks:
        """The leaks of its servers (AssertionError if the scenario does not say how many servers it has)."""
        assert self.leaks, 'the OPTION "servers" of a running command says how many of them to look for'
        return self.leaks

    def start(self, command: str) -> None:
        """Start a command; what still runs of it ends with the scenario."""
        self.running, self.ended = Running(command, self.environment(command)), None
        self.context.ending.callback(self.running.close)

    def seen(self, stream: str) -> str:
        """Return what the command has printed to a stream."""
        outcome = self.ended or self.runs.said()
        streams = {"the standard output": outcome.stdout, "the error output": outcome.stderr}
        return streams.get(stream, f"{outcome.stdout}{outcome.stderr}")

    def log_tail(self, lines: int = 40) -> str:
        """Return the last lines that the command has printed."""
        return "\n".join(self.seen("the output").splitlines()[-lines:])

    def wait_end(self, seconds: float) -> int:
        """Return the exit code of the command."""
        self.ended = self.ended or self.runs.ended(max(seconds, TIMEOUT))
        return self.ended.exit_code

    def send(self, name: str) -> None:
        """Send a signal to the process of the command, Ctrl-C to its whole group as a terminal does."""
        if name == "Ctrl-C":
            self.runs.interrupt()
        else:
            os.kill(self.runs.process.pid, signal.Signals[name])

    def await_servers(self, number: int) -> None:
        """Wait until this number of the command's servers and workers run; they end with the scenario at the latest."""
        self.leaks = leaks = Leaks(self.runs)
        self.context.ending.callback(leaks.remove)

        def all_run() -> None:
            seen = [str(one) for one in leaks.servers()]
            assert len(seen) == number, f"these run: {seen}; the command printed {self.runs.said()}"
            assert leaks.files(), "there is no scratch folder"

        eventually(all_run, within=TIMEOUT)


@given("these addresses")
def name_addresses(context: Context, datatable: Table) -> None:
    """Give names to addresses for command lines; a deployment starts when a command uses its name.

    ``$NAME`` stands for host and port in a command line and its output, ``$PORT_OF_NAME`` for the port.

    Example: a table of NAME and DEPLOYMENT
    """
    table = rows(datatable, ("NAME", "DEPLOYMENT"))
    context.part(CommandLine).names = {row["NAME"]: row["DEPLOYMENT"] for row in table}


@given(parsers.parse('"{command}" is running'))
def start_command(context: Context, command: str, datatable: Table | None = None) -> None:
    """Start a command line, and wait for the event of an OPTION.

    It connects to the isolated deployment of the scenario by CACHE_URL, BROKER_URL or CLUSTER_URL; ``$SERVER`` is its
    address.

    Example: ``Given "python src/serve.py cache" is running``
    """
    line, wanted = context.part(CommandLine), options(datatable)
    if "--stack=docker" in command:
        need_docker()
    line.start(command)
    running = line.runs

    def has_printed() -> None:
        printed = str(running.said())
        if running.process.poll() is not None:
            raise StackError(f"the command ended: {printed}")
        assert wanted.get("first output", "") in printed, f"the command printed only: {printed}"

    if "--stack=docker" in command:
        context.ending.callback(remove, run_project(running.process.pid))
    eventually(has_printed, within=120.0, every=0.01)  # it may build the image of a compose stack
    if "servers" in wanted:
        line.await_servers(int(wanted["servers"]))


register("setting", "first output", "text that a command prints when it is ready")(start_command)
register("setting", "servers", "servers and workers of a command that run when it is ready")(start_command)


def need_docker() -> None:
    """Raise Unsupported where no Docker engine answers."""
    try:
        check_engine()
    except StackError as error:
        raise Unsupported(f"needs Docker: {error}") from None


@when(parsers.parse('I run "{command}"'))
@records("command", "time from the start of a command line to its end", unit="s")
def run_command(context: Context, command: str, datatable: Table | None = None) -> None:
    """Run a command line to its end.

    It connects to the isolated deployment of the scenario like a command that is running.

    Example: ``When I run "python src/send_task.py 20 22"``
    """
    line, wanted = context.part(CommandLine), options(datatable)
    placed = on_machine(wanted["machine"], command) if "machine" in wanted else command
    runs = run_at_terminal if wanted.get("error output") == "a terminal" else run
    line.ended = runs(placed, line.environment(command))
    context.record("command", round(line.ended.seconds, 2))


register("setting", "machine", f"what the machine of a command lacks: {', '.join(MACHINES)}")(run_command)
register("setting", "error output", "where a command writes its errors to: a terminal")(run_command)


@when(parsers.parse("{target:Target} gets {signal:Signal}", extra_types=TYPES))
def send_signal(context: Context, target: str, signal: str) -> None:
    """Send Ctrl-C or a signal to a process.

    Example: ``When the command gets SIGTERM``
    """
    context.target(target).send(signal)


@then(parsers.parse('{stream:Stream} is "{text}"', extra_types=TYPES))
def check_line(context: Context, stream: str, text: str) -> None:
    """Compare what the command printed with one line; the output is the standard output and the error output.

    Example: ``Then the standard output is "Task result: 42"``
    """
    check_text(context, stream, text)


@then(parsers.parse("{stream:Stream} is", extra_types=TYPES))
def check_text(context: Context, stream: str, docstring: str) -> None:
    """Compare what the command printed with a text, character by character.

    Example: ``Then the standard output is`` with the text below
    """
    line = context.part(CommandLine)
    assert line.seen(stream).strip("\n") == line.expanded(docstring), f"{stream} is {line.seen(stream)!r}\n{line.ended}"


@then(parsers.parse("{stream:Stream} contains", extra_types=TYPES))
def check_lines(context: Context, stream: str, docstring: str) -> None:
    """Find each line of the text in a line that the command printed, in this order, among other lines.

    Example: ``Then the output contains`` with the text below
    """
    line = context.part(CommandLine)

    def found() -> None:
        printed = iter(line.seen(stream).splitlines())
        for wanted in line.expanded(docstring).splitlines():
            assert any(wanted.strip() in one for one in printed), (
                f"{stream} does not contain, or not in this order: {wanted}\n{line.seen('the output')}"
            )

    if line.ended:
        found()
    else:
        eventually(found, within=PATIENCE)


@then(parsers.parse("{stream:Stream} is empty", extra_types=TYPES))
def check_empty(context: Context, stream: str) -> None:
    """Require that the command printed nothing to a stream.

    Example: ``Then the error output is empty``
    """
    assert not (seen := context.part(CommandLine).seen(stream)), f"{stream} is {seen!r}"


@then(parsers.parse('{stream:Stream} does not contain "{text}"', extra_types=TYPES))
def check_absent(context: Context, stream: str, text: str) -> None:
    """Require that the command did not print a text.

    Example: ``Then the output does not contain "Traceback"``
    """
    assert text not in (seen := context.part(CommandLine).seen(stream)), f"{stream} is {seen}"


@then(parsers.parse("nothing of the command is left within {duration:Duration}", extra_types=TYPES))
def check_nothing_left(context: Context, duration: Duration) -> None:
    """Look for processes, scratch folders and temporary files of the command until there are none.

    Example: ``Then nothing of the command is left within 5 seconds``
    """
    leaks, bound = context.part(CommandLine).known_leaks, Bound.at_most(duration.seconds(), "s")

    def all_gone() -> None:
        left = [str(one) for one in [*leaks.processes(), *leaks.files()]]
        assert not left, f"left: {left}"

    clock = WorkersClock()
    seen = clock.apart(seconds_until(all_gone, give_up=30.0), bound)
    context.measure("until nothing of the command is left", unit="s", seen=seen, bound=bound)


target("the command", "the command line of the scenario")(lambda context: context.part(CommandLine))


def watched(line: CommandLine) -> list[dict[str, int]]:
    """Return the slots of each primary, as each line of ``cluster_example.py --watch`` shows them."""
    shown = re.findall(r"^\d\d:\d\d:\d\d slots/keys: (.*)\n", line.seen("the standard output"), re.MULTILINE)
    return [{address: int(slots) for address, slots in re.findall(r"(\S+) (\d+)/\d+", text)} for text in shown]


@register("measurement", "moved slots", "slots that a watched cluster shows at another primary at last", unit="slots")
def count_moved(_: Context, line: CommandLine) -> int:
    """Compare the last line with the first one."""
    first, last = watched(line)[0], watched(line)[-1]
    return sum(max(0, slots - first.get(address, 0)) for address, slots in last.items())


@register("measurement", "incomplete lines", "lines of a watched cluster that lack a primary", unit="lines")
def count_incomplete(context: Context, line: CommandLine) -> int:
    """Count the lines that do not name every primary."""
    addresses = {node.address for node in primaries(context.cluster)}
    return sum(set(shown) != addresses for shown in watched(line))


@register("measurement", "keys left", "keys of cluster_example.py that the cluster still holds", unit="keys")
def count_left(context: Context, line: CommandLine) -> int:
    """Look for the prefix that the command has printed."""
    [prefix] = set(re.findall(r"^(practices:\w+:)0 ->", line.seen("the standard output"), re.MULTILINE))
    with context.cluster.client() as client:
        return sum(1 for _ in client.scan_iter(match=f"{prefix}*", count=1000))


@target("the forked process", "the one process that the run has forked for scenarios")
def the_forked_process(context: Context) -> Process:
    """Return this process of the command."""
    line = context.part(CommandLine)
    first = line.runs.process.pid
    [found] = [one for one in line.known_leaks.processes() if one.pid != first and " features/" in one.command]
    return found


@target("the compose stack", "the containers that the command has started")
def the_compose_stack(context: Context) -> str:
    """Return the name of the stack of the command that runs or ran."""
    return run_project(context.part(CommandLine).runs.process.pid)


@target("the guard of the compose stack", "the process that removes the containers when the command is gone")
def the_guard(context: Context) -> Process:
    """Return this process."""
    pid = guard_of(the_compose_stack(context))
    return Process(pid, os.getpgid(pid), "the guard")


@register("measurement", "containers", "containers of a compose stack that exist")
def count_containers(_: Context, stack: str) -> int:
    """Ask the Docker engine; a container may go while it is asked, so ask again."""
    try:
        return len(containers(stack))
    except StackError as error:
        raise AssertionError(str(error)) from None


@dataclass
class NamedServer:
    """A server that has a name in command lines."""

    address: str

    def read(self, key: str) -> str | None:
        """Return the value of a key."""
        with redis_client(f"redis://{self.address}") as client:
            value: str | None = client.get(key)
            return value


target('the server at "{address}"', "the server that has this name in command lines")(
    lambda context, address: NamedServer(context.part(CommandLine).expanded(address))
)
