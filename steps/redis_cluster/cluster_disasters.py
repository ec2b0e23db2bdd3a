"""The sentences about a cluster that loses more than one node, and comes back."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from parse import with_pattern
from pytest_bdd import given, parsers, then, when
from redis.exceptions import RedisError

from fixtures.redis_cluster.faults import Cast
from fixtures.redis_cluster.nodes import answer, clients_of, empty_node, in_words, node_at, owner_of, ranges, welcome
from fixtures.reporting.measurements import Bound
from redis_practices.polling import eventually, seconds_until
from redis_practices.redis_cluster.formation import wait_until_ready
from redis_practices.redis_cluster.topology import SlotRange, address, bus_port, itself, owner, slot_of
from steps.common.vocabulary import TYPES as COMMON
from steps.common.vocabulary import Duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from fixtures.stacks.protocols import Cluster, Private


@with_pattern("accept|refuse")
def verb(text: str) -> str:
    """Read what primaries do with writes."""
    return {"accept": "OK", "refuse": "CLUSTERDOWN"}[text]


TYPES = {**COMMON, "Verb": verb}


@then(parsers.cfparse("the other primaries {verb:Verb} writes within {limit:Duration}", extra_types=TYPES))
def write_elsewhere(cast: Cast, key_prefix: str, verb: str, limit: Duration, measure: Callable[..., None]) -> None:
    """Measure the time from the last event until all primaries that are left answer a write to their own slots so."""
    held = ranges(cast.cluster)
    keys: dict[str, str] = {}
    for number in range(100):
        key = f"{key_prefix}{number}"
        if found := owner(slot_of(key), held):
            keys[found.primary] = key
    with clients_of(cast.present()) as clients:

        def same() -> None:
            """Ask all."""
            said = {
                address(client): in_words(answer(client, "SET", keys[address(client)], "1", "EX", "60"))
                for client in clients
            }
            assert set(said.values()) == {verb}, f"the answers are {said}"

        most = limit.seconds(cast.cluster.node_timeout)
        seconds = seconds_until(same, give_up=3 * most, since=cast.since)
    measure(f"{verb} from all other primaries", unit="s", bound=Bound.at_most(most), seen=round(seconds, 3))


@when("every node is killed, and started again", target_fixture="map_before")
def restart_whole(cluster: Cluster) -> list[SlotRange]:
    """End all nodes before the first comes back, and keep the map that was."""
    before = ranges(cluster)
    for node in cluster.nodes:
        node.kill()
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: node.restart(), cluster.nodes))
    return before


@then(parsers.cfparse("within {limit:Duration} the cluster is ready, with the map that it had", extra_types=TYPES))
def check_restarted(
    cluster: Cluster, map_before: list[SlotRange], limit: Duration, measure: Callable[..., None]
) -> None:
    """Measure the time until all nodes are well again."""
    begun = time.monotonic()
    with clients_of(cluster.nodes) as clients:
        wait_until_ready(clients, timeout=3 * limit.seconds())
    measure("ready", unit="s", bound=Bound.at_most(limit.seconds()), seen=round(time.monotonic() - begun, 3))
    assert ranges(cluster) == map_before, f"the map was {map_before} and is {ranges(cluster)}"


@when(parsers.cfparse('a replica of another primary than that of "{key}" is killed'))
def kill_other_replica(cast: Cast, key_prefix: str, key: str) -> None:
    """Leave a primary without a replica."""
    home = owner_of(cast.cluster, key_prefix + key).address
    other = next(found for found in ranges(cast.cluster) if found.primary != home)
    cast.named = {"primary": node_at(cast.cluster, other.primary), "replica": node_at(cast.cluster, other.replicas[0])}
    cast.meet(cast.named["replica"], "is killed")


@then(parsers.cfparse("that primary has a linked replica again within {limit:Duration}", extra_types=TYPES))
def find_spare(cast: Cast, limit: Duration, measure: Callable[..., None]) -> None:
    """Measure the time until a spare replica has come."""
    with cast.named["primary"].client() as client:

        def linked() -> bool:
            """Tell whether the primary has a replica that is linked."""
            return bool(client.info("replication").get("slave0", {}).get("state") == "online")

        eventually(lambda: not linked(), within=5.0)
        seconds = seconds_until(linked, give_up=3 * limit.seconds(), since=cast.since)
    measure("a spare replica has come", unit="s", bound=Bound.at_most(limit.seconds()), seen=round(seconds, 3))


@given(parsers.cfparse('a replica of "{key}" that never got a copy of its data'))
def have_empty_replica(private: Private, cluster: Cluster, key_prefix: str, key: str) -> None:
    """Let a node follow a primary that does not let it have anything."""
    node = empty_node(private, cluster)
    with owner_of(cluster, key_prefix + key).client() as primary, node.client() as replica:
        primary.execute_command("ACL SETUSER", "default", "-psync", "-sync")
        host, port = node.address.split(":")
        primary.execute_command("CLUSTER MEET", host, port, bus_port(replica))
        identity = itself(primary).identity
        eventually(lambda: bool(replica.execute_command("CLUSTER REPLICATE", identity)), within=5.0, also=(RedisError,))
    welcome(cluster, node)
    with clients_of(cluster.nodes) as clients:
        wanted = {"cluster_known_nodes": str(len(clients)), "cluster_slots_assigned": "16384", "cluster_state": "ok"}

        def known(client: Redis) -> bool:
            """Tell whether a node knows all others."""
            return bool(wanted.items() <= client.execute_command("CLUSTER INFO").items())

        for client in clients:
            eventually(partial(known, client), within=10.0)
