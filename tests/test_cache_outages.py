"""Compare every cache front with its origin while Hypothesis chooses what happens to the server.

A front costs no outage: it returns the origin's value through each event, raises no error of the cache, and caches
again after the event. No connection of its pool is lost, and its near cache listens again.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from redis import Redis
from redis.exceptions import RedisError

from fixtures.run.own_time import WorkersClock
from fixtures.run.processes import ForkingGroup
from fixtures.stateful import History, try_histories
from redis_practices.clients import async_client, redis_client
from redis_practices.polling import poll
from redis_practices.pure_cache.cache_aside import AsyncCacheAside, CacheAside
from redis_practices.pure_cache.near_cache import NearCache
from redis_practices.pure_cache.overload import Breaker
from redis_practices.pure_cache.write_through import WriteThrough
from redis_practices.servers.server import CACHE, engine_of, free_ports, is_listened_on, server_binary, start_server
from tests.cases.proxies import TcpProxy

TIMEOUT = 0.2
"""Seconds for each reply: a hung server delays a call by as much, until the circuit breaker opens."""
RECOVERY = 4.0
"""Seconds until a front caches again after its server is back."""
PAUSE = 0.5
"""Seconds after which an open circuit breaker lets a call through."""
HEARTBEAT = 0.2
CONNECTIONS = 4
CONFIG = {**CACHE, "enable-debug-command": "yes"}


class CacheUnderTest:
    """A server behind a proxy, with clients whose pools are small."""

    def __init__(self, group: ForkingGroup, ending: ExitStack) -> None:
        """Start the server."""
        self.group = group
        [port] = free_ports(1, group.held)
        self.server = start_server(group, CONFIG, port=port)
        self.primary = start_server(group, CONFIG)
        self.proxy = ending.enter_context(closing(TcpProxy(port)))
        self.runner = ending.enter_context(asyncio.Runner())
        self.prefixes = (f"history{number}:" for number in count())
        self.done: Counter[str] = Counter()

    def client(self, **options: Any) -> Redis:
        """Return a client of the front."""
        return redis_client(self.proxy.url, timeout=TIMEOUT, max_connections=CONNECTIONS, **options)

    def replace(self, binary: str) -> None:
        """Start another server program on the port of the server, which has ended."""
        assert poll(lambda: not is_listened_on(self.server.port), 5)
        self.server = start_server(self.group, CONFIG, port=self.server.port, binary=binary)

    # What happens to the server; each event lasts as long as its block.

    @contextmanager
    def killed(self) -> Iterator[None]:
        """Kill it, and start it again."""
        self.server.kill()
        yield
        self.server.restart()

    @contextmanager
    def rolled_back(self) -> Iterator[None]:
        """Replace it by the other engine of this machine: Redis 7.0 has no compare-and-set, and Valkey has."""
        old = shutil.which("redis-server")
        is_old = engine_of(self.server.binary).startswith("redis 7.")
        self.server.kill()
        yield
        self.replace(server_binary() if is_old or not old else old)

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Pause it."""
        self.server.pause()
        yield
        self.server.resume()

    @contextmanager
    def dropped(self) -> Iterator[None]:
        """Close all connections."""
        with self.server.client() as admin:
            for kind in ("normal", "pubsub"):
                admin.client_kill_filter(_type=kind, skipme=True)
        yield

    @contextmanager
    def forgotten(self) -> Iterator[None]:
        """Forget all connections silently, as a NAT gateway does."""
        self.proxy.forget()
        yield

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Restart it with a file that it loads slowly; nothing of the caches is in it."""
        with self.server.client() as admin:
            admin.flushall()
            admin.execute_command("DEBUG", "POPULATE", 400, "filler")
            admin.save()
        self.server.kill()
        config = {**CONFIG, "key-load-delay": 2000, "loading-process-events-interval-bytes": 1024}
        self.server.configure(config)
        assert poll(lambda: not is_listened_on(self.server.port), 5)
        self.server._process = self.server._start()  # noqa: SLF001 - `restart` would wait until it has loaded
        yield
        self.server.wait_ready()
        with self.server.client() as admin:
            admin.config_set("key-load-delay", 0)
        self.server.configure(CONFIG)
        Path(self.server.folder / "dump.rdb").unlink()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Make it the replica of a primary that does not answer, which serves its old data."""
        yield from self._replica(free_ports(1, self.group.held)[0])

    @contextmanager
    def demoted(self) -> Iterator[None]:
        """Make it the replica of another server, with all connections open."""
        yield from self._replica(self.primary.port)

    @contextmanager
    def demoted_without_data(self) -> Iterator[None]:
        """Make it a replica that refuses reads until it has its primary's data (MASTERDOWN)."""
        with self.server.client() as admin:
            admin.config_set("replica-serve-stale-data", "no")
            yield from self._replica(free_ports(1, self.group.held)[0])
            admin.config_set("replica-serve-stale-data", "yes")

    def _replica(self, port: int) -> Iterator[None]:
        with self.server.client() as admin:
            admin.replicaof("127.0.0.1", port)
            yield
            admin.replicaof("NO", "ONE")

    @contextmanager
    def flushed(self) -> Iterator[None]:
        """Delete all keys and scripts."""
        with self.server.client() as admin:
            admin.flushall()
            admin.script_flush()
        yield

    @contextmanager
    def full(self) -> Iterator[None]:
        """Let it refuse writes for lack of memory."""
        with self.server.client() as admin:
            admin.config_set("maxmemory-policy", "noeviction")
            admin.config_set("maxmemory", 1)
            yield
            admin.config_set("maxmemory", CACHE["maxmemory"])
            admin.config_set("maxmemory-policy", CACHE["maxmemory-policy"])

    @contextmanager
    def forbidden(self) -> Iterator[None]:
        """Take the right to write and to ask for commands from the user."""
        with self.server.client() as admin:
            admin.execute_command("ACL", "SETUSER", "default", "-@write", "-command", "-eval")
            yield
            admin.execute_command("ACL", "SETUSER", "default", "+@all")


EVENTS = (
    "killed", "rolled_back", "hung", "dropped", "forgotten", "loading", "read_only", "demoted", "demoted_without_data",
    "flushed", "full", "forbidden",
)  # fmt: skip

NAMES = [f"row:{number}" for number in range(3)]
KEYS = st.sampled_from(NAMES)


class Front:
    """One cache front, and the values that its readers may see."""

    def __init__(self, read: Callable[[str], Any], forget: Callable[[str], Any]) -> None:
        """Read and forget with these functions; `forget` is called after each change."""
        self.read, self.forget = read, forget
        self.unsettled: dict[str, set[int]] = {}
        """Old values of keys that could not be invalidated yet: their readers may see them, as documented."""

    def change(self, key: str, old: int) -> None:
        """Invalidate a key after its change."""
        try:
            self.forget(key)
        except RedisError:
            self.unsettled.setdefault(key, set()).add(old)
        else:
            self.unsettled.pop(key, None)

    def settle(self) -> None:
        """Invalidate again what could not be (AssertionError if it cannot be now)."""
        for key in list(self.unsettled):
            try:
                self.forget(key)
            except RedisError as error:
                raise AssertionError(f"{key} cannot be invalidated") from error
            del self.unsettled[key]


class NotCachedError(RedisError):
    """A write-through was saved, but not cached."""


class CacheMachine(History):
    """One history with its own keys."""

    def __init__(self, tested: CacheUnderTest, failures: list[BaseException]) -> None:
        """Make a front of each kind."""
        super().__init__(failures)
        self.tested, self.prefix, self.ending = tested, next(tested.prefixes), ExitStack()
        self.origin = dict.fromkeys(NAMES, 0)
        self.version = 0
        self.calls: Counter[str] = Counter()
        self.clients: list[Any] = []
        self.fronts: dict[str, Front] = {}
        self.near: NearCache

    @initialize()
    def begin(self) -> None:
        """Make the fronts."""
        for name, options in {"threads": {}, "RESP2": {"protocol": 2}}.items():
            aside = CacheAside(self._client(**options), ttl=60, patience=1.0, breaker=Breaker(pause=PAUSE))
            self.fronts[name] = self._aside(name, aside.get_or_compute, aside.invalidate)
        looped = async_client(self.tested.proxy.url, timeout=TIMEOUT, max_connections=CONNECTIONS)
        self.ending.callback(lambda: self.tested.runner.run(looped.aclose()))
        tasks = self.tested.runner.run(self._async_aside(looped))
        run = self.tested.runner.run

        async def compute(load: Callable[[], Any]) -> Any:
            return load()

        self.fronts["asyncio"] = self._aside(
            "asyncio",
            lambda key, load: run(tasks.get_or_compute(key, lambda: compute(load))),
            lambda key: run(tasks.invalidate(key)),
        )
        self.fronts["write-through"] = self._through(WriteThrough(self._client(), ttl=60, breaker=Breaker(pause=PAUSE)))
        self.near = self.ending.enter_context(NearCache(self._client(), f"{self.prefix}near:", heartbeat=HEARTBEAT))
        self.recovered()

    @staticmethod
    async def _async_aside(client: Any) -> AsyncCacheAside:
        return AsyncCacheAside(client, ttl=60, patience=1.0, breaker=Breaker(pause=PAUSE))

    def _client(self, **options: Any) -> Redis:
        client: Redis = self.ending.enter_context(self.tested.client(**options))
        self.clients.append(client)
        return client

    def _aside(self, name: str, ask: Callable[[str, Any], Any], invalidate: Callable[[str], Any]) -> Front:
        """Return a front that computes on a miss."""

        def load(key: str) -> int:
            self.calls[name] += 1
            return self.origin[key]

        return Front(
            lambda key: ask(f"{self.prefix}{name}:{key}", lambda: load(key)),
            lambda key: invalidate(f"{self.prefix}{name}:{key}"),
        )

    def _through(self, records: WriteThrough) -> Front:
        """Return a front whose writer caches each version; a reader asks the origin after a miss."""

        def read(key: str) -> Any:
            found = records.get(f"{self.prefix}through:{key}")
            if found is None:
                self.calls["write-through"] += 1
                found = self.origin[key]
                records.put(f"{self.prefix}through:{key}", found, self.origin[key])
            return found

        def write(key: str) -> None:
            name = f"{self.prefix}through:{key}"
            saved = records.write(name, self.origin[key], lambda value: value)
            if not saved and records.get(name) != self.origin[key]:
                raise NotCachedError

        return Front(read, write)

    @rule(key=KEYS)
    def change(self, key: str) -> None:
        """Change a row in the origin, and invalidate it in all fronts."""
        old, self.version = self.origin[key], self.version + 1
        self.origin[key] = self.version
        for front in self.fronts.values():
            front.change(key, old)

    @rule(key=KEYS)
    def read(self, key: str) -> None:
        """Read a row by all fronts."""
        for name, front in self.fronts.items():
            seen = front.read(key)
            allowed = {self.origin[key], *front.unsettled.get(key, ())}
            assert seen in allowed, f"{name} reads {seen} of {key}, the origin has {self.origin[key]}"

    @rule(event=st.sampled_from(EVENTS), key=KEYS, seconds=st.sampled_from([0.0, 0.1, 0.4]))
    def happen(self, event: str, key: str, seconds: float) -> None:
        """Let an event happen, read and write meanwhile, and require that every front caches again."""
        self.tested.done[event] += 1
        with getattr(self.tested, event)():
            for _ in range(4):
                self.read(key)
            self.change(key)
            time.sleep(seconds)
            for name in NAMES:
                self.read(name)
        self.recovered()

    def recovered(self) -> None:
        """Require that each front caches again within `RECOVERY`, and that no connection is lost."""
        clock = WorkersClock()
        for name, front in self.fronts.items():
            clock.eventually(lambda name=name, front=front: self._caches(name, front), RECOVERY)  # type: ignore[misc]
        clock.eventually(self._near_hears, RECOVERY, also=(RedisError,))
        for client in self.clients:
            clock.eventually(lambda client=client: self._uses_all_connections(client), RECOVERY)  # type: ignore[misc]

    def _caches(self, name: str, front: Front) -> None:
        """Require that a front reads the origin's value, the second time without asking the origin."""
        front.settle()
        for key in NAMES:
            assert front.read(key) == self.origin[key], f"{name} is stale"
            before = self.calls[name]
            assert front.read(key) == self.origin[key], f"{name} is stale"
            assert self.calls[name] == before, f"{name} does not cache"

    def _near_hears(self) -> None:
        """Require that the near cache keeps a value and hears of its change."""
        key = f"{self.prefix}near:{next(self.tested.prefixes)}"
        with self.tested.server.client() as admin:
            admin.set(key, "old")
            assert self.near.get(key) == "old"
            assert self.near.get(key) == "old"
            assert self.near.listening
            assert self.near.holds(key), "the near cache keeps nothing"
            admin.set(key, "new")
            assert poll(lambda: self.near.get(key) == "new", 0.5, every=0.01), "the near cache hears of no change"

    @staticmethod
    def _uses_all_connections(client: Redis) -> None:
        """Require that all connections of a client's pool can be used at once."""
        seen: list[Any] = []
        together = threading.Barrier(CONNECTIONS)

        def use() -> None:
            with suppress(threading.BrokenBarrierError):
                connection = None
                try:
                    connection = client.connection_pool.get_connection()
                    together.wait(10)
                    seen.append(None)
                except RedisError as error:
                    seen.append(error)
                    together.abort()
                finally:
                    if connection:
                        client.connection_pool.release(connection)

        threads = [threading.Thread(target=use) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [None] * CONNECTIONS, [repr(error) for error in seen]

    def teardown(self) -> None:
        """Close the clients of this history."""
        try:
            super().teardown()
        finally:
            self.ending.close()


@pytest.fixture
def tested() -> Iterator[CacheUnderTest]:
    """Give an isolated cache."""
    with ForkingGroup() as group, ExitStack() as ending:
        yield CacheUnderTest(group, ending)


@pytest.mark.parametrize(
    "event", [event if event == "demoted" else pytest.param(event, marks=pytest.mark.slow) for event in EVENTS]
)
def test_event(tested: CacheUnderTest, event: str) -> None:
    """No front has an error or an old value through one event, and each caches again after it."""
    machine = CacheMachine(tested, [])
    try:
        machine.begin()
        machine.happen(event, NAMES[0], 0.1)
    finally:
        machine.teardown()


def test_full_cache_whose_value_is_due(tested: CacheUnderTest) -> None:
    """A full cache serves the value that it holds, although the value is due for refresh and the origin fails."""

    def compute() -> str:
        time.sleep(0.001)
        return "old"

    def fail() -> str:
        raise ValueError

    with tested.client() as client:
        cache = CacheAside(client, ttl=60, beta=1e9)  # each read is due to refresh
        cache.get_or_compute("key", compute)
        with tested.full():
            assert cache.get_or_compute("key", fail) == "old"


@pytest.mark.slow
def test_histories(tested: CacheUnderTest) -> None:
    """No front has an error or an old value in any history of events."""
    try_histories(lambda failures: CacheMachine(tested, failures), 12, 12)
    assert sum(tested.done.values()) >= 12, tested.done
