"""The sentences about nodes that join a cluster and leave it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, then, when
from redis.cluster import RedisCluster

from fixtures.redis_cluster.nodes import clients_of, dismiss, empty_node, owner_of, primaries, welcome
from redis_practices.redis_cluster.failover import fail_over
from redis_practices.redis_cluster.formation import wait_until_ready
from redis_practices.redis_cluster.scaling import add_node, drain_node, rebalance
from redis_practices.redis_cluster.topology import itself, members
from steps.common.vocabulary import TYPES
from steps.redis_cluster.cluster_answers import send_ahead

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from fixtures.stacks.protocols import Cluster, Private
    from redis_practices.servers.server import Server


@given("an empty node", target_fixture="new_node")
def have_empty_node(private: Private, cluster: Cluster) -> Server:
    """Have a node that is in no cluster."""
    return empty_node(private, cluster)


@given(parsers.cfparse("{count:Count} empty nodes", extra_types=TYPES), target_fixture="new_nodes")
def have_empty_nodes(private: Private, cluster: Cluster, count: int) -> list[Server]:
    """Have nodes that are in no cluster."""
    return [empty_node(private, cluster) for _ in range(count)]


@when("the empty node joins and the slots are shared out anew")
def join(cluster: Cluster, new_node: Server, measure: Callable[..., None]) -> None:
    """Let the node join as a primary and give it its share."""
    with clients_of(cluster.nodes) as clients, new_node.client() as newcomer:
        add_node(newcomer, clients)
        moved = rebalance([*clients, newcomer])
    welcome(cluster, new_node)
    measure("slots moved to the new node", unit="", seen=moved)


@when(parsers.cfparse('the empty node joins as a replica of "{key}"'))
def join_as_replica(cluster: Cluster, key_prefix: str, key: str, new_node: Server) -> None:
    """Let the node join as a further replica."""
    with (
        clients_of(cluster.nodes) as clients,
        new_node.client() as newcomer,
        owner_of(cluster, key_prefix + key).client() as primary,
    ):
        add_node(newcomer, clients, replica_of=primary)
    welcome(cluster, new_node)


@when("the new node drains and leaves")
def leave(cluster: Cluster, new_node: Server) -> None:
    """Let the node give away its slots and leave."""
    dismiss(cluster, new_node)
    with clients_of(cluster.nodes) as clients, new_node.client() as leaver:
        drain_node(leaver, clients)


@then("no other node knows the new node, which is empty and alone")
def check_gone(cluster: Cluster, new_node: Server) -> None:
    """Look for the node in what each other node knows."""
    with clients_of(cluster.nodes) as clients, new_node.client() as leaver:
        wait_until_ready(clients, timeout=10.0)
        gone = itself(leaver).identity
        still = [node.address for node, client in zip(cluster.nodes, clients, strict=True) if gone in members(client)]
        assert not still, f"{new_node.address} is still known to {', '.join(still)}"
        assert (len(members(leaver)), leaver.dbsize(), itself(leaver).slots) == (1, 0, frozenset())


@given("a client of the cluster, and redis-py's own, that know its nodes", target_fixture="early_clients")
def have_early_clients(cluster: Cluster, request: pytest.FixtureRequest) -> dict[str, RedisCluster]:
    """Have clients that learn the map now."""
    host, port = cluster.nodes[0].address.split(":")
    found = {
        "src/redis_practices/clients.py": cluster.client(),
        "redis-py": RedisCluster(host, int(port), decode_responses=True),
    }
    for client in found.values():
        request.addfinalizer(client.close)
    return found


@when(parsers.cfparse('the empty node joins, and "{key}" has gone ahead to it'))
def join_and_begin(cluster: Cluster, key_prefix: str, key: str, new_node: Server) -> None:
    """Let the node join, and begin to move its first slot."""
    with clients_of(cluster.nodes) as clients, new_node.client() as newcomer:
        add_node(newcomer, clients)
    send_ahead(key_prefix + key, owner_of(cluster, key_prefix + key), new_node)


@then(parsers.cfparse('the client of {maker} that reads "{key}" gets "{answer}"'))
def check_early_client(
    early_clients: dict[str, RedisCluster], key_prefix: str, maker: str, key: str, answer: str
) -> None:
    """Read a key, and hold the value, or the name of the error, against the answer."""
    try:
        seen = str(early_clients[maker].get(key_prefix + key))
    except Exception as error:  # noqa: BLE001 - the kind of error, whatever it is, is what is compared
        seen = type(error).__name__
    assert seen == answer, f"it gets {seen!r}"


@when("each node is replaced by an empty one")
def replace_all(cluster: Cluster, new_nodes: list[Server]) -> None:
    """Let an empty node follow each primary, take over as planned, and send the former primary away for good."""
    for old, new in zip(primaries(cluster), new_nodes, strict=True):
        with clients_of(cluster.nodes) as clients, new.client() as newcomer, old.client() as leaver:
            add_node(newcomer, clients, replica_of=leaver)
            fail_over(newcomer)
            welcome(cluster, new)
            dismiss(cluster, old)  # type: ignore[arg-type]  # new nodes come from the stack that has servers alone
            with clients_of(cluster.nodes) as rest:
                drain_node(leaver, rest)
        old.kill()


@then("the cluster consists of the new nodes alone")
def check_replaced(cluster: Cluster, new_nodes: list[Server]) -> None:
    """Require that the new nodes own all slots, for all of them."""
    with clients_of(cluster.nodes) as clients:
        wait_until_ready(clients, timeout=10.0)
    assert {node.address for node in primaries(cluster)} == {node.address for node in new_nodes}


@when(parsers.cfparse('the user "{user}" is made at every node'))
def make_user(cluster: Cluster, user: str) -> None:
    """Make a user who may read everything, without a password."""
    with clients_of(cluster.nodes) as clients:
        for client in clients:
            client.execute_command("ACL SETUSER", user, "on", "nopass", "~*", "+@read")
