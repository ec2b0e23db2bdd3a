"""Judge the workers that run at a broker, as the run's first look saw them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from fixtures.bdd.vocabulary import register
from fixtures.context import Context
from fixtures.reporting.report import plain
from fixtures.run.keys import Unsupported
from fixtures.stacks.protocols import RunningWorkers
from redis_practices.celery_worker import queue_audit, worker_audit
from redis_practices.celery_worker.running import Fleet
from redis_practices.celery_worker.worker_audit import Finding, Unknown


def detector(name: str, meaning: str, detect: Callable[[Fleet], Iterable[Finding]]) -> None:
    """Register what a function of `worker_audit` finds in the first look."""
    asking(name, meaning, lambda workers: detect(workers.fleet))


def asking(name: str, meaning: str, *detectors: Callable[[RunningWorkers], Iterable[Finding]]) -> None:
    """Register what functions find, which may ask again; what they cannot know is the reason of a skip."""

    def found(context: Context) -> list[Finding]:
        workers, findings, unknown = context.workers, list[Finding](), ""
        for detect in detectors:
            try:
                findings += detect(workers)
            except Unknown as lack:
                unknown = unknown or str(lack)
        if not findings and (unknown or not workers.fleet.workers):
            raise Unsupported(plain(unknown or "no worker of the broker answered"))
        return [{column: plain(str(value)) for column, value in one.items()} for one in findings]

    register("finding", name, meaning)(found)


detector("tasks without time limit", "tasks of prefork workers that nothing ends", worker_audit.unlimited)
detector("workers that accept pickle", "workers with pickle in accept_content", worker_audit.pickling)

# Queues, and whether workers take tasks


def _stuck(workers: RunningWorkers) -> Iterator[Finding]:
    with workers.node.client() as client:
        yield from queue_audit.stuck(client, workers.fleet)


def _probed(workers: RunningWorkers) -> Iterator[Finding]:
    with workers.node.client() as client:
        yield from queue_audit.unanswered_probes(client, workers.fleet, workers.probed)


def _abandoned(workers: RunningWorkers) -> Iterator[Finding]:
    with workers.node.client() as client:
        yield from queue_audit.abandoned(client, workers.fleet)


asking(
    "unread queues",
    "queues or priorities with tasks, and queues named by --queue, that no worker reads",
    lambda workers: queue_audit.absent(workers.fleet),
    lambda workers: queue_audit.unread(workers.fleet, workers.named),
    lambda workers: queue_audit.unread_priorities(workers.fleet),
)
asking(
    "routes to nowhere",
    "routes and schedules to a queue that no worker reads, or to a task that no worker has",
    lambda workers: queue_audit.undeclared_routes(workers.fleet),
    lambda workers: queue_audit.unknown_schedules(workers.fleet),
)
asking(
    "unknown tasks",
    "elements of queues that a reader of the queue discards",
    lambda workers: queue_audit.unknown_tasks(workers.fleet),
    lambda workers: queue_audit.unreadable_tasks(workers.fleet),
)
asking(
    "workers that take no task",
    "workers that answer, and do not wait for a task although they are free",
    lambda workers: queue_audit.without_queue(workers.fleet),
    _stuck,
    _probed,
)
detector("overdue tasks", "unacknowledged tasks that no worker gives back in time", queue_audit.overdue)
asking("abandoned mailboxes", "lists of answers and events that nothing reads or deletes", _abandoned)
