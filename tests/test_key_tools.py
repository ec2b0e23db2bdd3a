"""Test that the tools for keys take names that are no text, and keys of every database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from redis.exceptions import ResponseError

from fixtures.run.processes import ForkingGroup
from redis_practices.clients import redis_client
from redis_practices.polling import poll
from redis_practices.pure_cache.key_audit import KeyRules, bad_keys, sample
from redis_practices.redis_cluster.key_distribution import (
    biggest_keys,
    distribution,
    every_key,
    hottest_keys,
    read_near,
    slot_map,
)
from redis_practices.redis_cluster.slot_migration import close_open_slots, move_slots, open_slots, stray_slots
from redis_practices.redis_cluster.topology import itself, slot_of, zones
from redis_practices.servers.cluster import EmbeddedCluster, start_cluster
from redis_practices.servers.server import CACHE, engine_of, server_binary, start_server
from redis_practices.tuning.bulk import write_bulk
from redis_practices.tuning.measuring import reads_by_node

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


@pytest.mark.parametrize("closes", [False, True], ids=["stays open", "is closed meanwhile"])
def test_scan_during_a_move(cluster: EmbeddedCluster, *, closes: bool) -> None:
    """A scan finds the keys of a half moved slot, also if the move ends after the cursor has passed the slot."""
    nodes = [node.client() for node in cluster.nodes]
    home, other = sorted(nodes, key=lambda node: SLOT not in itself(node).slots)[:2]
    numbers = [int(name.removeprefix("db")) for name in home.info("keyspace")]
    other.execute_command("CLUSTER SETSLOT", SLOT, "IMPORTING", itself(home).identity)
    home.execute_command("CLUSTER SETSLOT", SLOT, "MIGRATING", itself(other).identity)
    port = other.connection_pool.connection_kwargs["port"]
    for number in numbers:
        home.execute_command("MIGRATE", "127.0.0.1", port, "", number, 5000, "KEYS", *NAMES[:3])
    with cluster.client() as client:
        later = next(name for number in range(1000) if slot_of(name := f"later:{number}") > SLOT)
        client.set(later, "x")
        seen = Counter[bytes]()
        for key in every_key(client, count=1):
            seen[key] += 1
            if closes and key == later.encode() and seen[key] == 1:
                assert close_open_slots(nodes) == [SLOT]
        assert seen[later.encode()]
        assert [name for name in NAMES if seen[name] < len(numbers)] == []
    for node in nodes:
        node.close()


@pytest.mark.parametrize("decode", [True, False])
def test_hot_keys(*, decode: bool) -> None:
    """The hottest key comes first, its name in bytes, and counting ends also after an exception."""
    with ForkingGroup() as group:
        cluster = start_cluster(group, replicas=0, config={"cluster-slot-stats-enabled": "yes"})
        nodes = [node.client(decode_responses=decode) for node in cluster.nodes]
        with cluster.client() as client:
            client.set("hot\u2028", "x")
            with pytest.raises(ZeroDivisionError), hottest_keys(nodes):
                raise ZeroDivisionError
            with hottest_keys(nodes, 3) as found:
                for _ in range(100):
                    client.get("hot\u2028")
            assert found[0].name == "hot\u2028".encode()
            assert found[0].share > 50
            with hottest_keys(nodes) as found:
                pass
            assert found == [], "nothing was read meanwhile"


def test_reads_in_a_zone() -> None:
    """Reads stay in the zone, and every value is read after a node has died, and after a slot has moved."""
    with ForkingGroup() as group:
        cluster = start_cluster(group)
        try:
            for node, zone in zip(cluster.nodes, "abcbca", strict=True):
                with node.client() as client:
                    client.config_set("availability-zone", zone)
        except ResponseError:
            pytest.skip("needs Valkey 8.1: a server that tells its zone")
        keys = [f"key:{number}" for number in range(300)]
        with cluster.client() as client:
            write_bulk(client, [(key, key) for key in keys], ttl=600)
            assert client.wait(1, 5000, target_nodes="primaries")
            known = [node.client() for node in cluster.nodes]
            places = poll(lambda: zones(known), 5.0, until=lambda seen: len(seen) == len(cluster.nodes))
            assert places == {node.address: zone for node, zone in zip(cluster.nodes, "abcbca", strict=True)}
            before = reads_by_node(cluster.nodes)
            assert read_near(client, keys, "b", places) == keys
            reads = {address: seen - before[address] for address, seen in reads_by_node(cluster.nodes).items()}
            shards = {held.primary: {held.primary, *held.replicas} for held in slot_map(client)}
            in_zone = {primary: [one for one in nodes if places[one] == "b"] for primary, nodes in shards.items()}
            for primary, nodes in shards.items():
                expected = in_zone[primary] or [primary]
                assert [address for address in nodes if reads[address]] == expected

            [near] = {one for nodes in in_zone.values() for one in nodes} - {*shards}
            next(node for node in cluster.nodes if node.address == near).kill()
            assert read_near(client, keys, "b", places) == keys

            moved = slot_of(keys[0])
            alive = [node.client() for node in cluster.nodes if node.address != near]
            source, target, _ = sorted(alive[:3], key=lambda node: moved not in itself(node).slots)
            move_slots([moved], source, target, alive)
            assert read_near(client, keys, "b", places) == keys


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
