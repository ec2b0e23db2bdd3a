"""A server as far away as in production: a proxy in this process that holds every byte back for half a round trip.

On the loopback a round trip takes 0.03 to 0.1 ms, in a data centre 0.2 to 2 ms; what saves round trips shows its true
worth only there.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread


@dataclass
class Far:
    """The port behind which a server is far away, and the most connections that waited for it at the same time."""

    port: int = 0
    most_waiting: int = 0
    waiting: set[object] = field(default_factory=set)

    def asked(self, side: object) -> None:
        """Note that a connection waits."""
        self.waiting.add(side)
        self.most_waiting = max(self.most_waiting, len(self.waiting))


class _HeldBack(asyncio.Protocol):
    """One side of a connection; what it receives goes to `other` later, in order."""

    def __init__(self, delay: float, far: Far, opened: Callable[[_HeldBack], None] | None = None) -> None:
        """Hold back for `delay` seconds; `opened` is called with this side, a client's, when it is connected."""
        self.delay, self.far, self.opened = delay, far, opened
        self.transport: asyncio.Transport | None = None
        self.other: _HeldBack | None = None
        self.waiting: deque[bytes | None] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self.opened:
            self.opened(self)

    def data_received(self, data: bytes | None) -> None:
        """Pass `data` on later; None ends the connection."""
        if self.opened:
            self.far.asked(self)
        self.waiting.append(data)
        asyncio.get_running_loop().call_later(self.delay, self._pass_on)

    def connection_lost(self, _: Exception | None) -> None:
        """End the other side after what is still on its way."""
        self.data_received(None)

    def _pass_on(self) -> None:
        """Pass the oldest piece on, or put it off while the other side is being connected."""
        if not (self.other and self.other.transport):
            asyncio.get_running_loop().call_later(self.delay, self._pass_on)
            return
        data = self.waiting.popleft()
        self.far.waiting.discard(self.other)
        if data is None:
            self.other.transport.close()
        else:
            self.other.transport.write(data)


@contextmanager
def far_away(host: str, port: int, round_trip: float) -> Iterator[Far]:
    """Yield the port on 127.0.0.1 behind which the server at `host`:`port` is `round_trip` seconds farther away."""
    loop = asyncio.new_event_loop()
    half, far = round_trip / 2, Far()

    def joined(near: _HeldBack) -> None:
        """Connect to the server for a client that has connected to us."""
        task = loop.create_task(loop.create_connection(lambda: _HeldBack(half, far), host, port))
        task.add_done_callback(lambda done: _join(near, done))

    listening = loop.run_until_complete(loop.create_server(lambda: _HeldBack(half, far, joined), "127.0.0.1", 0))
    thread = Thread(target=loop.run_forever, name="far away", daemon=True)
    # This thread and the client's share the interpreter: one that computes holds the other up for 5 ms by default,
    # which is more than the way there.
    switching = sys.getswitchinterval()
    sys.setswitchinterval(0.0002)
    thread.start()
    try:
        far.port = listening.sockets[0].getsockname()[1]
        yield far
    finally:
        sys.setswitchinterval(switching)
        loop.call_soon_threadsafe(listening.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _join(near: _HeldBack, done: asyncio.Task[tuple[asyncio.Transport, _HeldBack]]) -> None:
    """Join both sides of a connection, or end the near one when the server refused."""
    if done.cancelled() or done.exception():
        if near.transport:
            near.transport.close()
        return
    _, far = done.result()
    near.other, far.other = far, near
