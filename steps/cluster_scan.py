"""The sentences about walking over all keys of a cluster."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pytest_bdd import parsers, then, when

from fixtures.cluster_nodes import primaries
from fixtures.deployments import Unsupported
from fixtures.measurements import Bound
from steps.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.deployments import Cluster, Node

MOST = 1_000_000
"""Keys of a node that a scan may walk over; more would take minutes on somebody's own cluster."""


@when("all primaries are scanned for them", target_fixture="met")
def scan(cluster: Cluster, key_prefix: str) -> Counter[str]:
    """Walk over every primary, and count at how many of them each key was met."""
    return Counter(key for node in primaries(cluster) for key in scanned(node, key_prefix))


def scanned(node: Node, key_prefix: str) -> set[str]:
    """Return the keys of this scenario that a scan of one node meets (``SCAN``)."""
    with node.client() as client:
        if (keys := client.dbsize()) > MOST:
            raise Unsupported(f"{node.address} holds {keys} keys: walking over all of them takes too long")
        return set(client.scan_iter(match=f"{key_prefix}*", count=1000))


@then(parsers.cfparse("{bound:Bound} keys were met", extra_types=TYPES))
def check_met(met: Counter[str], written: dict[str, str], bound: Bound, measure: Callable[..., None]) -> None:
    """Count the keys written that the scan met."""
    measure("keys met by the scan", unit="keys", bound=bound, seen=len(met.keys() & written.keys()))


@then(parsers.cfparse("{bound:Bound} keys were met at more than one node", extra_types=TYPES))
def check_met_once(met: Counter[str], bound: Bound, measure: Callable[..., None]) -> None:
    """Count the keys that two nodes showed."""
    measure("keys at two nodes", unit="keys", bound=bound, seen=sum(times > 1 for times in met.values()))
