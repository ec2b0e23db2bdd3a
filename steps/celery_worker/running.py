"""Judge the workers that run at a broker, as the run's first look saw them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fixtures.bdd.vocabulary import register
from fixtures.context import Context
from fixtures.run.keys import Unsupported
from redis_practices.celery_worker import worker_audit
from redis_practices.celery_worker.running import Fleet
from redis_practices.celery_worker.worker_audit import Finding


def detector(name: str, meaning: str, detect: Callable[[Fleet], Iterable[Finding]]) -> None:
    """Register what a function of `worker_audit` finds; without an answering worker it is the reason of a skip."""

    def found(context: Context) -> list[Finding]:
        fleet = context.workers.fleet
        if not fleet.workers:
            raise Unsupported("no worker of the broker answered")
        return list(detect(fleet))

    register("finding", name, meaning)(found)


detector("tasks without time limit", "tasks of prefork workers that nothing ends", worker_audit.unlimited)
detector("workers that accept pickle", "workers with pickle in accept_content", worker_audit.pickling)
