"""The sentences about the transport that takes, notes and acknowledges in one round trip."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, then, when

from redis_practices.celery_worker.sending import send_many
from steps.celery_worker.celery_outbox import idle
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.celery_worker.client import Sent
    from fixtures.celery_worker.workers import Application
    from fixtures.reporting.measurements import Bound
    from fixtures.stacks.protocols import Broker

MOST_LOOKS = 6_000
"""Looks, each at least 10 ms after the last, after which tasks that are not done count as stuck."""

MOST_MOMENTS = 100_000
"""The same for counts of everything, which cost about a millisecond each."""

# All at one moment: how many tasks wait, are noted, and have run (each run leaves a key).
COUNT = """
return redis.call('LLEN', KEYS[1]) + redis.call('HLEN', KEYS[2]) + #redis.call('KEYS', ARGV[1])
"""


@given("a worker beside it with kombu's transport")
def start_ordinary(application: Application) -> None:
    """Start a second worker of the application with the transport that Celery has."""
    application.settings = {**application.settings, "BROKER_TRANSPORT": "redis"}
    application.start_worker()


@when("the server forgets its scripts")
def forget_scripts(broker: Broker) -> None:
    """Do what a restart does to scripts (``SCRIPT FLUSH``)."""
    with broker.client() as client:
        client.script_flush()


@when(
    parsers.cfparse("{number:Count} tasks are sent in batches, and all are done", extra_types=TYPES),
    target_fixture="requests",
)
def send_and_wait(application: Application, sent: Sent, number: int) -> float:
    """Send tasks that do next to nothing, and return how many requests for each the server read, without our looks."""
    with application.broker.client() as client:
        before = client.info("stats")["total_reads_processed"]
        send_many(sent.app, "worker.add", [[4, 8]] * number)
        looks = 0
        while not idle(client, application):
            looks += 1
            assert looks < MOST_LOOKS, f"it does not get on: {client.llen(f'{application.prefix}celery')} tasks wait"
            time.sleep(0.01)
        asked: int = client.info("stats")["total_reads_processed"] - before
    return (asked - looks) / number


@then(parsers.cfparse("the broker was asked {bound:Bound} times for each of them", extra_types=TYPES))
def check_requests(requests: float, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the requests for each task against a bound."""
    measure("requests for each task", unit="", bound=bound, seen=round(requests, 2))


@then(
    parsers.cfparse(
        "at {moments:Count} or more moments of {number:Count} tasks, each waits, is noted or has run",
        extra_types=TYPES,
    )
)
def check_moments(
    application: Application, sent: Sent, moments: int, number: int, measure: Callable[..., None]
) -> None:
    """Send tasks and count them again and again until all are done; a killed worker leaves what one moment shows."""
    prefix = application.prefix
    seen: list[int] = []
    with application.broker.client() as client:
        count = client.register_script(COUNT)
        send_many(sent.app, "worker.stamp", [[]] * number)
        while not idle(client, application):
            assert len(seen) < MOST_MOMENTS, f"it does not get on: {client.llen(f'{prefix}celery')} tasks wait"
            seen.append(int(count([f"{prefix}celery", f"{prefix}unacked"], [f"{prefix}runs:*"])))
    measure("moments", unit="", bound=TYPES["Bound"](f"at least {moments}"), seen=len(seen))
    measure("tasks in the fewest", unit="", bound=TYPES["Bound"](f"at least {number}"), seen=min(seen))
