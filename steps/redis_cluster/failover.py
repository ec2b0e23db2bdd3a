"""The sentences about nodes that fail and networks that part."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from parse import with_pattern
from pytest_bdd import given, parsers, then, when
from redis import Redis
from redis.exceptions import RedisError

from fixtures.proxies.streams import BusProxy
from fixtures.redis_cluster.faults import FATES, Cast
from fixtures.redis_cluster.nodes import (
    answer,
    answers,
    clients_of,
    commands,
    empty_node,
    in_words,
    node_at,
    owner_of,
    ranges,
)
from fixtures.reporting.measurements import Bound
from fixtures.run.keys import Unsupported
from fixtures.stacks.protocols import Cluster, Private
from redis_practices.polling import eventually, seconds_until
from redis_practices.redis_cluster.failover import fail_over
from redis_practices.redis_cluster.formation import wait_until_ready
from redis_practices.redis_cluster.topology import ClusterError, SlotRange, address, bus_port, itself, owner, slot_of
from steps.common.vocabulary import TYPES as COMMON
from steps.common.vocabulary import Duration
from steps.redis_cluster.routing import compare_answers


@with_pattern("|".join(FATES))
def fate(text: str) -> str:
    """Read what becomes of a node."""
    return text


@with_pattern("primary|replica")
def role(text: str) -> str:
    """Read which of the nodes of a key is meant."""
    return text


TYPES: dict[str, Any] = {**COMMON, "Fate": fate, "Role": role}


@when(parsers.cfparse('the {role:Role} of "{key}" {fate:Fate}', extra_types=TYPES))
def meet_fate(cast: Cast, key_prefix: str, role: str, key: str, fate: str) -> None:
    """Let the primary or the first replica of a key meet a fate."""
    cast.meet(cast.name(role, key_prefix + key), fate)


@when(parsers.cfparse("that {role:Role} {fate:Fate}", extra_types=TYPES))
def meet_next_fate(cast: Cast, role: str, fate: str) -> None:
    """Let the node that was named before meet its next fate, whatever role it has now."""
    cast.meet(cast.named[role], fate)


@then(parsers.cfparse('a write to "{key}" is accepted again within {limit:Duration}', extra_types=TYPES))
def write_again(cast: Cast, key_prefix: str, key: str, limit: Duration, measure: Callable[..., None]) -> None:
    """Measure the time from the last fate until somebody accepts a write."""
    bound = Bound.at_most(limit.seconds(cast.cluster.node_timeout))
    seen = cast.seconds_until_written(key_prefix + key, give_up=3 * limit.seconds(cast.cluster.node_timeout))
    measure("writes accepted again", unit="s", bound=bound, seen=round(seen, 3))


@then(parsers.cfparse('no write to "{key}" is accepted for {limit:Duration}', extra_types=TYPES))
def never_write(cast: Cast, key_prefix: str, key: str, limit: Duration) -> None:
    """Try for a time, and require that nobody accepts a write."""
    with pytest.raises(AssertionError, match="nobody accepts the write"):
        cast.seconds_until_written(key_prefix + key, give_up=limit.seconds(cast.cluster.node_timeout))


@then(parsers.cfparse('that {role:Role} follows the owner of "{key}" within {limit:Duration}', extra_types=TYPES))
def check_follower(  # noqa: PLR0913, PLR0917 - pytest-bdd hands fixtures and placeholders over one by one
    cast: Cast, key_prefix: str, role: str, key: str, limit: Duration, measure: Callable[..., None]
) -> None:
    """Measure the time from the last fate until a node is a linked replica of the owner of a key."""
    node = cast.named[role]

    def follows() -> None:
        """Ask the node whom it follows."""
        with node.client(socket_timeout=1.0) as client:
            said = client.info("replication")
        upstream = f"{said.get('master_host')}:{said.get('master_port')} {said.get('master_link_status')}"
        expected = f"{owner_of(cast.cluster, key_prefix + key).address} up"
        assert upstream == expected, f"{node.address} is {said['role']} of {upstream}, not of {expected}"

    most = limit.seconds(cast.cluster.node_timeout)
    seen = seconds_until(follows, give_up=3 * most, since=cast.since, also=(RedisError,))
    measure(f"that {role} follows the owner", unit="s", bound=Bound.at_most(most), seen=round(seen, 3))


@then(parsers.cfparse("that {role:Role} answers", extra_types=TYPES))
def ask_node(cast: Cast, key_prefix: str, role: str, datatable: Sequence[Sequence[str]]) -> None:
    """Ask the node that was named before."""
    compare_answers(cast.named[role], key_prefix, datatable)


@when(parsers.cfparse('the replica of "{key}" takes over as planned'))
def take_over(cast: Cast, key_prefix: str, key: str) -> None:
    """Fail over on purpose."""
    cast.name("primary", key_prefix + key)
    with cast.name("replica", key_prefix + key).client() as client:
        fail_over(client)


@then(parsers.cfparse('a planned failover to the primary of "{key}" is refused with "{reason}"'))
def refuse_primary(cast: Cast, key_prefix: str, key: str, reason: str) -> None:
    """Try to make a primary what it is."""
    cast.name("primary", key_prefix + key)
    refuse_failover(cast, "primary", reason)


@then(parsers.cfparse('a planned failover to that {role:Role} is refused with "{reason}"', extra_types=TYPES))
def refuse_failover(cast: Cast, role: str, reason: str) -> None:
    """Try a failover that cannot be."""
    with cast.named[role].client() as client, pytest.raises(ClusterError, match=reason):
        fail_over(client, timeout=1.0)


@with_pattern("accept|refuse")
def verb(text: str) -> str:
    """Read what primaries do with writes."""
    return {"accept": "OK", "refuse": "CLUSTERDOWN"}[text]


VERB_TYPES = {**COMMON, "Verb": verb}


@then(parsers.cfparse("the other primaries {verb:Verb} writes within {limit:Duration}", extra_types=VERB_TYPES))
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


@then(parsers.cfparse("within {limit:Duration} the cluster is ready, with the map that it had", extra_types=VERB_TYPES))
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


@then(parsers.cfparse("that primary has a linked replica again within {limit:Duration}", extra_types=VERB_TYPES))
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
    cluster.add(node)
    with clients_of(cluster.nodes) as clients:
        wanted = {"cluster_known_nodes": str(len(clients)), "cluster_slots_assigned": "16384", "cluster_state": "ok"}

        def known(client: Redis) -> bool:
            """Tell whether a node knows all others."""
            return bool(wanted.items() <= client.execute_command("CLUSTER INFO").items())

        for client in clients:
            eventually(partial(known, client), within=10.0)


@given("a network between its nodes that can be parted", target_fixture="bus")
def have_network(cluster: Cluster, request: pytest.FixtureRequest) -> BusProxy:
    """Lead what nodes say to each other through a proxy."""
    if not hasattr(cluster.nodes[0], "pid"):
        raise Unsupported("needs nodes that reach a proxy of this process: the embedded stack's")
    with clients_of(cluster.nodes) as clients:
        bus = BusProxy(clients)
    request.addfinalizer(bus.close)
    return bus


@when(parsers.cfparse('the primary of "{key}" is parted from all other nodes'))
def part_primary(cast: Cast, bus: BusProxy, key_prefix: str, key: str) -> None:
    """Cut every connection of the bus between the primary and the rest."""
    cast.grow_up()
    cast.parted.append(cast.name("primary", key_prefix + key))
    with cast.named["primary"].client() as client:
        bus.part([client])
    cast.since = time.monotonic()


@when("the network is whole again")
def heal_network(cast: Cast, bus: BusProxy) -> None:
    """Let all nodes talk again."""
    bus.heal()
    cast.parted.clear()
    cast.since = time.monotonic()


@then(parsers.cfparse('that {role:Role} answers "{command}" with {code:w} within {limit:Duration}', extra_types=TYPES))
def await_answer(  # noqa: PLR0913, PLR0917 - pytest-bdd hands fixtures and placeholders over one by one
    cast: Cast, key_prefix: str, role: str, command: str, code: str, limit: Duration, measure: Callable[..., None]
) -> None:
    """Measure the time from the last event until a node gives an answer."""
    most = limit.seconds(cast.cluster.node_timeout)
    with cast.named[role].client() as client:

        def given() -> None:
            """Ask."""
            seen = in_words(answers(client, list(commands(command, lambda word: key_prefix + word)))[-1])
            assert seen == code, f"{cast.named[role].address} answers {seen}"

        seconds = seconds_until(given, give_up=3 * most, since=cast.since)
    measure(f"{command} is answered with {code}", unit="s", bound=Bound.at_most(most), seen=round(seconds, 3))
