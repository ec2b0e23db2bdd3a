"""Test that a reply never answers another command, whenever an exception interrupts a call.

Signals at random moments raise an exception in the middle of calls, like Celery's soft time limit.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from redis import Redis
from redis.cluster import RedisCluster

from fixtures.run.processes import ForkingGroup
from redis_practices.clients import async_client, cluster_client, is_repeatable, redis_client
from redis_practices.pure_cache.cache_aside import CacheAside
from redis_practices.pure_cache.near_cache import NearCache
from redis_practices.pure_cache.write_through import WriteThrough
from redis_practices.servers.cluster import start_cluster
from redis_practices.servers.server import CACHE, start_server
from redis_practices.tuning.bulk import pipelined, read_bulk

KEYS = [f"k{number}" for number in range(50)]
LONGEST = 0.0006
"""The most seconds until the next signal: about five calls."""


class SoftTimeLimitExceeded(Exception):  # noqa: N818 - it has the name of Celery's
    """The exception that a signal raises between two instructions."""


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[str, str]]:
    """Give the URLs of a server and a cluster in which each key has its name as value."""
    with ForkingGroup() as group:
        server, cluster = start_server(group, CACHE), start_cluster(group, replicas=0)
        with server.client() as client:
            client.mset({key: key for key in KEYS})
        with cluster_client(cluster.url) as client:
            client.mset_nonatomic({key: key for key in KEYS})
        yield server.url, cluster.url


def in_transaction(client: Redis, key: str) -> Any:
    """Read a key between two others."""
    with client.pipeline() as pipe:
        for one in (KEYS[0], key, KEYS[1]):
            pipe.get(one)
        return pipe.execute()[1]


def by_watch(client: Redis, key: str) -> Any:
    """Read a key that is watched."""
    with client.pipeline() as pipe:
        pipe.watch(key)
        seen = pipe.get(key)
        pipe.multi()
        pipe.get(key)
        assert pipe.execute() == [seen]
        return seen


def by_subscription(client: Redis, key: str) -> Any:
    """Publish a key to a channel of its name, and return the message."""
    with client.pubsub(ignore_subscribe_messages=True) as messages:
        messages.subscribe(f"channel:{key}")
        messages.get_message(timeout=1)
        client.publish(f"channel:{key}", key)
        while not (message := messages.get_message(timeout=1)):
            pass
        return message["data"]


def by_cluster_pipeline(cluster: RedisCluster, key: str) -> Any:
    """Read a key between two others, which other nodes may own."""
    with cluster.pipeline() as pipe:
        for one in (KEYS[0], key, KEYS[1]):
            pipe.get(one)
        return pipe.execute()[1]


def by_cluster_transaction(cluster: RedisCluster, key: str) -> Any:
    """Read a key twice in a transaction of its node."""
    with cluster.pipeline(transaction=True) as pipe:
        pipe.exists(key)
        pipe.get(key)
        return pipe.execute()[1]


def by_write_through(records: WriteThrough, key: str) -> Any:
    """Write a record and read it."""
    records.put(f"record:{key}", key, 1)
    return records.get(f"record:{key}") or key  # a miss is no wrong value


def by_near_cache(near: NearCache, key: str) -> Any:
    """Read a key that the near cache never stores, so that the server is asked."""
    return near.get(key)


def askers(url: str, cluster_url: str) -> dict[str, Callable[[str], Any]]:
    """Return the ways to read a key, by name."""
    client, cluster = redis_client(url), cluster_client(cluster_url)
    cache, beside = CacheAside(redis_client(url), ttl=60), redis_client(url)
    return {
        "a command": client.get,
        "a transaction": partial(in_transaction, client),
        "a pipeline": lambda key: pipelined(client, [("GET", KEYS[0]), ("GET", key)])[1],
        "a blocking read": lambda key: _popped(client, key),
        "a watched key": partial(by_watch, client),
        "a subscription": partial(by_subscription, client),
        "a cluster client": cluster.get,
        "a cluster's pipeline": partial(by_cluster_pipeline, cluster),
        "a cluster's transaction": partial(by_cluster_transaction, cluster),
        "bulk": lambda key: read_bulk(cluster, [KEYS[0], key])[1],
        "CacheAside": lambda key: cache.get_or_compute(f"cached:{key}", lambda: key),
        "NearCache": partial(by_near_cache, _near(beside)),
        "WriteThrough": partial(by_write_through, WriteThrough(client, ttl=60)),
    }


def _popped(client: Redis, key: str) -> Any:
    """Push a key to a list of its name, and pop it."""
    client.delete(f"list:{key}")
    client.rpush(f"list:{key}", key)
    popped: Any = client.blpop([f"list:{key}"], timeout=1)
    return popped[1]


def _near(client: Redis) -> NearCache:
    """Return a near cache that stores nothing, as no key has its prefix."""
    return NearCache(client, "another:")


WAYS = (
    "a command",
    "a transaction",
    "a pipeline",
    "a blocking read",
    "a watched key",
    "a subscription",
    "a cluster client",
    "a cluster's pipeline",
    "a cluster's transaction",
    "bulk",
    "CacheAside",
    "NearCache",
    "WriteThrough",
)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Python ignores it in __del__
@pytest.mark.parametrize("calls", [300, pytest.param(25_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("way", WAYS)
def test_no_wrong_value_under_signals(servers: tuple[str, str], way: str, calls: int) -> None:
    """Each call that returns has the value of its key, and many calls were interrupted."""
    ask, draw = askers(*servers)[way], random.Random(f"{way} {calls}")
    armed, interrupted = False, 0

    def interrupt(*_: object) -> None:
        if armed:
            raise SoftTimeLimitExceeded

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(calls):
            key = draw.choice(KEYS)
            signal.setitimer(signal.ITIMER_REAL, draw.uniform(1e-5, LONGEST))
            try:
                armed = True
                seen = ask(key)
                armed = False
            except SoftTimeLimitExceeded:
                interrupted += 1
                continue
            finally:
                armed = False
            assert seen == key, f"{key} reads {seen!r} after {interrupted} interrupts"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted > calls / 50, f"{interrupted} of {calls} calls were interrupted"


@pytest.mark.parametrize(
    ("command", "repeatable"),
    [
        (("SET", "key", "value"), True),
        (("SET", "key", "NX", "EX", 10), True),
        (("SET", "key", "value", "nx"), False),
        (("SET", b"key", b"value", b"NX"), False),
        (("INCR", "key"), False),
    ],
)
def test_command_that_may_be_sent_again(command: tuple[Any, ...], repeatable: bool) -> None:  # noqa: FBT001
    """A write with a condition, as text or bytes, is not sent again after its reply was lost."""
    assert is_repeatable(command) == repeatable


def test_health_check_that_connects_again(servers: tuple[str, str]) -> None:
    """A command is counted on the connection that its health check has made: its late reply answers no other."""
    with redis_client(servers[0]) as client:
        pool = client.connection_pool
        connection: Any = pool.get_connection()
        connection.send_command("CLIENT", "ID")
        assert client.client_kill_filter(_id=connection.read_response()) == 1
        connection.next_health_check = 0
        connection.send_command("GET", KEYS[0])
        pool.release(connection)
        assert client.get(KEYS[1]) == KEYS[1]


async def _after_health_check(url: str) -> None:
    """Do the same with asyncio."""
    async with async_client(url) as client:
        pool = client.connection_pool
        connection: Any = await pool.get_connection()
        await connection.send_command("CLIENT", "ID")
        assert await client.client_kill_filter(_id=await connection.read_response()) == 1
        connection.next_health_check = 0
        await connection.send_command("GET", KEYS[0])
        assert connection.unanswered == 1
        await pool.release(connection)
        assert await client.get(KEYS[1]) == KEYS[1]


def test_health_check_that_connects_again_with_asyncio(servers: tuple[str, str]) -> None:
    """A command is counted there, too."""
    asyncio.run(_after_health_check(servers[0]))
