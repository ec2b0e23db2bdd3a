"""Proxies that lose, freeze, cut or redirect connections between a client and its server."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from fixtures.proxies.streams import Command, LoopThread, Mutation


class OldProtocol(Mutation):
    """Answers HELLO with an error, like servers before Redis 6 and many proxies."""

    def command(self, command: Command) -> Command | bytes:
        """Refuse HELLO, and pass all other commands on."""
        return b"-ERR unknown command 'HELLO'\r\n" if command[0].upper() == b"HELLO" else command


class TcpProxy:
    """A proxy for bytes before the port `target`, which may change.

    It closes connections without traffic for `idle` seconds; 0 is never. With `silently` they stay open, and their
    bytes are dropped.
    """

    def __init__(self, target: int, *, idle: float = 0.0, silently: bool = False) -> None:
        self.target = target
        self.cut = 0
        """The number of idle connections that were closed or forgotten."""
        self._idle, self._silently = idle, silently
        self._forgotten: set[asyncio.Event] = set()
        self._loop = LoopThread()
        self.port = self._loop.listen(self._serve)
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def close(self) -> None:
        """Close all connections and stop listening."""
        self._loop.close()

    def forget(self) -> None:
        """Forget all open connections: their bytes are dropped, and the clients do not hear of it."""

        def all_of_them() -> None:
            for event in self._forgotten:
                event.set()

        self._loop.loop.call_soon_threadsafe(all_of_them)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side closes it."""
        try:
            there_reader, there = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        heard, forgotten = asyncio.Event(), asyncio.Event()
        self._forgotten.add(forgotten)
        ways: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(self._carry(reader, there, heard)),
            asyncio.ensure_future(self._carry(there_reader, writer, heard)),
            asyncio.ensure_future(forgotten.wait()),
        ]
        if self._idle:
            ways.append(asyncio.ensure_future(self._wait_idle(heard)))
        with suppress(asyncio.CancelledError):
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if any(way.done() for way in ways[2:]):
                self.cut += 1
                await self._forget(reader, ways, there, silently=self._silently or forgotten.is_set())
        self._forgotten.discard(forgotten)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        writer.close()
        there.close()

    async def _forget(
        self,
        reader: asyncio.StreamReader,
        ways: list[asyncio.Future[Any]],
        there: asyncio.StreamWriter,
        *,
        silently: bool,
    ) -> None:
        """Swallow further bytes of the client without an answer, if `silently`."""
        if not silently:
            return
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        there.close()
        with suppress(OSError):
            while await reader.read(65536):
                pass

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: asyncio.Event) -> None:
        """Copy a stream to its end."""
        with suppress(OSError):
            while data := await reader.read(65536):
                heard.set()
                writer.write(data)
                await writer.drain()

    async def _wait_idle(self, heard: asyncio.Event) -> None:
        """Wait until the connection is idle for too long."""
        with suppress(TimeoutError):
            while True:
                heard.clear()
                await asyncio.wait_for(heard.wait(), self._idle)
