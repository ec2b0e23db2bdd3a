"""Move slots from one primary to another: at one stroke where the server can, else key by key."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from redis import Redis
from redis.exceptions import ResponseError

from redis_practices.redis_cluster.cluster_members import as_ranges, itself, known_to, members
from redis_practices.redis_cluster.formation import ClusterError, address
from redis_practices.redis_cluster.live_resharding import move_live


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
            f"slot {opened[0]} was left open by an earlier move: slot_repair.close_open_slots repairs that"
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
    return [job if isinstance(job, dict) else dict(zip(job[::2], job[1::2], strict=True)) for job in answer]


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
        told = status if isinstance(status, dict) else dict(zip(status[::2], status[1::2], strict=True))
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
    while not done():
        if time.monotonic() > deadline:
            give_up()
            raise ClusterError(f"{address(node)} did not {what} in time")
        time.sleep(0.002)
