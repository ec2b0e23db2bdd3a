"""The sentences about values that are big enough to hold others up."""

from __future__ import annotations

import statistics
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from pytest_bdd import parsers, then, when

from fixtures.reporting.measurements import Bound
from redis_practices.polling import eventually, seconds_until
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis_practices.servers.server import Server

FILL = "for i = 1, tonumber(ARGV[1]) do redis.call('SADD', KEYS[1], 'member:' .. i) end"
"""Makes a big set in one round trip."""

FILLING = 30.0
"""Seconds that the server may take to fill its memory: a tenth of one, where nothing else goes on."""

SLACK = 1_000_000
"""Bytes by which the memory of an empty server may differ: buffers of clients, pages kept by the allocator."""


def _fastest(client: Any, command: str, members: int, rounds: int = 5) -> float:
    """Return the seconds of the fastest of some rounds, as the server counts them; each frees that many members."""
    took: list[float] = []
    client.eval(FILL, 1, "source", members)
    for _ in range(rounds):
        client.sunionstore("big", "source")
        client.config_resetstat()
        client.execute_command(command, "big")
        # The server's own clock: ours would count the waiting for a processor, too.
        took.append(client.info("commandstats")[f"cmdstat_{command.lower()}"]["usec"] / 1e6)
        eventually(lambda: client.info("memory")["lazyfree_pending_objects"] == 0, within=20)
    return min(took)


@then(
    parsers.cfparse('"{command}" of {members:Count} members takes {bound:Bound}', extra_types=TYPES),
    target_fixture="freed",
)
def check_unlink(
    server: Server, command: str, members: int, bound: Bound, measure: Callable[..., None]
) -> tuple[int, float]:
    """Free a big set; return its size and the seconds."""
    with server.client() as client:
        took = _fastest(client, command, members)
    measure(command, unit="s", bound=bound, seen=round(took, 6))
    return members, took


@then(
    parsers.cfparse('"{command}" of them takes {bound:Bound} times as long, if it frees them itself', extra_types=TYPES)
)
def check_del(
    server: Server, freed: tuple[int, float], command: str, bound: Bound, measure: Callable[..., None]
) -> None:
    """Free a set of the same size by the other command, and compare."""
    with server.client() as client:
        client.config_set("lazyfree-lazy-user-del", "no")
        took = _fastest(client, command, freed[0])
    measure(command, unit="s", seen=round(took, 6))
    measure(f"{command} compared", unit="times", bound=bound, seen=round(took / max(freed[1], 1e-6), 1))


@then(
    parsers.cfparse('the memory of {members:Count} members is free {bound:Bound} after "{command}"', extra_types=TYPES),
    target_fixture="members",
)
def check_later(server: Server, members: int, bound: Bound, command: str, measure: Callable[..., None]) -> int:
    """Flush, and wait until the memory in use is what it was when the server was empty."""
    with server.client(socket_timeout=FILLING) as client:
        empty = client.info("memory")["used_memory"]
        client.eval(FILL, 1, "big", members)
        assert client.info("memory")["used_memory"] > empty + SLACK, "the set takes no memory: nothing can be measured"
        client.execute_command(*command.split())
        took = seconds_until(lambda: client.info("memory")["used_memory"] < empty + SLACK, 20)
    measure(f"memory free after {command}", unit="s", bound=bound, seen=round(took, 3))
    return members


@then(parsers.parse('it is free at once after "{command}"'))
def check_at_once(server: Server, members: int, command: str) -> None:
    """Flush, and look once."""
    with server.client(socket_timeout=FILLING) as client:
        empty = client.info("memory")["used_memory"]
        client.eval(FILL, 1, "big", members)
        client.execute_command(*command.split())
        left = client.info("memory")["used_memory"] - empty
    assert left < SLACK, f"{left} bytes are still in use right after {command}"


@when(parsers.parse("{readers:d} readers read a value of {megabytes:d} MB all the time"))
def read_big(server: Server, readers: int, megabytes: int, ending: ExitStack) -> None:
    """Read a big value in threads until the scenario ends."""
    ended, reading = threading.Event(), threading.Semaphore(0)

    def read() -> None:
        """Read again and again; the pause leaves the processor to this process' other threads."""
        with server.client(decode_responses=False) as client:
            while not ended.is_set():
                client.get("big")
                reading.release()
                ended.wait(0.005)

    with server.client() as client:
        client.set("big", "x" * megabytes * 1_000_000)
        client.set("small", "x")
    threads = [threading.Thread(target=read) for _ in range(readers)]
    for thread in threads:
        ending.callback(thread.join)
        thread.start()
    ending.callback(ended.set)
    for _ in threads:
        assert reading.acquire(timeout=10), "a reader of the big value got no answer"


@then(parsers.cfparse("half of {number:Count} small reads beside them take {bound:Bound}", extra_types=TYPES))
def check_small(server: Server, number: int, bound: Bound, measure: Callable[..., None]) -> None:
    """Read a small value and take the middle of the times."""
    took = []
    with server.client() as client:
        for _ in range(number):
            begun = time.monotonic()
            assert client.get("small") == "x", "the small value is gone"
            took.append(time.monotonic() - begun)
    measure("small read", unit="s", bound=bound, seen=round(statistics.median(took), 5))
