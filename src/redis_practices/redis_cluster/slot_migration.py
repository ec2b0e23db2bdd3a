"""Migrate slots between primaries while clients are served, and close slots that a broken migration left open.

`move_slots` migrates atomically if the server can (Valkey 9, Redis 8.4), else key by key (`move_key_by_key`), as every
server since 3.0 can. `close_open_slots` repairs open slots: some of their keys answer ``ASK`` for ever.

Promises: names are bytes, and every database of a node is moved. An interrupt, or the death of a node, leaves open
slots at most, which `close_open_slots` repairs without losing a key. It refuses where it cannot ask every primary. Not
promised: keys that no replica had when their node died; ``redis-cli --cluster fix`` does no better.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from redis import Redis
from redis.client import NEVER_DECODE
from redis.exceptions import RedisError, ResponseError
from redis.utils import str_if_bytes

from redis_practices.credentials import login_of
from redis_practices.polling import poll
from redis_practices.redis_cluster.topology import (
    SLOTS,
    ClusterError,
    Member,
    address,
    as_ranges,
    by_identity,
    itself,
    known_to,
    members,
)
from redis_practices.server_info import by_name

AT_ONCE = 128
"""Slots that are open at a time: they share round trips, and a failure leaves at most these to close."""

KEYS_AT_ONCE = 100
"""Keys of one ``MIGRATE``: the source serves no other client until they have moved."""

RAW: dict[str, Any] = {NEVER_DECODE: True}
"""Option of a command whose reply holds names of keys, which are bytes."""

TIMEOUT = 5.0
"""Seconds that one ``MIGRATE`` may wait for the target."""


def move_key_by_key(slots: Sequence[int], source: Redis, target: Redis) -> None:
    """Migrate slots from one primary to another key by key, ttls included.

    The source redirects clients of migrated keys to the target (``ASK``). `AT_ONCE` slots are open at a time:

    1. ``CLUSTER SETSLOT`` IMPORTING at the target, MIGRATING at the source.
    2. ``CLUSTER GETKEYSINSLOT`` and ``MIGRATE`` until the slots are empty.
    3. ``CLUSTER SETSLOT`` NODE at the target, then at the source, so that every slot always has an owner.

    All other nodes learn of it from the target.

    Raises:
        ClusterError: the target does not take the keys, for example for lack of memory. The open slots are closed and
            stay with the source; earlier slots stay with the target. If they cannot be closed, for example because the
            target is dead, `close_open_slots` does it later.
    """
    there, here = known_to(source, target), itself(source)
    for start in range(0, len(slots), AT_ONCE):
        batch = slots[start : start + AT_ONCE]
        try:
            set_slots(target, batch, "IMPORTING", here.identity)
            set_slots(source, batch, "MIGRATING", there.identity)
            # If an earlier, broken migration left a key at both nodes, clients see the one at the source.
            _migrate_keys(source, target, there, batch, replace=True)
        except RedisError as error:
            _undo(source, target, here, batch, error)
        _assign(source, target, there.identity, batch)


def set_slots(node: Redis, slots: Sequence[int], *state: str) -> None:
    """Set the state of slots at one node (``CLUSTER SETSLOT``).

    Raises:
        redis.exceptions.RedisError: the node does not answer or refuses.
    """
    with node.pipeline(transaction=False) as pipe:
        for slot in slots:
            pipe.execute_command("CLUSTER SETSLOT", slot, *state)
        pipe.execute()


def databases(node: Redis) -> list[int]:
    """Return the numbers of the databases that have keys, and 0 (``INFO keyspace``).

    A cluster of Valkey 9 has as many as ``cluster-databases`` says.
    """
    return sorted({0, *(int(name.removeprefix("db")) for name in node.info("keyspace"))})


@contextmanager
def in_database(node: Redis, number: int) -> Iterator[Redis]:
    """Give a client of one database of the same server."""
    pool = node.connection_pool
    options = {**pool.connection_kwargs, "db": number}
    if options == pool.connection_kwargs:
        yield node
        return
    with Redis.from_pool(type(pool)(connection_class=pool.connection_class, **options)) as client:
        yield client


def _migrate_keys(source: Redis, target: Redis, there: Member, slots: Sequence[int], *, replace: bool) -> None:
    """Migrate all keys of the slots in every database, until none is left.

    If both nodes hold a key, the source's copy stays with `replace`, else the target's.
    """
    login = login_of(target.connection_pool.connection_kwargs)
    auth = ["AUTH2", login["username"] or "default", login["password"]] if login["password"] else []
    rules = [*(["REPLACE"] if replace else []), *auth]
    moved = True
    while moved:
        moved = False
        for number in databases(source):
            command = ["MIGRATE", *there.endpoint, "", number, round(TIMEOUT * 1000), *rules, "KEYS"]
            with in_database(source, number) as here, in_database(target, number) as other:
                while _migrate_some(here, other, command, slots):
                    moved = True


def _migrate_some(source: Redis, target: Redis, command: Sequence[Any], slots: Sequence[int]) -> bool:
    """Migrate some keys of each slot in one database (``MIGRATE``); return False if none is left."""
    found = {slot: keys for slot, keys in keys_in(source, slots, KEYS_AT_ONCE).items() if keys}
    with source.pipeline(transaction=False) as pipe:
        for keys in found.values():
            pipe.execute_command(*command, *keys)
        errors = [said for said in pipe.execute(raise_on_error=False) if isinstance(said, RedisError)]
    if errors and all("BUSYKEY" in str(error) for error in errors):
        _drop_copies(source, target, [key for keys in found.values() for key in keys])
    elif errors:
        raise errors[0]
    return bool(found)


def keys_in(node: Redis, slots: Sequence[int], most: int) -> dict[int, list[bytes]]:
    """Return at most `most` keys of each slot in one database of a node (``CLUSTER GETKEYSINSLOT``)."""
    with node.pipeline(transaction=False) as pipe:
        for slot in slots:
            pipe.execute_command("CLUSTER", "GETKEYSINSLOT", slot, most, **RAW)
        return dict(zip(slots, pipe.execute(), strict=True))


def _has_keys(node: Redis, slot: int) -> bool:
    """Tell whether any database of a node has a key of a slot."""
    for number in databases(node):
        with in_database(node, number) as client:
            if keys_in(client, [slot], 1)[slot]:
                return True
    return False


def _drop_copies(source: Redis, target: Redis, keys: Sequence[bytes]) -> None:
    """Delete the keys that the target has at the source, which imports their slot."""
    with target.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.exists(key)
        doubled = [key for key, there in zip(keys, pipe.execute(), strict=True) if there]
    with source.pipeline(transaction=False) as pipe:
        for key in doubled:
            pipe.execute_command("ASKING")
            pipe.delete(key)
        pipe.execute()


def _assign(source: Redis, target: Redis, identity: str, slots: Sequence[int]) -> None:
    """Make the target, by its id, the owner of slots that are empty elsewhere (``CLUSTER SETSLOT`` NODE)."""
    set_slots(target, slots, "NODE", identity)
    try:
        set_slots(source, slots, "NODE", identity)
    except ResponseError:
        # A node that loses its last slot becomes a replica of the new owner at once, and refuses this command.
        if source.info("replication")["role"] == "master":
            raise


def _undo(source: Redis, target: Redis, here: Member, slots: Sequence[int], error: RedisError) -> None:
    """Undo a failed migration, and raise the ClusterError that reports it."""
    what = f"slots {slots[0]} to {slots[-1]} did not move from {address(source)} to {address(target)}"
    try:
        return_slots(source, target, here, slots)
    except RedisError as second:
        raise ClusterError(
            f"{what} and are left open, close_open_slots repairs them: {error}; then {second}"
        ) from error
    hint = "it has no memory left" if "OOM" in str(error) else "it refused"
    raise ClusterError(f"{what}: {hint}, and all is at the source as before: {error}") from error


def return_slots(owner: Redis, other: Redis, here: Member, slots: Sequence[int]) -> None:
    """Bring migrated keys back to the owner, and close the slots at both nodes.

    `here` is the owner's own entry. Commands: ``CLUSTER SETSLOT`` STABLE and ``MIGRATE``.

    Raises:
        redis.exceptions.RedisError: a node does not answer or refuses.
    """
    # The owner first: while a slot is MIGRATING, it refuses keys that it does not hold.
    set_slots(owner, slots, "STABLE")
    _migrate_keys(other, owner, here, slots, replace=False)
    set_slots(other, slots, "STABLE")


def atomic_interface(node: Redis) -> Literal["MIGRATESLOTS", "MIGRATION"] | None:
    """Return the command of a server's atomic slot migration, or None if it has none (``COMMAND INFO``).

    ``CLUSTER MIGRATESLOTS`` since Valkey 9.0, ``CLUSTER MIGRATION`` since Redis 8.4.

    Raises:
        redis.exceptions.RedisError: the node does not answer.
    """
    names: tuple[Literal["MIGRATESLOTS", "MIGRATION"], ...] = ("MIGRATESLOTS", "MIGRATION")
    # In one word: redis-py cannot parse the reply to "COMMAND" about an unknown command.
    answer = node.execute_command("COMMAND INFO", *(f"CLUSTER|{name}" for name in names))
    return next((name for name, known in zip(names, answer, strict=True) if known), None)


def move_slots(  # noqa: PLR0913 - slots, source, target, all nodes, and options
    slots: Iterable[int],
    source: Redis,
    target: Redis,
    nodes: Sequence[Redis],
    *,
    key_by_key: bool = False,
    timeout: float = 60.0,
) -> None:
    """Migrate slots from one primary to another, and return when all `nodes` of the cluster know.

    Atomic slot migration where the server can (`atomic_interface`): keys are copied, then all slots switch owner
    together, or none does. Else, or with `key_by_key`, one key at a time (`move_key_by_key`). `timeout` is in seconds.

    Raises:
        ClusterError: the two do not know each other, the slots are open or not the source's, or the target has no
            memory. Or the time is up. An atomic migration has then moved nothing.
        redis.exceptions.RedisError: a node does not answer.
    """
    wanted = sorted(set(slots))
    if not wanted:
        return
    there = known_to(source, target)
    _check(wanted, source, target)
    deadline = time.monotonic() + timeout
    interface = None if key_by_key else atomic_interface(source)
    if interface == "MIGRATESLOTS":
        _migrate_from(source, target, there.identity, wanted, deadline)
    elif interface == "MIGRATION":
        _import_into(target, wanted, deadline)
    else:
        move_key_by_key(wanted, source, target)
    for node in nodes:
        _await(lambda node=node: _owns(node, there.identity, wanted), deadline, node, "hear of it")  # type: ignore[misc]


def _owns(node: Redis, identity: str, slots: Sequence[int]) -> bool:
    """Tell whether a node sees another as the owner of all these slots."""
    owner = members(node).get(identity)
    return owner is not None and owner.slots.issuperset(slots)


def _check(slots: Sequence[int], source: Redis, target: Redis) -> None:
    """Refuse wrong arguments with a clearer message than the server's (ClusterError)."""
    here, there = itself(source), itself(target)
    if missing := as_ranges(set(slots) - here.slots):
        raise ClusterError(f"{here.address} does not own slot {missing[0][0]}: name the node that does as source")
    if there.primary:
        raise ClusterError(f"{there.address} is a replica, which owns no slots: name its primary as target")
    if opened := sorted(set(slots) & {*here.leaving, *there.arriving}):
        raise ClusterError(
            f"slot {opened[0]} was left open by an earlier move: slot_migration.close_open_slots repairs that"
        )


def _migrate_from(source: Redis, target: Redis, identity: str, slots: Sequence[int], deadline: float) -> None:
    """Make the source push its slots (``CLUSTER MIGRATESLOTS``, ``CLUSTER GETSLOTMIGRATIONS``)."""
    before = {job["name"] for job in _jobs(source)}
    ranges = [edge for pair in as_ranges(slots) for edge in pair]
    _ask(source, "CLUSTER MIGRATESLOTS", "SLOTSRANGE", *ranges, "NODE", identity)
    name = next(job["name"] for job in _jobs(source) if job["name"] not in before)

    def done() -> bool:
        """Check the job."""
        job = next(job for job in _jobs(source) if job["name"] == name)
        if job["state"] in ("failed", "cancelled"):
            said = [other["message"] for other in _jobs(target) if other["name"] == name and other["message"]]
            reason = "; ".join([*said, job["message"]]) or "it was cancelled"
            raise ClusterError(f"{address(source)} keeps its slots, the move {job['state']}: {reason}")
        return bool(job["state"] == "success")

    _await(done, deadline, source, "move its slots", lambda: source.execute_command("CLUSTER CANCELSLOTMIGRATIONS"))


def _jobs(node: Redis) -> list[dict[str, Any]]:
    """Return a node's atomic migrations, the same from RESP2 and RESP3 (``CLUSTER GETSLOTMIGRATIONS``)."""
    return [_fields(job) for job in node.execute_command("CLUSTER", "GETSLOTMIGRATIONS")]


def _fields(job: Any) -> dict[str, Any]:
    """Return the fields of a migration, text also from a client that does not decode."""
    return {name: str_if_bytes(value) for name, value in by_name(job).items()}


def _import_into(target: Redis, slots: Sequence[int], deadline: float) -> None:
    """Make the target pull the slots (``CLUSTER MIGRATION`` IMPORT and STATUS).

    Redis 8.6 pulls beyond the target's memory limit and then refuses every write, so the memory is checked first.
    """
    memory = target.info("memory")
    if memory["maxmemory_policy"] == "noeviction" and 0 < memory["maxmemory"] <= memory["used_memory"]:
        used = f"{memory['used_memory']} of {memory['maxmemory']} bytes are in use"
        raise ClusterError(f"{address(target)} has no memory left for more slots: {used}")
    task = _ask(target, "CLUSTER MIGRATION", "IMPORT", *(edge for pair in as_ranges(slots) for edge in pair))

    def done() -> bool:
        """Check the task."""
        [status] = target.execute_command("CLUSTER MIGRATION", "STATUS", "ID", task)
        fields = _fields(status)
        if fields["state"] in ("failed", "canceled"):
            raise ClusterError(
                f"{address(target)} did not get the slots, {fields['state']}: {fields.get('last_error')}"
            )
        return bool(fields["state"] == "completed")

    _await(done, deadline, target, "get its slots", lambda: _ask(target, "CLUSTER MIGRATION", "CANCEL", "ID", task))


def _ask(node: Redis, *command: str | int) -> Any:
    """Send a command; raise a refusal as a ClusterError."""
    try:
        return node.execute_command(*command)
    except ResponseError as error:
        raise ClusterError(f"{address(node)} refuses to move slots: {error}") from error


def _await(
    done: Callable[[], bool], deadline: float, node: Redis, what: str, give_up: Callable[[], object] = lambda: None
) -> None:
    """Return when `done` holds; after the deadline call `give_up` and raise ClusterError."""
    if not poll(done, deadline - time.monotonic(), every=0.002):
        give_up()
        raise ClusterError(f"{address(node)} did not {what} in time")


def close_open_slots(nodes: Sequence[Redis]) -> list[int]:
    """Close every slot that a broken migration left open, and return these slots in order.

    A migrating slot goes to its target if that node is there, else it stays with its owner. First every primary
    is asked for its keys, in every database. After a failover, a node may hold keys without knowing that their slot is
    open (`stray_slots`), and such a slot is repaired too. The owner's copy wins if several nodes hold a key. All keys
    are readable afterwards. Keys of a dead node without a replica are repaired by the next call after its return.
    Commands: those of `move_key_by_key`.

    Raises:
        ClusterError: `nodes` lacks a primary. Or an atomic migration is running. Or a slot has no owner, so its place
            is unknown. Or keys of it are left at another node.
        redis.exceptions.RedisError: a node does not answer or refuses.
    """
    known = by_identity(nodes)
    asked = {identity: itself(node) for identity, node in known.items()}
    seen = {identity: member for identity, member in asked.items() if not member.primary}
    owners = {slot: identity for identity, member in seen.items() for slot in member.slots}
    _require_all(known, seen, owners)
    # Valkey's replicas repeat the open slots of their primary, and one may keep a slot open that it has closed.
    opened = {slot for member in asked.values() for slot in member.opened}
    opened.update(slot for identity, member in seen.items() for slot in stray_slots(known[identity], member))
    if missing := sorted(opened - owners.keys()):
        raise ClusterError(f"slot {missing[0]} is open or has keys, and has no owner: give it one first")
    for identity in seen:
        _tell_owners(known[identity], {slot: owners[slot] for slot in opened})
    for slot in sorted(opened):
        home = owners[slot]
        goal = seen[home].leaving.get(slot, home)
        goal = goal if goal in seen else home
        _close(slot, {identity: known[identity] for identity in seen}, seen[home], seen[goal])
    return sorted(opened)


def _require_all(known: Mapping[str, Redis], primaries: Mapping[str, Member], owners: Mapping[int, str]) -> None:
    """Refuse a repair that could not ask every primary, or that would meet an atomic migration (ClusterError)."""
    for node in known.values():
        for identity, member in members(node).items():
            # A primary that died and was replaced is marked as failed until it returns, and other nodes own its slots.
            replaced = member.failed and owners.keys() >= member.slots
            if not member.primary and identity not in known and not replaced:
                raise ClusterError(f"the primary {member.address} was not asked: keys of open slots may be there")
    for identity in primaries:
        if is_moving(known[identity]):
            raise ClusterError(f"an atomic migration is running at {address(known[identity])}: wait for its end")


def _tell_owners(node: Redis, owners: Mapping[int, str]) -> None:
    """Tell a node the owners of slots, by their ids, if it knows others (``CLUSTER SETSLOT`` NODE).

    While Redis 7 imports a slot, it hears of no new owner. After a failover of the source it knows none, and its state
    is ``fail``.
    """
    seen, own = members(node), itself(node).slots
    wrong = [slot for slot, identity in owners.items() if slot not in own | seen[identity].slots]
    for slot in wrong:
        set_slots(node, [slot], "NODE", owners[slot])
    if wrong and not poll(lambda: node.execute_command("CLUSTER INFO")["cluster_state"] == "ok", REJOIN):
        raise ClusterError(
            f"{address(node)} knows the owners, and does not serve: close_open_slots needs a state of ok"
        )


REJOIN = 10.0
"""Seconds within which a node that lacked an owner serves again: it waits for up to 5 s (``cluster-node-timeout``)."""


def is_moving(node: Redis) -> bool:
    """Tell whether an atomic migration from or to a node is running."""
    interface = atomic_interface(node)
    if interface == "MIGRATESLOTS":
        return any(job["state"] not in ENDED for job in _jobs(node))
    if interface == "MIGRATION":
        tasks = node.execute_command("CLUSTER MIGRATION", "STATUS", "ALL")
        return any(_fields(task)["state"] not in ENDED for task in tasks)
    return False


ENDED = frozenset({"success", "completed", "failed", "cancelled", "canceled"})
"""States of an atomic migration that has ended."""


def stray_slots(node: Redis, member: Member | None = None) -> list[int]:
    """Return the slots in order of which a primary holds keys without owning them (``CLUSTER COUNTKEYSINSLOT``).

    No client finds such keys. `member` is the node's own entry. It sends 16,384 commands a database in one pipeline:
    0.1 s.

    Raises:
        redis.exceptions.RedisError: the node does not answer.
    """
    others = sorted(set(range(SLOTS)) - (member or itself(node)).slots)
    found: set[int] = set()
    for number in databases(node):
        with in_database(node, number) as client, client.pipeline(transaction=False) as pipe:
            for slot in others:
                pipe.execute_command("CLUSTER COUNTKEYSINSLOT", slot)
            found.update(slot for slot, keys in zip(others, pipe.execute(), strict=True) if keys)
    return sorted(found)


def _close(slot: int, primaries: Mapping[str, Redis], home: Member, goal: Member) -> None:
    """Gather the keys of a slot at one primary, and make it the owner. `primaries` are given by their ids."""
    owner, final = primaries[home.identity], primaries[goal.identity]
    if final is owner:
        set_slots(owner, [slot], "STABLE")
    else:
        set_slots(final, [slot], "IMPORTING", home.identity)
    for identity, other in primaries.items():
        if identity not in {home.identity, goal.identity}:
            if _has_keys(other, slot):
                # A node serves MIGRATE for a slot of another one only while it imports it.
                set_slots(other, [slot], "IMPORTING", home.identity)
                _migrate_keys(other, final, goal, [slot], replace=False)
            set_slots(other, [slot], "STABLE")
    if final is not owner:
        move_key_by_key([slot], owner, final)
    left = [address(node) for node in primaries.values() if node is not final and _has_keys(node, slot)]
    if left:
        raise ClusterError(f"keys of slot {slot} are left at {', '.join(left)}: call it again")


def open_slots(nodes: Sequence[Redis]) -> list[str]:
    """Return a line for each primary with open slots, and for each replica with others than its primary; [] if none.

    Valkey's replicas repeat the open slots of their primary. A replica that was away when a migration ended may keep
    the slot open (valkey-io/valkey#1664): a failover opens it again.

    Raises:
        redis.exceptions.RedisError: a node does not answer.
    """
    seen = {member.identity: member for member in map(itself, nodes)}
    found = []
    for member in seen.values():
        primary = seen.get(member.primary) if member.primary else None
        if member.primary and not primary:
            continue
        for verb, slots, known in (
            ("gives away", member.leaving, primary and primary.leaving),
            ("takes", member.arriving, primary and primary.arriving),
        ):
            own = slots.keys() - (known or {}).keys()
            ranges = ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in as_ranges(own))
            missed = ", unlike its primary" if primary else ""
            found += [f"{member.address} {verb} {ranges}{missed}"] if own else []
    return found
