"""Put each client library behind one adapter: it makes a client, and calls one of its methods."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from redis import Redis, RedisCluster
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio import RedisCluster as AsyncRedisCluster

from redis_practices.clients import async_client, cluster_client, redis_client

LOST = 100.0
"""Seconds after which a call counts as one that never ends."""


class NoAnswerError(Exception):
    """A call had not ended after `LOST` seconds, or after its client was closed."""


@dataclass
class Outcome:
    """What a call returned or raised, and when."""

    begun: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    value: Any = None
    error: Exception | None = None
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def seconds(self) -> float:
        """The time that the call took, up to now if it has not ended."""
        return (self.ended or time.monotonic()) - self.begun

    def wait(self, within: float = LOST) -> Outcome:
        """Wait for the end of the call, or give it up."""
        if not self.over.wait(within):
            self.error, self.ended = NoAnswerError(f"no answer after {within:g} s"), time.monotonic()
        return self

    def end(self, value: Any = None, error: Exception | None = None) -> None:
        """Note the end of the call."""
        self.value, self.error, self.ended = text(value), error, time.monotonic()
        self.over.set()


def text(value: Any) -> Any:
    """Return a reply with its bytes as text."""
    if isinstance(value, bytes):
        return value.decode()
    return [text(one) for one in value] if isinstance(value, list | tuple) else value


class Caller:
    """One client. `get`, `set`, `incr`, `blpop` have the same names and arguments in all libraries."""

    def __init__(self, client: Any) -> None:
        """Call the methods of a client, which return their reply."""
        self._client = client

    def begin(self, method: str, *words: Any, number: int = 1) -> list[Outcome]:
        """Call a method `number` times at once, in threads that end with the program, and return at once."""
        outcomes, start = [Outcome() for _ in range(number)], threading.Event()

        def work(outcome: Outcome) -> None:
            start.wait()
            outcome.begun = time.monotonic()
            try:
                outcome.end(getattr(self._client, method)(*words))
            except Exception as error:  # noqa: BLE001 - any error is a result
                outcome.end(error=error)

        for outcome in outcomes:
            threading.Thread(target=work, args=(outcome,), daemon=True).start()
        start.set()
        return outcomes

    def do(self, method: str, *words: Any) -> Outcome:
        """Call a method, and wait for its end."""
        return self.begin(method, *words)[0].wait()


class AsyncCaller(Caller):
    """The same for a client whose methods are awaited, in its loop."""

    def __init__(self, client: Any, loop: Loop) -> None:
        """Call the methods of a client."""
        super().__init__(client)
        self._loop = loop

    def begin(self, method: str, *words: Any, number: int = 1) -> list[Outcome]:
        """Call a method `number` times at once, in tasks, and return at once."""
        outcomes = [Outcome() for _ in range(number)]

        async def work(outcome: Outcome) -> None:
            outcome.begun = time.monotonic()
            try:
                outcome.end(await getattr(self._client, method)(*words))
            except Exception as error:  # noqa: BLE001 - any error is a result
                outcome.end(error=error)

        async def all_of_them() -> None:
            await asyncio.gather(*map(work, outcomes))

        asyncio.run_coroutine_threadsafe(all_of_them(), self._loop.loop)
        return outcomes


class Loop:
    """An event loop in a thread that ends with the program."""

    def __init__(self) -> None:
        """Start it."""
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def run(self, work: Callable[[], Awaitable[Any]], within: float | None = None) -> Any:
        """Run a coroutine there, and return its result."""

        async def awaited() -> Any:
            return await work()

        return asyncio.run_coroutine_threadsafe(awaited(), self.loop).result(within)


Make = Callable[[Sequence[int]], Any]
"""Make a client of the server, or of the cluster, whose nodes have these ports of 127.0.0.1."""


@contextmanager
def _threaded(make: Make, ports: Sequence[int]) -> Iterator[Caller]:
    """Make a client whose methods return their reply."""
    client = make(ports)
    yield Caller(client)
    threading.Thread(target=client.close, daemon=True).start()


@contextmanager
def _awaited(make: Make, ports: Sequence[int]) -> Iterator[Caller]:
    """Make a client whose methods are awaited."""
    loop = Loop()

    async def created() -> Any:
        made = make(ports)
        return await made if asyncio.iscoroutine(made) else made

    client = loop.run(created, LOST)
    yield AsyncCaller(client, loop)
    with suppress(Exception):
        loop.run(getattr(client, "aclose", None) or client.close, 5.0)


@dataclass(frozen=True)
class Kind:
    """A client library as it is installed: host and port are the only arguments."""

    name: str
    package: str
    one: Make
    """Of one server."""
    many: Make | None
    """Of a cluster; None where the library has no such client."""
    is_async: bool = False
    timeout: float = 5.0
    """The seconds that it waits for a reply."""

    @property
    def title(self) -> str:
        """The name with the version of its package."""
        return f"{self.name} {version(self.package)}" if self.package else self.name

    def connect(self, ports: Sequence[int], *, cluster: bool = False) -> Any:
        """Return a context with a client."""
        make = self.many if cluster else self.one
        assert make, f"{self.name} has no client for clusters"
        return (_awaited if self.is_async else _threaded)(make, ports)


def _url(ports: Sequence[int]) -> str:
    return f"redis://127.0.0.1:{ports[0]}"


def _glide() -> Iterator[Kind]:
    """Yield the clients of valkey-glide that are installed."""
    with suppress(ImportError):
        import glide  # noqa: PLC0415 - may be missing

        def config(kind: Any, ports: Sequence[int]) -> Any:
            return kind([glide.NodeAddress("127.0.0.1", port) for port in ports])

        yield Kind(
            "valkey-glide",
            "valkey-glide",
            lambda ports: glide.GlideClient.create(config(glide.GlideClientConfiguration, ports)),
            lambda ports: glide.GlideClusterClient.create(config(glide.GlideClusterClientConfiguration, ports)),
            is_async=True,
            timeout=0.25,
        )
    with suppress(ImportError):
        import glide_sync  # noqa: PLC0415 - may be missing

        def sync_config(kind: Any, ports: Sequence[int]) -> Any:
            return kind([glide_sync.NodeAddress("127.0.0.1", port) for port in ports])

        yield Kind(
            "valkey-glide-sync",
            "valkey-glide-sync",
            lambda ports: glide_sync.GlideClient.create(sync_config(glide_sync.GlideClientConfiguration, ports)),
            lambda ports: glide_sync.GlideClusterClient.create(
                sync_config(glide_sync.GlideClusterClientConfiguration, ports)
            ),
            timeout=0.25,
        )


ALL = (
    "redis-py",
    "redis-py by URL",
    "redis-py asyncio",
    "`redis_client`",
    "`async_client`",
    "valkey-glide",
    "valkey-glide-sync",
)
"""The names of all clients, installed or not."""


def kinds() -> Mapping[str, Kind]:
    """Return the installed clients by their names."""
    found = (
        Kind(
            "redis-py",
            "redis",
            lambda ports: Redis(port=ports[0]),
            lambda ports: RedisCluster(host="127.0.0.1", port=ports[0]),
        ),
        Kind(
            "redis-py by URL",
            "redis",
            lambda ports: Redis.from_url(_url(ports)),
            lambda ports: RedisCluster.from_url(_url(ports)),
        ),
        Kind(
            "redis-py asyncio",
            "redis",
            lambda ports: AsyncRedis(port=ports[0]),
            lambda ports: AsyncRedisCluster(host="127.0.0.1", port=ports[0]),
            is_async=True,
        ),
        Kind("`redis_client`", "", lambda ports: redis_client(_url(ports)), lambda ports: cluster_client(_url(ports))),
        Kind("`async_client`", "", lambda ports: async_client(_url(ports)), None, is_async=True),
        *_glide(),
    )
    return {kind.name: kind for kind in found}
