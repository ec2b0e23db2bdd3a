"""The sentences about slots and keys: which key belongs where, and how keys spread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given as generated
from hypothesis import settings
from hypothesis import strategies as st
from pytest_bdd import given, parsers, then

from cluster_keys import read, write
from fixtures.measurements import Bound
from key_slots import slot_of
from key_spread import spread
from steps.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from fixtures.deployments import Cluster

TTL = 60
"""Seconds after which nothing of a scenario is left on a cluster that others use too."""


def server_slots(node: Redis, keys: list[bytes]) -> list[int]:
    """Return the slots that a server computes, all in one round trip (``CLUSTER KEYSLOT``)."""
    with node.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.execute_command("CLUSTER KEYSLOT", key)
        return pipe.execute()


@then("the client's slot of any binary key is the server's")
def compare_any_slots(cluster: Cluster) -> None:
    """Let Hypothesis look for a key on whose slot client and server disagree; batches share a round trip."""
    with cluster.nodes[0].client() as node:

        @settings(max_examples=100, deadline=None, database=None)
        @generated(st.lists(st.binary(), min_size=1, max_size=50))
        def agree(keys: list[bytes]) -> None:
            """Compare the slots of some keys."""
            assert [slot_of(key) for key in keys] == server_slots(node, keys)

        agree()


@given(parsers.cfparse("{number:Count} keys are written to the cluster", extra_types=TYPES), target_fixture="written")
def write_keys(cluster: Cluster, key_prefix: str, number: int) -> dict[str, str]:
    """Write keys through a client of the whole cluster."""
    values = {f"{key_prefix}{index}": str(index) for index in range(number)}
    with cluster.client() as client:
        write(client, values, TTL)
    return values


@then(parsers.cfparse("each primary holds {bound:Bound} of them", extra_types=TYPES))
def check_each_primary(cluster: Cluster, written: dict[str, str], bound: Bound, measure: Callable[..., None]) -> None:
    """Count on the servers how many of the keys each primary holds."""
    with cluster.client() as client:
        for node in spread(client, list(written)):
            if node.role == "primary":
                measure(f"keys on {node.address}", unit="keys", bound=bound, seen=node.keys)


@then("all of them are readable")
def read_keys(cluster: Cluster, written: dict[str, str]) -> None:
    """Read every key through a client of the whole cluster."""
    with cluster.client() as client:
        seen = dict(zip(written, read(client, list(written)), strict=True))
    assert seen == written
