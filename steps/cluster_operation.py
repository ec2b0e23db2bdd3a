"""The sentences about what an operator asks of a cluster: differences between nodes, and hosts."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, then, when
from redis.exceptions import NoPermissionError

from audit import Refused
from fixtures.cluster_nodes import primaries, replicas_of
from fixtures.deployments import Unsupported
from fixtures.waiting import eventually
from node_differences import setting_differences, user_differences
from placement import beside_their_primary, hosts
from steps.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest
    from redis import Redis

    from fixtures.deployments import Cluster, Node
    from steps.vocabulary import Duration


@contextmanager
def by_address(cluster: Cluster) -> Iterator[dict[str, Redis]]:
    """Give a client of each node by the node's address; a question that is refused is the reason of a skip."""
    with ExitStack() as stack:
        try:
            yield {node.address: stack.enter_context(node.client()) for node in cluster.nodes}
        except (Refused, NoPermissionError) as refusal:
            raise Unsupported(f"needs to know: {refusal}") from None


@then("no setting of the nodes differs")
def compare_settings(cluster: Cluster) -> None:
    """Compare the settings of all nodes."""
    with by_address(cluster) as clients:
        assert not (lines := setting_differences(clients)), "; ".join(lines)


@then("no user of the nodes differs")
def compare_users(cluster: Cluster) -> None:
    """Compare the users of all nodes."""
    with by_address(cluster) as clients:
        assert not (lines := user_differences(clients)), "; ".join(lines)


@when(
    parsers.cfparse('"{setting}" is set to "{value}" at a replica of "{key}" alone'),
    target_fixture="changed_node",
)
def change_setting(  # noqa: PLR0913, PLR0917 - the words of the sentence
    cluster: Cluster, key_prefix: str, setting: str, value: str, key: str, request: pytest.FixtureRequest
) -> Node:
    """Reconfigure one node, until the scenario ends."""
    node = replicas_of(cluster, key_prefix + key)[0]
    client = node.client()
    before = client.config_get(setting)[setting]
    client.config_set(setting, value)
    request.addfinalizer(lambda: client.config_set(setting, before))
    return node


@when(parsers.cfparse('the user "{user}" is made at a replica of "{key}" alone'), target_fixture="changed_node")
def make_user(cluster: Cluster, key_prefix: str, user: str, key: str, request: pytest.FixtureRequest) -> Node:
    """Make a user who may do nothing at one node, until the scenario ends."""
    node = replicas_of(cluster, key_prefix + key)[0]
    client = node.client()
    client.execute_command("ACL SETUSER", user)
    request.addfinalizer(lambda: client.execute_command("ACL DELUSER", user))
    return node


@then(parsers.cfparse('"{what}" is named as different at that node, and nothing else'))
def name_difference(cluster: Cluster, changed_node: Node, what: str) -> None:
    """Require that comparing all nodes finds the one change."""
    with by_address(cluster) as clients:
        lines = setting_differences(clients) + user_differences(clients)
    assert len(lines) == 1, f"named are: {lines}"
    assert lines[0].startswith(f"{what} is "), lines[0]
    assert changed_node.address in lines[0], lines[0]


@then("no replica is on the host of its primary")
def check_hosts(cluster: Cluster) -> None:
    """Compare the hosts of primaries and replicas, where there is more than one host."""
    with cluster.nodes[0].client() as client:
        known = {host for host, _, _ in hosts(client).values()}
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
    if not client.config_get("cluster-announce-hostname"):
        raise Unsupported("needs Redis 7.0 or Valkey: names of hosts")
    client.config_set("cluster-announce-hostname", host)
    request.addfinalizer(lambda: client.config_set("cluster-announce-hostname", ""))


@then(parsers.cfparse("within {limit:Duration} no replica is on the host of its primary", extra_types=TYPES))
def await_hosts(cluster: Cluster, limit: Duration) -> None:
    """Wait until every node has heard of every host, and compare."""

    def compare() -> None:
        """Compare the hosts as each node knows them now."""
        with by_address(cluster) as clients:
            for client in clients.values():
                assert len({host for host, _, _ in hosts(client).values()}) > 1, "not every host is known yet"
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
