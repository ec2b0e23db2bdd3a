"""The sentences about tasks that fail, are refused, or are none at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from pytest_bdd import parsers, then, when

from fixtures.celery_worker.client import Sent, runs_of
from fixtures.reporting.measurements import Bound
from fixtures.stacks.protocols import Broker, Worker
from redis_practices.celery_worker.sending import value_of
from redis_practices.polling import eventually
from steps.common.vocabulary import TYPES, Duration, rows


@then(parsers.cfparse('it fails with "{error}" {bound:Bound}', extra_types=TYPES))
def check_error(sent: Sent, error: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Require that waiting for the last task raises an error, as ``Kind: message``."""
    begun = time.monotonic()
    with pytest.raises(Exception) as caught:  # noqa: PT011 - kind and message are compared below
        value_of(sent.results[-1], 30.0)
    seen = f"{type(caught.value).__name__}: {caught.value}"
    assert seen == error, f"it failed with {seen!r}, not {error!r}"
    measure("error back", unit="s", bound=bound, seen=round(time.monotonic() - begun, 3))


@then(parsers.cfparse('its traceback names "{line}"'))
def check_traceback(sent: Sent, line: str) -> None:
    """Require a line of code in the traceback that the result carries."""
    assert line in sent.results[-1].traceback, f"the traceback is\n{sent.results[-1].traceback}"


@then(parsers.cfparse("it ran {number:Count} times within {duration:Duration}", extra_types=TYPES))
def check_runs(broker: Broker, sent: Sent, number: int, duration: Duration) -> None:
    """Require how often the last task ran."""

    def ran() -> None:
        """Require it now."""
        assert len(runs_of(broker, sent.results[-1])) == number

    eventually(ran, within=duration.seconds())


@when(parsers.cfparse("the first task has begun within {duration:Duration}", extra_types=TYPES))
def await_begun(broker: Broker, sent: Sent, duration: Duration) -> None:
    """Wait until the first task runs: what a worker has only fetched, it may return."""
    eventually(lambda: runs_of(broker, sent.results[0]), within=duration.seconds())


@then(parsers.cfparse("the first task ran {number:Count} times", extra_types=TYPES))
def check_first_runs(broker: Broker, sent: Sent, number: int) -> None:
    """Require how often the first task ran, now that one after it is done."""
    runs = runs_of(broker, sent.results[0])
    assert len(runs) == number, f"it ran {len(runs)} times"


@then("it ran again after these waits")
def check_waits(broker: Broker, sent: Sent, measure: Callable[..., None], datatable: Sequence[Sequence[str]]) -> None:
    """Hold the time between one run of the last task and the next against a bound a row."""
    runs = runs_of(broker, sent.results[-1])
    waits = [after - before for before, after in pairwise(runs)]
    wanted = [TYPES["Bound"](row["WAIT"]) for row in rows(datatable, ("WAIT",))]
    assert len(waits) == len(wanted), f"it ran again {len(waits)} times, after {waits} s, not {len(wanted)} times"
    for number, (bound, seen) in enumerate(zip(wanted, waits, strict=True), start=1):
        measure(f"wait before retry {number}", unit="s", bound=bound, seen=round(seen, 3))


@then(parsers.cfparse("{bound:Bound} of their retries ran in the busiest {window:Duration}", extra_types=TYPES))
def check_spread(broker: Broker, sent: Sent, bound: Bound, window: Duration, measure: Callable[..., None]) -> None:
    """Hold the largest share of retries that ran within any such time against its bound."""
    runs = [runs_of(broker, result) for result in sent.results]
    # As if all had failed at one moment: on a busy machine their first runs are a while apart.
    moments = [again - first for first, again in runs]
    busiest = max(sum(1 for other in moments if 0 <= other - one <= window.seconds()) for one in moments)
    measure("retries at once", unit="%", bound=bound, seen=round(100 * busiest / len(moments)))


@when(parsers.cfparse('"{text}" is put into the queue by hand'))
def put_by_hand(broker: Broker, text: str) -> None:
    """Write an element to the queue that no Celery made."""
    with broker.client() as client:
        client.lpush(broker.queue, text)


@then(parsers.cfparse("the worker ends with exit code {code:Count} {bound:Bound}", extra_types=TYPES))
def check_exit(broker: Broker, code: int, bound: Bound, measure: Callable[..., None]) -> None:
    """Wait for the end of the broker's first worker."""
    worker: Worker = broker.workers[0]
    begun = time.monotonic()
    assert worker.wait_end(30.0) == code
    measure("until the worker ended", unit="s", bound=bound, seen=round(time.monotonic() - begun, 3))
