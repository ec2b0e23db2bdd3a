"""The sentences about requests that come to the right node, and to the wrong one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, then
from redis.exceptions import MovedError

from fixtures.redis_cluster.nodes import answer, holder, node_at, owner_of, pipelined, primaries, strangers
from fixtures.reporting.measurements import Bound
from redis_practices.redis_cluster.topology import slot_of
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.stacks.protocols import Cluster, Node

TTL = 60
"""Seconds after which nothing of a scenario is left on a cluster that others use too."""


@given(parsers.cfparse('the cluster holds "{key}" as "{value}"'))
def hold_a_value(cluster: Cluster, key_prefix: str, key: str, value: str) -> None:
    """Write a value and have it on the replicas too."""
    with owner_of(cluster, key_prefix + key).client() as client:
        client.set(key_prefix + key, value, ex=TTL)
        copies = len(holder(cluster, key_prefix + key).replicas)
        assert client.wait(copies, 5000) == copies, f"not all of {copies} replicas have {key} after 5 s"


@then(parsers.cfparse('every primary that does not own "{key}" answers MOVED with its slot and its owner'))
def check_moved(cluster: Cluster, key_prefix: str, key: str) -> None:
    """Ask the wrong primaries for a key."""
    expected = f"{slot_of(key_prefix + key)} {owner_of(cluster, key_prefix + key).address}"
    for node in strangers(cluster, key_prefix + key):
        with node.client() as client:
            said = answer(client, "GET", key_prefix + key)
        assert isinstance(said, MovedError), f"{node.address} does not own {key} and answers {said!r}"
        assert str(said) == expected, f"{node.address} answers MOVED {said}, expected MOVED {expected}"


@then(parsers.cfparse('a client whose map is wrong about "{key}" reads "{value}"'))
def follow_redirection(cluster: Cluster, key_prefix: str, key: str, value: str) -> None:
    """Read through a client that believes another node to own the key, and see it learn."""
    name = key_prefix + key
    with cluster.client() as client:
        wrong = client.get_node(node_name=strangers(cluster, name)[0].address)
        # As it is after a slot has moved; redis-py has no public way to make its map old.
        client.nodes_manager.slots_cache[slot_of(name)] = [wrong]
        assert client.get_node_from_key(name) == wrong, "redis-py's map is not where it was: the check proves nothing"
        assert client.get(name) == value, f"{key} does not read {value!r}"
        learnt = client.get_node_from_key(name)
        assert learnt.name == owner_of(cluster, name).address, f"the client's map still names {learnt.name}"


@then(
    parsers.cfparse(
        "from any primary to any of {keys:Count} keys there is {bound:Bound} redirection", extra_types=TYPES
    )
)
def count_redirections(
    cluster: Cluster, key_prefix: str, keys: int, bound: Bound, measure: Callable[..., None]
) -> None:
    """Follow the redirections from each primary to each key, and measure the longest way."""
    names = [f"{key_prefix}{number}" for number in range(keys)]
    longest = max(_redirections(cluster, node, names) for node in primaries(cluster))
    measure("redirections to a key's owner, at most", unit="", bound=bound, seen=longest)


def _redirections(cluster: Cluster, node: Node, keys: list[str]) -> int:
    """Return how often requests for `keys` that start at `node` are sent elsewhere, at most."""
    waiting = {node.address: keys}
    for count in range(6):
        sent_on: dict[str, list[str]] = {}
        for address, names in waiting.items():
            for name, said in zip(names, pipelined(node_at(cluster, address), "EXISTS", names), strict=True):
                if isinstance(said, MovedError):
                    sent_on.setdefault(f"{said.host}:{said.port}", []).append(name)
                else:
                    assert isinstance(said, int), f"{address} answers {said!r}"
        if not sent_on:
            return count
        waiting = sent_on
    raise AssertionError(f"requests go round in circles: {waiting}")


@then(parsers.cfparse('"{key}" reads "{value}" through a client of the cluster'))
def read_through_client(cluster: Cluster, key_prefix: str, key: str, value: str) -> None:
    """Read a key as applications do."""
    with cluster.client() as client:
        seen = client.get(key_prefix + key)
    assert seen == value, f"{key} reads {seen!r}"
