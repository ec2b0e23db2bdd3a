"""The sentences about writes that are answered before the origin has them."""

from __future__ import annotations

import pytest
from pytest_bdd import given, parsers, then, when
from redis.exceptions import LockError

from fixtures.stacks.protocols import Private
from redis_practices.pure_cache.write_through import WriteBehind
from redis_practices.servers.server import BROKER, CACHE, Server


@given("a queue of writes on a server that keeps what it is told", target_fixture="server")
def have_queue(private: Private) -> Server:
    """Start a server that evicts nothing and keeps a log, flushed before each answer."""
    return private.server({**BROKER, "appendfsync": "always"})


@given("a queue of writes on a server that is a pure cache", target_fixture="server")
def have_cache_queue(private: Private) -> Server:
    """Start a server that keeps nothing on disk."""
    return private.server(CACHE)


@when(parsers.parse("{number:d} writes are made"))
def make_writes(server: Server, writes: list[int], number: int) -> None:
    """Queue writes, all of one record, so that their order matters."""
    with server.client() as client:
        behind = WriteBehind(client, "writes")
        for index in range(number):
            behind.write("user:1", index)
            writes.append(index)
        assert behind.waiting() == number, f"{behind.waiting()} of {number} writes wait"


@when(parsers.parse("the origin refuses the write {refused:d} once"), target_fixture="begun")
def refuse_once(server: Server, refused: int) -> list[int]:
    """Save until the origin refuses one write, and return what it had saved by then."""
    saved: list[int] = []

    def save(_: str, value: int) -> None:
        """Refuse one value."""
        if value == refused:
            raise PermissionError("refused")
        saved.append(value)

    with server.client() as client, pytest.raises(PermissionError):
        WriteBehind(client, "writes").drain(save, batch=3)
    return saved


@then("they reach the origin in their order, and none is left")
def check_order(server: Server, writes: list[int], request: pytest.FixtureRequest) -> None:
    """Save what waits, after what had been saved before."""
    saved = list(request.getfixturevalue("begun")) if "begun" in request.fixturenames else []
    with server.client() as client:
        behind = WriteBehind(client, "writes")
        behind.drain(lambda _, value: saved.append(value))
        assert behind.waiting() == 0, f"{behind.waiting()} writes are left"
    assert saved == writes, f"the origin got {saved}, not {writes}"


@then("a second one that saves meanwhile is refused")
def check_second(server: Server, writes: list[int]) -> None:
    """Try to save from within a save: the one that has the lock goes on, the other is told."""
    saved: list[int] = []
    refused = 0
    with server.client() as client:
        behind, other = WriteBehind(client, "writes"), WriteBehind(client, "writes")

        def save(_: str, value: int) -> None:
            """Save, and let the other one try too."""
            nonlocal refused
            with pytest.raises(LockError):
                other.drain(lambda _, value: saved.append(value))
            refused += 1
            saved.append(value)

        behind.drain(save)
    assert saved == writes, f"the origin got {saved}, not {writes}"
    assert refused == len(writes), f"the other one was refused {refused} times"


@then("nothing is left of them")
def check_lost(server: Server) -> None:
    """Require an empty queue: when a cache keeps it one day, the sentence is to be changed."""
    with server.client() as client:
        assert WriteBehind(client, "writes").waiting() == 0, "a pure cache kept the queue through a crash"
