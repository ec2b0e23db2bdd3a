"""Find defects of running Celery workers in the `Fleet` of `running.look`.

Each function yields its findings, one mapping each, with the worker or the queue first; without a finding, nothing.
What the answers do not tell is no finding: `Unknown` says why. The remedies stand in worker_settings.feature and
worker_fleet.feature.
"""

from __future__ import annotations

import time
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

from redis import Redis

from redis_practices.celery_worker.control import PROBE, Requester
from redis_practices.celery_worker.running import (
    AGAIN,
    Fleet,
    Held,
    RunningWorker,
    moment,
    read_workers,
    seconds_of,
)
from redis_practices.polling import poll
from redis_practices.server_info import version_of

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
    if hidden := [worker.node for worker in fleet.workers if not worker.settings or not worker.hears]:
        raise Unknown(f"{_some(hidden)} does not answer every question of remote control, such as conf")
    return iter(())


# Time limits


def unlimited(fleet: Fleet) -> Iterator[Finding]:
    """Yield the tasks that may run for ever: neither they nor their worker have a hard or soft time limit.

    Only a prefork pool enforces limits, so that tasks of other pools are not judged.
    """
    for worker in fleet.workers:
        if worker.pool == "prefork" and (free := [name for name in worker.tasks if not any(limits(worker, name))]):
            yield {"WORKER": worker.node, "WHY": f"{_some(free)}: no time limit"}


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
            why = f"task_soft_time_limit of {_s(soft)} is not below task_time_limit of {_s(hard)}: {_some(swapped)}"
            yield {"WORKER": worker.node, "WHY": why}
        for held in worker.running:
            hard = limits(worker, held.name)[1] or seconds(worker.settings.get("task_time_limit"))
            if hard and (age := _age(fleet, worker, held)) > hard + (GRACE if worker.pool not in LAX else 1.0):
                why = f"{held.name} runs for {_s(age)}, although its limit is {_s(hard)}: pool {worker.pool}"
                yield {"WORKER": worker.node, "WHY": why}
        if worker.pool in LAX and worker.settings.get("task_time_limit"):
            lax = f"advice: {worker.node}: task_time_limit has no effect, a pool of kind {worker.pool} ends no task"
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
        ran = {held: age for held in worker.running if (age := _age(fleet, worker, held)) >= most}
        if long := {held.name: age for held, age in ran.items() if not held.acknowledged}:
            name = max(long, key=lambda one: long[one])
            yield {"WORKER": worker.node, "WHY": f"{name} runs for {_s(long[name])} unacknowledged; {_timeout(worker)}"}
        elif worker.pool == "prefork" and (names := list(_longer(worker, most))):
            soft, hard = limits(worker, names[0])
            limit = f"task_time_limit of {_s(hard)}" if hard else f"task_soft_time_limit of {_s(soft)}"
            yield {"WORKER": worker.node, "WHY": f"{_some(names)}: {limit}; {_timeout(worker)}"}


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


def countdowns(fleet: Fleet) -> Iterator[Finding]:
    """Yield the tasks whose ETA lies further ahead than the visibility timeout: each worker gets a copy of them.

    Raises:
        Unknown: a worker holds many in its memory, which no setting limits.
    """
    for worker in fleet.workers:
        ahead = {held.name: held.eta - fleet.now for held in worker.later if held.eta is not None}
        yield from _ahead("WORKER", worker.node, ahead, worker)
    for queue in fleet.queues:
        if readers := fleet.readers(queue):
            waits = {one.task: at - fleet.now for one in queue.messages if (at := moment(one.eta)) is not None}
            yield from _ahead("QUEUE", queue.name, waits, min(readers, key=lambda one: one.visibility_timeout))
    for worker in fleet.workers:
        if len(worker.later) > MANY and not worker.settings.get("worker_eta_task_limit"):
            raise Unknown(f"advice: {worker.node} holds {len(worker.later)} countdowns without worker_eta_task_limit")


MANY = 1000
"""Countdowns in the memory of a worker from which a limit is advised."""


def _ahead(column: str, name: str, ahead: Mapping[str, float], worker: RunningWorker) -> Iterator[Finding]:
    """Yield a finding if a worker gives tasks away before their ETA; `ahead` has the seconds until then by task."""
    if far := {task: wait for task, wait in ahead.items() if wait >= worker.visibility_timeout}:
        farthest = max(far.values())
        yield {column: name, "WHY": f"{_some(far)} held for {_s(farthest)} more; {_timeout(worker)}"}


def _timeout(worker: RunningWorker) -> str:
    """Return the visibility timeout in words, and one that stands in the wrong setting."""
    said = f"visibility_timeout is {_s(worker.visibility_timeout)}"
    if "visibility_timeout" not in worker.options:
        said += ", the default"
        if worker.results_timeout:
            said += f" (result_backend_transport_options has {_s(worker.results_timeout)}, without effect on tasks)"
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
                theirs = f"{shortest.node} has {_s(shortest.visibility_timeout)} on the same {prefix}{key}"
                yield {"WORKER": worker.node, "WHY": f"{_timeout(worker)}, but {theirs}"}


def poison_loops(client: Redis, fleet: Fleet) -> Iterator[Finding]:
    """Yield the tasks that return to the queue each time they end their process, as seen for up to `SPAN` seconds.

    A broker on Redis counts no deliveries. A task with the attribute `max_deliveries` counts them, as `Guarded` does.

    Raises:
        Unknown: tasks have both settings, and none is seen to do that.
    """
    endless = {worker.node: names for worker in fleet.workers if (names := set(_uncounted(worker)))}
    if not endless:
        return
    loops: dict[tuple[str, str], _Loop] = {}
    found, began = list(_returned(fleet.workers, endless, loops)), time.monotonic()
    if any(worker.counts.get(name) for worker in fleet.workers for name in endless.get(worker.node, ())):
        found = poll(
            lambda: list(_returned(_again(client, fleet, list(endless)), endless, loops)),
            SPAN,
            every=0.1,
            # Between its return to the queue and its next start, no worker tells of a task: 1 s is enough to see it.
            until=lambda found: bool(found or (not loops and time.monotonic() > began + 1)),
        )
    yield from found
    if not found:
        node, names = min(endless.items())
        raise Unknown(f"advice: {node}: {_some(names)}: {BOTH}; a task that ends its process would return for ever")


@dataclass
class _Loop:
    """What was seen of a redelivered task in one worker."""

    ran: set[int]
    """The processes that ran it."""
    pids: set[int]
    """The processes that the pool has had since."""
    size: int
    """The most processes that the pool had at once."""
    count: int
    """How often the worker had started tasks of its name."""

    def crashed(self, worker: RunningWorker, name: str) -> bool:
        """Whether the worker still holds the task after the death of its process.

        A task that dies 20 times a second is hardly ever seen in a process. If no setting bounds the life of a
        process, two new processes show the deaths.
        """
        self.size = max(self.size, len(worker.pids))
        self.pids |= worker.pids
        steady = worker.recycles is False and not worker.settings.get("worker_max_memory_per_child")
        replaced = len(self.pids) - self.size if steady else 0
        return bool(self.ran - worker.pids) or min(replaced, worker.counts.get(name, 0) - self.count) > 1


def _returned(
    workers: Iterable[RunningWorker], endless: Mapping[str, set[str]], loops: dict[tuple[str, str], _Loop]
) -> Iterator[Finding]:
    """Yield the tasks that are held again after their process died; `loops` keeps what was seen, by node and id."""
    for worker in workers:
        for held in (*worker.running, *worker.waiting):
            if not held.redelivered or held.name not in endless.get(worker.node, ()):
                continue
            seen = _Loop(set(), set(worker.pids), len(worker.pids), worker.counts.get(held.name, 0))
            loop = loops.setdefault((worker.node, held.id), seen)
            if loop.crashed(worker, held.name):
                why = f"{held.name} ended a process and was given to the next one: {BOTH}"
                yield {"WORKER": worker.node, "WHY": why}
            if held.pid is not None:
                loop.ran.add(held.pid)


BOTH = "acks_late with reject_on_worker_lost"

SPAN = 5.0
"""Seconds in which a pool replaces a process and gives it the same task again: 2 on an idle machine."""


def _uncounted(worker: RunningWorker) -> Iterator[str]:
    """Yield the tasks that are given back when their process has died, and that count no deliveries."""
    for name, said in worker.tasks.items():
        if said.get("acks_late") == said.get("reject_on_worker_lost") == "True" and "max_deliveries" not in said:
            yield name


def _again(client: Redis, fleet: Fleet, nodes: Sequence[str]) -> Iterator[RunningWorker]:
    """Ask some workers again what they do; their settings are those of the first answer."""
    settings = {worker.node: worker.settings for worker in fleet.workers}
    with Requester(client, fleet.mailboxes) as requester:
        for mailbox, said in requester.ask(AGAIN, nodes).items():
            for worker in read_workers(mailbox, said):
                yield replace(worker, settings=settings.get(worker.node, {}))


def early_and_long(fleet: Fleet) -> Iterator[Finding]:
    """Advise about tasks that have run for a minute and were acknowledged before: they are lost with their worker.

    Raises:
        Unknown: there is such a task; whether its loss or a second run is worse, only its author knows.
    """
    for worker in fleet.workers:
        for held in worker.running:
            if held.acknowledged and (age := _age(fleet, worker, held)) >= LONG:
                raise Unknown(f"advice: {worker.node}: {held.name} runs for {_s(age)} with early acknowledgement")
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
            yield {"WORKER": worker.node, "WHY": "prefetch is unlimited: worker_prefetch_multiplier is 0"}
        elif worker.waiting and len(worker.running) >= (worker.processes or 1):
            since = min(_age(fleet, worker, held) for held in worker.running)
            behind = (
                f"{len(worker.waiting)} reserved tasks wait behind {worker.running[0].name}, running for {_s(since)}"
            )
            if since >= worker.visibility_timeout:
                yield {"WORKER": worker.node, "WHY": f"{behind}; {_timeout(worker)}"}
            elif since >= WAIT and (idle := _idle(fleet, worker)):
                set_to = f"worker_prefetch_multiplier is {_multiplier(worker)}"
                yield {"WORKER": worker.node, "WHY": f"{behind}, while {idle} is idle; {set_to}"}
            elif since >= 1 and _longest_wait(worker) >= worker.visibility_timeout:
                risk = f"advice: {worker.node}: {behind}, each up to its time limit; {_timeout(worker)}"
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
            return other.node
    return ""


def _multiplier(worker: RunningWorker) -> int:
    """Return the prefetch multiplier as the worker runs: also one of its command line."""
    return worker.prefetch // (worker.processes or 1)


# Messages, results


def pickling(fleet: Fleet) -> Iterator[Finding]:
    """Yield the workers that accept or write pickle: a client that can write to the broker can run code in them."""
    for worker in fleet.workers:
        accepted = {str(one) for one in worker.settings.get("accept_content") or ()}
        whys = [f"accept_content has {name}" for name in sorted(accepted & PICKLE)]
        whys += [f"{name} is pickle" for name in SERIALIZERS if str(worker.settings.get(name)) in PICKLE]
        if whys:
            yield {"WORKER": worker.node, "WHY": ", ".join(whys)}


PICKLE = {"pickle", "application/x-python-serialize"}
"""The names of pickle in `accept_content`."""

SERIALIZERS = ("task_serializer", "result_serializer")


def endless_results(fleet: Fleet) -> Iterator[Finding]:
    """Yield the workers that store results on Redis without end, and such results on the broker."""
    for worker in fleet.workers:
        if _stores(worker) and not _expires(worker):
            yield {"WORKER": worker.node, "WHY": f"result_expires is {worker.settings.get('result_expires')}"}
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
    """Yield the workers whose results expire while another member of the same workflow may still run.

    Raises:
        Unknown: no workflow is under way, so that a short time may be meant.
    """
    advice = ""
    for worker in fleet.workers:
        longest = max((max(limits(worker, name)) for name in worker.tasks), default=0.0)
        ran = max((_age(fleet, worker, held) for held in worker.running), default=0.0)
        expires = _expires(worker) if _stores(worker) else 0.0
        if not 0 < expires < max(longest, ran):
            continue
        why = f"result_expires is {_s(expires)}, and a task " + (
            f"runs for {_s(ran)}" if ran > longest else f"may run {_s(longest)}"
        )
        if fleet.workflows:
            yield {"WORKER": worker.node, "WHY": why}
        advice = f"advice: {worker.node}: {why}; it is refused only where chords or groups run"
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
            raise Unknown(f"advice: {worker.node}: result_backend_always_retry is False")
    return iter(())


OURS = "practices-"
"""How the result backends of this project begin (`workflows.with_chords`): they try again."""


# Workers as a whole


def same_names(fleet: Fleet) -> Iterator[Finding]:
    """Yield the names that several workers have: a command for one reaches all of them."""
    for worker in fleet.workers:
        if worker.answered > 1:
            yield {"WORKER": worker.node, "WHY": f"{worker.answered} workers answer under this name"}


def beats(fleet: Fleet) -> Iterator[Finding]:
    """Yield a second beat, and periodic tasks that no worker has run since its start, many intervals ago.

    Raises:
        Unknown: there is a schedule, and neither its beat nor a run of its tasks shows.
    """
    number, schedulers = sum(fleet.beats.values()), {str(one.settings.get("beat_scheduler")) for one in fleet.workers}
    if number > 1 and not any("redbeat" in name.lower() for name in schedulers):
        yield {"BEAT": _some(fleet.beats), "WHY": f"{number} beats send each task of the schedule"}
    scheduled = {task for worker in fleet.workers for task in worker.schedule.values()}
    ran = {task for worker in fleet.workers for task, count in worker.counts.items() if count}
    for worker in fleet.workers:
        for task, every in () if fleet.silent else worker.intervals.items():
            known = [other for other in fleet.of(worker.mailbox) if task in other.tasks]
            since = min((other.uptime for other in known), default=0.0)
            if since > MISSED * every + GRACE and task not in ran | _held_or_sent(fleet):
                why = f"beat_schedule has {task} every {_s(every)}, and no worker ran it in {_s(since)}"
                yield {"WORKER": worker.node, "WHY": why}
    if scheduled and not number and not scheduled & ran:
        raise Unknown("no beat answers: a separate beat of Celery 5.7 does, with beat_enable_remote_control = True")


MISSED = 3
"""Intervals of a periodic task without a run after which no beat sends it."""


def _held_or_sent(fleet: Fleet) -> set[str]:
    """Return the tasks that wait in queues or are held by workers."""
    held = {one.name for worker in fleet.workers for one in (*worker.running, *worker.waiting, *worker.later)}
    return held | {message.task for queue in fleet.queues for message in queue.messages}


def mixed(fleet: Fleet) -> Iterator[Finding]:
    """Yield the workers of the same queues with other tasks or versions, when no deployment explains it any more.

    Raises:
        Unknown: they differ, and one has started a short while ago.
    """
    young = ""
    for new, old in _pairs(fleet):
        lacks = set(new.tasks) ^ set(old.tasks)
        differ = [name for name in ("celery", "kombu") if old.versions.get(name) != new.versions.get(name)]
        said = [f"{name} {old.versions.get(name)}, {new.node} has {new.versions.get(name)}" for name in differ]
        said += [f"other tasks than {new.node}: {_some(lacks)}"] if lacks else []
        if said and new.uptime < DEPLOYMENT:
            young = f"advice: {old.node} has {said[0]}; a deployment may run: {new.node} started {_s(new.uptime)} ago"
        elif said:
            yield {"WORKER": old.node, "WHY": f"has {said[0]}"}
    if young:
        raise Unknown(young)


DEPLOYMENT = 600.0
"""Seconds in which a deployment replaces all workers; until then two versions are no defect."""


def _pairs(fleet: Fleet) -> Iterator[tuple[RunningWorker, RunningWorker]]:
    """Yield the youngest worker of each set of queues with each other one that shares a task with it."""
    groups = defaultdict[tuple[object, ...], list[RunningWorker]](list)
    for worker in fleet.workers:
        if worker.queues and worker.tasks and worker.versions:
            groups[worker.mailbox, *sorted(worker.queues)].append(worker)
    for workers in groups.values():
        new = min(workers, key=lambda one: one.uptime)
        yield from ((new, old) for old in workers if set(new.tasks) & set(old.tasks))


def strangers(fleet: Fleet) -> Iterator[Finding]:
    """Yield the queues that workers of two apps read: each discards the tasks of the other."""
    for queue in fleet.queues:
        for one, other in combinations([worker for worker in fleet.readers(queue) if worker.tasks], 2):
            if not set(one.tasks) & set(other.tasks):
                theirs = f"{one.node} ({_some(one.tasks, 1)}) and {other.node} ({_some(other.tasks, 1)})"
                yield {"QUEUE": queue.name, "WHY": f"{theirs} read it, and have no task in common"}
                break


def known_defects(fleet: Fleet) -> Iterator[Finding]:
    """Yield the workers whose versions have a known defect, by the table known_defects.toml.

    Raises:
        Unknown: a worker tells no version, or a later one than the table knows.
    """
    table, unknown = defects_table(), ""
    for worker in fleet.workers:
        if found := next(_defects_of(worker, table), ""):
            yield {"WORKER": worker.node, "WHY": found}
        for package, last in table["known"].items():
            version = worker.versions.get(package)
            if (version is None and package != "redis") or version_of(version or "") > version_of(last):
                seen = f"{worker.node} has {package} {version}" if version else f"{worker.node} tells no {package}"
                unknown = f"the table of {table['renewed']} does not know it: {seen}"
    if unknown:
        raise Unknown(unknown)


@cache
def defects_table() -> Mapping[str, Any]:
    """Return the table of versions with a known defect."""
    return tomllib.loads(Path(__file__).with_name("known_defects.toml").read_text(encoding="utf-8"))


def _defects_of(worker: RunningWorker, table: Mapping[str, Any]) -> Iterator[str]:
    """Yield the known defects of a worker's versions; those that its settings or pool avoid are left out."""
    for one in table["defects"]:
        package, version = one["package"], worker.versions.get(one["package"])
        if version is None or not is_affected(version_of(version), one):
            continue
        settings = {name: worker.settings.get(name, value) for name, value in one.get("only", {}).items()}
        if settings == one.get("only", {}) and worker.pool in one.get("pools", [worker.pool]):
            yield f"{package} {version} {one['does']} ({one['source']})"
    kombu, redis = worker.versions.get("kombu", ""), worker.versions.get("redis", "")
    before = table["redis_before"].get(kombu.rpartition(".")[0])
    if before and redis and version_of(redis) >= version_of(before):
        yield f"kombu {kombu} takes redis-py before {before}, not {redis}: it reads no more after a lost connection"


def is_affected(version: tuple[int, ...], defect: Mapping[str, str]) -> bool:
    """Tell whether a version lies between those in which a defect came and went."""
    since, mended, last = (version_of(defect.get(name, "")) for name in ("since", "mended", "last"))
    return version >= since and (not mended or version < mended) and (not last or version <= last)


def wrong_clocks(fleet: Fleet) -> Iterator[Finding]:
    """Yield the workers with a wrong clock, and those of an app with another idea of UTC.

    Raises:
        Unknown: no worker tells its time.
    """
    for worker in fleet.workers:
        if abs(worker.clock or 0.0) > DRIFT:
            way = "ahead of" if (worker.clock or 0.0) > 0 else "behind"
            yield {"WORKER": worker.node, "WHY": f"its clock is {_s(abs(worker.clock or 0.0))} {way} the broker's"}
        early = [held.started - fleet.now for held in worker.running if held.started]
        if (most := max(early, default=0.0)) > DRIFT:
            yield {"WORKER": worker.node, "WHY": f"it notes starts of tasks {_s(most)} ahead of the broker's clock"}
    for new, old in _pairs(fleet):
        if bool(old.settings.get("enable_utc", True)) != bool(new.settings.get("enable_utc", True)):
            yield {"WORKER": old.node, "WHY": f"enable_utc is {old.settings.get('enable_utc')}, unlike {new.node}"}
    if all(worker.clock is None for worker in fleet.workers):
        raise Unknown("no worker tells its time by an event: --without-heartbeat, or SUBSCRIBE is refused to this user")


DRIFT = 16.0
"""Seconds between two clocks from which Celery itself warns of a "substantial drift"."""


def hasty_recycling(fleet: Fleet) -> Iterator[Finding]:
    """Yield the workers whose memory limit ends a process after each task."""
    for worker in fleet.workers:
        limit = seconds(worker.settings.get("worker_max_memory_per_child"))
        if 0 < limit < EMPTY:
            yield {
                "WORKER": worker.node,
                "WHY": f"worker_max_memory_per_child is {limit:.0f} KiB, an empty process has more",
            }


EMPTY = 30_000
"""KiB that a pool process needs before its first task: Celery alone has 35,000 on Python 3.11."""


def giving_up(fleet: Fleet) -> Iterator[Finding]:
    """Yield the workers that end when the broker is away for a minute, as in a failover."""
    for worker in fleet.workers:
        most = worker.settings.get("broker_connection_max_retries")
        if worker.settings.get("broker_connection_retry") is False:
            yield {"WORKER": worker.node, "WHY": "broker_connection_retry is False"}
        elif isinstance(most, int | float) and 0 < most < RETRIES:
            yield {"WORKER": worker.node, "WHY": f"broker_connection_max_retries is {most:.0f}"}


RETRIES = 8
"""Attempts that last a minute: Celery waits 2, 4, 6, ... seconds between them."""


# Words


def _age(fleet: Fleet, worker: RunningWorker, held: Held) -> float:
    """Return for how long a task has run, by the broker's clock as far as the worker's is known; 0 if it waits."""
    return fleet.now + (worker.clock or 0.0) - held.started if held.started else 0.0


def _s(time: float) -> str:
    """Return a time in seconds as text."""
    return f"{time:.0f} s" if time >= 10 or time == int(time) else f"{time:.1f} s"  # noqa: PLR2004 - short ones


def _some(names: Iterable[str], most: int = 3) -> str:
    """Return the first names, and how many there are more."""
    known = sorted(set(names))
    return ", ".join(known[:most]) + (f" and {len(known) - most} more" if len(known) > most else "")
