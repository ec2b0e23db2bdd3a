"""Find the deployment of a script: its URL, the local default port, or an embedded deployment."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

from redis_practices.cli import Failure, UsageError, port_number, say
from redis_practices.clients import checked_url
from redis_practices.servers.celery import start_worker
from redis_practices.servers.cluster import TooLargeError, start_cluster
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import BROKER, CACHE, EmbeddedError, answers, engine_of, server_binary, start_server

Kind = Literal["cache", "cluster", "broker"]

LOCAL_PORTS: dict[Kind, tuple[int, ...]] = {"cache": (6380, 6379), "cluster": (7001, 7000), "broker": (6379,)}
"""The ports of ``docker-compose.yml``, then those of a hand-started server or cluster."""


@contextmanager
def deployment(kind: Kind) -> Iterator[str]:
    """Yield the URL of a deployment of this kind; start one for the block if there is none.

    ``CACHE_URL``, ``CLUSTER_URL`` or ``BROKER_URL`` names it. Otherwise a server that answers on the local default port
    is taken (``CACHE_PORT``, ``CLUSTER_PORT_1``, ``BROKER_PORT``, as in ``docker-compose.yml``).

    Raises:
        UsageError: a variable holds an invalid URL or port.
        Failure: there is no deployment, and an embedded one cannot be started.
    """
    url = given_url(kind) or local_url(kind)
    if url:
        yield url
        return
    with embedded(kind) as (url, engine):
        say(f"no {kind.upper()}_URL and no local {kind}: started an embedded {engine} for this command")
        yield url


@contextmanager
def embedded(kind: Kind, port: int | None = None, **shape: Any) -> Iterator[tuple[str, str]]:
    """Yield URL and engine of an embedded deployment, which ends with the block. Its first server gets `port`.

    `shape` are arguments of `start_cluster`.

    Raises:
        Failure: it cannot be started, for example because the port is taken.
    """
    with ExitStack() as stack:
        try:
            engine = engine_of(server_binary())
            url = start(kind, stack.enter_context(ProcessGroup()), port, **shape)
        except (EmbeddedError, OSError) as error:
            advice = ": take fewer, or --insist" if isinstance(error, TooLargeError) else ""
            raise Failure(f"no embedded {kind} can be started: {error}{advice}") from error
        yield url, engine


def given_url(kind: Kind) -> str | None:
    """Return the URL in the environment for `kind`, or None.

    Raises:
        UsageError: it is not a Redis URL.
    """
    variable = f"{kind.upper()}_URL"
    url = os.environ.get(variable)
    return checked_url(url, variable) if url else None


def local_url(kind: Kind) -> str | None:
    """Return the URL of a server that answers on a default port of this machine, or None.

    Raises:
        UsageError: the environment names an invalid port.
    """
    variable = "CLUSTER_PORT_1" if kind == "cluster" else f"{kind.upper()}_PORT"
    named = os.environ.get(variable)
    try:
        ports = (port_number(named),) if named else LOCAL_PORTS[kind]
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"{variable}: {error}") from None
    return next((f"redis://127.0.0.1:{port}/0" for port in ports if answers("127.0.0.1", port)), None)


def start(kind: Kind, group: ProcessGroup, port: int | None = None, **shape: Any) -> str:
    """Start an embedded deployment of `kind` in `group`, and return its URL; its first server gets `port`.

    `shape` are arguments of `start_cluster`.

    Raises:
        EmbeddedError: it does not start, or the port is taken.
    """
    if kind == "cluster":
        return start_cluster(group, first_port=port, **shape).url
    server = start_server(group, CACHE if kind == "cache" else BROKER, port=port)
    if kind == "broker":
        start_worker(group, server.url)
    return server.url
