"""Test clients of asyncio: cancelled at any await, after lost connections, and after a lost reply.

A reply never answers another command, and no command is done twice.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from typing import Any

import pytest
from redis.asyncio import Redis

from fixtures.proxies.streams import Mutation, RespProxy
from fixtures.proxies.tampering import LostReply
from fixtures.run.processes import ForkingGroup
from redis_practices.clients import ReplyLostError, async_client
from redis_practices.pure_cache.cache_aside import AsyncCacheAside
from redis_practices.servers.server import CACHE, Server, start_server

KEYS = [f"k{number}" for number in range(20)]
AT_ONCE = 8
"""Tasks that call at the same time."""
CONNECTIONS = 8
"""The most connections of the client: a pool that loses some is used up soon."""
MOST_AWAITS = 25
"""Turns of the event loop after which a call is cancelled at the latest: a call has about as many awaits."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Give a server in which each key has its name as value."""
    with ForkingGroup() as group:
        started = start_server(group, CACHE)
        with started.client() as client:
            client.mset({key: key for key in KEYS})
        yield started


async def by_pipeline(client: Redis, key: str, *, transaction: bool) -> Any:
    """Read a key between two others."""
    async with client.pipeline(transaction=transaction) as pipe:
        for one in (KEYS[0], key, KEYS[1]):
            pipe.get(one)
        return (await pipe.execute())[1]


async def by_watch(client: Redis, key: str) -> Any:
    """Read a key that is watched, outside of the transaction."""
    async with client.pipeline() as pipe:
        await pipe.watch(key)
        seen = await pipe.get(key)
        pipe.multi()
        pipe.get(key)
        assert await pipe.execute() == [seen]
        return seen


async def by_blocking_read(client: Redis, key: str) -> Any:
    """Push a key to a list of a unique name, and pop it."""
    name = f"list:{key}:{random.random()}"
    await client.rpush(name, key)
    popped: Any = await client.blpop([name], timeout=1)
    return popped[1]


async def by_subscription(client: Redis, key: str) -> Any:
    """Publish a key to a unique channel, and return the message."""
    name = f"channel:{key}:{random.random()}"
    async with client.pubsub(ignore_subscribe_messages=True) as messages:
        await messages.subscribe(name)
        await messages.get_message(timeout=1)
        await client.publish(name, key)
        while not (message := await messages.get_message(timeout=1)):
            pass
    return message["data"]


async def by_lua(client: Redis, key: str) -> Any:
    """Read a key by a script."""
    return await client.eval("return redis.call('GET', KEYS[1])", 1, key)


Ask = Callable[[str], Awaitable[Any]]


def way(name: str, client: Redis) -> Ask:
    """Return a way to read a key."""
    cache = AsyncCacheAside(client, ttl=60)

    async def compute(key: str) -> str:
        await asyncio.sleep(0)
        return key

    ways: dict[str, Ask] = {
        "a command": client.get,
        "a pipeline": partial(by_pipeline, client, transaction=False),
        "a transaction": partial(by_pipeline, client, transaction=True),
        "a watched key": partial(by_watch, client),
        "a blocking read": partial(by_blocking_read, client),
        "a subscription": partial(by_subscription, client),
        "a script": partial(by_lua, client),
        "AsyncCacheAside": lambda key: cache.get_or_compute(
            f"cached:{random.randrange(500)}:{key}", lambda: compute(key)
        ),
    }
    return ways[name]


WAYS = (
    "a command", "a pipeline", "a transaction", "a watched key", "a blocking read", "a subscription", "a script",
    "AsyncCacheAside",
)  # fmt: skip


@asynccontextmanager
async def cancelled_after(turns: int, call: Awaitable[Any]) -> AsyncIterator[asyncio.Future[Any]]:
    """Give a call that is cancelled after that many turns of the event loop, unless it is done."""
    task = asyncio.ensure_future(call)
    for _ in range(turns):
        if task.done():
            break
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await asyncio.wait([task])
    yield task


async def call_often(ask: Ask, calls: int, draw: random.Random) -> Counter[str]:
    """Call and cancel in `AT_ONCE` tasks; return the number of each outcome."""
    seen: Counter[str] = Counter()

    async def caller(number: int) -> None:
        for _ in range(number):
            key = draw.choice(KEYS)
            async with cancelled_after(draw.randrange(MOST_AWAITS), ask(key)) as task:
                if task.cancelled():
                    seen["cancelled"] += 1
                else:
                    answer = task.result()
                    assert answer == key, f"{key} reads {answer!r} after {seen}"
                    seen["right"] += 1
            if draw.random() < 0.2:
                answer = await ask(key)
                assert answer == key, f"{key} reads {answer!r} after {seen}"
                seen["right"] += 1

    await asyncio.gather(*(caller(calls // AT_ONCE) for _ in range(AT_ONCE)))
    return seen


@pytest.mark.parametrize("calls", [160, pytest.param(7_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", WAYS)
def test_no_wrong_value_under_cancellation(server: Server, name: str, calls: int) -> None:
    """Each call that is not cancelled has the value of its key, and no connection of the pool is lost."""

    async def go() -> Counter[str]:
        options = {"max_connections": 2 * CONNECTIONS}  # a subscription has a connection beside that of its publisher
        async with async_client(server.url, timeout=5, **options) as client:
            return await call_often(way(name, client), calls, random.Random(f"{name} {calls}"))

    seen = asyncio.run(go())
    assert min(seen["cancelled"], seen["right"]) > calls / 30, seen


@pytest.mark.parametrize("name", WAYS)
def test_each_await_once(server: Server, name: str) -> None:
    """After a call that is cancelled at its nth await, for each n, the same client's next reads are right."""

    async def go() -> int:
        proxy = await asyncio.to_thread(RespProxy, server.port, Mutation())
        try:
            async with async_client(proxy.url, timeout=5, max_connections=3) as client:
                ask = way(name, client)
                for turns in range(400):
                    async with cancelled_after(turns, ask(KEYS[3])) as task:
                        pass
                    assert [await ask(key) for key in KEYS[:3]] == KEYS[:3], f"after a cancellation at turn {turns}"
                    if not task.cancelled():
                        return turns
        finally:
            await asyncio.to_thread(proxy.close)
        raise AssertionError("a call did not end within 400 turns of the loop")

    assert asyncio.run(go()) > 0


@pytest.mark.parametrize("event", ["dropped", "restarted"])
def test_lost_connections(event: str) -> None:
    """A client whose idle connections are all lost has no error."""

    async def go(server: Server) -> list[Any]:
        async with async_client(server.url, timeout=2) as client:
            await asyncio.gather(*(client.ping() for _ in range(6)))
            if event == "dropped":
                with server.client() as admin:
                    admin.client_kill_filter(_type="normal", skipme=True)
            else:
                server.kill()
                server.restart()
            return [await client.ping() for _ in range(8)]

    with ForkingGroup() as group:
        assert asyncio.run(go(start_server(group, CACHE))) == [True] * 8


def test_lost_reply(server: Server) -> None:
    """A counter whose reply is lost makes one step, and the caller gets the error; a read is repeated."""
    losing = LostReply()

    async def go(url: str) -> list[Any]:
        async with async_client(url, timeout=2) as client:
            await client.set("counter", 0)
            losing.lose(b"INCRBY")
            with pytest.raises(ReplyLostError):
                await client.incr("counter")
            losing.lose(b"GET")
            return [await client.get("counter"), losing.lost]

    with closing(RespProxy(server.port, losing)) as proxy:
        assert asyncio.run(go(proxy.url)) == ["1", 2]
