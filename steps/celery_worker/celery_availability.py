"""The sentences about brokers that are more than one server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from celery.exceptions import TimeoutError as NoResult
from kombu.exceptions import OperationalError
from pytest_bdd import given, parsers, then, when

from redis_practices.celery_worker.sending import check_broker, sender
from redis_practices.cli import Failure
from redis_practices.polling import seconds_until
from redis_practices.servers.binary import EmbeddedError
from redis_practices.servers.server import BROKER, NAME, sentinel_url
from steps.celery_worker.celery_tasks import send
from steps.common.vocabulary import TYPES, rows
from worker import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fixtures.celery_worker.client import Sent
    from fixtures.reporting.measurements import Bound
    from fixtures.stacks.protocols import Broker, Cluster, Private


@given(
    parsers.cfparse(
        "a broker of its own with a replica and {number:Count} sentinels, and a worker that asks them for it",
        extra_types=TYPES,
    ),
    target_fixture="broker",
)
def have_sentinels(private: Private, number: int, monkeypatch: pytest.MonkeyPatch) -> Broker:
    """Have a broker whose primary is found by asking sentinels."""
    # The sender reads its settings in this process.
    monkeypatch.setenv("SENTINEL_PRIMARY", NAME)
    broker: Any = private.broker(workers=0, SENTINEL_PRIMARY=NAME, WORKER_POOL="solo")
    host, _, port = broker.node.address.rpartition(":")
    # A replica that has never been in sync cannot take over, so it need not wait for others to sync with it.
    broker.node.client().config_set("repl-diskless-sync-delay", 0)
    private.server({**BROKER, "replicaof": [host, port]})
    broker.url = sentinel_url(private.sentinels(broker.node, number))
    broker.start_worker()
    ready: Broker = broker
    return ready


@when("the broker's primary is killed")
def kill_primary(broker: Broker) -> None:
    """End the primary at once."""
    broker.node.kill()


@then(parsers.cfparse("a task that is sent until it succeeds is done {bound:Bound}", extra_types=TYPES))
def send_until_done(sent: Sent, bound: Bound, measure: Callable[..., None]) -> None:
    """Send again whenever sending fails or no result comes, and measure until one has come."""

    def done() -> None:
        """Send a task and take its result."""
        send(sent, "add", [4, 8])
        sent.results[-1].get(timeout=5.0)

    waited = seconds_until(done, give_up=40.0, also=(OperationalError, NoResult, RuntimeError))
    measure("a task is done again", unit="s", bound=bound, seen=round(waited, 2))


@given("a cluster of its own", target_fixture="cluster")
def have_cluster(private: Private) -> Cluster:
    """Have a cluster of three primaries."""
    return private.cluster(replicas=0)


@then(parsers.cfparse('asking it whether it can carry tasks says "{text}"'))
def check_said(cluster: Cluster, text: str) -> None:
    """Require that the check before sending refuses it."""
    with pytest.raises(Failure) as caught:
        check_broker(cluster.url)
    assert text in str(caught.value), f"it says: {caught.value}"


@then("a worker that is pointed at it ends, with one of these errors")
def check_worker_ends(private: Private, cluster: Cluster, datatable: Sequence[Sequence[str]]) -> None:
    """Require that Celery's own worker does not start on it."""
    broker: Any = private.broker(workers=0, WORKER_POOL="solo")
    broker.url = cluster.url
    with pytest.raises(EmbeddedError) as caught:
        broker.start_worker()
    errors = [row["ERROR"] for row in rows(datatable, ("ERROR",))]
    assert any(error in str(caught.value) for error in errors), f"it says: {caught.value}"


@then(parsers.cfparse("a sender that is pointed at it fails {bound:Bound}", extra_types=TYPES))
def check_sender_fails(cluster: Cluster, bound: Bound, measure: Callable[..., None]) -> None:
    """Require that Celery's own sender fails in time."""
    app = sender(settings(cluster.url, 2.0))
    begun = time.monotonic()
    with pytest.raises(OperationalError):
        app.send_task("worker.add", [4, 8])
    measure("failed after", unit="s", bound=bound, seen=round(time.monotonic() - begun, 3))
