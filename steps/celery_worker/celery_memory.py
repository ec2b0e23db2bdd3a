"""The sentences about a broker's memory: what it evicts, what it refuses, what it keeps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from kombu.exceptions import OperationalError
from pytest_bdd import given, parsers, then, when
from redis.exceptions import OutOfMemoryError

from fixtures.celery_worker.client import runs_of
from redis_practices.servers.server import BROKER
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.celery_worker.client import Sent
    from fixtures.reporting.measurements import Bound
    from fixtures.stacks.protocols import Broker, Private

PAYLOAD = "x" * 10_000
"""What a task carries that fills a broker."""

ENOUGH = 1000
"""More of them than 8 MB hold."""


@given(
    parsers.cfparse(
        'a broker of its own with {size:Count} MB of memory, full, and the policy "{policy}"', extra_types=TYPES
    ),
    target_fixture="broker",
)
def have_full_broker(private: Private, size: int, policy: str) -> Broker:
    """Have a broker without workers that is as full as it gets, with 200 results among what fills it."""
    broker = private.broker({"maxmemory": f"{size}mb", "maxmemory-policy": policy}, workers=0)
    with broker.client() as client:
        for number in range(200):
            client.set(f"celery-task-meta-{number}", "result" * 100, ex=3600)
    return broker


@given(
    parsers.cfparse("a broker of its own with {size:Count} MB of memory and a worker", extra_types=TYPES),
    target_fixture="broker",
)
def have_small_broker(private: Private, size: int) -> Broker:
    """Have a broker that will be full soon."""
    return private.broker({**BROKER, "maxmemory": f"{size}mb"}, workers=1, WORKER_POOL="solo")


@when("others fill the broker")
def fill_broker(broker: Broker) -> None:
    """Fill what is left of the broker's memory, in moments: the worker is to have tasks left when it is full."""
    with broker.client() as client:
        for _ in range(ENOUGH):
            try:
                client.rpush("others", b"-" * 2**16)
            except OutOfMemoryError:
                return
    raise AssertionError("it never was full")


@when(parsers.cfparse("the broker has {size:Count} MB of memory", extra_types=TYPES))
def resize(broker: Broker, size: int) -> None:
    """Give the broker more memory while it runs."""
    with broker.client() as client:
        client.config_set("maxmemory", f"{size}mb")


def fill(broker: Broker, sent: Sent) -> int:
    """Send tasks that nobody does, until the broker refuses one; return how many it took."""
    for number in range(ENOUGH):
        try:
            sent.app.send_task("worker.add", [PAYLOAD], queue=broker.queue, ignore_result=True)
        except OperationalError:
            return number
        except AttributeError:
            # What a queue is bound to is a key too, and may be evicted: kombu 5.7 then gives up its channel in the
            # middle of sending, and stumbles over that.
            return number
    return ENOUGH


@then(parsers.cfparse("{bound:Bound} of the tasks that it took are gone", extra_types=TYPES))
def check_gone(broker: Broker, sent: Sent, bound: Bound, measure: Callable[..., None]) -> None:
    """Send until it is full, count what is there, and hold the share that is not against a bound."""
    taken = fill(broker, sent)
    with broker.client() as client:
        there = client.llen(broker.queue)
    measure("tasks gone", unit="%", bound=bound, seen=round(100 * (taken - there) / taken, 1))


@then(parsers.cfparse('sending one more fails {bound:Bound} with "{message}"', extra_types=TYPES))
def check_refused(sent: Sent, bound: Bound, message: str, measure: Callable[..., None]) -> None:
    """Require that the sender is told, and in time."""
    begun = time.monotonic()
    with pytest.raises(OperationalError, match=message):
        sent.app.send_task("worker.add", [PAYLOAD])
    measure("refused after", unit="s", bound=bound, seen=round(time.monotonic() - begun, 3))


@then(parsers.cfparse("{bound:Bound} of the {number:Count} tasks before it never ran", extra_types=TYPES))
def check_never_ran(broker: Broker, sent: Sent, bound: Bound, number: int, measure: Callable[..., None]) -> None:
    """Count the first tasks that did not run, although one that was sent after them did."""
    lost = [result for result in sent.results[:number] if not runs_of(broker, result)]
    measure("tasks lost", unit="", bound=bound, seen=len(lost))
