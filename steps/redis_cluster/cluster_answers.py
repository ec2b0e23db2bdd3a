"""The sentences about what one certain node answers, word for word."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, then, when
from redis.exceptions import ResponseError

from fixtures.redis_cluster.nodes import answer, answers, commands, holder, in_words, owner_of, replicas_of, strangers
from fixtures.run.keys import Unsupported
from redis_practices.redis_cluster.topology import slot_of
from steps.common.vocabulary import assert_table, rows
from steps.redis_cluster.cluster_routing import TTL

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest
    from redis import Redis

    from fixtures.stacks.protocols import Cluster, Node


def compare_answers(node: Node, key_prefix: str, datatable: Sequence[Sequence[str]]) -> None:
    """Hold what a node answers to the last command of each row, on a new connection, against the table."""
    seen = []
    for row in rows(datatable, ("COMMANDS", "ANSWER")):
        with node.client() as client:
            last = answers(client, list(commands(row["COMMANDS"], key_prefix)))[-1]
        seen.append({"COMMANDS": row["COMMANDS"], "ANSWER": in_words(last)})
    assert_table(datatable, seen)


@then(parsers.cfparse('the owner of "{key}" answers'))
def ask_owner(cluster: Cluster, key_prefix: str, key: str, datatable: Sequence[Sequence[str]]) -> None:
    """Ask the primary that the map names for a key."""
    compare_answers(owner_of(cluster, key_prefix + key), key_prefix, datatable)


@then(parsers.cfparse('a replica of "{key}" answers'))
def ask_replica(cluster: Cluster, key_prefix: str, key: str, datatable: Sequence[Sequence[str]]) -> None:
    """Ask the first replica that the map names for a key."""
    compare_answers(replicas_of(cluster, key_prefix + key)[0], key_prefix, datatable)


@then(parsers.cfparse('a primary that does not own "{key}" answers'))
def ask_stranger(cluster: Cluster, key_prefix: str, key: str, datatable: Sequence[Sequence[str]]) -> None:
    """Ask the first primary that the map does not name for a key."""
    compare_answers(strangers(cluster, key_prefix + key)[0], key_prefix, datatable)


@then("the new node answers")
def ask_new_node(new_node: Node, key_prefix: str, datatable: Sequence[Sequence[str]]) -> None:
    """Ask the node that a slot is on its way to."""
    compare_answers(new_node, key_prefix, datatable)


@when(
    parsers.cfparse('the slot of "{key}" is on its way to another node and "{ahead}" has gone ahead'),
    target_fixture="new_node",
)
def open_slot(cluster: Cluster, key_prefix: str, key: str, ahead: str, request: pytest.FixtureRequest) -> Node:
    """Begin to move a slot, move one key, and leave it at that until the scenario ends."""
    slot, moved = slot_of(key_prefix + key), key_prefix + ahead
    old, new = owner_of(cluster, moved), strangers(cluster, moved)[0]
    send_ahead(moved, old, new)
    request.addfinalizer(lambda: _close_slot(old, new, slot, moved))
    return new


def send_ahead(key: str, old: Node, new: Node) -> None:
    """Open the slot of a key for a move, and move that key alone."""
    with old.client() as source, new.client() as target:
        source_id, target_id = (str(node.execute_command("CLUSTER MYID")) for node in (source, target))
        target.execute_command("CLUSTER SETSLOT", slot_of(key), "IMPORTING", source_id)
        source.execute_command("CLUSTER SETSLOT", slot_of(key), "MIGRATING", target_id)
        source.execute_command("MIGRATE", *new.address.split(":"), key, 0, 5000)


def _close_slot(old: Node, new: Node, slot: int, key: str) -> None:
    """End the move of a slot and drop the one key that went: a lent cluster is left as it was."""
    with old.client() as source, new.client() as target:
        answers(target, [["ASKING"], ["DEL", key]])
        for client in (source, target):
            client.execute_command("CLUSTER SETSLOT", slot, "STABLE")


@given("the sets A and B in different slots of one node", target_fixture="pair")
def have_scattered_pair(cluster: Cluster, key_prefix: str) -> dict[str, str]:
    """Find keys of two slots in one range of slots, so that only the slots stand between them."""
    one = f"{key_prefix}a"
    home = holder(cluster, one)
    two = next(
        key
        for number in count()
        if home.first <= slot_of(key := f"{key_prefix}b{number}") <= home.last and slot_of(key) != slot_of(one)
    )
    return _filled(cluster, {"A": one, "B": two})


@given("the sets A and B with one hash tag", target_fixture="pair")
def have_tagged_pair(cluster: Cluster, key_prefix: str) -> dict[str, str]:
    """Take two keys that share a hash tag."""
    return _filled(cluster, {"A": f"{key_prefix}{{pair}}a", "B": f"{key_prefix}{{pair}}b"})


def _filled(cluster: Cluster, pair: dict[str, str]) -> dict[str, str]:
    """Make a set of each key, one of ann and one of bob, that expires by itself."""
    with cluster.client() as client:
        for key, member in zip(pair.values(), ("ann", "bob"), strict=True):
            client.sadd(key, member)
            client.expire(key, TTL)
    return pair


@then(parsers.cfparse('"{text}" is answered with "{expected}"'))
def ask_with_pair(cluster: Cluster, pair: dict[str, str], text: str, expected: str) -> None:
    """Send commands over one connection to the owner of A and B, and compare the last answer."""
    named = [[pair.get(word, word) for word in command] for command in commands(text, "")]
    with owner_of(cluster, pair["A"]).client() as client:
        seen = in_words(answers(client, named)[-1])
        for key in pair.values():
            client.expire(key, TTL)
    assert seen == expected, f"{text} is answered with {seen}"


@then("each node lets a client select exactly the databases that it is configured to have")
def select_databases(cluster: Cluster) -> None:
    """Try to select each database, and the one after the last."""
    for node in cluster.nodes:
        with node.client() as client:
            databases = int(_setting(client, "cluster-databases", default="1"))
            seen = [in_words(answer(client, "SELECT", number)) for number in range(databases + 1)]
        assert seen == ["OK"] * databases + ["ERR"], f"{node.address} has {databases} and answers {seen}"


def _setting(client: Redis, name: str, default: str) -> str:
    """Return a setting of a server, `default` if it does not know it; Unsupported if it does not tell."""
    try:
        return client.config_get(name).get(name) or default
    except ResponseError as error:
        raise Unsupported(f"needs to know the setting {name}: {error}") from None
