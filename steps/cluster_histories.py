"""The sentence about whatever may happen to a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import parsers, then

from fixtures.cluster_estate import Estate
from steps.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.deployments import Cluster, Private


@then(
    parsers.cfparse(
        "in {number:Count} histories of up to {steps:Count} events every key reads as acknowledged",
        extra_types=TYPES,
    )
)
def try_histories(cluster: Cluster, private: Private, number: int, steps: int, measure: Callable[..., None]) -> None:
    """Let Hypothesis look for an order of events after which a key reads otherwise than it should."""
    # The machine takes 0.2 s to import: not in processes that do not run it.
    from hypothesis import HealthCheck, Phase, settings  # noqa: PLC0415 - the comment says it
    from hypothesis.stateful import run_state_machine_as_test  # noqa: PLC0415

    from fixtures.cluster_machine import ClusterMachine  # noqa: PLC0415

    estate = Estate(cluster, private)
    try:
        run_state_machine_as_test(
            lambda: ClusterMachine(estate),
            settings=settings(
                max_examples=number,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                phases=[Phase.generate],  # each history meets the cluster that others left: nothing to shrink
                suppress_health_check=[*HealthCheck],  # they judge the pace, which is that of a cluster
            ),
        )
    except Exception:
        if estate.failures:
            raise estate.failures[0] from None
        raise
    for what, times in sorted(estate.done.items()):
        measure(what, unit="", seen=times)
