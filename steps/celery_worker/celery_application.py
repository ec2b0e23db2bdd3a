"""The sentences about applications with keys of their own, and about the workers that serve them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from pytest_bdd import given, parsers, when

from fixtures.celery_worker.workers import Application
from fixtures.stacks.protocols import Worker
from steps.common.vocabulary import TYPES, Duration, rows

SWEEP = {"RESTORE_INTERVAL": "0.5", "RESTORE_THROTTLE": "1"}
"""How often workers look for what is to be delivered again, where a scenario does not say otherwise."""


@given(
    parsers.cfparse("a worker whose visibility timeout is {timeout:Duration}", extra_types=TYPES),
    target_fixture="workers",
)
def start_with_timeout(application: Application, timeout: Duration) -> list[Worker]:
    """Start the first worker of an application of its own; it does one task at a time."""
    return start_with_settings(application, timeout, [["SETTING", "VALUE"], ["WORKER_POOL", "solo"]])


@given(
    parsers.cfparse("a worker whose visibility timeout is {timeout:Duration}, with these settings", extra_types=TYPES),
    target_fixture="workers",
)
def start_with_settings(
    application: Application, timeout: Duration, datatable: Sequence[Sequence[str]]
) -> list[Worker]:
    """Start the first worker of an application of its own, with further settings of ``src/worker.py``."""
    further = {row["SETTING"]: row["VALUE"] for row in rows(datatable, ("SETTING", "VALUE"))}
    application.settings = {"VISIBILITY_TIMEOUT": str(timeout.seconds()), **SWEEP, **further}
    application.start_worker()
    return application.workers


@given("a second worker beside it")
@when("another worker starts beside it")
def start_another(application: Application) -> None:
    """Start one more worker with the same settings."""
    application.start_worker()


@when("the first worker is killed")
def kill_first(application: Application) -> None:
    """End the first worker with SIGKILL."""
    application.end_worker()


@given(parsers.cfparse("{number:Count} workers beside it", extra_types=TYPES))
def start_more(application: Application, number: int) -> None:
    """Start more workers of the same application."""
    with ThreadPoolExecutor(number) as pool:
        list(pool.map(lambda _: application.start_worker(), range(number)))


@when("the first worker is told to quit")
def quit_first(application: Application) -> None:
    """Ask the first worker for a cold shutdown."""
    application.workers[0].quit()


@when("all its workers are stopped, which lets them finish")
def stop_all(application: Application) -> None:
    """Ask every worker for a warm shutdown (SIGTERM), and wait for the end of what they do."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda worker: worker.stop(), application.workers))
    application.workers.clear()
