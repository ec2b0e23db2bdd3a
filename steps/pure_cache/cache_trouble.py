"""The sentences about what can be wrong with a cache's server."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from pytest_bdd import when
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

if TYPE_CHECKING:
    from steps.pure_cache.cache_aside import Front


@when("the cache's server is dead")
def kill(front: Front) -> None:
    """End the process at once."""
    front.cache.node.kill()


@when("the cache's server hangs")
def hang(front: Front) -> None:
    """Stop the process: connections open, nothing answers."""
    front.cache.node.pause()


@when("the cache's server accepts no connection")
def block(front: Front, ending: ExitStack) -> None:
    """Listen in the server's place with a queue that is full: a connection is neither made nor refused."""
    front.cache.node.kill()
    host, port = front.cache.node.address.split(":")
    listener = ending.enter_context(socket.socket())
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, int(port)))
    listener.listen(0)
    for _ in range(3):
        waiting = ending.enter_context(socket.socket())
        waiting.settimeout(0)
        waiting.connect_ex((host, int(port)))


@when("the cache's server answers after 2 seconds")
def slow_down(front: Front, ending: ExitStack) -> None:
    """Hold up all its clients again and again, and let it serve those who wait in between (``CLIENT PAUSE``)."""
    over = threading.Event()
    ending.callback(over.set)
    # Without retries: they would hold up the server that is started in the end.
    client = front.cache.node.client(retry=Retry(NoBackoff(), 0))

    def hold() -> None:
        """Go on until it is over, or the server is gone."""
        with suppress(RedisError):
            while not over.wait(0.01):
                client.client_pause(2000)

    client.client_pause(2000)
    threading.Thread(target=hold, daemon=True).start()


@when("the cache's server is full and evicts nothing")
def fill(front: Front) -> None:
    """Leave no room, and let nothing be evicted."""
    with front.cache.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)


@when("the cache's server is well again")
def heal(front: Front, ending: ExitStack) -> None:
    """Undo whatever was done to it."""
    ending.close()
    front.cache.node.restart()
