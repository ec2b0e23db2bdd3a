"""Judge the workers that run at a broker, as the run's first look saw them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from redis import Redis

from fixtures.bdd.vocabulary import register, restrict
from fixtures.context import Context
from fixtures.reporting.report import plain
from fixtures.run.keys import Unsupported
from fixtures.stacks.protocols import RunningWorkers
from redis_practices.celery_worker import fleet_audit as fleets
from redis_practices.celery_worker import queue_audit as queues
from redis_practices.celery_worker import worker_audit as audit
from redis_practices.celery_worker.running import Fleet
from redis_practices.celery_worker.worker_audit import Finding, Unknown

Detector = Callable[[RunningWorkers], Iterable[Finding]]


def found_by(workers: RunningWorkers, detectors: Iterable[Detector]) -> list[Finding]:
    """Return what functions find, which may ask again; what they cannot know is the reason of a skip (Unsupported)."""
    findings, unknown = list[Finding](), ""
    for detect in detectors:
        try:
            # One by one: a function may find some and then say what it cannot know.
            for one in detect(workers):
                findings.append(one)
        except Unknown as lack:
            unknown = unknown or str(lack)
    if not findings and (unknown or not workers.fleet.workers):
        raise Unsupported(plain(unknown or "no worker of the broker answered"))
    return [{column: plain(str(value)) for column, value in one.items()} for one in findings]


def asking(detect: Callable[[Redis, Fleet], Iterable[Finding]]) -> Detector:
    """Return a detector that asks the broker again."""

    def detecting(workers: RunningWorkers) -> Iterator[Finding]:
        with workers.node.client() as client:
            yield from detect(client, workers.fleet)

    return detecting


def first_look(detect: Callable[[Fleet], Iterable[Finding]]) -> Detector:
    """Return a detector that judges by the first look alone."""
    return lambda workers: detect(workers.fleet)


def limited(context: Context) -> RunningWorkers:
    """Return the workers, with the limits of the sentence for their detectors."""
    limits = {name: bound.high for name, bound in context.limits.items() if bound.high is not None}
    return replace(context.workers, fleet=replace(context.workers.fleet, limits=limits))


# Settings of the workers


DEFECTS = {
    "tasks have no time limit": ("tasks of a prefork pool that nothing ends", first_look(audit.unlimited)),
    "time limits have no effect": (
        "soft ones that are not below the hard one, and ones that have passed",
        first_look(audit.missed_limits),
    ),
    "tasks outlive the visibility timeout": ("tasks with a limit or a time above it", first_look(audit.outliving)),
    "countdowns outlive the visibility timeout": ("tasks with an ETA further ahead", first_look(audit.countdowns)),
    "visibility timeout another worker shortens": (
        "workers of one record with another timeout",
        first_look(audit.other_timeouts),
    ),
    "tasks return after each crash": (
        "tasks with acks_late and reject_on_worker_lost that count no deliveries",
        asking(fleets.poison_loops),
    ),
    "tasks run on after a lost connection": (
        "tasks with acks_late that nothing ends then; this is advice",
        first_look(audit.running_on),
    ),
    "tasks are retried for ever": (
        "tasks whose max_retries is None; this is advice",
        first_look(audit.endless_retries),
    ),
    "long tasks are acknowledged early": (
        "tasks that have run for a minute; this is advice",
        first_look(audit.early_and_long),
    ),
    "reserved tasks an idle worker could run": (
        "unlimited prefetch, and tasks reserved behind long ones",
        first_look(audit.held_back),
    ),
    "messages may be pickle": ("pickle in accept_content, or as serializer", first_look(audit.pickling)),
    "results never expire": ("results on Redis without ttl", first_look(audit.endless_results)),
    "results expire too early": (
        "results that expire while a workflow is under way and a task runs for longer",
        first_look(audit.early_results),
    ),
    "results are stored once": (
        "results that a short outage loses; this is advice",
        first_look(audit.unrepeated_results),
    ),
    "name is used twice": ("names under which several workers answer", first_look(fleets.same_names)),
    "schedule lacks its one beat": ("schedules with no beat, or with two", first_look(fleets.beats)),
    "release is an old one": (
        "workers with other tasks or versions than a newer one of the same queues",
        first_look(fleets.mixed),
    ),
    "queue another app reads": ("readers of a queue that have no task in common", first_look(fleets.strangers)),
    "clock is wrong": ("clocks 16 s off the broker's, and another enable_utc", first_look(fleets.wrong_clocks)),
    "version has a known defect": ("versions in known_defects.toml", first_look(fleets.known_defects)),
    "processes end after one task": (
        "memory limits below those of an empty process, and processes that are replaced in each look",
        asking(fleets.hasty_recycling),
    ),
    "connection is given up": (
        "workers that try for less than a minute to reach the broker",
        first_look(audit.giving_up),
    ),
}
"""Defects of a worker, each with its meaning and its detector."""


@register("finding", "workers whose {defect}", "workers with a defect, as the first look saw them")
def defective(context: Context, defect: str) -> list[Finding]:
    """Return the workers with a defect, without the task of a probe."""
    workers = limited(context)
    workers = replace(workers, fleet=audit.of_users(workers.fleet))
    return found_by(workers, (DEFECTS[defect][1], first_look(audit.telling)))


restrict("finding", "workers whose {defect}", {name: meaning for name, (meaning, _) in DEFECTS.items()})

# Queues, and whether workers take tasks


def _unread(workers: RunningWorkers) -> Iterator[Finding]:
    with workers.node.client() as client:
        yield from queues.unread(client, workers.fleet, workers.named)


def _probed(workers: RunningWorkers) -> Iterator[Finding]:
    with workers.node.client() as client:
        yield from queues.unanswered_probes(client, workers.fleet, workers.probed)


DEFECTS_OF_QUEUES: dict[str, tuple[str, Sequence[Detector]]] = {
    "tasks no worker reads": (
        "queues with tasks, or named by --queue, without a reader",
        [asking(queues.absent), _unread],
    ),
    "priority no worker reads": (
        "lists with tasks beside those of the workers",
        [first_look(queues.unread_priorities)],
    ),
    "route leads nowhere": (
        "queues of routes that no worker reads and no process has declared",
        [first_look(queues.undeclared_routes)],
    ),
    "schedule names an unknown task": ("entries whose task no worker has", [first_look(queues.unknown_schedules)]),
    "tasks a reader discards": ("sent tasks that a reader does not know", [first_look(queues.unknown_tasks)]),
    "messages a reader refuses": (
        "messages of a content type that a reader does not accept, and elements that are no message",
        [first_look(queues.unreadable_tasks)],
    ),
    "messages have megabytes": ("queues with a mean of more than 1 MB a message", [first_look(queues.huge_messages)]),
    "tasks pile up": (
        "tasks older than the user allows, and, as advice, queues of one periodic task that never expires",
        [first_look(queues.overaged), first_look(queues.piled)],
    ),
    "reader takes no task": (
        "workers that answer and do not wait for a task although they are free",
        [asking(fleets.stuck), _probed],
    ),
    "consumer was cancelled": ("workers that answer and read no queue", [first_look(queues.without_queue)]),
    "tasks are not given back": (
        "unacknowledged tasks older than the visibility timeout",
        [first_look(queues.overdue), first_look(queues.orphaned)],
    ),
    "answers nothing reads": ("mailboxes of killed processes", [asking(queues.abandoned)]),
}
"""Defects of a queue and its readers, each with its meaning and its detectors."""


@register("finding", "queues whose {defect}", "queues with a defect, and workers that do not serve theirs")
def badly_served(context: Context, defect: str) -> list[Finding]:
    """Return the queues with a defect."""
    return found_by(limited(context), DEFECTS_OF_QUEUES[defect][1])


restrict("finding", "queues whose {defect}", {name: meaning for name, (meaning, _) in DEFECTS_OF_QUEUES.items()})
