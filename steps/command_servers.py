"""The sentences about the servers that a command uses."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from pytest_bdd import parsers, then, when

from connection import redis_client
from embedded import BROKER, start_server
from fixtures.commands import Running
from fixtures.waiting import eventually
from processes import ProcessGroup
from steps.commands import Names, expanded

if TYPE_CHECKING:
    from fixtures.addresses import Addresses
    from fixtures.commands import Ended


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


@then(parsers.parse('the server at "{address}" holds "{value}" under "{key}"'))
def check_value(addresses: Addresses, names: Names, address: str, value: str, key: str) -> None:
    """Read a key by a connection of our own."""
    with redis_client(f"redis://{expanded(address, addresses, names)}") as client:
        assert client.get(key) == value
