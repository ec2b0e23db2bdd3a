"""The sentences about where keys and load lie."""

from __future__ import annotations

import random
import re
from binascii import crc_hqx
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import given as generated
from hypothesis import settings
from hypothesis import strategies as st
from pytest_bdd import given, parsers, then, when
from redis.exceptions import ResponseError

from fixtures.redis_cluster.nodes import clients_of, is_copied, node_at, owner_of, pipelined, primaries, ranges
from fixtures.reporting.measurements import Bound
from fixtures.run.keys import Unsupported
from fixtures.run.own_time import Stopwatch
from fixtures.stacks.protocols import Cluster, Node
from redis_practices.redis_cluster.key_distribution import (
    biggest_keys,
    every_key,
    hottest_slots,
    p_value,
    read,
    spread,
    write,
)
from redis_practices.redis_cluster.slot_migration import move_slots
from redis_practices.redis_cluster.topology import SLOTS, SlotRange, owner, slot_of
from steps.common.vocabulary import TYPES, rows
from steps.redis_cluster.routing import TTL


def seeded(request: pytest.FixtureRequest) -> random.Random:
    """Return random numbers that come again with the seed that the header of the run names."""
    return random.Random(f"{request.config.option.hypothesis_seed} {request.node.nodeid}")


@given(parsers.cfparse("{number:Count} keys are written to the cluster", extra_types=TYPES), target_fixture="written")
def write_keys(cluster: Cluster, key_prefix: str, number: int) -> dict[str, str]:
    """Write keys through a client of the whole cluster, and have them on the replicas too."""
    values = {f"{key_prefix}{index}": str(index) for index in range(number)}
    with cluster.client() as client:
        write(client, values, TTL)
    for held, (key, *_) in by_holder(cluster, values).items():
        with node_at(cluster, held.primary).client() as client:
            # A write of this very connection: WAIT counts from the last write of its client.
            client.expire(key, TTL)
            copies = len(held.replicas)
            assert is_copied(client, copies), f"not all replicas of {held.primary} follow it"
    return values


@given(
    parsers.cfparse("{number:Count} random keys are written to the cluster", extra_types=TYPES),
    target_fixture="written",
)
def write_random_keys(cluster: Cluster, key_prefix: str, number: int, request: pytest.FixtureRequest) -> dict[str, str]:
    """Write keys that have no order at all, as a counter has: CRC16 spreads a counter better than chance does."""
    numbers = seeded(request)
    values = {f"{key_prefix}{numbers.randbytes(12).hex()}": "" for _ in range(number)}
    for held, keys in by_holder(cluster, values).items():
        # Under --max-ops 100 they take 100 s to write, and as long to count.
        refused = set(pipelined(node_at(cluster, held.primary), "SETEX", keys, after=[10 * TTL, ""])) - {True}
        assert not refused, f"{held.primary} answers {refused.pop()!r}"
    return values


def by_holder(cluster: Cluster, keys: Iterable[str]) -> dict[SlotRange, list[str]]:
    """Return the keys in each range of slots."""
    slots = ranges(cluster)
    found: dict[SlotRange, list[str]] = {}
    for key in keys:
        held = owner(slot_of(key), slots)
        assert held, f"no node owns the slot of {key}"
        found.setdefault(held, []).append(key)
    return found


@then("each of them is on the primary of its slot and on each of its replicas")
def find_keys(cluster: Cluster, written: dict[str, str]) -> None:
    """Ask each node for the keys of its slots."""
    for held, keys in by_holder(cluster, written).items():
        for address in (held.primary, *held.replicas):
            seen = pipelined(node_at(cluster, address), "EXISTS", keys, first=["READONLY"])
            missing = [key for key, said in zip(keys, seen, strict=True) if said != 1]
            assert not missing, f"{address} lacks {len(missing)} of {len(keys)} keys, {missing[0]} is the first"


@then("no other node holds anything in their slots")
def find_strays(cluster: Cluster, written: dict[str, str]) -> None:
    """Count the keys that nodes hold in slots that are not theirs (``CLUSTER COUNTKEYSINSLOT``)."""
    slots = ranges(cluster)
    for node in cluster.nodes:
        own = [held for held in slots if node.address in (held.primary, *held.replicas)]
        foreign = sorted({slot for key in written if not owner(slot := slot_of(key), own)})
        assert foreign, f"{node.address} has every slot: there is no other node"
        seen = pipelined(node, "CLUSTER COUNTKEYSINSLOT", [str(slot) for slot in foreign])
        strays = {slot: count for slot, count in zip(foreign, seen, strict=True) if count != 0}
        assert not strays, f"{node.address} holds keys of slots that are not its own, by slot: {strays}"


@then("all of them are readable")
def read_keys(cluster: Cluster, written: dict[str, str]) -> None:
    """Read every key through a client of the whole cluster."""
    with cluster.client() as client:
        seen = dict(zip(written, read(client, list(written)), strict=True))
    assert seen == written, f"{sum(seen[key] != written[key] for key in written)} of {len(written)} keys read otherwise"


@then(
    parsers.cfparse("by the chi-squared test their spread is chance, at a significance of {level:g}", extra_types=TYPES)
)
def check_spread(
    cluster: Cluster, written: dict[str, str], level: float, measure: Callable[..., None], chart: Callable[..., None]
) -> None:
    """Count the keys on the primaries and hold the counts against the slots they own."""
    with cluster.client() as client:
        nodes = [node for node in spread(client, list(written)) if node.role == "primary"]
    assert sum(node.keys for node in nodes) == len(written), f"not every key was found: {nodes}"
    chart("keys per primary", unit="keys", kind="bars", points=[(node.address, node.keys) for node in nodes])
    seen = p_value([node.keys for node in nodes], [node.slots for node in nodes])
    measure("p-value of the spread", unit="", bound=Bound.at_least(level), seen=seen)


@then(parsers.cfparse("no primary's number of slots is more than {limit:Count} % off an even share", extra_types=TYPES))
def check_balance(cluster: Cluster, limit: int, measure: Callable[..., None], chart: Callable[..., None]) -> None:
    """Measure the primary whose number of slots is farthest from an even share, in percent of that share."""
    even = SLOTS / len(primaries(cluster))
    owned: dict[str, int] = {}
    for held in ranges(cluster):
        owned[held.primary] = owned.get(held.primary, 0) + held.last - held.first + 1
    fair = Bound.between(round(even * (1 - limit / 100)), round(even * (1 + limit / 100)))
    chart("slots per primary", unit="slots", kind="bars", points=list(owned.items()), bound=fair)
    farthest = max(abs(slots - even) for slots in owned.values()) / even
    measure("slots off an even share, at most", unit="%", bound=Bound.at_most(limit), seen=round(100 * farthest, 2))


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
    """Compare, and take the time that the server needs."""
    watch = Stopwatch()
    different = disagreements(cluster, keys)
    return Compared(different, len({slot_of(key) for key in keys}), watch.seconds())


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
    """Hold the time that the server took against its bound."""
    measure("computing the slots on the server", unit="s", bound=bound, seen=round(compared.seconds, 3))


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


MOST = 1_000_000
"""Keys of a node that a scan may walk over; more would take minutes on somebody's own cluster."""


@dataclass
class Walk:
    """How often each key was met, and the slot that moved meanwhile."""

    met: Counter[str] = field(default_factory=Counter)
    moved: int | None = None


def scanned(node: Node, key_prefix: str) -> set[str]:
    """Return the keys of this scenario that a scan of one node meets (``SCAN``)."""
    with node.client() as client:
        if (keys := client.dbsize()) > MOST:
            raise Unsupported(f"{node.address} holds {keys} keys: walking over all of them takes too long")
        return set(client.scan_iter(match=f"{key_prefix}*", count=1000))


@when("all primaries are scanned for them", target_fixture="walk")
def scan(cluster: Cluster, key_prefix: str) -> Walk:
    """Scan every primary."""
    return Walk(Counter(key for node in primaries(cluster) for key in scanned(node, key_prefix)))


@when("a slot moves from the last primary to the first during a scan of one after another", target_fixture="walk")
def scan_during_move(
    cluster: Cluster, key_prefix: str, written: dict[str, str], request: pytest.FixtureRequest
) -> Walk:
    """Scan each primary once, and move a slot before the last."""
    *others, last = primaries(cluster)
    walk = Walk(Counter(key for node in others for key in scanned(node, key_prefix)))
    walk.moved = move_slot_of_last(cluster, written, request)
    walk.met.update(scanned(last, key_prefix))
    return walk


@when("a slot moves from the last primary to the first during a walk that looks again", target_fixture="walk")
def walk_during_move(
    cluster: Cluster, key_prefix: str, written: dict[str, str], request: pytest.FixtureRequest
) -> Walk:
    """Walk, and move a slot when the first primary is done."""
    walk = Walk()
    before = ranges(cluster)
    with cluster.client() as client:
        for key in every_key(client, f"{key_prefix}*", count=10):
            held = owner(slot_of(key), before)
            assert held, f"no node owns the slot of {key!r}"
            if walk.moved is None and held.primary != before[0].primary:
                walk.moved = move_slot_of_last(cluster, written, request)
            walk.met[key.decode()] += 1
    return walk


def move_slot_of_last(cluster: Cluster, written: dict[str, str], request: pytest.FixtureRequest) -> int:
    """Move the slot of one key from the last primary to the first, until the scenario ends."""
    nodes = [node.client() for node in primaries(cluster)]
    slots = ranges(cluster)
    last = primaries(cluster)[-1].address
    slot = next(slot for slot in map(slot_of, written) if (held := owner(slot, slots)) and held.primary == last)
    move_slots([slot], nodes[-1], nodes[0], nodes)
    request.addfinalizer(lambda: move_slots([slot], nodes[0], nodes[-1], nodes))
    return slot


@then("all keys were met but those of the slot that moved")
def check_missed(walk: Walk, written: dict[str, str]) -> None:
    """Compare the keys that were not met with those of the slot."""
    expected = {key for key in written if slot_of(key) == walk.moved}
    assert written.keys() - walk.met.keys() == expected


@then(parsers.cfparse("{bound:Bound} keys were met", extra_types=TYPES))
def check_met(walk: Walk, written: dict[str, str], bound: Bound, measure: Callable[..., None]) -> None:
    """Count the keys written that were met."""
    measure("keys met", unit="keys", bound=bound, seen=len(walk.met.keys() & written.keys()))


@then(parsers.cfparse("{bound:Bound} keys were met at more than one node", extra_types=TYPES))
def check_met_once(walk: Walk, bound: Bound, measure: Callable[..., None]) -> None:
    """Count the keys that two nodes showed."""
    measure("keys at two nodes", unit="keys", bound=bound, seen=sum(times > 1 for times in walk.met.values()))


@when(parsers.cfparse('"{key}" is read {number:Count} times', extra_types=TYPES))
def read_often(cluster: Cluster, key_prefix: str, key: str, number: int) -> None:
    """Read one key again and again."""
    pipelined(owner_of(cluster, key_prefix + key), "GET", [key_prefix + key] * number)


@then(parsers.cfparse('the hottest slot is that of "{key}", by each of these'))
def name_hottest(
    cluster: Cluster, key_prefix: str, key: str, datatable: Sequence[Sequence[str]], measure: Callable[..., None]
) -> None:
    """Ask for the two hottest slots of the cluster by each measure."""
    expected = slot_of(key_prefix + key)
    with clients_of(primaries(cluster)) as clients:
        for row in rows(datatable, ("MEASURE",)):
            first, second = hottest_slots(clients, 2, row["MEASURE"])
            assert first.slot == expected, f"by {row['MEASURE']}: {first}, then {second}; expected slot {expected}"
    measure("CPU of the hottest slot", unit="s", seen=first.cpu)


@given(parsers.cfparse('the cluster holds a list of {number:Count} items at "{key}"', extra_types=TYPES))
def hold_a_list(cluster: Cluster, key_prefix: str, number: int, key: str) -> None:
    """Write a long list that expires by itself."""
    with cluster.client() as client:
        client.rpush(key_prefix + key, *range(number))
        client.expire(key_prefix + key, TTL)


@then(parsers.cfparse('the biggest key is "{key}", of {bound:Bound} bytes', extra_types=TYPES))
def name_biggest(cluster: Cluster, key_prefix: str, key: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Look for the biggest of this scenario's keys."""
    with clients_of(primaries(cluster)) as clients:
        if (most := max(client.dbsize() for client in clients)) > MOST:
            raise Unsupported(f"a node holds {most} keys: walking over all of them takes too long")
        try:
            [(size, name), *_] = biggest_keys(clients, 2, f"{key_prefix}*")
        except ResponseError as error:
            raise Unsupported(f"needs MEMORY USAGE: {error}") from None
    assert name == (key_prefix + key).encode(), f"the biggest key is {name!r}, of {size} bytes"
    measure("size of the biggest key", unit="bytes", bound=bound, seen=size)
