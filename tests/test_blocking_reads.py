"""Test blocking reads: they may be longer than the timeout for replies, and still end if the server is silent."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from redis_practices.clients import ReplyLateError, async_client, redis_client, waiting_time
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import CACHE, Server, start_server

TIMEOUT = 1.0
"""Seconds for a reply, also on a busy machine."""
WAIT = 1.4
"""Seconds that each command below waits."""

COMMANDS: list[tuple[tuple[Any, ...], Any]] = [
    (("BLPOP", "none", WAIT), None),
    (("BRPOP", "none", "also none", WAIT), None),
    (("BLMOVE", "none", "other", "LEFT", "RIGHT", WAIT), None),
    (("BZPOPMIN", "none", WAIT), None),
    (("BLMPOP", WAIT, 1, "none", "LEFT"), None),
    (("XREAD", "COUNT", 1, "BLOCK", round(1000 * WAIT), "STREAMS", "none", "$"), None),
    (("WAIT", 1, round(1000 * WAIT)), 0),
]
"""Commands that wait in the server, and their replies."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Give a server."""
    with ProcessGroup() as group:
        yield start_server(group, CACHE)


def ended(seen: list[Any]) -> None:
    """Require that each command waited and returned its reply."""
    for (command, reply), (said, seconds, following) in zip(COMMANDS, seen, strict=True):
        assert said == reply or (reply is None and not said), command
        assert seconds > WAIT - 0.05, command
        assert following == "value", command


def test_wait_is_added_to_the_timeout(server: Server) -> None:
    """A command that waits in the server for longer than the timeout returns its reply, and so does the next one."""
    with redis_client(server.url, TIMEOUT) as client, ThreadPoolExecutor(len(COMMANDS)) as threads:
        client.set("key", "value")

        def ask(command: tuple[Any, ...]) -> tuple[Any, float, Any]:
            with redis_client(server.url, TIMEOUT) as caller:
                begun = time.monotonic()
                return caller.execute_command(*command), time.monotonic() - begun, caller.get("key")

        ended(list(threads.map(ask, [command for command, _ in COMMANDS])))


def test_wait_is_added_to_the_timeout_of_asyncio(server: Server) -> None:
    """The same for asyncio."""

    async def ask(command: tuple[Any, ...]) -> tuple[Any, float, Any]:
        async with async_client(server.url, TIMEOUT) as caller:
            await caller.set("key", "value")
            begun = time.monotonic()
            return await caller.execute_command(*command), time.monotonic() - begun, await caller.get("key")

    async def all_of_them() -> list[Any]:
        return list(await asyncio.gather(*(ask(command) for command, _ in COMMANDS)))

    ended(asyncio.run(all_of_them()))


def test_read_without_end(server: Server) -> None:
    """A blocking read with the timeout 0 waits until there is an item."""

    async def ask() -> Any:
        async with async_client(server.url, TIMEOUT) as client, async_client(server.url) as other:
            waiting = asyncio.create_task(client.execute_command("BLPOP", "list", 0))
            await asyncio.sleep(1.3 * TIMEOUT)
            await other.rpush("list", "item")
            return list(await waiting)

    assert asyncio.run(ask()) == ["list", "item"]


def test_silent_server_ends_the_read(server: Server) -> None:
    """A blocking read fails once its wait and the timeout are over, and the next command has the usual timeout."""

    async def ask() -> None:
        async with async_client(server.url, TIMEOUT) as client:
            await client.ping()
            server.pause()
            await fails(client)

    async def fails(client: Any) -> None:
        begun = time.monotonic()
        with pytest.raises(ReplyLateError):
            await client.blpop(["none"], 0.3)
        assert TIMEOUT + 0.25 < time.monotonic() - begun < 10

    with redis_client(server.url, TIMEOUT) as client:
        client.ping()
        try:
            server.pause()
            begun = time.monotonic()
            with pytest.raises(ReplyLateError):
                client.blpop(["none"], 0.3)
            assert TIMEOUT + 0.25 < time.monotonic() - begun < 10
            server.resume()
            asyncio.run(ask())
        finally:
            server.resume()


@pytest.mark.parametrize(
    ("command", "seconds"),
    [
        (("GET", "BLOCK"), 0.0),
        (("blpop", "a", "b", "7"), 7.0),
        (("BRPOP", b"a", b"7"), 7.0),
        (("BLPOP", "a", 0), math.inf),
        (("BLPOP", "a", "soon"), 0.0),
        (("BLPOP",), 0.0),
        (("XREAD", "STREAMS", "a", "0"), 0.0),
        (("XREADGROUP", "GROUP", "g", "c", b"BLOCK", 1500, "STREAMS", "a", ">"), 1.5),
        (("XREAD", "BLOCK", "0", "STREAMS", "a", "0"), math.inf),
        (("BZMPOP", "2.5", "1", "a", "MIN"), 2.5),
        (("WAITAOF", "1", "0", "250"), 0.25),
    ],
)
def test_time_that_a_command_may_wait(command: tuple[Any, ...], seconds: float) -> None:
    """The time comes from the place where the command has it, in seconds."""
    assert waiting_time(command) == seconds
