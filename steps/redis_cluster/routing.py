"""The sentences about what a node answers, and where it redirects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count

import pytest
from pytest_bdd import given, parsers, then, when
from redis import Redis
from redis.exceptions import MovedError, ResponseError

from fixtures.redis_cluster.nodes import (
    answer,
    answers,
    commands,
    holder,
    in_words,
    is_copied,
    node_at,
    owner_of,
    pipelined,
    primaries,
    replicas_of,
    strangers,
)
from fixtures.reporting.measurements import Bound
from fixtures.run.keys import Unsupported
from fixtures.stacks.protocols import Cluster, Node, need_command
from redis_practices.redis_cluster.topology import slot_of
from steps.common.vocabulary import TYPES, assert_table, rows

TTL = 60
"""Seconds after which nothing of a scenario is left on a cluster that others use too."""


@given(parsers.cfparse('the cluster holds "{key}" as "{value}"'))
def hold_a_value(cluster: Cluster, key_prefix: str, key: str, value: str) -> None:
    """Write a value and have it on the replicas too."""
    with owner_of(cluster, key_prefix + key).client() as client:
        client.set(key_prefix + key, value, ex=TTL)
        copies = len(holder(cluster, key_prefix + key).replicas)
        assert is_copied(client, copies), f"not all of {copies} replicas have {key} after 5 s"


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
        learnt, owner = client.get_node_from_key(name), owner_of(cluster, name).address
        # redis-py writes an address in place of the name "localhost".
        assert learnt == client.get_node(node_name=owner), f"the client's map still names {learnt.name}, not {owner}"


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
    for hops in range(6):
        sent_on: dict[str, list[str]] = {}
        for address, names in waiting.items():
            for name, said in zip(names, pipelined(node_at(cluster, address), "EXISTS", names), strict=True):
                if isinstance(said, MovedError):
                    sent_on.setdefault(f"{said.host}:{said.port}", []).append(name)
                else:
                    assert isinstance(said, int), f"{address} answers {said!r}"
        if not sent_on:
            return hops
        waiting = sent_on
    raise AssertionError(f"requests go round in circles: {waiting}")


@then(parsers.cfparse('"{key}" reads "{value}" through a client of the cluster'))
def read_through_client(cluster: Cluster, key_prefix: str, key: str, value: str) -> None:
    """Read a key as applications do."""
    with cluster.client() as client:
        seen = client.get(key_prefix + key)
    assert seen == value, f"{key} reads {seen!r}"


def compare_answers(node: Node, key_prefix: str, datatable: Sequence[Sequence[str]]) -> None:
    """Hold what a node answers to the last command of each row, on a new connection, against the table."""
    seen = []
    for row in rows(datatable, ("COMMANDS", "ANSWER")):
        with node.client() as client:
            last = answers(client, list(commands(row["COMMANDS"], lambda word: key_prefix + word)))[-1]
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
    named = [[pair.get(word, word) for word in command] for command in commands(text, str)]
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


@when(
    parsers.cfparse(
        "one pipeline writes and reads {keys:Count} keys and increments a text in between", extra_types=TYPES
    ),
    target_fixture="answers",
)
def run_pipeline(cluster: Cluster, key_prefix: str, keys: int) -> list[object]:
    """Send writes and reads for all nodes at once, with a command in the middle that cannot succeed."""
    with cluster.client() as client, client.pipeline() as pipe:
        for number in range(keys):
            pipe.set(f"{key_prefix}{number}", f"text {number}", ex=TTL)
            pipe.get(f"{key_prefix}{number}")
            if number == keys // 2:
                pipe.incr(f"{key_prefix}{number}")
        answers: list[object] = pipe.execute(raise_on_error=False)
    return answers


CODE = """#!lua name=practices_{name}
redis.register_function{{function_name='{name}', callback=function() return 'hello' end, flags={{'no-writes'}}}}
"""


@when(parsers.cfparse('the function "{name}" is loaded at the owner of "{key}"'))
def load_at_owner(cluster: Cluster, key_prefix: str, name: str, key: str, request: pytest.FixtureRequest) -> None:
    """Load a function at one primary."""
    _load(cluster, [owner_of(cluster, key_prefix + key)], name, request)


@when(parsers.cfparse('the function "{name}" is loaded at every primary'))
def load_everywhere(cluster: Cluster, name: str, request: pytest.FixtureRequest) -> None:
    """Load a function at all primaries."""
    _load(cluster, primaries(cluster), name, request)


def _load(cluster: Cluster, nodes: list[Node], name: str, request: pytest.FixtureRequest) -> None:
    """Load a function that says hello, have it on the replicas too, and see to its removal (``FUNCTION LOAD``)."""
    need_command(cluster.nodes[0], "FUNCTION", "Redis 7.0 or Valkey: functions")
    for node in nodes:
        with node.client() as client:
            client.execute_command("FUNCTION LOAD", "REPLACE", CODE.format(name=name))
            is_copied(client, 1)
        request.addfinalizer(partial(_unload, node, name))


def _unload(node: Node, name: str) -> None:
    """Take the function away again, for a lent cluster is to be left as it was."""
    with node.client() as client:
        if client.execute_command("FUNCTION LIST", "LIBRARYNAME", f"practices_{name}"):
            client.execute_command("FUNCTION DELETE", f"practices_{name}")
