"""The sentences about what a near cache reads and holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import parsers, then
from redis.exceptions import RedisError

from fixtures.reporting.measurements import Bound
from redis_practices.polling import seconds_until
from steps.common.vocabulary import TYPES
from steps.pure_cache.cache_near import Near, hold_copy

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 50
"""Of reads, in which others may read as well."""


@then(parsers.cfparse("it holds {bound:Bound} values", extra_types=TYPES))
def check_size(near: Near, bound: Bound, measure: Callable[..., None]) -> None:
    """Count the copies."""
    measure("copies", unit="values", bound=bound, seen=len(near.cache))


@then(parsers.parse('{number:d} reads of "{key}" through it cost the server nothing'))
def check_free(near: Near, number: int, key: str, measure: Callable[..., None]) -> None:
    """Count the GETs that the server has seen of all its clients meanwhile.

    Others may use it too: reads that each cost one would do so in every round, so one round without is proof.
    """

    def cost() -> int:
        """Return what a round of reads cost."""
        before = near.other.info("commandstats")["cmdstat_get"]["calls"]
        got = {near.cache.get(near.prefix + key) for _ in range(number)}
        assert len(got) == 1, f"the reads gave {got}"
        return int(near.other.info("commandstats")["cmdstat_get"]["calls"] - before)

    costs = [cost()]
    while costs[-1] and len(costs) < ROUNDS:
        costs.append(cost())
    measure("commands of the reads", unit="commands", bound=Bound.at_most(0, "commands"), seen=min(costs))


@then(parsers.cfparse('the near cache reads "{value}" as "{key}" {bound:Bound}', extra_types=TYPES))
@then(parsers.cfparse('the near cache reads nothing as "{key}" {bound:Bound}', extra_types=TYPES))
def check_soon(near: Near, key: str, bound: Bound, measure: Callable[..., None], value: str | None = None) -> None:
    """Read until it is so; what the reads get meanwhile is the old value."""
    took = seconds_until(lambda: near.cache.get(near.prefix + key) == value, 10, also=(RedisError,))
    measure("seen by the near cache", unit="s", bound=bound, seen=round(took, 4))


@then(parsers.cfparse("the near cache has dropped everything {bound:Bound}", extra_types=TYPES))
def check_dropped(near: Near, bound: Bound, measure: Callable[..., None]) -> None:
    """Wait until nothing is held, without asking the server."""
    took = seconds_until(lambda: not near.cache.listening and len(near.cache) == 0, 10)
    measure("silence noticed", unit="s", bound=bound, seen=round(took, 3))


@then(parsers.cfparse("the near cache listens again {bound:Bound}", extra_types=TYPES))
def check_again(near: Near, bound: Bound, measure: Callable[..., None]) -> None:
    """Wait until it is told of changes again, and a copy is kept again."""
    took = seconds_until(lambda: near.cache.listening, 10)
    measure("heard again", unit="s", bound=bound, seen=round(took, 3))
    hold_copy(near, "again", "user:2")
