"""Test that an exception between a command and its answer leaves no answer for another command."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from redis.connection import Connection
from redis.maint_notifications import MaintNotificationsConfig

from fixtures.proxies.streams import Mutation, RespProxy
from fixtures.run.processes import ForkingGroup
from redis_practices.clients import cluster_client, redis_client
from redis_practices.pure_cache.cache_aside import CacheAside
from redis_practices.servers.cluster import start_cluster
from redis_practices.servers.server import Server
from redis_practices.tuning.bulk import pipelined


class SoftTimeLimitExceeded(Exception):  # noqa: N818 - it has the name of Celery's
    """The exception that Celery raises by a signal, between any two instructions of a task."""


Interrupt = Callable[[int], None]
"""Raises at the beginning of the n-th read of an answer, once; 0 is never."""


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Interrupt:
    """Give a function that chooses the interrupted answer."""
    left = [0]
    real = Connection.read_response

    def read(connection: Connection, *arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise SoftTimeLimitExceeded
        return real(connection, *arguments, **options)

    monkeypatch.setattr(Connection, "read_response", read)
    return lambda number: left.__setitem__(0, number)


@pytest.fixture
def late_url(cache_server: Server, mutated: Callable[[int, Mutation], RespProxy]) -> str:
    """Give the URL of a cache with late answers: a reused connection has no answer yet."""
    return mutated(cache_server.port, Mutation(delay=0.2)).url


def answers(get: Callable[[str], Any], keys: list[str]) -> list[Any]:
    """Return the value of each key, or the name of the error."""
    found: list[Any] = []
    for key in keys:
        try:
            found.append(get(key))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is compared with the value
            found.append(type(error).__name__)
    return found


def test_cache_reader_after_an_interrupted_one(cache_server: Server, late_url: str, interrupt: Interrupt) -> None:
    """A reader gets the value of its key after another reader was interrupted."""
    client = redis_client(late_url, timeout=1)
    cache = CacheAside(client, ttl=60)
    with redis_client(cache_server.url) as other:
        for name in ("Ann", "Bob"):
            CacheAside(other, ttl=60).get_or_compute(f"invoice:{name}", partial("invoice of {}".format, name))
    client.ping()  # connected before
    interrupt(1)
    with pytest.raises(SoftTimeLimitExceeded):
        cache.get_or_compute("invoice:Ann", lambda: "invoice of Ann")
    assert cache.get_or_compute("invoice:Bob", lambda: "invoice of Bob") == "invoice of Bob"
    client.close()


@pytest.mark.parametrize(("number", "is_sent"), [(2, True), (3, False)], ids=["the claim", "the store"])
def test_lease_of_an_interrupted_reader(
    cache_server: Server, monkeypatch: pytest.MonkeyPatch, number: int, *, is_sent: bool
) -> None:
    """The lease of a reader that is interrupted at a command is given back, and the next reader computes at once."""
    left = [0]
    with redis_client(cache_server.url) as client:
        send = client.execute_command

        def interrupted(*command: Any, **options: Any) -> Any:
            left[0] -= 1
            answer = send(*command, **options) if left[0] != 0 or is_sent else None
            if left[0] == 0:
                raise SoftTimeLimitExceeded
            return answer

        monkeypatch.setattr(client, "execute_command", interrupted)
        cache = CacheAside(client, ttl=60)
        cache.get_or_compute("warm", lambda: "value")  # it knows the server's compare-and-set command
        left[0] = number
        with pytest.raises(SoftTimeLimitExceeded):
            cache.get_or_compute("key", lambda: "value")
        assert not client.exists("key")
        assert cache.get_or_compute("key", lambda: "value") == "value"


OPTIONS: dict[str, dict[str, Any]] = {
    "usual": {},
    "with maintenance notices": {"maint_notifications_config": MaintNotificationsConfig(enabled="auto")},
    "RESP2": {"protocol": 2},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("number", [1, *(pytest.param(later, marks=pytest.mark.slow) for later in (2, 3))])
def test_client_after_an_interrupted_answer(
    cache_server: Server, late_url: str, interrupt: Interrupt, number: int, options: dict[str, Any]
) -> None:
    """A client reads all keys correctly after its first connection was interrupted before an answer."""
    keys = [f"k{index}" for index in range(3)]
    with cache_server.client() as admin:
        admin.mset({key: f"value of {key}" for key in keys})
    client = redis_client(late_url, timeout=1, **options)
    interrupt(number)
    with pytest.raises(SoftTimeLimitExceeded):
        [client.get(keys[0]) for _ in range(number)]
    assert answers(client.get, keys) == [f"value of {key}" for key in keys]
    client.close()


def test_pipelined_after_an_interrupted_answer(cache_server: Server, late_url: str, interrupt: Interrupt) -> None:
    """A client reads all keys correctly after a pipeline was interrupted."""
    keys = [f"k{index}" for index in range(3)]
    with cache_server.client() as admin:
        admin.mset({key: f"value of {key}" for key in keys})
    client = redis_client(late_url, timeout=1)
    client.ping()  # connected before
    interrupt(3)
    with pytest.raises(SoftTimeLimitExceeded):
        pipelined(client, [("GET", key) for key in keys])
    assert answers(client.get, keys) == [f"value of {key}" for key in keys]
    client.close()


def test_pipelined_after_an_interrupted_client(cache_server: Server, late_url: str, interrupt: Interrupt) -> None:
    """A pipeline reads all keys correctly after the client's connection was interrupted."""
    keys = [f"k{index}" for index in range(3)]
    with cache_server.client() as admin:
        admin.mset({key: f"value of {key}" for key in keys})
    client = redis_client(late_url, timeout=1)
    client.ping()  # connected before
    interrupt(1)
    with pytest.raises(SoftTimeLimitExceeded):
        client.get(keys[-1])
    assert pipelined(client, [("GET", key) for key in keys]) == [f"value of {key}" for key in keys]
    client.close()


def test_cluster_client_after_an_interrupted_handshake(group: ForkingGroup, interrupt: Interrupt) -> None:
    """A cluster client reads all keys correctly after a new connection was interrupted."""
    cluster = start_cluster(group, replicas=0)
    client = cluster_client(cluster.url, timeout=1)
    keys = [f"{{tag}}{index}" for index in range(3)]
    for key in keys:
        client.set(key, f"value of {key}")
    owning: Any = client.get_node_from_key(keys[0])  # type: ignore[no-untyped-call] # redis-py has no types here
    client.get_redis_connection(owning).connection_pool.disconnect()
    interrupt(2)
    with pytest.raises(SoftTimeLimitExceeded):
        client.get(keys[0])
    assert answers(client.get, keys) == [f"value of {key}" for key in keys]
    client.close()
