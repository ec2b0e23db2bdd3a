"""The sentences about a cluster that is ready for the death of a primary, and one that is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import parsers, then, when

from fixtures.redis_cluster.faults import UNREADY, Cast
from fixtures.redis_cluster.nodes import clients_of
from redis_practices.polling import eventually
from redis_practices.redis_cluster.failover import why_not_failover_ready
from steps.common.vocabulary import TYPES, Duration

if TYPE_CHECKING:
    from fixtures.stacks.protocols import Cluster


def _reasons(cluster: Cluster) -> list[str]:
    """Ask all nodes."""
    with clients_of(cluster.nodes, socket_timeout=0.5) as clients:
        return why_not_failover_ready(clients)


@then(parsers.cfparse("within {limit:Duration} nothing stands in the way of a failover", extra_types=TYPES))
def check_ready(cluster: Cluster, limit: Duration) -> None:
    """Require that no reason is left."""

    def ready() -> None:
        """Look for reasons."""
        assert not (reasons := _reasons(cluster)), "; ".join(reasons)

    eventually(ready, within=limit.seconds())


@when(parsers.cfparse('this becomes true of the replica of "{key}": {defect}'))
def spoil(cast: Cast, key_prefix: str, key: str, defect: str) -> None:
    """Do to a healthy cluster what it is not ready for."""
    assert defect in UNREADY, f"known are {', '.join(UNREADY)}"
    cast.name("replica", key_prefix + key)
    UNREADY[defect](cast)


@then(parsers.cfparse('within {limit:Duration} "{reason}" is named as what stands in the way', extra_types=TYPES))
def name_reason(cluster: Cluster, limit: Duration, reason: str) -> None:
    """Require a reason that says so."""

    def named() -> None:
        """Look for the reason."""
        reasons = _reasons(cluster)
        assert any(reason in said for said in reasons), f"the reasons are: {'; '.join(reasons) or 'none'}"

    eventually(named, within=limit.seconds())


@then("the nodes that answer say that the cluster is well")
def check_state(cast: Cast) -> None:
    """Require cluster_state:ok of everyone."""
    with clients_of(cast.present()) as clients:
        states = {client.execute_command("CLUSTER INFO")["cluster_state"] for client in clients}
    assert states == {"ok"}, f"they say {states}"
