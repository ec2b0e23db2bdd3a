"""The sentences about functions of the server."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pytest_bdd import parsers, when

from fixtures.redis_cluster.nodes import owner_of, primaries
from fixtures.stacks.protocols import need_command

if TYPE_CHECKING:
    import pytest

    from fixtures.stacks.protocols import Cluster, Node

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
            client.wait(1, 5000)
        request.addfinalizer(partial(_unload, node, name))


def _unload(node: Node, name: str) -> None:
    """Take the function away again, for a lent cluster is to be left as it was."""
    with node.client() as client:
        if client.execute_command("FUNCTION LIST", "LIBRARYNAME", f"practices_{name}"):
            client.execute_command("FUNCTION DELETE", f"practices_{name}")
