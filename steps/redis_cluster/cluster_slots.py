"""The sentences about the slot of a key, as the client and as the server compute it."""

from __future__ import annotations

import re
import time
from binascii import crc_hqx
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from hypothesis import given as generated
from hypothesis import settings
from hypothesis import strategies as st
from pytest_bdd import parsers, then, when

from fixtures.redis_cluster.nodes import pipelined
from fixtures.reporting.measurements import Bound
from redis_practices.redis_cluster.topology import SLOTS, slot_of
from steps.common.vocabulary import TYPES, rows
from steps.redis_cluster.cluster_distribution import seeded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pytest

    from fixtures.stacks.protocols import Cluster

searching = settings(max_examples=100, deadline=None, database=None)
"""How Hypothesis searches: batches of keys share a round trip, so that it takes no longer than the search itself."""


def disagreements(cluster: Cluster, keys: Iterable[bytes]) -> list[str]:
    """Return the keys on whose slot client and server disagree, with both slots."""
    keys = list(keys)
    seen = pipelined(cluster.nodes[0], "CLUSTER KEYSLOT", keys)
    both = zip(keys, map(slot_of, keys), seen, strict=True)
    return [f"{key!r}: client {ours}, server {theirs}" for key, ours, theirs in both if ours != theirs]


@then("the client's slot of any binary key is the server's")
def compare_any(cluster: Cluster) -> None:
    """Let Hypothesis look for a key on whose slot client and server disagree."""
    # Braces by chance are too rare to show who forgets hash tags.
    braces = st.lists(st.sampled_from([b"{", b"}", b"a", b"\xff"]), max_size=12).map(b"".join)

    @searching
    @generated(st.lists(st.binary() | braces, min_size=1, max_size=50))
    def agree(keys: list[bytes]) -> None:
        """Compare the slots of some keys."""
        assert not disagreements(cluster, keys)

    agree()


@then("a key with any hash tag has the slot of the tag alone, for client and server")
def compare_tags(cluster: Cluster) -> None:
    """Let Hypothesis look for a tag, and something around it, that make another slot than the tag alone."""
    before = st.binary(max_size=12).map(lambda text: text.replace(b"{", b""))
    tag = st.binary(min_size=1, max_size=12).filter(lambda text: b"}" not in text)

    @searching
    @generated(st.lists(st.tuples(before, tag, st.binary(max_size=12)), min_size=1, max_size=20))
    def agree(parts: list[tuple[bytes, bytes, bytes]]) -> None:
        """Compare keys with their tags alone."""
        keys = [first + b"{" + middle + b"}" + last for first, middle, last in parts]
        assert [slot_of(key) for key in keys] == [crc_hqx(middle, 0) % SLOTS for _, middle, _ in parts]
        assert not disagreements(cluster, keys)

    agree()


@dataclass(frozen=True)
class Compared:
    """What client and server said of some keys."""

    different: list[str]
    slots: int
    seconds: float


def _compared(cluster: Cluster, keys: list[bytes]) -> Compared:
    """Compare, and take the time."""
    begun = time.perf_counter()
    different = disagreements(cluster, keys)
    return Compared(different, len({slot_of(key) for key in keys}), time.perf_counter() - begun)


@when(
    parsers.cfparse("client and server compute the slots of {number:Count} random binary keys", extra_types=TYPES),
    target_fixture="compared",
)
def compare_random(cluster: Cluster, number: int, request: pytest.FixtureRequest) -> Compared:
    """Compare the slots of random keys of 0 to 40 bytes."""
    numbers = seeded(request)
    return _compared(cluster, [numbers.randbytes(numbers.randrange(41)) for _ in range(number)])


@when("client and server compute the slots of one key for each slot", target_fixture="compared")
def compare_each_slot(cluster: Cluster) -> Compared:
    """Find a key for each slot by counting, and compare."""
    found: dict[int, bytes] = {}
    for number in count():
        found.setdefault(slot_of(key := b"%d" % number), key)
        if len(found) == SLOTS:
            return _compared(cluster, list(found.values()))
    raise AssertionError("unreachable")


@then("they agree on all of them")
def check_agreement(compared: Compared) -> None:
    """Require no disagreement."""
    assert not compared.different, f"they disagree on {len(compared.different)} keys: {compared.different[:3]}"


@then(parsers.cfparse("it took {bound:Bound}", extra_types=TYPES))
def check_time(compared: Compared, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the time that the comparison took against its bound."""
    measure("computing the slots on both sides", unit="s", bound=bound, seen=round(compared.seconds, 3))


@then(parsers.cfparse("{bound:Bound} different slots were named", extra_types=TYPES))
def check_slots(compared: Compared, bound: Bound, measure: Callable[..., None]) -> None:
    """Count the slots."""
    measure("different slots", unit="", bound=bound, seen=compared.slots)


@then("client and server agree that of each key this part decides")
def compare_parts(cluster: Cluster, datatable: Sequence[Sequence[str]]) -> None:
    """Compare each key's slot, for both, with that of the part, which is computed without any tag."""
    for row in rows(datatable, ("KEY", "PART")):
        key, part = _bytes(row["KEY"]), _bytes(row["PART"])
        [server] = pipelined(cluster.nodes[0], "CLUSTER KEYSLOT", [key])
        expected = crc_hqx(part, 0) % SLOTS
        assert (slot_of(key), server) == (expected, expected), f"{key!r}: client {slot_of(key)}, server {server}"


def _bytes(text: str) -> bytes:
    """Return a cell's bytes; a backslash, an x and two digits stand for a byte of any value."""
    return re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), text.encode())
