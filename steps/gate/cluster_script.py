"""The sentences about the output of src/cluster_example.py, compared with what the cluster itself says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from pytest_bdd import parsers, then

from redis_practices.clients import cluster_client, node_client
from steps.common.vocabulary import TYPES
from steps.gate.commands import Names, expanded

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.gate.commands import Ended
    from fixtures.gate.endpoints import Addresses
    from fixtures.reporting.measurements import Bound

SLOTS = 16384


class Row(NamedTuple):
    """A row of the table that the script shows."""

    node: str
    role: str
    slots: int
    keys: int
    share: float


def shown(outcome: Ended) -> list[Row]:
    """Return the rows of the table, each of which must end with its bar."""
    found = re.findall(r"^(\S+:\d+) +(primary|replica) +(\d+) +(\d+) +(\d+\.\d) % +#+$", outcome.stdout, re.MULTILINE)
    return [Row(node, role, int(slots), int(keys), float(share)) for node, role, slots, keys, share in found]


@then(
    parsers.parse(
        "it shows a cluster of {primaries:d} primaries and {replicas:d} replicas with all slots and {keys:d} keys"
    )
)
def check_table(outcome: Ended, primaries: int, replicas: int, keys: int) -> None:
    """Count the nodes of each role, and add up what the primaries hold."""
    rows = [row for row in shown(outcome) if row.role == "primary"]
    seen = (len(rows), len(shown(outcome)) - len(rows), sum(row.slots for row in rows), sum(row.keys for row in rows))
    assert seen == (primaries, replicas, SLOTS, keys), str(outcome)
    assert f"Wrote {keys} keys and read them back." in outcome.lines, str(outcome)


@then(parsers.parse("each primary's share is {bound:Bound}", extra_types=TYPES))
def check_shares(outcome: Ended, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the share of each primary against the bound, and against its keys."""
    rows = [row for row in shown(outcome) if row.role == "primary"]
    total = sum(row.keys for row in rows)
    for number, row in enumerate(rows, 1):
        measure(f"share of primary {number}", unit="%", seen=row.share, bound=bound)
        assert abs(row.share - 100 * row.keys / total) <= 0.05, str(outcome)  # noqa: PLR2004 - it shows one decimal


@then("the widest deviation it names is the widest of its table")
def check_deviation(outcome: Ended) -> None:
    """Compare the line about the deviation with the table."""
    rows = [row for row in shown(outcome) if row.role == "primary"]
    even = sum(row.keys for row in rows) / len(rows)
    points = {row.node: 100 * (row.keys - even) / (even * len(rows)) for row in rows}
    line = r"^widest deviation from an even spread: (\S+) holds (\d+\.\d) points (more|less) than 33\.3 %$"
    found = re.search(line, outcome.stdout, re.MULTILINE)
    assert found, str(outcome)
    node, size, direction = found.groups()
    signed = float(size) if direction == "more" else -float(size)
    assert abs(points[node] - signed) <= 0.05, f"{points}\n{outcome}"  # noqa: PLR2004 - it shows one decimal
    assert abs(points[node]) == max(map(abs, points.values())), f"{points}\n{outcome}"


@then(parsers.parse('the journey of its key is as the cluster at "{address}" says'))
def check_journey(addresses: Addresses, names: Names, outcome: Ended, address: str) -> None:
    """Ask the cluster for the slot of the key and for the owner of that slot, and compare."""
    line = r"^(\S+) -> slot (\d+) -> (\S+)\na wrong node, (\S+), answers: MOVED (\d+) (\S+)$"
    found = re.search(line, outcome.stdout, re.MULTILINE)
    assert found, str(outcome)
    key, slot, owner, wrong, moved_slot, moved_to = found.groups()
    with cluster_client(f"redis://{expanded(address, addresses, names)}") as cluster:
        node = cluster.get_node_from_key(key)
        says = (str(cluster.cluster_keyslot(key)), node.name)
    assert (slot, owner) == (moved_slot, moved_to) == says, f"{says}\n{outcome}"
    assert wrong != owner, str(outcome)


@then(parsers.parse('no key is left in the cluster at "{address}"'))
def check_no_key(addresses: Addresses, names: Names, address: str) -> None:
    """Ask every node how many keys it has."""
    with cluster_client(f"redis://{expanded(address, addresses, names)}") as cluster:
        for node in cluster.get_primaries():
            with node_client(node.host, node.port) as client:
                assert client.dbsize() == 0, f"{node.name} holds {client.dbsize()} keys"
