"""The sentences about a service whose cache is dead, paused or restarted."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial

from pytest_bdd import given, parsers, then, when
from redis import BlockingConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from fixtures.pure_cache.origin import Origin
from fixtures.reporting.measurements import Bound
from fixtures.stacks.embedded import EmbeddedCache
from fixtures.stacks.protocols import Private
from redis_practices.clients import client_options
from redis_practices.polling import seconds_until
from redis_practices.pure_cache.cache_aside import CacheAside
from redis_practices.pure_cache.circuit_breaker import Breaker
from redis_practices.servers.server import CACHE, Server
from steps.common.vocabulary import TYPES, Duration
from steps.pure_cache.cache_aside import Front

BREAKER = partial(Breaker, failures=3, pause=0.4)
"""A pause short enough for a try that fails while the server is still down."""


@given(
    parsers.cfparse(
        "a cache on a server of its own in front of it, asked for at most {timeout:Duration}", extra_types=TYPES
    ),
    target_fixture="front",
)
def have_own_front(private: Private, origin: Origin, timeout: Duration) -> Front:
    """Start a server for this scenario, and give its client a short timeout."""
    server = private.server(CACHE)
    client = server.client(socket_timeout=timeout.seconds(), socket_connect_timeout=timeout.seconds())
    return Front(EmbeddedCache(server), "", origin, CacheAside(client, ttl=60, beta=0, breaker=BREAKER()))


@given(parsers.parse("at most {number:d} connections to it, for which a reader waits"))
def bound_connections(front: Front, number: int) -> None:
    """Give the cache a pool that makes its users wait (``BlockingConnectionPool``)."""
    pool = BlockingConnectionPool.from_url(front.cache.url, max_connections=number, timeout=5, **client_options(2))
    front.aside = CacheAside(Redis(connection_pool=pool), ttl=60, beta=0, breaker=BREAKER())


@given(parsers.parse("its server takes at most {number:d} clients"))
def bound_clients(front: Front, number: int) -> None:
    """Limit the server."""
    front.cache.client().config_set("maxclients", number)


@then(parsers.cfparse("half of the last {number:Count} of them waited {bound:Bound}", extra_types=TYPES))
def check_usual(waits: list[float], number: int, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the middle of the last reads against the bound."""
    usual = sorted(waits[-number:])[number // 2]
    measure(f"usual wait of the last {number}", unit="s", bound=bound, seen=round(usual, 4))


@then(parsers.cfparse("{bound:Bound} of them waited for the cache", extra_types=TYPES))
def check_waited(waits: list[float], bound: Bound, measure: Callable[..., None]) -> None:
    """Count the reads that took as long as the time-out of the cache."""
    seen = sum(wait >= 0.2 for wait in waits)  # noqa: PLR2004 - the time-out of these scenarios
    measure("reads that waited for the cache", unit="", bound=bound, seen=seen)


@then(parsers.cfparse('the readers of "{key}" hit the cache again {bound:Bound}', extra_types=TYPES))
def check_recovered(front: Front, key: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Read until the origin is not asked: the first read that gets through finds an empty cache and fills it."""

    def hits() -> bool:
        """Read once."""
        before = front.origin.calls
        front.read(key)
        return front.origin.calls == before

    measure("recovered", unit="s", bound=bound, seen=round(seconds_until(hits, 15), 3))


@then(parsers.cfparse("the server has counted {bound:Bound} connections", extra_types=TYPES))
def check_connections(front: Front, bound: Bound, measure: Callable[..., None]) -> None:
    """Ask how many connections the server has had, this one and the one that started it aside."""
    with front.cache.client() as client:
        clients = len(client.client_list()) - 1
    measure("connections", unit="", bound=bound, seen=clients)


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


@when("the server is killed and started again")
def restart(server: Server) -> None:
    """End it with SIGKILL and start it with the same data folder."""
    server.kill()
    server.restart()


@then(
    parsers.cfparse(
        "it is empty, and nothing was on disk; it answered {bound:Bound} after its start", extra_types=TYPES
    )
)
def check_empty(server: Server, bound: Bound, measure: Callable[..., None]) -> None:
    """Require an empty server and an empty data folder, and time another restart."""
    begun = time.monotonic()
    server.restart()
    measure("restart", unit="s", bound=bound, seen=round(time.monotonic() - begun, 3))
    with server.client() as client:
        assert client.dbsize() == 0, f"{client.dbsize()} keys came back"
    files = {path.name for path in server.folder.iterdir()} - {"log", "server.conf"}
    assert not files, f"the server left on disk: {', '.join(sorted(files))}"
