"""The sentence about whatever may happen to tasks and their worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, then

from fixtures.celery_worker.state_machine import TaskMachine, Workshop
from fixtures.stateful import try_histories
from steps.celery_worker.celery_application import SWEEP
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fixtures.celery_worker.client import Sent
    from fixtures.stacks.protocols import Broker, Private


@given("a broker of its own with a worker that remembers and delivers again after 1 second", target_fixture="broker")
def have_remembering_broker(private: Private, tmp_path: Path) -> Broker:
    """Have a worker that does one task at a time and keeps what was revoked in a file."""
    settings = {"STATE_DB": str(tmp_path / "state"), "VISIBILITY_TIMEOUT": "1", "WORKER_POOL": "solo", **SWEEP}
    return private.broker(None, workers=1, **settings)


@then(
    parsers.cfparse(
        "in {number:Count} histories of up to {steps:Count} events every task runs as often as it should",
        extra_types=TYPES,
    )
)
def try_histories_of_tasks(broker: Broker, sent: Sent, number: int, steps: int, measure: Callable[..., None]) -> None:
    """Let Hypothesis look for an order of events after which a task has run more or less often than it should."""
    workshop = Workshop(broker, sent.app)
    try_histories(lambda: TaskMachine(workshop), number, steps, workshop.failures)
    for what, times in sorted(workshop.done.items()):
        measure(what, unit="", seen=times)
