"""Servers of our own, for what is a setting of the server: two of them that differ in that setting alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from redis_practices.cli import Failure
from redis_practices.servers.binary import EmbeddedError
from redis_practices.servers.embedded import CACHE, Config, Server, start_server
from redis_practices.servers.embedded_cluster import NODE_TIMEOUT, EmbeddedCluster, start_cluster
from redis_practices.servers.process_group import ProcessGroup

PLAIN: Config = {**CACHE, "maxmemory": "0"}
"""A server that keeps nothing on disk and evicts nothing."""


class Servers(Protocol):
    """Who starts servers and clusters, and ends them when the measurement is over."""

    def server(self, config: Config) -> Server:
        """Start one server with the directives of `config`."""

    def cluster(
        self, primaries: int = 3, replicas: int = 1, *, node_timeout_ms: int | None = None, config: Config | None = None
    ) -> Any:
        """Return a ready cluster; `config` holds directives for every node."""


class Lab:
    """Embedded servers and clusters; see `lab`."""

    def __init__(self, group: ProcessGroup) -> None:
        """Start what is asked for in `group`."""
        self._group = group

    def server(self, config: Config) -> Server:
        """Start one server with the directives of `config`."""
        return start_server(self._group, config)

    def cluster(
        self, primaries: int = 3, replicas: int = 1, *, node_timeout_ms: int | None = None, config: Config | None = None
    ) -> EmbeddedCluster:
        """Start a cluster and return when it is ready."""
        timeout = node_timeout_ms or NODE_TIMEOUT
        return start_cluster(
            self._group, primaries=primaries, replicas=replicas, node_timeout_ms=timeout, config=config
        )


@contextmanager
def lab() -> Iterator[Lab]:
    """Yield a maker of servers that are gone when the block ends.

    Raises:
        Failure: there is no server program here, or it does not start.
    """
    with ProcessGroup() as group:
        try:
            yield Lab(group)
        except EmbeddedError as error:
            raise Failure(f"no server of our own can be started: {error}") from error
