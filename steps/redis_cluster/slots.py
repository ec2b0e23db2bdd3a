"""The sentences about slots that migrate and scans of all keys meanwhile, and the properties of slots."""

from __future__ import annotations

import random
import re
import time
from binascii import crc_hqx
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from itertools import count as numbers
from typing import Any

from hypothesis import given as generated
from hypothesis import settings
from hypothesis import strategies as st
from pytest_bdd import parsers, then, when
from redis import Redis
from redis.exceptions import ResponseError

from fixtures.bdd.vocabulary import records, register
from fixtures.context import Context
from fixtures.redis_cluster.nodes import answers, clients_of, owner_of, piped, pipelined, primaries, ranges
from fixtures.redis_cluster.workload import ClusterMachine, ClusterUnderTest
from fixtures.run.keys import Unsupported
from fixtures.stacks.protocols import Node
from fixtures.stateful import try_histories
from redis_practices.polling import eventually
from redis_practices.redis_cluster.growth import rebalance
from redis_practices.redis_cluster.key_distribution import every_key
from redis_practices.redis_cluster.slot_migration import atomic_interface, close_open_slots, move_slots, open_slots
from redis_practices.redis_cluster.topology import (
    SLOTS,
    ClusterError,
    as_ranges,
    itself,
    members,
    owner,
    slot_of,
    slot_ranges,
)
from redis_practices.server_info import by_name
from steps.common.keys import Data
from steps.common.vocabulary import TYPES, Table, options, rows
from steps.redis_cluster.nodes import NamedNodes, NodeUnderTest

OVER = {"success", "completed", "failed", "cancelled", "canceled"}
"""States of a migration that has ended, in the words of both engines."""


class HeldMigration:
    """A migration that one side has begun and the other, which is paused, does not answer."""

    def __init__(self, ending: ExitStack, source: Node, target: Node, slots: Sequence[int]) -> None:
        """Pause the side that does not drive the migration until `ending` is closed, and begin.

        Raises:
            Unsupported: the servers have no atomic slot migration.
        """
        self.target, self._ending = target, ending
        self.killed: list[Node] = []
        giver, taker = (ending.enter_context(side.client()) for side in (source, target))
        if not (interface := atomic_interface(giver)):
            raise Unsupported("needs Valkey 9.0 or Redis 8.4: atomic slot migration")
        self._pushed = interface == "MIGRATESLOTS"
        """Whether the source drives it, as in Valkey; in Redis the target pulls."""
        edges = [edge for pair in as_ranges(slots) for edge in pair]
        identity = taker.execute_command("CLUSTER MYID")
        paused = target if self._pushed else source
        paused.pause()

        def resume() -> None:
            with suppress(OSError):  # it may have been killed
                paused.resume()

        ending.callback(resume)
        if self._pushed:
            giver.execute_command("CLUSTER MIGRATESLOTS", "SLOTSRANGE", *edges, "NODE", identity)
        else:
            taker.execute_command("CLUSTER MIGRATION", "IMPORT", *edges)
        self._driver = giver if self._pushed else taker
        assert self.state() not in OVER, f"the migration is over: {self.state()}"

    def state(self) -> str:
        """Return how far it is (``CLUSTER GETSLOTMIGRATIONS``, ``CLUSTER MIGRATION STATUS``)."""
        command = ["GETSLOTMIGRATIONS"] if self._pushed else ["MIGRATION", "STATUS", "ALL"]
        return str(by_name(self._driver.execute_command("CLUSTER", *command)[0])["state"])

    def cancel(self) -> None:
        """Cancel it (``CLUSTER CANCELSLOTMIGRATIONS``, ``CLUSTER MIGRATION CANCEL``), and resume the paused side."""
        command = ["CANCELSLOTMIGRATIONS"] if self._pushed else ["MIGRATION", "CANCEL", "ALL"]
        self._driver.execute_command("CLUSTER", *command)
        assert self.state() in ("cancelled", "canceled"), self.state()
        self._ending.close()

    def kill(self) -> None:
        """Kill its target, wait until it has failed, and resume the paused side."""
        self.target.kill()
        self.killed.append(self.target)
        if self._pushed:  # a target that pulls takes along what it knew of the migration
            eventually(lambda: self.state() == "failed", within=10.0)
        self._ending.close()


@when(parsers.parse('{count:Count} slots with that of "{key}" are migrated', extra_types=TYPES))
@records("keys changed", 'keys of "these keys" with another value than before the migration', unit="keys")
@records("largest change of a ttl", 'change of a ttl of "these keys" by the migration, its time included', unit="s")
def migrate(context: Context, count: int, key: str, datatable: Table | None = None) -> None:
    """Migrate slots, the one of a key among them, with their keys; an error is that of "the migration".

    The ``method`` is ``key by key``, else atomic where the servers can. ``from`` and ``to`` name other nodes than the
    owner and another primary. ``paused`` ``one side`` leaves an atomic migration half done.

    Example: ``When 60 slots with that of "user:1" are migrated``
    """
    chosen, held_by = options(datatable), context.target(f'the owner of "{key}"')
    source = context.target(chosen["from"]) if "from" in chosen else held_by
    to = context.target(chosen.get("to", f'a primary other than that of "{key}"'))
    with held_by.client() as client:
        held = sorted(itself(client).slots)
    first = min(held.index(slot_of(context.key(key))), len(held) - count)
    slots = held[first : first + count]
    context.named |= {"migrating slots": slots, "their old primary": held_by, "their new primary": to}
    contents = _contents(context)
    context.record("keys changed", lambda _: _changes(context, contents)[0])
    context.record("largest change of a ttl", lambda _: _changes(context, contents)[1])
    if chosen.get("paused") == "one side":
        paused = HeldMigration(context.ending.enter_context(ExitStack()), source.node, to.node, slots)
        context.named |= {"the migration": paused, "the target of the migration": paused}
        return
    begun = time.monotonic()
    with context.attempt("migration", ClusterError):
        _move(context, slots, source, to, key_by_key=chosen.get("method") == "key by key")
        if context.stack.lends:
            context.ending.callback(_move_back, context, slots, to, source)
    how = chosen.get("method", "by default")
    context.measure(f"migrating {count} slots {how}", unit="s", seen=round(time.monotonic() - begun, 3))


for option, meaning in {
    "method": "how slots migrate, key by key or atomic, or how a scan walks over the primaries",
    "from": "the node that slots migrate from, if it is not their owner",
    "to": "the node that slots migrate to",
    "paused": "the side of an atomic migration that is paused as soon as it has begun",
    "meanwhile": "what happens during the scan",
}.items():
    register("setting", option, meaning)(migrate)


def _move(
    context: Context, slots: Sequence[int], source: NodeUnderTest, to: NodeUnderTest, *, key_by_key: bool = False
) -> None:
    """Move slots, and return when all nodes know."""
    with clients_of(context.cluster.nodes) as clients, source.client() as giver, to.client() as taker:
        move_slots(slots, giver, taker, clients, key_by_key=key_by_key)


def _move_back(context: Context, slots: Sequence[int], source: NodeUnderTest, to: NodeUnderTest) -> None:
    """Return the slots of a lent cluster; a restarted node may have opened some (Redis 8, valkey#539)."""
    with clients_of(context.cluster.nodes) as clients, source.client() as giver:
        close_open_slots(clients)
        owned = itself(giver).slots
    _move(context, [slot for slot in slots if slot in owned], source, to)


Content = tuple[str, int]
"""A value as the server serializes it, and the ttl in milliseconds: of the key, or of the field "a" that has one."""


def _contents(context: Context) -> dict[str, Content]:
    """Return what "these keys" hold, read at their owners (DUMP, PTTL, HPTTL)."""
    found = {}
    for key in context.part(Data).these:
        with owner_of(context.cluster, key).client() as client:
            kind = client.type(key)
            field_ttl = 0
            if kind == "hash":
                with suppress(ResponseError):  # an engine without HPTTL has no such fields
                    field_ttl = max(int(client.hpttl(key, "a")[0]), 0)
            value = str(sorted(client.hgetall(key).items())) if kind == "hash" else repr(client.dump(key))
            found[key] = (value, field_ttl or int(client.pttl(key)))
    return found


def _changes(context: Context, before: Mapping[str, Content]) -> tuple[int, float]:
    """Return how many keys have another value than before, and the largest change of a ttl in seconds."""
    now = _contents(context)
    changed = [key for key, (value, _) in before.items() if now[key][0] != value]
    return len(changed), max(abs(ttl - now[key][1]) for key, (_, ttl) in before.items()) / 1000


@then(parsers.parse("those slots belong to {target:Target}", extra_types=TYPES))
def check_owner(context: Context, target: str) -> None:
    """Require that every answering node names this owner of the migrated slots, and that none of them is open.

    Example: ``Then those slots belong to their new primary``
    """
    address, slots = context.target(target).address, context.named["migrating slots"]
    killed = getattr(context.named.get("the migration"), "killed", [])
    present = [node for node in context.part(NamedNodes).present() if node not in killed]
    with clients_of(present) as clients:

        def agreed() -> None:
            for client in clients:
                ends = [owner(slot, slot_ranges(client)) for slot in (slots[0], slots[-1])]
                assert {end.primary for end in ends if end} == {address}, f"the owners are {ends}, not {address}"
                [held] = [member.slots for member in members(client).values() if member.address == address]
                assert held.issuperset(slots), "some of the slots are elsewhere"
            assert not (left := open_slots(clients)), f"open: {'; '.join(left)}"

        eventually(agreed, within=10.0)


@when(parsers.parse('the slot of "{key}" is migrating and "{other}" has moved'))
def open_slot(context: Context, key: str, other: str) -> None:
    """Begin to migrate a slot, move one of its keys, and leave it at that until the scenario ends.

    The slot migrates to the new node, if one was added, else to another primary: "their new primary".

    Example: ``When the slot of "{cart}" is migrating and "{cart}:2" has moved``
    """
    slot, moved = slot_of(context.key(key)), context.key(other)
    old = context.target(f'the owner of "{other}"')
    new = context.named.get("the new node") or context.target(f'a primary other than that of "{other}"')
    context.named |= {"migrating slots": [slot], "their old primary": old, "their new primary": new}
    with old.client() as source, new.client() as target:
        source_id, target_id = (str(node.execute_command("CLUSTER MYID")) for node in (source, target))
        target.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", source_id)
        source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", target_id)
        source.execute_command("MIGRATE", *new.address.split(":"), moved, 0, 5000)
    if context.stack.lends:
        context.ending.callback(_close_slot, old, new, slot, moved)


def _close_slot(old: NodeUnderTest, new: NodeUnderTest, slot: int, key: str) -> None:
    """End the migration of a slot and drop the one key that moved: a lent cluster is left as it was."""
    with old.client() as source, new.client() as target:
        answers(target, [["ASKING"], ["DEL", key]])
        for client in (source, target):
            client.execute_command("CLUSTER SETSLOT", slot, "STABLE")


@when("the open slots are repaired")
def repair(context: Context) -> None:
    """Finish or undo every interrupted migration; there must be one.

    Example: ``When the open slots are repaired``
    """
    with clients_of(context.cluster.nodes) as clients:
        assert close_open_slots(clients), "nothing was repaired"


@when("the slots are rebalanced")
def share_slots(context: Context) -> None:
    """Migrate slots until every primary has an even share.

    Example: ``When the slots are rebalanced``
    """
    with clients_of(context.cluster.nodes) as clients:
        context.measure("slots migrated", unit="slots", seen=rebalance(clients))


MOST = 1_000_000
"""Keys of a node that a scan may walk over; more would take minutes on a user's own cluster."""


@when("the keys are scanned")
@records("keys found", "written keys that the scan returned", unit="keys")
@records("keys found twice", "written keys that two nodes returned", unit="keys")
@records("keys missed", "written keys that the scan did not return", unit="keys")
@records("keys missed in other slots", "missed keys of slots that did not migrate meanwhile", unit="keys")
def scan(context: Context, datatable: Table | None = None) -> None:
    """Walk over all keys of all primaries (SCAN).

    The scan walks over each primary once, or with the ``method`` ``again where slots arrive`` as `every_key` does.
    ``meanwhile`` ``a slot migrates`` moves a slot from the last primary to the first during the scan.

    Example: ``When the keys are scanned``
    """
    chosen, written = options(datatable), context.part(Data).written
    slot: list[int] = []

    def on_node() -> None:
        if chosen.get("meanwhile") == "a slot migrates" and not slot:
            slot.append(_move_slot_of_last(context))

    again = chosen.get("method") == "again where slots arrive"
    met = Counter(key for key in (_walk_again if again else _walk_once)(context, on_node) if key in written)
    missed = [key for key in written if key not in met]
    context.record("keys found", len(met))
    context.record("keys found twice", sum(times > 1 for times in met.values()))
    context.record("keys missed", len(missed))
    context.record("keys missed in other slots", sum(slot_of(key) not in slot for key in missed))


def _walk_once(context: Context, before_last: Callable[[], None]) -> Iterator[str]:
    """Yield the keys of this scenario that a scan of each primary returns, each once a primary."""
    nodes = primaries(context.cluster, context.slots)
    for node in nodes:
        if node is nodes[-1]:
            before_last()
        with node.client() as client:
            if (keys := client.dbsize()) > MOST:
                raise Unsupported(f"{node.address} holds {keys} keys: a scan of all takes too long")
            yield from set(client.scan_iter(match=f"{context.key_prefix}*", count=1000))


def _walk_again(context: Context, after_first: Callable[[], None]) -> Iterator[str]:
    """Yield the keys of this scenario as `every_key` does."""
    before = ranges(context.cluster)
    with context.cluster.client() as client:
        for key in every_key(client, f"{context.key_prefix}*", count=10):
            held = owner(slot_of(key), before)
            assert held, f"no node owns the slot of {key!r}"
            if held.primary != before[0].primary:
                after_first()
            yield key.decode()


def _move_slot_of_last(context: Context) -> int:
    """Migrate the slot of one written key from the last primary to the first, until the scenario ends."""
    nodes: list[Redis] = [node.client() for node in primaries(context.cluster)]
    slots, last = ranges(context.cluster), primaries(context.cluster)[-1].address
    written = map(slot_of, context.part(Data).written)
    slot = next(slot for slot in written if (held := owner(slot, slots)) and held.primary == last)
    move_slots([slot], nodes[-1], nodes[0], nodes)
    if context.stack.lends:
        context.ending.callback(partial(move_slots, [slot], nodes[0], nodes[-1], nodes))
    return slot


# Properties of slots


def _require_agreement(server: Any, keys: Iterable[bytes]) -> None:
    """Raise AssertionError if client and server disagree on the slot of a key."""
    keys = list(keys)
    both = zip(keys, map(slot_of, keys), piped(server, "CLUSTER KEYSLOT", keys), strict=True)
    found = [f"{key!r}: client {ours}, server {theirs}" for key, ours, theirs in both if ours != theirs]
    assert not found, f"client and server disagree on {len(found)} keys: {found[:3]}"


@register("property", "client and server compute the same slot", "slot_of(key) is CLUSTER KEYSLOT, for any bytes")
def same_slot(context: Context, count: int) -> None:
    """Compare random keys: half of them are bytes, half have braces, which are too rare by chance."""
    seeded = random.Random(f"{context.request.config.option.hypothesis_seed}")
    parts = (b"{", b"}", b"a", b"\xff")
    keys = [seeded.randbytes(seeded.randrange(41)) for _ in range(count - count // 2)]
    keys += [b"".join(seeded.choices(parts, k=seeded.randrange(13))) for _ in range(count // 2)]
    with context.cluster.nodes[0].client() as server:
        _require_agreement(server, keys)


@register("property", "client and server agree on a key of the slot", "slot_of(key) is CLUSTER KEYSLOT in every slot")
def same_in_each_slot(context: Context, count: int) -> None:
    """Find a key for each of `count` slots by counting, and compare."""
    found, slots = dict[int, bytes](), context.slots
    server = context.ending.enter_context(context.cluster.nodes[0].client())
    for number in numbers():
        if (slot := slot_of(key := b"%d" % number)) in slots:
            found.setdefault(slot, key)
        if len(found) == min(count, len(slots)):
            return _require_agreement(server, found.values())
    raise AssertionError("unreachable")


TAGS = 10
"""Tags that Hypothesis draws together."""


@register("property", "the hash tag alone decides the slot", "a key has the slot of its hash tag for client and server")
def tag_decides(context: Context, count: int) -> None:
    """Let Hypothesis draw tags and the text around them; `TAGS` of them share a round trip."""
    before = st.binary(max_size=12).map(lambda text: text.replace(b"{", b""))
    tag = st.binary(min_size=1, max_size=12).filter(lambda text: b"}" not in text)
    server = context.ending.enter_context(context.cluster.nodes[0].client())

    @settings(max_examples=count // TAGS, deadline=None, database=None)
    @generated(st.lists(st.tuples(before, tag, st.binary(max_size=12)), min_size=TAGS, max_size=TAGS))
    def agree(parts: list[tuple[bytes, bytes, bytes]]) -> None:
        keys = [first + b"{" + middle + b"}" + last for first, middle, last in parts]
        assert [slot_of(key) for key in keys] == [crc_hqx(middle, 0) % SLOTS for _, middle, _ in parts]
        _require_agreement(server, keys)

    agree()


@register("property", "every key of the cluster reads as acknowledged", "also after migrations, failovers, new nodes")
def histories(context: Context, count: int) -> None:
    """Let Hypothesis look for an order of up to 15 events after which a key reads otherwise than it should."""
    cluster = ClusterUnderTest(context.cluster, context.private)
    try_histories(partial(ClusterMachine, cluster), count, 15)
    for what, times in sorted(cluster.done.items()):
        context.measure(what, unit="", seen=times)


@then("the hash tag of each key is")
def check_tags(context: Context, datatable: Table) -> None:
    r"""Require of client and server that each KEY has the slot of its TAG alone; a key without one is its own tag.

    A backslash, an x and two digits stand for a byte.

    Example: a table of KEY and TAG
    """
    for row in rows(datatable, ("KEY", "TAG")):
        key, tag = (
            re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), row[column].encode())
            for column in ("KEY", "TAG")
        )
        [server] = pipelined(context.cluster.nodes[0], "CLUSTER KEYSLOT", [key])
        expected = crc_hqx(tag, 0) % SLOTS
        assert (slot_of(key), server) == (expected, expected), f"{key!r}: client {slot_of(key)}, server {server}"
