"""Judge the workers that run at a broker, as the run's first look saw them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fixtures.bdd.vocabulary import register
from fixtures.context import Context
from fixtures.run.keys import Unsupported
from redis_practices.celery_worker import worker_audit as audit
from redis_practices.celery_worker.running import Fleet
from redis_practices.celery_worker.worker_audit import Finding, Unknown


def detector(name: str, meaning: str, detect: Callable[[Fleet], Iterable[Finding]], *, is_advice: bool = False) -> None:
    """Register what a function of `worker_audit` finds; what it cannot know is the reason of a skip."""

    def found(context: Context) -> list[Finding]:
        fleet, findings = context.workers.fleet, list[Finding]()
        if not fleet.workers:
            raise Unsupported("no worker of the broker answered")
        try:
            findings.extend(detect(fleet))
        except Unknown as lack:
            if not findings:
                raise Unsupported(str(lack)) from None
        if findings and is_advice:
            raise Unsupported(f"advice: {'; '.join(': '.join(map(str, one.values())) for one in findings[:3])}")
        return findings

    register("finding", name, meaning)(found)


detector("tasks without time limit", "tasks of prefork workers that nothing ends", audit.unlimited)
detector(
    "time limits without effect",
    "soft limits that are not below the hard one, and limits that passed",
    audit.missed_limits,
)
detector("tasks that outlive the visibility timeout", "tasks with a limit or a time above it", audit.outliving)
detector("countdowns that outlive the visibility timeout", "tasks with an ETA further ahead", audit.countdowns)
detector(
    "visibility timeouts that another worker shortens", "workers of one record with a shorter one", audit.other_timeouts
)
detector("tasks that return after each crash", "tasks with acks_late and reject_on_worker_lost", audit.poison_loops)
detector(
    "long tasks with early acknowledgement",
    "such tasks that have run for a minute",
    audit.early_and_long,
    is_advice=True,
)
detector("workers that hold tasks back", "workers with reserved tasks beside an idle worker", audit.held_back)
detector("workers that accept pickle", "workers with pickle in accept_content or as serializer", audit.pickling)
detector("results without end", "results on Redis without ttl", audit.endless_results)
detector("results that expire too early", "results that expire while a task may still run", audit.early_results)
detector("results that are given up", "results that are stored once", audit.unrepeated_results, is_advice=True)
detector("workers with the same name", "names under which several workers answer", audit.same_names)
detector("schedules without one beat", "schedules with no beat, or with two", audit.beats)
detector("workers that a deployment left behind", "workers with other tasks or versions than a newer one", audit.mixed)
detector("queues that strangers read", "queues whose readers have no task in common", audit.strangers)
detector("workers with a wrong clock", "workers 16 s off the broker, or with another enable_utc", audit.wrong_clocks)
detector("workers with a known defect", "workers whose versions are in known_defects.toml", audit.known_defects)
detector("workers with hasty recycling", "workers whose memory limit an empty process exceeds", audit.hasty_recycling)
detector("workers that give up", "workers that try for less than a minute to reach the broker", audit.giving_up)
