"""Find defects in the settings and the tasks of running Celery workers, in the `Fleet` of `running.look`.

Each function yields its findings, one mapping each, with the worker or the queue first; without a finding, nothing.
What the answers do not tell is no finding: `Unknown` says why. The remedies stand in worker_settings.feature and
worker_fleet.feature.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from redis_practices.celery_worker.control import PROBE
from redis_practices.celery_worker.running import (
    Fleet,
    Held,
    RunningWorker,
    moment,
    seconds_of,
)

Finding = dict[str, object]


class Unknown(Exception):  # noqa: N818 - a reason to skip, not an error
    """The answers of the workers do not tell; the message says why, and what would."""


def of_users(fleet: Fleet) -> Fleet:
    """Return a fleet whose workers have the tasks of their users alone, without the one of a probe."""
    workers = [
        replace(worker, tasks={name: said for name, said in worker.tasks.items() if name != PROBE})
        for worker in fleet.workers
    ]
    return replace(fleet, workers=workers)


def telling(fleet: Fleet) -> Iterator[Finding]:
    """Yield nothing.

    Raises:
        Unknown: a worker does not tell its settings, or not its tasks.
    """
    if hidden := [worker.name for worker in fleet.workers if not worker.settings or not worker.hears]:
        raise Unknown(f"{some(hidden)} does not answer every question of remote control, such as conf")
    return iter(())


# Time limits


def unlimited(fleet: Fleet) -> Iterator[Finding]:
    """Yield the tasks that may run for ever: neither they nor their worker have a hard or soft time limit.

    Only a prefork pool enforces limits, so that tasks of other pools are not judged.
    """
    for worker in fleet.workers:
        if worker.pool == "prefork" and (free := [name for name in worker.tasks if not any(limits(worker, name))]):
            yield {"WORKER": worker.name, "WHY": f"{some(free)}: no time limit"}


def limits(worker: RunningWorker, task: str) -> tuple[float, float]:
    """Return the soft and hard time limit of a task in seconds, 0 without one: its own, or that of its worker."""
    own = worker.tasks.get(task, {})
    soft, hard = (seconds(own.get(name)) for name in ("soft_time_limit", "time_limit"))
    return soft or worker.limits[0], hard or worker.limits[1]


def seconds(said: object) -> float:
    """Return a duration setting in seconds, 0 without one."""
    try:
        return float(str(said))
    except ValueError:
        return 0.0


def missed_limits(fleet: Fleet) -> Iterator[Finding]:
    """Yield the tasks whose limits do not work: a soft one that is not below the hard one, or one that has passed.

    Raises:
        Unknown: a pool enforces no limit, and its tasks may have timeouts in their code.
    """
    lax = ""
    for worker in fleet.workers:
        late = {name: limits(worker, name) for name in worker.tasks if worker.pool == "prefork"}
        if swapped := [name for name, (soft, hard) in late.items() if soft >= hard > 0]:
            soft, hard = late[min(swapped)]
            why = f"task_soft_time_limit of {secs(soft)} is not below task_time_limit of {secs(hard)}: {some(swapped)}"
            yield {"WORKER": worker.name, "WHY": why}
        for held in worker.running:
            hard = limits(worker, held.name)[1] or seconds(worker.settings.get("task_time_limit"))
            if hard and (age := age_of(fleet, worker, held)) > hard + (GRACE if worker.pool not in LAX else 1.0):
                why = f"{held.name} runs for {secs(age)}, although its limit is {secs(hard)}: pool {worker.pool}"
                yield {"WORKER": worker.name, "WHY": why}
        if worker.pool in LAX and worker.settings.get("task_time_limit"):
            lax = f"advice: {worker.name}: task_time_limit has no effect, a pool of kind {worker.pool} ends no task"
    if lax:
        raise Unknown(lax)


GRACE = 10.0
"""Seconds in which a pool enforces a limit."""

LAX = {"solo", "thread"}
"""Pools that enforce no limit."""


# Redelivery


def outliving(fleet: Fleet) -> Iterator[Finding]:
    """Yield the tasks that may run, or run, until another worker gets them too: the visibility timeout is shorter.

    With late acknowledgement the running task is given away, with early acknowledgement the ones reserved behind it.
    """
    for worker in fleet.workers:
        most = worker.visibility_timeout
        ran = {held: age for held in worker.running if (age := age_of(fleet, worker, held)) >= most}
        if long := {held.name: age for held, age in ran.items() if not held.acknowledged}:
            name = max(long, key=lambda one: long[one])
            yield {
                "WORKER": worker.name,
                "WHY": f"{name} runs for {secs(long[name])} unacknowledged; {_timeout(worker)}",
            }
        elif worker.pool == "prefork" and (names := list(_longer(worker, most))):
            soft, hard = limits(worker, names[0])
            limit = f"task_time_limit of {secs(hard)}" if hard else f"task_soft_time_limit of {secs(soft)}"
            yield {"WORKER": worker.name, "WHY": f"{some(names)}: {limit}; {_timeout(worker)}"}


def _longer(worker: RunningWorker, most: float) -> Iterator[str]:
    """Yield the tasks with a limit that is not below the visibility timeout, the longest first."""
    by_limit = {name: limits(worker, name)[1] or limits(worker, name)[0] for name in worker.tasks}
    for name in sorted(by_limit, key=lambda one: -by_limit[one]):
        reserved_only = worker.settings.get("worker_disable_prefetch") and not is_late(worker, name)
        if by_limit[name] >= most and not reserved_only:
            yield name


def is_late(worker: RunningWorker, task: str) -> bool:
    """Tell whether a task is acknowledged when it has run (``acks_late``)."""
    return worker.tasks.get(task, {}).get("acks_late") == "True"


def running_on(fleet: Fleet) -> Iterator[Finding]:
    """Advise about tasks that run on after a lost connection, while another worker gets them.

    Raises:
        Unknown: there are such tasks; whether they may run twice, only their author knows.
    """
    for worker in fleet.workers:
        late = [name for name in worker.tasks if is_late(worker, name)]
        keeps = str(worker.settings.get("worker_consumer")).endswith(":KeepingConsumer")
        if late and not keeps and worker.settings.get(CANCEL) is False:
            raise Unknown(f"advice: {worker.name}: {some(late)}: acks_late, and {CANCEL} is False")
    return iter(())


CANCEL = "worker_cancel_long_running_tasks_on_connection_loss"
"""The setting that ends tasks with late acknowledgement when the connection is lost; False by default."""


def endless_retries(fleet: Fleet) -> Iterator[Finding]:
    """Advise about tasks that may be retried for ever.

    Raises:
        Unknown: there are such tasks; whether their code retries them, no answer tells.
    """
    for worker in fleet.workers:
        # An attribute that is None is left out; a task whose answer has no attribute at all is not judged.
        if endless := [name for name, said in worker.tasks.items() if said and "max_retries" not in said]:
            raise Unknown(f"advice: {worker.name}: {some(endless)}: max_retries is None")
    return iter(())


def countdowns(fleet: Fleet) -> Iterator[Finding]:
    """Yield the tasks whose ETA lies further ahead than the visibility timeout: each worker gets a copy of them.

    Raises:
        Unknown: a worker holds many in its memory, which no setting limits.
    """
    for worker in fleet.workers:
        ahead = {held.name: held.eta - fleet.now for held in worker.later if held.eta is not None}
        yield from _ahead("WORKER", worker.name, ahead, worker)
    for queue in fleet.queues:
        if readers := fleet.readers(queue):
            waits = {one.task: at - fleet.now for one in queue.messages if (at := moment(one.eta)) is not None}
            yield from _ahead("QUEUE", queue.name, waits, min(readers, key=lambda one: one.visibility_timeout))
    for worker in fleet.workers:
        if len(worker.later) > fleet.limits.get("held-countdowns", MANY) and not worker.settings.get(
            "worker_eta_task_limit"
        ):
            raise Unknown(f"advice: {worker.name} holds {len(worker.later)} countdowns without worker_eta_task_limit")


MANY = 1000
"""Countdowns in the memory of a worker from which a limit is advised."""


def _ahead(column: str, name: str, ahead: Mapping[str, float], worker: RunningWorker) -> Iterator[Finding]:
    """Yield a finding if a worker gives tasks away before their ETA; `ahead` has the seconds until then by task."""
    if far := {task: wait for task, wait in ahead.items() if wait >= worker.visibility_timeout}:
        farthest = max(far.values())
        yield {column: name, "WHY": f"{some(far)} held for {secs(farthest)} more; {_timeout(worker)}"}


def _timeout(worker: RunningWorker) -> str:
    """Return the visibility timeout in words, and one that stands in the wrong setting."""
    said = f"visibility_timeout is {secs(worker.visibility_timeout)}"
    if "visibility_timeout" not in worker.options:
        said += ", the default"
        if worker.results_timeout:
            said += f" (result_backend_transport_options has {secs(worker.results_timeout)}, without effect on tasks)"
    return said


def other_timeouts(fleet: Fleet) -> Iterator[Finding]:
    """Yield the workers whose visibility timeout is cut short by another worker with the same record.

    A worker gives back every task of the record that is older than its own visibility timeout.
    """
    by_record = defaultdict[tuple[str, str], list[RunningWorker]](list)
    for worker in fleet.workers:
        by_record[worker.mailbox.prefix, str(worker.options.get("unacked_index_key", "unacked_index"))].append(worker)
    for (prefix, key), workers in by_record.items():
        shortest = min(workers, key=lambda one: one.visibility_timeout)
        for worker in workers:
            if worker.visibility_timeout > shortest.visibility_timeout:
                theirs = f"{shortest.name} has {secs(shortest.visibility_timeout)} on the same {prefix}{key}"
                yield {"WORKER": worker.name, "WHY": f"{_timeout(worker)}, but {theirs}"}


def early_and_long(fleet: Fleet) -> Iterator[Finding]:
    """Advise about tasks that have run for a minute and were acknowledged before: they are lost with their worker.

    Raises:
        Unknown: there is such a task; whether its loss or a second run is worse, only its author knows.
    """
    for worker in fleet.workers:
        for held in worker.running:
            if held.acknowledged and (age := age_of(fleet, worker, held)) > fleet.limits.get("long-task", LONG):
                raise Unknown(f"advice: {worker.name}: {held.name} runs for {secs(age)} with early acknowledgement")
    return iter(())


LONG = 60.0
"""Seconds after which a task is long: deployments and autoscalers give a worker less time to end."""


# Prefetch


def held_back(fleet: Fleet) -> Iterator[Finding]:
    """Yield the workers that hold tasks which others could run, or which are given away before they begin.

    Raises:
        Unknown: the reserved tasks would be given away if each of them ran up to its limit.
    """
    risk = ""
    for worker in fleet.workers:
        if worker.hears and worker.queues and not worker.prefetch:
            yield {"WORKER": worker.name, "WHY": "prefetch is unlimited: worker_prefetch_multiplier is 0"}
        elif worker.waiting and len(worker.running) >= (worker.processes or 1):
            since = min(age_of(fleet, worker, held) for held in worker.running)
            first = worker.running[0].name
            behind = f"{len(worker.waiting)} reserved tasks wait behind {first}, running for {secs(since)}"
            if since >= worker.visibility_timeout:
                yield {"WORKER": worker.name, "WHY": f"{behind}; {_timeout(worker)}"}
            elif since > fleet.limits.get("reserved-task", WAIT) and (idle := _idle(fleet, worker)):
                set_to = f"worker_prefetch_multiplier is {_multiplier(worker)}"
                yield {"WORKER": worker.name, "WHY": f"{behind}, while {idle} is idle; {set_to}"}
            elif since >= 1 and _longest_wait(worker) >= worker.visibility_timeout:
                risk = f"advice: {worker.name}: {behind}, each up to its time limit; {_timeout(worker)}"
    if risk:
        raise Unknown(risk)


WAIT = 10.0
"""Seconds that a reserved task waits beside an idle worker before it is held back."""


def _longest_wait(worker: RunningWorker) -> float:
    """Return the seconds until the last reserved task ends, if each one runs up to its limit."""
    rounds = -(-len(worker.waiting) // (worker.processes or 1))
    return sum(sorted((max(limits(worker, held.name)) for held in worker.waiting), reverse=True)[:rounds])


def _idle(fleet: Fleet, busy: RunningWorker) -> str:
    """Return a worker with nothing to do that reads the queue of a task which another one holds."""
    held = {one.queue for one in busy.waiting}
    for other in fleet.of(busy.mailbox):
        if held & set(other.queues) and not other.running and not other.waiting:
            return other.name
    return ""


def _multiplier(worker: RunningWorker) -> int:
    """Return the prefetch multiplier as the worker runs: also one of its command line."""
    return worker.prefetch // (worker.processes or 1)


# Messages, results


def pickling(fleet: Fleet) -> Iterator[Finding]:
    """Yield the workers that accept or write pickle: a client that can write to the broker can run code in them."""
    for worker in fleet.workers:
        whys = [f"accept_content has {name}" for name in sorted(worker.accepted & PICKLE)]
        whys += [f"{name} is pickle" for name in SERIALIZERS if str(worker.settings.get(name)) in PICKLE]
        if whys:
            yield {"WORKER": worker.name, "WHY": ", ".join(whys)}


PICKLE = {"pickle", "application/x-python-serialize"}
"""The names of pickle in `accept_content`."""

SERIALIZERS = ("task_serializer", "result_serializer")


def endless_results(fleet: Fleet) -> Iterator[Finding]:
    """Yield the workers that store results on Redis without end, and such results on the broker."""
    for worker in fleet.workers:
        if _stores(worker) and not _expires(worker):
            yield {"WORKER": worker.name, "WHY": f"result_expires is {worker.settings.get('result_expires')}"}
    if fleet.endless_results:
        yield {"KEYS": "celery-task-meta-*", "WHY": f"{fleet.endless_results} of {fleet.results} results have no ttl"}


def _stores(worker: RunningWorker) -> bool:
    """Tell whether a task of the worker leaves a result on Redis."""
    keeps = [name for name, said in worker.tasks.items() if said.get("ignore_result") != "True"]
    return bool(keeps) and ("redis" in worker.backend or worker.backend.startswith("sentinel"))


def _expires(worker: RunningWorker) -> float:
    """Return the seconds until a result expires, 0 for never."""
    try:
        return seconds_of(worker.settings.get("result_expires")) or 0.0
    except ValueError:
        return 0.0


def early_results(fleet: Fleet) -> Iterator[Finding]:
    """Yield the workers whose results expire while a workflow is under way and a task runs for longer.

    Raises:
        Unknown: no task has run for so long, so that the results live long enough until now.
    """
    advice = ""
    for worker in fleet.workers:
        longest = max((max(limits(worker, name)) for name in worker.tasks), default=0.0)
        ran = max((age_of(fleet, worker, held) for held in worker.running), default=0.0)
        expires = _expires(worker) if _stores(worker) else 0.0
        if not 0 < expires < max(longest, ran):
            continue
        why = f"result_expires is {secs(expires)}, and a task "
        if fleet.workflows and ran > expires:
            yield {
                "WORKER": worker.name,
                "WHY": f"{why}runs for {secs(ran)}, while a chord or group is under way",
            }
        advice = f"advice: {worker.name}: {why}may run {secs(longest or ran)}: a chord of it would never end"
    if advice:
        raise Unknown(advice)


def unrepeated_results(fleet: Fleet) -> Iterator[Finding]:
    """Advise about workers that give a result up if its server is away when the task ends.

    Raises:
        Unknown: there is such a worker; whether a reader needs the results, its settings do not tell.
    """
    for worker in fleet.workers:
        tries_again = worker.settings.get("result_backend_always_retry") or worker.backend.startswith(OURS)
        if _stores(worker) and not tries_again:
            raise Unknown(f"advice: {worker.name}: result_backend_always_retry is False")
    return iter(())


OURS = "practices-"
"""How the result backends of this project begin (`workflows.with_chords`): they try again."""


# Outages


def giving_up(fleet: Fleet) -> Iterator[Finding]:
    """Yield the workers that end when the broker is away for a minute, as in a failover."""
    for worker in fleet.workers:
        most = worker.settings.get("broker_connection_max_retries")
        if worker.settings.get("broker_connection_retry") is False:
            yield {"WORKER": worker.name, "WHY": "broker_connection_retry is False"}
        elif isinstance(most, int | float) and 0 < most < RETRIES:
            yield {"WORKER": worker.name, "WHY": f"broker_connection_max_retries is {most:.0f}"}


RETRIES = 8
"""Attempts that last a minute: Celery waits 2, 4, 6, ... seconds between them."""


# Words


def age_of(fleet: Fleet, worker: RunningWorker, held: Held) -> float:
    """Return for how long a task has run, by the broker's clock as far as the worker's is known; 0 if it waits."""
    return fleet.now + (worker.clock or 0.0) - held.started if held.started else 0.0


def secs(said: float) -> str:
    """Return a time in seconds as text."""
    return f"{said:.0f} s" if said >= 10 or said == int(said) else f"{said:.1f} s"  # noqa: PLR2004 - short ones


def some(names: Iterable[str], most: int = 3) -> str:
    """Return the first names, and how many there are more."""
    known = sorted(set(names))
    return ", ".join(known[:most]) + (f" and {len(known) - most} more" if len(known) > most else "")


def counted(number: int) -> str:
    """Return a number of tasks in words."""
    return f"{number} task{'s' * (number != 1)}"
