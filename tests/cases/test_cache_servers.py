"""Test a cache on unusual servers: after a rollback, and on a cluster."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest

from fixtures.run.processes import ForkingGroup
from redis_practices.clients import cluster_client, redis_client
from redis_practices.pure_cache.cache_aside import CacheAside
from redis_practices.redis_cluster.topology import owner, slot_of, slot_ranges
from redis_practices.servers.cluster import start_cluster
from redis_practices.servers.server import CACHE, free_ports, start_server


def test_cache_after_a_rollback_to_redis7(group: ForkingGroup, redis7: str) -> None:
    """A value is cached again after the server was replaced by Redis 7."""
    [port] = free_ports(1, group.held)
    with ForkingGroup() as newer:
        cache = CacheAside(redis_client(start_server(newer, CACHE, port=port).url, timeout=0.2), ttl=60, patience=1.0)
        assert cache.get_or_compute("key", lambda: "value") == "value"
    with ForkingGroup() as older:
        start_server(older, CACHE, port=port, binary=redis7)
        cache.get_or_compute("key", lambda: "value")
        begun = time.monotonic()
        assert cache.get_or_compute("key", lambda: "computed again") == "value"
        assert time.monotonic() - begun < 0.5


@pytest.mark.slow
def test_cache_on_a_cluster_that_is_down(group: ForkingGroup) -> None:
    """The origin is asked while a key's node or the whole cluster is down; a cluster client may be refused."""
    cluster = start_cluster(group, replicas=0, node_timeout_ms=1000)
    client: Any = cluster_client(cluster.url, timeout=0.3)  # either is allowed: it works, or is refused at once
    try:
        cache = CacheAside(client, ttl=60)
    except TypeError:
        return
    assert [cache.get_or_compute("user:1", partial(str, text)) for text in ("value", "other")] == ["value"] * 2
    with cluster.nodes[0].client() as node:
        held = owner(slot_of("user:1"), slot_ranges(node))
    assert held is not None
    home = next(node for node in cluster.nodes if node.address == held.primary)
    home.kill()
    for _ in range(5):
        assert cache.get_or_compute("user:1", lambda: "origin") == "origin"
    for node in cluster.nodes:
        if node is not home:
            node.kill()
    time.sleep(1.1)  # until the breaker lets a call through
    for _ in range(5):
        assert cache.get_or_compute("user:1", lambda: "origin") == "origin"
