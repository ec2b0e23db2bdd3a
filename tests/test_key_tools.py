"""Test that the tools for keys take names that are no text, and keys of every database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fixtures.run.processes import ForkingGroup
from redis_practices.clients import redis_client
from redis_practices.pure_cache.key_audit import KeyRules, bad_keys, sample
from redis_practices.redis_cluster.key_distribution import biggest_keys, distribution, every_key
from redis_practices.redis_cluster.slot_migration import close_open_slots, move_slots, open_slots, stray_slots
from redis_practices.redis_cluster.topology import itself, slot_of
from redis_practices.servers.cluster import EmbeddedCluster, start_cluster
from redis_practices.servers.server import CACHE, engine_of, server_binary, start_server

NAMES = [
    b"{cart}:\xff\xfe",
    b"{cart}:\x00\r\n",
    b"{cart}:1",
    b"{cart}:\xed\xa0\x80",
    "{cart}:\u2028".encode(),
    b"{cart}",
]
"""Not UTF-8, with control characters, plain, a lone surrogate, a line separator, and the tag alone."""
SLOT = slot_of(NAMES[0])
DATABASES = (0, 1, 3)


@pytest.fixture
def cluster() -> Iterator[EmbeddedCluster]:
    """Give a cluster whose first databases each hold `NAMES`; servers other than Valkey 9 have database 0 only."""
    several = engine_of(server_binary()).startswith("valkey 9")
    with ForkingGroup() as group:
        started = start_cluster(group, replicas=0, config={"cluster-databases": 4} if several else {})
        for node in started.nodes:
            with node.client() as client:
                if SLOT not in itself(client).slots:
                    continue
            for number in DATABASES if several else (0,):
                with node.client(db=number) as client:
                    for name in NAMES:
                        client.set(name, "x" * (100 * (number + 1)))
        yield started


def test_cluster_tools(cluster: EmbeddedCluster) -> None:
    """Each tool sees, moves and repairs the keys of every database, however its clients decode."""
    nodes = [node.client(decode_responses=number == 0) for number, node in enumerate(cluster.nodes)]
    home = next(node for node in nodes if SLOT in itself(node).slots)
    other, third = (node for node in nodes if node is not home)
    numbers = [int(name.removeprefix("db")) for name in home.info("keyspace")]
    expected = sorted(NAMES * len(numbers))
    for decode in (True, False):
        with cluster.client(decode_responses=decode) as client:
            assert sorted(every_key(client)) == expected
            assert sum(node.keys for node in distribution(client, NAMES)) == len(NAMES)
    biggest = biggest_keys(nodes, 100)
    assert sorted(name for _, name in biggest) == expected
    assert biggest[0][0] >= 100 * (max(numbers) + 1)
    for key_by_key in (True, False):
        move_slots([SLOT], home, other, nodes, key_by_key=key_by_key)
        home, other = other, home
        assert open_slots(nodes) == []
        assert stray_slots(other) == []
        with cluster.client() as client:
            assert sorted(every_key(client)) == expected
    other.execute_command("CLUSTER SETSLOT", SLOT, "IMPORTING", itself(home).identity)
    home.execute_command("CLUSTER SETSLOT", SLOT, "MIGRATING", itself(other).identity)
    port = other.connection_pool.connection_kwargs["port"]
    for number in numbers:
        home.execute_command("MIGRATE", "127.0.0.1", port, "", number, 5000, "KEYS", *NAMES[:3])
    for node in (home, other):
        node.execute_command("CLUSTER SETSLOT", SLOT, "STABLE")
    assert stray_slots(other) == [SLOT]
    assert close_open_slots(nodes) == [SLOT]
    assert stray_slots(other) == stray_slots(third) == []
    with cluster.client() as client:
        assert sorted(every_key(client)) == expected
    for node in nodes:
        node.close()


@pytest.mark.parametrize("database", [0, 3])
@pytest.mark.parametrize("decode", [True, False])
def test_hygiene(database: int, *, decode: bool) -> None:
    """Keys with any name are looked at in the database of the URL."""
    with ForkingGroup() as group:
        server = start_server(group, CACHE)
        with redis_client(f"redis://{server.address}/{database}", decode_responses=decode) as client:
            for name in NAMES:
                client.set(name, "x")
            assert sorted(key.name for key in sample(client)) == sorted(NAMES)
            found = bad_keys(sample(client), KeyRules())
        assert len(found["no ttl"]) == 4  # three, and the number of further ones
        assert all(name.isprintable() for names in found.values() for name in names)
