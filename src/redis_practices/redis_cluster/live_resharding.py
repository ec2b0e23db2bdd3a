"""Move slots key by key while clients are served, as every server since 3.0 can."""

from __future__ import annotations

from collections.abc import Sequence

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from redis_practices.redis_cluster.cluster_members import Member, itself, known_to
from redis_practices.redis_cluster.formation import ClusterError, address

AT_ONCE = 128
"""Slots that are open at a time: their commands share round trips, and a failure leaves no more than these to close."""

KEYS_AT_ONCE = 100
"""Keys of one ``MIGRATE``: the source answers nobody else until they have moved."""

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
            when the target is dead: `slot_repair.close_open_slots` does that later.
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
                pipe.execute_command("CLUSTER", "GETKEYSINSLOT", slot, KEYS_AT_ONCE)
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


def _drop_copies(source: Redis, target: Redis, keys: Sequence[str]) -> None:
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
