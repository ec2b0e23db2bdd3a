"""The sentences about moves of slots that fail, and refuse to begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import parsers, then, when

from fixtures.redis_cluster.faults import Cast, held_move
from fixtures.redis_cluster.nodes import empty_node, node_at, ranges
from redis_practices.polling import eventually
from steps.common.vocabulary import rows
from steps.redis_cluster.cluster_scaling import TYPES, Move, try_move

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fixtures.stacks.protocols import Cluster, Private


@when(parsers.cfparse("they are to move {way:Way} to a primary without memory", extra_types=TYPES))
def move_to_full(cluster: Cluster, move: Move, way: str) -> None:
    """Give the target less memory than it uses, and try."""
    with move.target.client() as client:
        before = client.config_get("maxmemory")["maxmemory"] or "0"
        client.config_set("maxmemory", 1)
        try_move(cluster, move, way)
        client.config_set("maxmemory", before)


@when(parsers.cfparse("they are to move {way:Way} to another primary", extra_types=TYPES))
def move_anyway(cluster: Cluster, move: Move, way: str) -> None:
    """Try."""
    try_move(cluster, move, way)


@then("to move them is refused")
def check_refusals(cluster: Cluster, private: Private, move: Move, datatable: Sequence[Sequence[str]]) -> None:
    """Try each move of the table, and hold its error against the words there."""
    replica = next(held.replicas[0] for held in ranges(cluster) if held.primary == move.source.address)
    senseless = {
        "to a node of no cluster": (move.source, empty_node(private, cluster)),
        "to a replica": (move.source, node_at(cluster, replica)),
        "from a primary that does not own them": (move.target, move.source),
    }
    for row in rows(datatable, ("HOW", "REASON")):
        source, target = senseless[row["HOW"]]
        attempt = Move(move.slots, source, target)
        try_move(cluster, attempt, "live")
        check_refusal(attempt, row["REASON"])


@when("they begin to move at one stroke while one side hangs, and the move is cancelled")
def cancel_move(move: Move) -> None:
    """Cancel a move while it waits for the other side."""
    with held_move(move.source, move.target, move.slots) as held:
        held.cancel()
        assert held.state() in ("cancelled", "canceled"), held.state()


@when("they begin to move at one stroke while one side hangs, and the target is killed")
def kill_target(cast: Cast, move: Move) -> None:
    """Kill the target of a move that waits."""
    with held_move(move.source, move.target, move.slots) as held:
        move.target.kill()
        cast.away.append(move.target)
        if held.pushed:  # a target that pulls takes along what it knew of the move
            eventually(lambda: held.state() == "failed", within=10.0)


@then(parsers.cfparse('that fails with "{reason}"'))
def check_refusal(move: Move, reason: str) -> None:
    """Require an error that names the cause."""
    assert move.error, "the slots moved"
    assert reason in str(move.error), f"the error does not name the cause: {move.error}"
