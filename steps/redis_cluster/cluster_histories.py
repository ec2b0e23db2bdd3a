"""The sentence about whatever may happen to a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import parsers, then

from fixtures.redis_cluster.state_machine import ClusterMachine, Estate
from fixtures.stateful import try_histories
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.stacks.protocols import Cluster, Private


@then(
    parsers.cfparse(
        "in {number:Count} histories of up to {steps:Count} events every key reads as acknowledged",
        extra_types=TYPES,
    )
)
def try_histories_of_keys(
    cluster: Cluster, private: Private, number: int, steps: int, measure: Callable[..., None]
) -> None:
    """Let Hypothesis look for an order of events after which a key reads otherwise than it should."""
    estate = Estate(cluster, private)
    try_histories(lambda: ClusterMachine(estate), number, steps, estate.failures)
    for what, times in sorted(estate.done.items()):
        measure(what, unit="", seen=times)
