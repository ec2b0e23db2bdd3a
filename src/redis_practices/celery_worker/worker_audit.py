"""Find defects of running Celery workers in the `Fleet` of `running.look`.

Each function returns its findings, one mapping each, with the worker or the queue first; without a finding, nothing.
The remedy of each stands in features/celery_worker/workers.feature.
"""

from __future__ import annotations

from collections.abc import Iterator

from redis_practices.celery_worker.running import Fleet, RunningWorker

Finding = dict[str, object]


class Unknown(Exception):  # noqa: N818 - a reason to skip, not an error
    """The answers of the workers do not tell; the message says why, and what would."""


# Settings of the workers


def unlimited(fleet: Fleet) -> Iterator[Finding]:
    """Yield the tasks that may run for ever: neither they nor their worker have a hard or soft time limit.

    Only a prefork pool enforces limits, so that tasks of other pools are not judged.
    """
    for worker in fleet.workers:
        if worker.pool != "prefork" or any(worker.limits):
            continue
        free = [name for name, set_to in worker.tasks.items() if not {"time_limit", "soft_time_limit"} & set(set_to)]
        if free:
            yield {"WORKER": worker.node, "TASKS": _some(free)}


def pickling(fleet: Fleet) -> Iterator[Finding]:
    """Yield the workers that accept pickle: each client which can write to the broker can run code in them."""
    for worker in fleet.workers:
        accepted = {str(one) for one in worker.settings.get("accept_content") or ()}
        if found := accepted & PICKLE:
            yield {"WORKER": worker.node, "ACCEPTS": ", ".join(sorted(found))}


PICKLE = {"pickle", "application/x-python-serialize"}
"""The names of pickle in `accept_content`."""


def _some(names: list[str], most: int = 3) -> str:
    """Return the first names, and how many there are more."""
    further = len(names) - most
    return ", ".join(sorted(names)[:most]) + (f" and {further} more" if further > 0 else "")


def _hearing(fleet: Fleet) -> Iterator[RunningWorker]:
    """Yield the workers that answered every question."""
    return (worker for worker in fleet.workers if worker.hears)
