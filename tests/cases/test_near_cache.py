"""Test near caches with binary key names, and after an outage of the server."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

from redis_practices.clients import redis_client
from redis_practices.polling import eventually
from redis_practices.pure_cache.near_cache import NearCache
from redis_practices.servers.server import Server
from tests.cases.preparing import prepared

HEARTBEAT = 0.1
"""Seconds between attempts of a near cache to reconnect, times four."""


@pytest.mark.parametrize("decode", [True, False])
def test_near_cache_hears_of_a_binary_name(cache_server: Server, *, decode: bool) -> None:
    """A near cache drops its values after another client wrote a binary key."""
    client = redis_client(cache_server.url, decode_responses=decode)
    other = cache_server.client(decode_responses=decode)
    value = ("old", "new") if decode else (b"old", b"new")
    with NearCache(client, "user:", heartbeat=HEARTBEAT) as near:
        prepared(lambda: near.listening)
        other.set("user:1", "old")
        prepared(lambda: near.get("user:1") == value[0] and near.holds("user:1"))
        other.set(b"user:\xff\xfe", "x")
        time.sleep(4 * HEARTBEAT)
        other.set("user:1", "new")
        eventually(lambda: near.get("user:1") == value[1], within=1)
        eventually(lambda: near.listening, within=5)


def test_near_cache_forgets_what_changes(cache_server: Server) -> None:
    """A near cache reads a value again after another client replaced it."""
    client, other = redis_client(cache_server.url), cache_server.client()
    with NearCache(client, "user:", heartbeat=HEARTBEAT) as near:
        prepared(lambda: near.listening)
        other.set("user:1", "old")
        prepared(lambda: near.get("user:1") == "old" and near.holds("user:1"))
        other.set("user:1", "new")
        eventually(lambda: near.get("user:1") == "new", within=2)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # its listener ends with an error
def test_client_of_a_near_cache_after_an_outage(cache_server: Server) -> None:
    """The application's client and its near cache work again after an outage."""
    # A faster retry: an outage of 1 s has as many attempts as one of 16 s with the default.
    at_once = Retry(NoBackoff(), 2, supported_errors=(RedisConnectionError,))
    client = redis_client(cache_server.url, timeout=0.5, max_connections=12, retry=at_once)
    seen: Counter[str] = Counter()
    together = threading.Barrier(10)

    def use() -> None:
        together.wait()
        for _ in range(20):
            try:
                client.set("x", 1)
                client.blpop(["nothing"], 0.01)
                seen["done"] += 1
            except RedisError as error:
                seen[str(error)] += 1

    with NearCache(client, "user:", heartbeat=HEARTBEAT) as near:
        prepared(lambda: near.listening)
        cache_server.kill()
        time.sleep(1.2)  # some 40 attempts to reconnect, and the pool may have 12 connections
        cache_server.restart()
        threads = [threading.Thread(target=use) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == {"done": 200}
        eventually(lambda: near.listening, within=5)
