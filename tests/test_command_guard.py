"""Test that the workers of a run on an external deployment refuse the commands that are never sent to one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from fixtures import PROJECT
from fixtures.run.keys import Unsupported
from fixtures.run.processes import ForkingGroup
from fixtures.stacks.embedded import EmbeddedBroker
from fixtures.stacks.external.command_guard import VARIABLE
from fixtures.stacks.external.deployments import ExternalBroker
from redis_practices.celery_worker.sending import sender, value_of
from redis_practices.servers.server import BROKER, Server, start_server
from tests import forbidden_task
from worker import settings

FORBIDDEN = {
    "FLUSHALL": ["FLUSHALL"],
    "FLUSHDB": ["flushdb"],
    "CONFIG SET": ["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"],
    "CONFIG RESETSTAT": ["CONFIG RESETSTAT"],
    "CLIENT PAUSE": ["CLIENT", "PAUSE", "1"],
}
"""Commands that a broker obeys at once, by their names, in the ways in which redis-py is told them."""

KEY = "a key of others"


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkingGroup]:
    """Give a group whose workers know the task of this test."""
    monkeypatch.setenv("WORKER_INCLUDES", forbidden_task.__name__)
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    with ForkingGroup() as group:
        yield group


@pytest.fixture
def server(group: ForkingGroup) -> Server:
    """Give a server that holds one key and a setting of others."""
    server = start_server(group, BROKER)
    with server.client() as client:
        client.set(KEY, "its value")
    return server


def answer(broker: EmbeddedBroker, command: list[str]) -> object:
    """Let a worker send a command, and return its answer or the exception of the task."""
    app = sender(settings(broker.url))
    result = app.send_task("test.send_command", command, queue=broker.queue)
    try:
        return value_of(result, 20.0)
    except Exception as error:  # noqa: BLE001 - what the task raised is the answer
        return error
    finally:
        result.backend = None  # or it would look for its broker when it is collected
        app.close()


def kept(client: Redis) -> tuple[object, object]:
    """Return what the forbidden commands would change."""
    return client.get(KEY), client.config_get("maxmemory-policy")["maxmemory-policy"]


@pytest.mark.parametrize("bound", ["", "1000"], ids=["no bound", "a bound"])
def test_refused(group: ForkingGroup, server: Server, bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Require that a worker refuses them, with and without ``--max-ops``, and still does what is allowed."""
    if bound:
        monkeypatch.setenv(VARIABLE, f"{bound}:{group.folder / 'turns'}")
    broker = ExternalBroker(server.url, group)  # as a run with --broker-url has it
    broker.start_worker()
    for name, command in FORBIDDEN.items():
        refused = answer(broker, command)
        assert isinstance(refused, Unsupported), f"{name} gives {refused!r}"
        assert str(refused) == f"external: {name} is not sent to a deployment of others"
    assert answer(broker, ["ECHO", "allowed"]) == "allowed"
    with server.client() as client:
        assert kept(client) == ("its value", "noeviction")


def test_obeyed_without_guard(group: ForkingGroup, server: Server) -> None:
    """Require that the same commands go through where there is no guard, so that the tests above can fail."""
    broker = EmbeddedBroker(server, group)
    broker.start_worker()
    assert answer(broker, ["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]) == "OK"
    with server.client() as client:
        assert kept(client) == ("its value", "allkeys-lru")
    assert answer(broker, ["FLUSHALL"]) == "True"
    with server.client() as client:
        assert not client.exists(KEY)
