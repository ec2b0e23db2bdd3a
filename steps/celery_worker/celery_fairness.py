"""The sentences about who does a task, when it begins, and how often."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pytest_bdd import parsers, then, when

from fixtures.stacks.external.key_cleanup import on_server
from redis_practices.celery_worker.sending import value_of
from redis_practices.polling import eventually
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.celery_worker.client import Sent
    from fixtures.celery_worker.workers import Waiting
    from fixtures.reporting.measurements import Bound
    from fixtures.stacks.protocols import Broker, Worker


@then("only the first was done by that worker")
def check_routed(sent: Sent, workers: list[Worker]) -> None:
    """Require that the first task was done by the worker and the others were not."""
    done_by = [value["worker"] for value in sent.values]
    mine = [name == workers[0].name for name in done_by]
    assert mine == [True] + [False] * (len(mine) - 1), f"they were done by {done_by}, the worker is {workers[0].name}"


@when(parsers.cfparse("the worker has taken {number:Count} of them", extra_types=TYPES))
def await_taken(broker: Broker, sent: Sent, number: int) -> None:
    """Wait until no more than the others are left in the queue."""
    left = len(sent.results) - number

    def taken() -> None:
        """Require it now."""
        with broker.client() as client:
            waiting = client.llen(on_server(sent.app.conf.task_default_queue))
        assert waiting == left, f"{waiting} of {len(sent.results)} wait in the queue, not {left}"

    eventually(taken, within=10.0)


@then(
    parsers.cfparse(
        "the last {number:Count} of them are done {bound:Bound} when an idle worker joins", extra_types=TYPES
    )
)
def check_last(sent: Sent, waiting: Waiting, number: int, bound: Bound, measure: Callable[..., None]) -> None:
    """Let the waiting worker serve their queue too, and measure how long the last tasks still take."""
    waiting.queue = sent.app.conf.task_default_queue  # that of the worker that is busy
    waiting.begin()
    begun = time.monotonic()
    for result in sent.results[-number:]:
        value_of(result, 30.0)
    measure("the last tasks done", unit="s", bound=bound, seen=round(time.monotonic() - begun, 3))


@then(parsers.cfparse("it begins {bound:Bound} after it was sent", extra_types=TYPES))
def check_begin(sent: Sent, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the time between sending the last task and its begin against a bound."""
    value = value_of(sent.results[-1], 30.0)
    measure("began after", unit="s", bound=bound, seen=round(value["begun"] - sent.called, 3))


@then(parsers.cfparse("they began at a rate of {bound:Bound} a second", extra_types=TYPES))
def check_rate(sent: Sent, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the rate at which the tasks began, from the first to the last, against a bound."""
    begun = sorted(value["begun"] for value in sent.values)
    rate = (len(begun) - 1) / (begun[-1] - begun[0])
    measure("rate", unit="1/s", bound=bound, seen=round(rate, 1))
