"""Sentinels that watch a primary and put a replica in its place, as child processes of this one."""

from __future__ import annotations

import time
from collections.abc import Sequence

from redis_practices.servers.binary import EmbeddedError
from redis_practices.servers.embedded import START_TIMEOUT, Server
from redis_practices.servers.process_group import ProcessGroup

NAME = "primary"
"""The name under which the sentinels know the primary; clients ask for it."""

DOWN_AFTER_MS = 500
"""Milliseconds without an answer after which a sentinel takes the primary for dead. Over a real network: 5000."""


class Sentinel(Server):
    """One sentinel: the same program as a server, in another mode."""

    mode = ("--sentinel",)
    ready = "Sentinel ID is"


def start_sentinels(
    group: ProcessGroup, primary: Server, number: int = 3, *, binary: str | None = None
) -> list[Sentinel]:
    """Start sentinels for `primary` and its replicas; return when all know each other, so that they can decide.

    Most of them must agree, so with 3 one may be gone.

    Raises:
        EmbeddedError: the program has no sentinel mode, or they do not find each other in time.
    """
    host, _, port = primary.address.rpartition(":")
    config = {
        "sentinel monitor": [NAME, host, port, str(number // 2 + 1)],
        "sentinel down-after-milliseconds": [NAME, str(DOWN_AFTER_MS)],
        "sentinel failover-timeout": [NAME, "3000"],
    }
    sentinels = [Sentinel(group, config, binary=binary) for _ in range(number)]
    for sentinel in sentinels:
        sentinel.wait_ready()
    deadline = time.monotonic() + START_TIMEOUT
    while not all(_ready(sentinel, number - 1) for sentinel in sentinels):
        if time.monotonic() > deadline:
            raise EmbeddedError(f"the sentinels do not find each other:\n{sentinels[0].log_tail(15)}")
        time.sleep(0.05)
    return sentinels


def _ready(sentinel: Sentinel, others: int) -> bool:
    """Tell whether a sentinel knows all others and a replica that can take over."""
    with sentinel.client() as client:
        seen = client.sentinel_master(NAME)
        replicas = client.sentinel_slaves(NAME)
    return int(seen["num-other-sentinels"]) == others and any(not replica["is_disconnected"] for replica in replicas)


def sentinel_url(sentinels: Sequence[Server]) -> str:
    """Return the URL by which Celery finds the primary: all sentinels, since any of them may be gone."""
    return ";".join(f"sentinel://{sentinel.address}/0" for sentinel in sentinels)
