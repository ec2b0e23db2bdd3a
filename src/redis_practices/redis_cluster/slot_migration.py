"""Move slots between primaries while clients are served, and close what a broken move left open.

`move_slots` moves atomically where the server can (Valkey 9, Redis 8.4), else key by key (`move_live`), as every server
since 3.0 can. `close_open_slots` repairs slots that a move left open: some of their keys answer ``ASK`` for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from redis import Redis
from redis.client import NEVER_DECODE
from redis.exceptions import RedisError, ResponseError

from redis_practices.polling import poll
from redis_practices.redis_cluster.topology import (
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
"""Slots that are open at a time: their commands share round trips, and a failure leaves no more than these to close."""

KEYS_AT_ONCE = 100
"""Keys of one ``MIGRATE``: the source answers nobody else until they have moved."""

RAW: dict[str, Any] = {NEVER_DECODE: True}
"""Option of a command that answers with names of keys: they are bytes."""

TIMEOUT = 5.0
"""Seconds that one ``MIGRATE`` may wait for the target."""


def move_live(slots: Sequence[int], source: Redis, target: Redis) -> None:
    """Move slots with their keys, ttls included, from one primary to another.

    Whatever has moved already, clients are sent for to the target (``ASK``). Commands, for `AT_ONCE` slots at a time:
    ``CLUSTER SETSLOT`` IMPORTING and MIGRATING, ``CLUSTER GETKEYSINSLOT`` and ``MIGRATE`` until they are empty,
    ``CLUSTER SETSLOT`` NODE, at the target first: if this ends in between, no slot is without an owner. All other nodes
    hear of it from the target.

    Raises:
        ClusterError: the target does not take the keys, for instance for lack of memory; the slots that were open then
            are closed again and stay with the source, earlier ones stay with the target. Or it cannot be closed, as
            when the target is dead: `slot_migration.close_open_slots` does that later.
    """
    there, here = known_to(source, target), itself(source)
    for start in range(0, len(slots), AT_ONCE):
        batch = slots[start : start + AT_ONCE]
        try:
            set_slots(target, batch, "IMPORTING", here.identity)
            set_slots(source, batch, "MIGRATING", there.identity)
            # Of a key that an earlier, broken move left at both, clients see the one at the source.
            _carry(source, target, there, batch, replace=True)
        except RedisError as error:
            _give_back(source, target, here, batch, error)
        _hand_over(source, target, there.identity, batch)


def set_slots(node: Redis, slots: Sequence[int], *state: str) -> None:
    """Say something of each slot to one node (``CLUSTER SETSLOT``).

    Raises:
        redis.exceptions.RedisError: it does not answer or refuses.
    """
    with node.pipeline(transaction=False) as pipe:
        for slot in slots:
            pipe.execute_command("CLUSTER SETSLOT", slot, *state)
        pipe.execute()


def _carry(source: Redis, target: Redis, there: Member, slots: Sequence[int], *, replace: bool) -> None:
    """Move all keys of the slots, a batch of each slot at a time (``CLUSTER GETKEYSINSLOT``, ``MIGRATE``).

    Of a key that is at both nodes, the copy of the source stays if `replace`, else that of the target.
    """
    options = target.connection_pool.connection_kwargs
    password, user = options.get("password"), options.get("username") or "default"
    rules = [*(["REPLACE"] if replace else []), *(["AUTH2", user, password] if password else [])]
    while slots:
        with source.pipeline(transaction=False) as pipe:
            for slot in slots:
                pipe.execute_command("CLUSTER", "GETKEYSINSLOT", slot, KEYS_AT_ONCE, **RAW)
            found = dict(zip(slots, pipe.execute(), strict=True))
            slots = [slot for slot in slots if found[slot]]
            for slot in slots:
                pipe.execute_command(
                    "MIGRATE", *there.endpoint, "", 0, round(TIMEOUT * 1000), *rules, "KEYS", *found[slot]
                )
            errors = [said for said in pipe.execute(raise_on_error=False) if isinstance(said, RedisError)]
        if errors and all("BUSYKEY" in str(error) for error in errors):
            _drop_copies(source, target, [key for slot in slots for key in found[slot]])
        elif errors:
            raise errors[0]


def _drop_copies(source: Redis, target: Redis, keys: Sequence[bytes]) -> None:
    """Delete at the source, which imports their slot, the keys that the target has."""
    with target.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.exists(key)
        doubled = [key for key, there in zip(keys, pipe.execute(), strict=True) if there]
    with source.pipeline(transaction=False) as pipe:
        for key in doubled:
            pipe.execute_command("ASKING")
            pipe.delete(key)
        pipe.execute()


def _hand_over(source: Redis, target: Redis, identity: str, slots: Sequence[int]) -> None:
    """Make the target, known by `identity`, the owner of slots that are empty elsewhere (``CLUSTER SETSLOT`` NODE)."""
    set_slots(target, slots, "NODE", identity)
    try:
        set_slots(source, slots, "NODE", identity)
    except ResponseError:
        # A node that hears of the loss of its last slot follows the new owner at once, and has nothing to be told.
        if source.info("replication")["role"] == "master":
            raise


def _give_back(source: Redis, target: Redis, here: Member, slots: Sequence[int], error: RedisError) -> None:
    """Undo a move that failed, and raise the ClusterError that tells of it."""
    what = f"slots {slots[0]} to {slots[-1]} did not move from {address(source)} to {address(target)}"
    try:
        take_back(source, target, here, slots)
    except RedisError as second:
        raise ClusterError(
            f"{what} and are left open, close_open_slots repairs them: {error}; then {second}"
        ) from error
    hint = "it has no memory left" if "OOM" in str(error) else "it refused"
    raise ClusterError(f"{what}: {hint}, and all is at the source as before: {error}") from error


def take_back(owner: Redis, other: Redis, here: Member, slots: Sequence[int]) -> None:
    """Return to the owner what has gone ahead to the other node, and close the slots at both.

    `here` is the owner as itself says. Commands: ``CLUSTER SETSLOT`` STABLE and ``MIGRATE``.

    Raises:
        redis.exceptions.RedisError: a node does not answer or refuses.
    """
    # The owner first: one that still gives a slot away refuses keys that it does not have.
    set_slots(owner, slots, "STABLE")
    _carry(other, owner, here, slots, replace=False)
    set_slots(other, slots, "STABLE")


def atomic_interface(node: Redis) -> Literal["MIGRATESLOTS", "MIGRATION"] | None:
    """Return the command by which a server moves slots at one stroke, or None (``COMMAND INFO``).

    ``CLUSTER MIGRATESLOTS`` since Valkey 9.0, ``CLUSTER MIGRATION`` since Redis 8.4.

    Raises:
        redis.exceptions.RedisError: the node does not answer.
    """
    names: tuple[Literal["MIGRATESLOTS", "MIGRATION"], ...] = ("MIGRATESLOTS", "MIGRATION")
    # In one word: redis-py's reading of the answer to "COMMAND" does not expect a command that is unknown.
    answer = node.execute_command("COMMAND INFO", *(f"CLUSTER|{name}" for name in names))
    return next((name for name, known in zip(names, answer, strict=True) if known), None)


def move_slots(  # noqa: PLR0913 - what, from where, to where, who shall know, how
    slots: Iterable[int],
    source: Redis,
    target: Redis,
    nodes: Sequence[Redis],
    *,
    live: bool = False,
    timeout: float = 60.0,
) -> None:
    """Move slots with their keys from one primary to another, and return when all `nodes` of the cluster know.

    At one stroke where the server can (`atomic_interface`): the keys are copied, then all slots change hands together,
    or, when anything fails, none does. Else, or with `live`, key by key as `move_live` tells. `timeout` is in seconds.

    Raises:
        ClusterError: the two do not know each other, the source does not own the slots or has them open, the target
            has no memory, or the time is up. At one stroke nothing has moved then.
        redis.exceptions.RedisError: a node does not answer.
    """
    wanted = sorted(set(slots))
    if not wanted:
        return
    there = known_to(source, target)
    _check(wanted, source, target)
    deadline = time.monotonic() + timeout
    interface = None if live else atomic_interface(source)
    if interface == "MIGRATESLOTS":
        _migrate_from(source, target, there.identity, wanted, deadline)
    elif interface == "MIGRATION":
        _import_into(target, wanted, deadline)
    else:
        move_live(wanted, source, target)
    for node in nodes:
        _await(lambda node=node: _owns(node, there.identity, wanted), deadline, node, "hear of it")  # type: ignore[misc]


def _owns(node: Redis, identity: str, slots: Sequence[int]) -> bool:
    """Tell whether a node takes another for the owner of all these slots."""
    owner = members(node).get(identity)
    return owner is not None and owner.slots.issuperset(slots)


def _check(slots: Sequence[int], source: Redis, target: Redis) -> None:
    """Refuse what the server would refuse in words that do not say what to do (ClusterError)."""
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
    """Let the source push its slots (``CLUSTER MIGRATESLOTS``, ``CLUSTER GETSLOTMIGRATIONS``)."""
    before = {job["name"] for job in _jobs(source)}
    ranges = [edge for pair in as_ranges(slots) for edge in pair]
    _ask(source, "CLUSTER MIGRATESLOTS", "SLOTSRANGE", *ranges, "NODE", identity)
    name = next(job["name"] for job in _jobs(source) if job["name"] not in before)

    def done() -> bool:
        """Look at the job."""
        job = next(job for job in _jobs(source) if job["name"] == name)
        if job["state"] in ("failed", "cancelled"):
            said = [other["message"] for other in _jobs(target) if other["name"] == name and other["message"]]
            reason = "; ".join([*said, job["message"]]) or "somebody cancelled it"
            raise ClusterError(f"{address(source)} keeps its slots, the move {job['state']}: {reason}")
        return bool(job["state"] == "success")

    _await(done, deadline, source, "move its slots", lambda: source.execute_command("CLUSTER CANCELSLOTMIGRATIONS"))


def _jobs(node: Redis) -> list[dict[str, Any]]:
    """Return a node's atomic moves, whatever shape the protocol gives them (``CLUSTER GETSLOTMIGRATIONS``)."""
    answer = node.execute_command("CLUSTER", "GETSLOTMIGRATIONS")
    return [by_name(job) for job in answer]


def _import_into(target: Redis, slots: Sequence[int], deadline: float) -> None:
    """Let the target pull the slots (``CLUSTER MIGRATION`` IMPORT and STATUS).

    Redis 8.6 pulls beyond the target's limit of memory, after which every write to it is refused: that is asked before.
    """
    memory = target.info("memory")
    if memory["maxmemory_policy"] == "noeviction" and 0 < memory["maxmemory"] <= memory["used_memory"]:
        used = f"{memory['used_memory']} of {memory['maxmemory']} bytes are in use"
        raise ClusterError(f"{address(target)} has no memory left for more slots: {used}")
    task = _ask(target, "CLUSTER MIGRATION", "IMPORT", *(edge for pair in as_ranges(slots) for edge in pair))

    def done() -> bool:
        """Look at the task."""
        [status] = target.execute_command("CLUSTER MIGRATION", "STATUS", "ID", task)
        told = by_name(status)
        if told["state"] in ("failed", "canceled"):
            raise ClusterError(f"{address(target)} did not get the slots, {told['state']}: {told.get('last_error')}")
        return bool(told["state"] == "completed")

    _await(done, deadline, target, "get its slots", lambda: _ask(target, "CLUSTER MIGRATION", "CANCEL", "ID", task))


def _ask(node: Redis, *command: str | int) -> Any:
    """Send a command, and tell of a refusal as a ClusterError."""
    try:
        return node.execute_command(*command)
    except ResponseError as error:
        raise ClusterError(f"{address(node)} refuses to move slots: {error}") from error


def _await(
    done: Callable[[], bool], deadline: float, node: Redis, what: str, give_up: Callable[[], object] = lambda: None
) -> None:
    """Return when `done` says so; when the deadline has passed, give up and raise ClusterError."""
    if not poll(done, deadline - time.monotonic(), every=0.002):
        give_up()
        raise ClusterError(f"{address(node)} did not {what} in time")


def close_open_slots(nodes: Sequence[Redis]) -> list[int]:
    """Close every slot that a broken move left open, and return them in order.

    A slot that its owner gives away goes where it was on its way to, if that node is there; of any other the keys come
    together at its owner, whose copy counts where there are two. Commands: those of `move_live`.

    Raises:
        ClusterError: a slot has no owner, so nobody can say where it belongs.
        redis.exceptions.RedisError: a node does not answer or refuses.
    """
    known = by_identity(nodes)
    # Replicas of Valkey repeat what their primaries say of slots on their way.
    seen = {identity: member for identity, node in known.items() if not (member := itself(node)).primary}
    owners = {slot: identity for identity, member in seen.items() for slot in member.slots}
    closed: set[int] = set()
    for identity, member in seen.items():
        for slot, other in sorted(member.leaving.items()):
            closed.add(slot)
            if other in seen:
                move_live([slot], known[identity], known[other])
            else:
                set_slots(known[identity], [slot], "STABLE")
    for identity, member in seen.items():
        for slot in sorted(set(member.arriving) - closed):
            if slot not in owners:
                raise ClusterError(f"slot {slot} is open at {member.address} and has no owner: give it one first")
            take_back(known[owners[slot]], known[identity], seen[owners[slot]], [slot])
            closed.add(slot)
    return sorted(closed)


def open_slots(nodes: Sequence[Redis]) -> list[str]:
    """Return a line for each primary with slots on their way, or nothing when there are none.

    Raises:
        redis.exceptions.RedisError: a node does not answer.
    """
    found = []
    for member in (member for member in map(itself, nodes) if not member.primary):
        for verb, slots in (("gives away", member.leaving), ("takes", member.arriving)):
            ranges = ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in as_ranges(slots))
            found += [f"{member.address} {verb} {ranges}"] if slots else []
    return found
