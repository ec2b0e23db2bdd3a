"""Test that caches, near caches and circuit breakers work in a forked child and in its parent."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from fixtures.run.processes import ForkingGroup
from redis_practices.clients import redis_client
from redis_practices.polling import eventually
from redis_practices.pure_cache.cache_aside import CacheAside
from redis_practices.pure_cache.near_cache import NearCache
from redis_practices.pure_cache.overload import Breaker
from redis_practices.servers.server import CACHE, Server, start_server

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Give a cache."""
    with ForkingGroup() as group:
        yield start_server(group, CACHE)


def in_child(claim: Callable[[], object]) -> None:
    """Require a claim in a forked child within 10 seconds."""
    child = os.fork()
    if not child:
        holds = False
        try:
            holds = bool(claim())
        finally:
            os._exit(0 if holds else 1)

    def ended() -> int:
        pid, status = os.waitpid(child, os.WNOHANG)
        assert pid, "the child does not end"
        return status

    assert eventually(lambda: [ended()], 10) == [0]


def opens(breaker: Breaker) -> bool:
    """Tell whether a failure opens a circuit breaker."""
    breaker.failed()
    return breaker.is_open


def test_near_cache(server: Server) -> None:
    """A near cache in a child starts empty and hears of changes by a separate connection."""
    with redis_client(server.url) as client, NearCache(client, "user:", heartbeat=0.2) as near:
        eventually(lambda: near.listening, 5)
        client.set("user:1", "old")
        eventually(lambda: near.get("user:1") == "old" and near.holds("user:1"), 5)

        def hears() -> bool:
            assert not near.holds("user:1")
            eventually(lambda: near.get("user:1") == "old" and near.holds("user:1"), 5)
            redis_client(server.url).set("user:1", "new")
            eventually(lambda: near.get("user:1") == "new", 5)
            return near.listening

        in_child(hears)
        eventually(lambda: near.get("user:1") == "new", 5)
        assert near.listening


def test_locks_that_another_thread_holds(server: Server) -> None:
    """A child is not blocked by locks that another thread of its parent held during the fork."""
    breaker = Breaker(failures=1, pause=0.0)
    with redis_client(server.url, max_connections=1) as client:
        cache = CacheAside(client, ttl=60, patience=1.0)
        computing, may_end = threading.Event(), threading.Event()

        def compute() -> str:
            computing.set()
            may_end.wait(20)
            return "of the parent"

        busy = threading.Thread(target=cache.get_or_compute, args=("key", compute))
        with breaker._lock:  # noqa: SLF001 - held at the moment of the fork, as by another thread
            in_child(lambda: cache.get_or_compute("other", lambda: "value") == "value")
            in_child(lambda: opens(breaker))
        busy.start()
        assert computing.wait(5)
        begun = time.monotonic()
        in_child(lambda: cache.get_or_compute("key", lambda: "of the child") == "of the child")
        assert time.monotonic() - begun < 5
        may_end.set()
        busy.join(5)
        assert cache.get_or_compute("key", lambda: "computed again") == "of the parent"
