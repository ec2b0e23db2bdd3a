"""The sentences about what happens to the keys and to the server of a near cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import parsers, when

from steps.pure_cache.cache_near import Near

if TYPE_CHECKING:
    from redis_practices.servers.server import Server


@when(parsers.parse('another client sets "{key}" to "{value}"'))
def set_elsewhere(near: Near, key: str, value: str) -> None:
    """Write past the near cache."""
    near.other.set(near.prefix + key, value, ex=60)


@when(parsers.parse('another client deletes "{key}"'))
def delete_elsewhere(near: Near, key: str) -> None:
    """Delete past the near cache."""
    near.other.delete(near.prefix + key)


@when("the server is flushed")
def flush(near: Near) -> None:
    """Delete everything."""
    near.other.flushall()


@when("the server cuts the connection of the near cache")
def cut(near: Near) -> None:
    """Cut every connection but the one that asks for it."""
    near.other.client_kill_filter(_type="normal", skipme=True)


@when("the server hangs")
def hang(server: Server) -> None:
    """Stop the process."""
    server.pause()


@when("the server goes on")
def go_on(server: Server) -> None:
    """Let the process go on."""
    server.resume()
