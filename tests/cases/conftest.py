"""Provide servers, brokers and proxies for the cases, which end with the test."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from fixtures.proxies.streams import Mutation, RespProxy
from fixtures.run.processes import ForkingGroup
from redis_practices.servers.server import CACHE, Config, Server, engine_of, server_binary, start_server
from tests.cases.bench import Bench
from tests.cases.proxies import TcpProxy

OLD_ENGINE = "redis 7."
"""The version prefix of the older server program: the oldest supported line."""


@pytest.fixture
def group() -> Iterator[ForkingGroup]:
    """Give a process group for this test."""
    with ForkingGroup("redis-practices-cases") as processes:
        yield processes


@pytest.fixture
def ending() -> Iterator[ExitStack]:
    """Give an ExitStack that closes with this test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def cache_server(group: ForkingGroup) -> Server:
    """Give an isolated cache."""
    return start_server(group, CACHE)


@pytest.fixture
def results(group: ForkingGroup) -> Iterator[ForkingGroup]:
    """Collect the results of a test while its broker runs.

    The destructor of a subscribed result asks the broker, and retries for seconds if the broker has ended: in the
    middle of a later test.
    """
    yield group
    gc.collect()


@pytest.fixture
def bench(results: ForkingGroup) -> Bench:
    """Give an isolated broker."""
    return Bench(results)


@pytest.fixture
def new_bench(results: ForkingGroup) -> Callable[[Config], Bench]:
    """Give a function that starts a broker with further directives."""
    return lambda config: Bench(results, config)


@pytest.fixture
def mutated(ending: ExitStack) -> Callable[[int, Mutation], RespProxy]:
    """Give a function that starts a proxy for the Redis protocol before a port."""
    return lambda port, mutation: ending.enter_context(closing(RespProxy(port, mutation)))


@pytest.fixture
def carried(ending: ExitStack) -> Callable[..., TcpProxy]:
    """Give a function that starts a proxy for bytes before a port."""
    return lambda port, **options: ending.enter_context(closing(TcpProxy(port, **options)))


@pytest.fixture
def redis7() -> str:
    """Give the path of the redis-server of Redis 7, or skip the test."""
    found = shutil.which("redis-server")
    if found is None or not engine_of(found).startswith(OLD_ENGINE):
        pytest.skip("needs the redis-server of Redis 7 on the PATH")
    return found


@pytest.fixture(params=["default", "redis7"])
def binary(request: pytest.FixtureRequest) -> str:
    """Give the path of each available server program: the default one and Redis 7."""
    return str(request.getfixturevalue("redis7")) if request.param == "redis7" else server_binary()
