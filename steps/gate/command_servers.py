"""The sentences about the servers that a command uses."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from threading import Timer
from typing import TYPE_CHECKING

from pytest_bdd import parsers, then, when

from fixtures.gate.commands import Running
from redis_practices.clients import redis_client
from redis_practices.polling import eventually
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import BROKER, start_server
from steps.common.vocabulary import TYPES
from steps.gate.commands import Names, expanded

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.gate.commands import Ended
    from fixtures.gate.endpoints import Addresses
    from fixtures.reporting.measurements import Bound


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
        closing.join()
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
