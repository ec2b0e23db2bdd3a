"""The sentences about what an operator asks of a cluster: how its nodes differ."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from pytest_bdd import parsers, then, when

from fixtures.redis_cluster.nodes import replicas_of
from fixtures.run.keys import Unsupported
from redis_practices.redis_cluster.topology import setting_differences, user_differences
from redis_practices.server_info import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest
    from redis import Redis

    from fixtures.stacks.protocols import Cluster, Node


@contextmanager
def by_address(cluster: Cluster) -> Iterator[dict[str, Redis]]:
    """Give a client of each node by the node's address; a question that is refused is the reason of a skip."""
    with ExitStack() as stack:
        try:
            yield {node.address: stack.enter_context(node.client()) for node in cluster.nodes}
        except Refused as refusal:
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
    before = client.config_get(setting)[setting] or ""
    client.config_set(setting, value)
    request.addfinalizer(lambda: client.config_set(setting, before))
    return node


@when(parsers.cfparse('the user "{user}" is made at a replica of "{key}" alone'), target_fixture="changed_node")
def make_user(cluster: Cluster, key_prefix: str, user: str, key: str, request: pytest.FixtureRequest) -> Node:
    """Make a user who may do nothing at one node, until the scenario ends."""
    node = replicas_of(cluster, key_prefix + key)[0]
    client = node.client()
    if user in client.execute_command("ACL USERS"):
        raise Unsupported(f"a user {user} is there already, and is not ours to change")
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
