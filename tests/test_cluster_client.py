"""Test a client of a cluster with few connections: under signals, after failovers, and with all of them lost."""

from __future__ import annotations

import random
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from redis import Redis
from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException, RedisError

from fixtures.run.own_time import WorkersClock
from fixtures.run.processes import ForkingGroup
from redis_practices.clients import cluster_client
from redis_practices.polling import join
from redis_practices.redis_cluster.failover import fail_over
from redis_practices.redis_cluster.topology import itself
from redis_practices.servers.cluster import EmbeddedCluster, start_cluster
from tests.cases.preparing import prepared

KEYS = [f"k{number}" for number in range(30)]
CONNECTIONS = 3
"""The most connections to a node."""


class SoftTimeLimitExceeded(Exception):  # noqa: N818 - it has the name of Celery's
    """The exception that a signal raises between two instructions."""


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget exceptions that Python ignores: pytest keeps them, with frames whose connections then stay in use."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)


@pytest.fixture
def cluster() -> Iterator[EmbeddedCluster]:
    """Give a cluster in which each key has its name as value."""
    with ForkingGroup() as group:
        started = start_cluster(group, node_timeout_ms=1000, config={"appendonly": "yes"})
        with cluster_client(started.url) as client:
            client.mset_nonatomic({key: key for key in KEYS})
        yield started


def read(client: RedisCluster, key: str, draw: random.Random) -> Any:
    """Read a key by a command, a pipeline or a transaction."""
    way = draw.randrange(3)
    if not way:
        return client.get(key)
    with client.pipeline(transaction=way == 1) as pipe:
        pipe.exists(key)
        pipe.get(key)
        return pipe.execute()[1]


def read_under_signals(client: RedisCluster, calls: int) -> int:
    """Read keys while a signal interrupts calls; return the number of interrupts (AssertionError for a wrong value)."""
    draw, interrupted, armed = random.Random(calls), 0, False

    def interrupt(*_: object) -> None:
        if armed:
            raise SoftTimeLimitExceeded

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(calls):
            key = draw.choice(KEYS)
            signal.setitimer(signal.ITIMER_REAL, draw.uniform(1e-5, 0.001))
            try:
                armed = True
                seen = read(client, key, draw)
                armed = False
            except SoftTimeLimitExceeded:
                interrupted += 1
                continue
            except (RedisError, RedisClusterException):
                continue  # a failover
            finally:
                armed = False
            assert seen == key
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return interrupted


def require_all_connections(client: RedisCluster) -> None:
    """Require that as many threads as the pool has connections read right values at once."""
    wrong: list[object] = []
    together = threading.Barrier(CONNECTIONS)

    def use() -> None:
        together.wait(10)
        try:
            seen = [client.get(key) for key in KEYS]
        except (RedisError, RedisClusterException) as error:
            wrong.append(error)
        else:
            wrong.extend((key, one) for key, one in zip(KEYS, seen, strict=True) if one != key)

    threads = [threading.Thread(target=use) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    assert not wrong, wrong[:3]


@pytest.mark.slow
@pytest.mark.parametrize("event", ["nothing", "dropped", "planned", "killed", "killed and back", "restarted"])
def test_client_under_signals(cluster: EmbeddedCluster, event: str) -> None:
    """No reply answers another command, and no connection is lost, through an event between two rounds of signals."""
    with ExitStack() as ending:
        client = ending.enter_context(cluster_client(cluster.url, timeout=1.0, max_connections=CONNECTIONS))
        nodes = [ending.enter_context(node.client()) for node in cluster.nodes]
        assert read_under_signals(client, 500) > 20
        happen(event, cluster, nodes)
        read_under_signals(client, 500)
        WorkersClock().eventually(lambda: require_all_connections(client), 10)


def happen(event: str, cluster: EmbeddedCluster, nodes: list[Redis]) -> None:
    """Let an event happen to the first primary of the cluster, or to every node."""
    first, identity = cluster.nodes[0], itself(nodes[0]).identity
    replica = next(node for node in nodes if itself(node).primary == identity)
    if event == "planned":
        fail_over(replica)
    elif event.startswith("killed"):
        nodes[0].wait(1, 2000)
        first.kill()
        prepared(lambda: not itself(replica).primary)
        if event == "killed and back":
            first.restart()
    elif event == "restarted":
        for node in cluster.nodes:
            node.restart()
    elif event == "dropped":
        for admin in nodes:
            admin.client_kill_filter(_type="normal", skipme=True)
