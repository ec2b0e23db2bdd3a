"""The sentences about slots that were left open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parse import with_pattern
from pytest_bdd import parsers, then, when

from fixtures.redis_cluster.nodes import clients_of, owner_of
from redis_practices.polling import eventually
from redis_practices.redis_cluster.slot_migration import close_open_slots, open_slots
from redis_practices.redis_cluster.topology import slot_of

if TYPE_CHECKING:
    from fixtures.stacks.protocols import Cluster, Node


@with_pattern("the owner|the new node|nobody")
def who(text: str) -> str:
    """Read who forgets."""
    return text


@when(parsers.cfparse('{who:Who} forgets that the slot of "{key}" is on its way', extra_types={"Who": who}))
def forget_move(cluster: Cluster, key_prefix: str, key: str, who: str, new_node: Node) -> None:
    """Let the move be half known: ``CLUSTER SETSLOT`` STABLE at one side."""
    for node in {"the owner": [owner_of(cluster, key_prefix + key)], "the new node": [new_node], "nobody": []}[who]:
        with node.client() as client:
            client.execute_command("CLUSTER SETSLOT", slot_of(key_prefix + key), "STABLE")


@then(parsers.cfparse('the slot of "{key}" is named as open'))
def name_open(cluster: Cluster, key_prefix: str, key: str) -> None:
    """Require that asking all nodes finds the slot, and no other."""
    with clients_of(cluster.nodes) as clients:
        found = open_slots(clients)
    assert found, "no open slot was found"
    assert {line.rpartition(" ")[2] for line in found} == {str(slot_of(key_prefix + key))}, f"found {found}"


@when("open slots are repaired")
def repair(cluster: Cluster) -> None:
    """Close what is open."""
    with clients_of(cluster.nodes) as clients:
        assert close_open_slots(clients), "nothing was repaired"


@then("no slot is open")
def check_closed(cluster: Cluster) -> None:
    """Require that no node has a slot on its way."""
    with clients_of(cluster.nodes) as clients:
        eventually(lambda: not open_slots(clients), within=5.0)
