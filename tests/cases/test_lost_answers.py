"""Test answers that are lost with their connection, after the server has executed the command."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from fixtures.proxies.streams import Mutation, RespProxy
from fixtures.proxies.tampering import LostReply
from redis_practices.celery_worker.delivery import once
from redis_practices.clients import redis_client
from redis_practices.pure_cache.cache_aside import CacheAside
from redis_practices.servers.server import Server


@pytest.fixture
def losing() -> LostReply:
    """Give the mutation that loses answers on request."""
    return LostReply()


@pytest.fixture
def client(cache_server: Server, mutated: Callable[[int, Mutation], RespProxy], losing: LostReply) -> Iterator[Redis]:
    """Give a client whose answers may be lost."""
    with redis_client(mutated(cache_server.port, losing).url, health_check_interval=0) as connected:
        connected.ping()
        yield connected


def test_cache_lease_whose_answer_is_lost(client: Redis, losing: LostReply) -> None:
    """A reader with the lease computes at once, even if the answer to SET NX was lost."""
    cache = CacheAside(client, ttl=60, patience=1.0)
    cache.get_or_compute("warm", lambda: "value")
    calls: list[int] = []

    def compute() -> str:
        calls.append(1)
        return "value"

    losing.lose(b"NX")
    begun = time.monotonic()
    assert cache.get_or_compute("a", compute) == "value"
    took = time.monotonic() - begun
    assert (losing.lost, len(calls)) == (1, 1)
    assert took < 0.5


def test_once_whose_answer_is_lost(client: Redis, losing: LostReply) -> None:
    """`once` gives True to the caller that holds the key, even if the answer to SET NX was lost."""
    losing.lose(b"NX")
    with once(client, "charge:1", lease=60, keep=100) as first:
        assert (losing.lost, first) == (1, True)
    with once(client, "charge:1", lease=60, keep=100) as first:
        assert not first


def test_counter_whose_answer_is_lost(client: Redis, losing: LostReply) -> None:
    """A counter makes exactly one step for a call, or the caller gets the error."""
    client.set("counter", 0)
    losing.lose(b"INCRBY")
    with suppress(RedisConnectionError):
        client.incr("counter")
    assert losing.lost == 1
    assert client.get("counter") == "1"
