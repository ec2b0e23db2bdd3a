"""The sentences about tasks that are sent in batches."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

import pytest
from pytest_bdd import given, parsers, then, when

from fixtures.stacks.external.key_cleanup import on_server
from redis_practices.celery_worker.sending import send_many
from steps.celery_worker.celery_tasks import TASK_TYPES
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.celery_worker.client import Sent
    from fixtures.reporting.measurements import Bound
    from fixtures.stacks.protocols import Broker


@given("a queue of its own that nobody serves")
def have_queue(broker: Broker, sent: Sent, request: pytest.FixtureRequest) -> None:
    """Send what is sent to a queue that is deleted in the end."""
    queue = f"practices-{secrets.token_hex(6)}"
    sent.app.conf.task_default_queue = queue

    def clear() -> None:
        """Delete the queue."""
        with broker.client() as client:
            client.delete(on_server(queue))

    request.addfinalizer(clear)


@when(
    parsers.cfparse('{number:Count} tasks "{task}" are sent in batches with {given:Arguments}', extra_types=TASK_TYPES)
)
def send_in_batches(sent: Sent, number: int, task: str, given: list[object]) -> None:
    """Send the same task many times."""
    ids = send_many(sent.app, f"worker.{task}", [given] * number, store_results=True)
    sent.results.extend(sent.app.AsyncResult(identity) for identity in ids)


@when(
    parsers.cfparse("{number:Count} tasks are sent one by one, and {many:Count} in batches", extra_types=TYPES),
    target_fixture="costs",
)
def send_both_ways(sent: Sent, number: int, many: int) -> tuple[float, float]:
    """Return the processor seconds a task that each way takes."""
    begun = time.process_time()
    for _ in range(number):
        sent.app.send_task("worker.add", [4, 8], ignore_result=True)
    between = time.process_time()
    send_many(sent.app, "worker.add", [[4, 8]] * many)
    return (between - begun) / number, (time.process_time() - between) / many


@then(parsers.cfparse("those in batches took {bound:Bound} times less processor time", extra_types=TYPES))
def check_costs(costs: tuple[float, float], bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the ratio of the two against a bound."""
    measure("cost of one by one, in batches", unit="", bound=bound, seen=round(costs[0] / costs[1], 1))


@then(parsers.cfparse("{number:Count} tasks wait in the queue", extra_types=TYPES))
def check_length(broker: Broker, sent: Sent, number: int) -> None:
    """Require the length of the queue."""
    with broker.client() as client:
        seen = client.llen(on_server(sent.app.conf.task_default_queue))
    assert seen == number, f"{seen} tasks wait"
