"""The sentences about the hosts of primaries and their replicas."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, then, when
from redis.exceptions import RedisError

from fixtures.redis_cluster.nodes import primaries, replicas_of
from fixtures.run.keys import Unsupported
from redis_practices.polling import eventually
from redis_practices.redis_cluster.topology import beside_their_primary, members
from steps.common.vocabulary import TYPES
from steps.redis_cluster.cluster_operation import by_address

if TYPE_CHECKING:
    import pytest
    from redis import Redis

    from fixtures.stacks.protocols import Cluster, Node
    from steps.common.vocabulary import Duration


@then("no replica is on the host of its primary")
def check_hosts(cluster: Cluster) -> None:
    """Compare the hosts of primaries and replicas, where there is more than one host."""
    with cluster.nodes[0].client() as client:
        known = {member.host for member in members(client).values()}
        together = beside_their_primary(client)
    if len(known) == 1:
        raise Unsupported(f"all nodes are on one host, {known.pop()}: a replica has no other to be on")
    assert not together, "; ".join(
        f"{replica} is on {host}, with its primary {first}" for first, replica, host in together
    )


@given(parsers.cfparse('its primaries announce the host "{first}" and its replicas the host "{second}"'))
def announce_hosts(cluster: Cluster, first: str, second: str, request: pytest.FixtureRequest) -> None:
    """Let all nodes name a host: on one machine, names stand for machines."""
    own = primaries(cluster)
    for node in cluster.nodes:
        _announce(node, first if node in own else second, request)


@when(parsers.cfparse('a replica of "{key}" announces the host "{host}"'), target_fixture="changed_node")
def announce_host(cluster: Cluster, key_prefix: str, key: str, host: str, request: pytest.FixtureRequest) -> Node:
    """Let one node name another host."""
    node = replicas_of(cluster, key_prefix + key)[0]
    _announce(node, host, request)
    return node


def _announce(node: Node, host: str, request: pytest.FixtureRequest) -> None:
    """Let a node name a host, until the scenario ends."""
    client = node.client()
    before = client.config_get("cluster-announce-hostname").get("cluster-announce-hostname")
    if before is None:
        raise Unsupported("needs Redis 7.0 or Valkey: names of hosts")
    client.config_set("cluster-announce-hostname", host)
    request.addfinalizer(lambda: _announce_again(client, before))


def _announce_again(client: Redis, host: str) -> None:
    """Let a node name the host that it named before, if the scenario did not end it."""
    with suppress(RedisError):
        client.config_set("cluster-announce-hostname", host)


@then(parsers.cfparse("within {limit:Duration} no replica is on the host of its primary", extra_types=TYPES))
def await_hosts(cluster: Cluster, limit: Duration) -> None:
    """Wait until every node has heard of every host, and compare."""

    def compare() -> None:
        """Compare the hosts as each node knows them now."""
        with by_address(cluster) as clients:
            for client in clients.values():
                assert len({member.host for member in members(client).values()}) > 1, "not every host is known yet"
                assert not (together := beside_their_primary(client)), together

    eventually(compare, within=limit.seconds())


@then(
    parsers.cfparse(
        "within {limit:Duration} it is named as being on the host of its primary, and no other", extra_types=TYPES
    )
)
def name_host(cluster: Cluster, changed_node: Node, limit: Duration) -> None:
    """Wait until every node names the one replica."""

    def compare() -> None:
        """Ask each node now."""
        with by_address(cluster) as clients:
            for address, client in clients.items():
                named = [replica for _, replica, _ in beside_their_primary(client)]
                assert named == [changed_node.address], f"{address} names {named}"

    eventually(compare, within=limit.seconds())
