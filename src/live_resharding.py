"""Move slots key by key while clients are served, as every server since 3.0 can."""

from __future__ import annotations

from collections.abc import Sequence

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from cluster_admin import ClusterError
from cluster_members import Member, address, itself, known_to

AT_ONCE = 32
"""Slots that are open at a time: their commands share round trips, and a failure leaves no more than these to close."""

KEYS_AT_ONCE = 100
"""Keys of one ``MIGRATE``: the source answers nobody else until they have moved."""

TIMEOUT = 5.0
"""Seconds that one ``MIGRATE`` may wait for the target."""


def move_live(slots: Sequence[int], source: Redis, target: Redis, others: Sequence[Redis]) -> None:
    """Move slots with their keys, ttls included, from one primary to another, and tell the `others` that are primaries.

    Whatever has moved already, clients are sent for to the target (``ASK``). Commands, for `AT_ONCE` slots at a time:
    ``CLUSTER SETSLOT`` IMPORTING and MIGRATING, ``CLUSTER GETKEYSINSLOT`` and ``MIGRATE`` until they are empty,
    ``CLUSTER SETSLOT`` NODE, at the target first: if this ends in between, no slot is without an owner.

    Raises:
        ClusterError: the target does not take the keys, for instance for lack of memory; the slots that were open then
            are closed again and stay with the source, earlier ones stay with the target. Or it cannot be closed, as
            when the target is dead: `slot_repair.close_open_slots` does that later.
    """
    there, here = known_to(source, target), itself(source)
    for start in range(0, len(slots), AT_ONCE):
        batch = slots[start : start + AT_ONCE]
        try:
            set_slots(target, batch, "IMPORTING", here.identity)
            set_slots(source, batch, "MIGRATING", there.identity)
            _carry(source, target, there, batch)
        except RedisError as error:
            _give_back(source, target, here, batch, error)
        hand_over(batch, there.identity, target, [source, *others])


def set_slots(node: Redis, slots: Sequence[int], *state: str) -> None:
    """Say something of each slot to one node (``CLUSTER SETSLOT``).

    Raises:
        redis.exceptions.RedisError: it does not answer or refuses.
    """
    with node.pipeline(transaction=False) as pipe:
        for slot in slots:
            pipe.execute_command("CLUSTER SETSLOT", slot, *state)
        pipe.execute()


def _carry(source: Redis, target: Redis, there: Member, slots: Sequence[int]) -> None:
    """Move all keys of the slots, a batch of each slot at a time (``CLUSTER GETKEYSINSLOT``, ``MIGRATE``)."""
    options = target.connection_pool.connection_kwargs
    password, user = options.get("password"), options.get("username") or "default"
    leave = ["AUTH2", user, password] if password else []
    while slots:
        with source.pipeline(transaction=False) as pipe:
            for slot in slots:
                pipe.execute_command("CLUSTER", "GETKEYSINSLOT", slot, KEYS_AT_ONCE)
            found = dict(zip(slots, pipe.execute(), strict=True))
            slots = [slot for slot in slots if found[slot]]
            for slot in slots:
                # REPLACE: of a key that a broken move left at both, the one at the source is what clients see.
                limit = round(TIMEOUT * 1000)
                pipe.execute_command("MIGRATE", *there.endpoint, "", 0, limit, "REPLACE", *leave, "KEYS", *found[slot])
            pipe.execute()


def hand_over(slots: Sequence[int], identity: str, target: Redis, others: Sequence[Redis]) -> None:
    """Make `target`, whose id is `identity`, the owner of slots without keys elsewhere (``CLUSTER SETSLOT`` NODE).

    Raises:
        redis.exceptions.RedisError: a primary does not answer or refuses.
    """
    set_slots(target, slots, "NODE", identity)
    for node in others:
        try:
            set_slots(node, slots, "NODE", identity)
        except ResponseError:
            # A node that lost its last slot follows the new owner at once; replicas hear from their primaries.
            if node.info("replication")["role"] == "master":
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
    _carry(other, owner, here, slots)
    set_slots(other, slots, "STABLE")
