"""The sentences about a broker behind TLS."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from pytest_bdd import given, parsers, then, when

from fixtures.proxies.tls import TlsProxy
from fixtures.reporting.measurements import Bound
from fixtures.stacks.protocols import Broker
from redis_practices.celery_worker.sending import check_broker, sender
from redis_practices.cli import Failure
from steps.common.vocabulary import TYPES
from worker import settings


@given("a server of its own behind TLS")
def have_proxy(address: str) -> None:
    """Have a server that is reached through TLS."""
    assert address


@given("a broker of its own behind TLS", target_fixture="broker")
def have_tls_broker(plain_broker: Any, proxy: TlsProxy, address: str) -> Broker:
    """Have a worker and senders that reach their broker through TLS only."""
    # The URL is the same for tasks and results; Celery's results insist on ssl_cert_reqs.
    plain_broker.url = f"rediss://{address}/0?ssl_cert_reqs=required&ssl_ca_certs={proxy.ca_file}"
    plain_broker.start_worker()
    broker: Broker = plain_broker
    return broker


@then("every client of the broker came through TLS")
def check_clients(broker: Broker, proxy: TlsProxy) -> None:
    """Require that all connections are those of the proxy (``CLIENT LIST``), but for the one that asks."""
    with broker.client() as client:
        own = client.client_id()
        ports = {int(other["addr"].rpartition(":")[2]) for other in client.client_list() if int(other["id"]) != own}
    assert ports, "nobody is connected"
    assert ports <= proxy.upstream_ports, f"{len(ports - proxy.upstream_ports)} connections are not the proxy's"


@when(parsers.cfparse('a sender connects with {scheme} and "{options}"'), target_fixture="told")
def connect(proxy: TlsProxy, address: str, scheme: str, options: str) -> tuple[str, float]:
    """Send as ``send_task.py`` does, and return what the sender is told, and after how many seconds."""
    options = options.removeprefix("none").replace("CA", str(proxy.ca_file))
    url = f"{scheme}://{address}/0{options}"
    begun = time.monotonic()
    with pytest.raises((Failure, ValueError)) as caught:
        _send(url)
    return str(caught.value), time.monotonic() - begun


def _send(url: str) -> None:
    """Ask the broker, then send a task."""
    check_broker(url, timeout=4.0)
    sender(settings(url, 4.0)).send_task("worker.add", [4, 8])


@then(parsers.cfparse('it is told "{reason}" {bound:Bound}', extra_types=TYPES))
def check_told(told: tuple[str, float], reason: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Require the reason, and that it came in time."""
    message, seconds = told
    assert reason in message, f"it is told: {message}"
    measure("told after", unit="s", bound=bound, seen=round(seconds, 3))
