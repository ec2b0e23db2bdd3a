"""Find defects of running Celery workers that show between workers, and from one look to the next.

Each detector yields its findings, as those of `worker_audit` do. Some ask the workers again. The remedies stand in
worker_fleet.feature, worker_settings.feature and workers.feature.
"""

from __future__ import annotations

import math
import time
import tomllib
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

from redis import Redis

from redis_practices.celery_worker.control import Mailbox, Requester
from redis_practices.celery_worker.queue_age import WAITING, Broker
from redis_practices.celery_worker.running import AGAIN, Fleet, RunningWorker, nodes_of, read_workers
from redis_practices.celery_worker.worker_audit import (
    GRACE,
    Finding,
    Unknown,
    age_of,
    counted,
    seconds,
    secs,
    some,
)
from redis_practices.polling import poll
from redis_practices.server_info import version_of

# Names, schedules, releases, clocks


def same_names(fleet: Fleet) -> Iterator[Finding]:
    """Yield the names that several workers have: a command for one reaches all of them."""
    for worker in fleet.workers:
        if worker.answered > 1:
            yield {"WORKER": worker.name, "WHY": f"{worker.answered} workers answer under this name"}


def beats(fleet: Fleet) -> Iterator[Finding]:
    """Yield a second beat, and periodic tasks that no worker has run since its start, many intervals ago.

    Raises:
        Unknown: there is a schedule, and neither its beat nor a run of its tasks shows.
    """
    is_unknown = False
    for mailbox in fleet.mailboxes:
        workers, answered = fleet.of(mailbox), fleet.beats.get(mailbox, {})
        number, apps = sum(answered.values()), {worker.app for worker in workers}
        locks = any("redbeat" in str(worker.settings.get("beat_scheduler")).lower() for worker in workers)
        if number > max(1, len(apps)) and not locks:
            yield {
                "BEAT": f"{mailbox.prefix}{some(answered)}",
                "WHY": f"{number} beats send each task of the schedule",
            }
        scheduled = {task for worker in workers for task in worker.schedule.values()}
        ran = {task for worker in workers for task, count in worker.counts.items() if count}
        yield from () if fleet.silent else _never_run(workers, ran | _held_or_sent(fleet))
        if further := next(_sent_too_often(workers), ""):
            raise Unknown(further)
        is_unknown = is_unknown or bool(scheduled and not number and not scheduled & ran)
    if is_unknown:
        raise Unknown("no beat answers: a separate beat of Celery 5.7 does, with beat_enable_remote_control = True")


def _sent_too_often(workers: Sequence[RunningWorker]) -> Iterator[str]:
    """Yield advice about periodic tasks that ran half as often again as their schedule has it."""
    for worker in workers:
        for task in {worker.schedule[entry] for entry in worker.intervals}:
            entries = [entry for entry, other in worker.schedule.items() if other == task]
            if not all(entry in worker.intervals for entry in entries):
                continue
            runs, since = sum(one.counts.get(task, 0) for one in workers), max(one.uptime for one in workers)
            due = sum(since / worker.intervals[entry] + 1 for entry in entries)
            if runs > 1.5 * due + MISSED:
                why = f"{task} ran {runs} times in {secs(since)}, by beat_schedule it is due {due:.0f} times"
                yield f"advice: {worker.name}: {why}: a second beat sends it, or another sender, or it is retried"


def _never_run(workers: Sequence[RunningWorker], sent: Container[str]) -> Iterator[Finding]:
    """Yield the periodic tasks that were due several times since the workers started, and were not sent."""
    for worker in workers:
        for task, every in ((worker.schedule[entry], every) for entry, every in worker.intervals.items()):
            since = min((other.uptime for other in workers if task in other.tasks), default=0.0)
            if since > MISSED * every + GRACE and task not in sent:
                why = f"beat_schedule has {task} every {secs(every)}, and no worker ran it in {secs(since)}"
                yield {"WORKER": worker.name, "WHY": why}


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
        said = [f"{name} {old.versions.get(name)}, {new.name} has {new.versions.get(name)}" for name in differ]
        said += [f"other tasks than {new.name}: {some(lacks)}"] if lacks else []
        if said and new.uptime < fleet.limits.get("deployment", DEPLOYMENT):
            young = f"advice: {old.name} has {said[0]}; a deployment may run: {new.name} started {secs(new.uptime)} ago"
        elif said:
            yield {"WORKER": old.name, "WHY": f"has {said[0]}"}
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
                theirs = f"{one.name} ({some(one.tasks, 1)}) and {other.name} ({some(other.tasks, 1)})"
                yield {"QUEUE": queue.name, "WHY": f"{theirs} read it, and have no task in common"}
                break


def known_defects(fleet: Fleet) -> Iterator[Finding]:
    """Yield the workers whose versions have a known defect that is refused, by the table known_defects.toml.

    Raises:
        Unknown: a defect is advice, a worker tells no version, or a later one than the table knows.
    """
    table, untold = defects_table(), list[str]()
    for worker in fleet.workers:
        found = {grade: next(_defects_of(worker, table, grade), "") for grade in ("refused", "advice")}
        if found["refused"]:
            yield {"WORKER": worker.name, "WHY": found["refused"]}
        if found["advice"]:
            untold.append(f"advice: {worker.name}: {found['advice']}")
        for package, last in table["known"].items():
            version = worker.versions.get(package)
            if (version is None and package != "redis") or version_of(version or "") > version_of(last):
                seen = f"{worker.name} has {package} {version}" if version else f"{worker.name} tells no {package}"
                untold.append(f"the table of {table['renewed']} does not know it: {seen}")
    if untold:
        raise Unknown(some(untold, 2))


@cache
def defects_table() -> Mapping[str, Any]:
    """Return the table of versions with a known defect."""
    return tomllib.loads(Path(__file__).with_name("known_defects.toml").read_text(encoding="utf-8"))


def _defects_of(worker: RunningWorker, table: Mapping[str, Any], grade: str) -> Iterator[str]:
    """Yield the known defects of a worker's versions; those that its settings or pool avoid are left out."""
    for one in table["defects"]:
        package, version = one["package"], worker.versions.get(one["package"])
        if one["grade"] != grade or version is None or not is_affected(version_of(version), one):
            continue
        settings = {name: worker.settings.get(name, value) for name, value in one.get("only", {}).items()}
        if settings == one.get("only", {}) and worker.pool in one.get("pools", [worker.pool]):
            yield f"{package} {version} {one['does']} ({one['source']})"
    kombu, redis = worker.versions.get("kombu", ""), worker.versions.get("redis", "")
    before = table["redis_before"].get(kombu.rpartition(".")[0])
    if grade == "refused" and before and redis and version_of(redis) >= version_of(before):
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
    most = fleet.limits.get("clock-drift", DRIFT)
    for worker in fleet.workers:
        if abs(worker.clock or 0.0) > most:
            way = "ahead of" if (worker.clock or 0.0) > 0 else "behind"
            yield {
                "WORKER": worker.name,
                "WHY": f"its clock is {secs(abs(worker.clock or 0.0))} {way} the broker's",
            }
        early = [held.started - fleet.now for held in worker.running if held.started]
        if (ahead := max(early, default=0.0)) > most:
            yield {
                "WORKER": worker.name,
                "WHY": f"it notes starts of tasks {secs(ahead)} ahead of the broker's clock",
            }
    for new, old in _pairs(fleet):
        if bool(old.settings.get("enable_utc", True)) != bool(new.settings.get("enable_utc", True)):
            yield {"WORKER": old.name, "WHY": f"enable_utc is {old.settings.get('enable_utc')}, unlike {new.name}"}
    if all(worker.clock is None for worker in fleet.workers):
        raise Unknown("no worker tells its time by an event: --without-heartbeat, or SUBSCRIBE is refused to this user")


DRIFT = 16.0
"""Seconds between two clocks from which Celery itself warns of a "substantial drift"."""


def hasty_recycling(client: Redis, fleet: Fleet) -> Iterator[Finding]:
    """Yield the workers whose memory limit ends a process after each task, by a setting or as it is seen."""
    for worker in fleet.workers:
        limit = seconds(worker.settings.get("worker_max_memory_per_child"))
        if 0 < limit < EMPTY:
            yield {
                "WORKER": worker.name,
                "WHY": f"worker_max_memory_per_child is {limit:.0f} KiB, an empty process has more",
            }

    yield from _replaced_each_time(client, fleet)


def _replaced_each_time(client: Redis, fleet: Fleet) -> Iterator[Finding]:
    """Yield the workers that run short tasks and have none of their processes through `REPLACED` looks."""
    suspects = {one.key: one for one in fleet.workers if one.pids and _is_quick(fleet, one)}
    changes, begun = dict.fromkeys(suspects, 0), {key: one.done for key, one in suspects.items()}
    since = time.monotonic()

    def is_told() -> bool:
        nonlocal since
        for one in _again(client, fleet, suspects):
            before = suspects[one.key]
            done = one.done - before.done
            # With fewer tasks, a process may still run its first one.
            if one.pids and done >= len(before.pids):
                suspects[one.key], changes[one.key] = replace(one, per_process=before.per_process), changes[one.key] + 1
                since = time.monotonic()
                if one.pids & before.pids or done >= (before.per_process or math.inf):
                    del suspects[one.key]
        return time.monotonic() - since > IDLE or all(changes[key] >= REPLACED for key in suspects)

    if suspects:
        poll(is_told, REPEATED, every=0.1)
    for key, one in suspects.items():
        if changes[key] >= REPLACED:
            why = f"it ran {one.done - begun[key]} tasks, and had all its processes replaced {changes[key]} times"
            yield {"WORKER": one.name, "WHY": f"{why}: by --max-memory-per-child, or by its tasks"}


def _is_quick(fleet: Fleet, worker: RunningWorker) -> bool:
    """Tell whether a worker has begun a task within the last seconds, or is about to."""
    ages = [age_of(fleet, worker, held) for held in worker.running]
    return min(ages) < IDLE if ages else bool(worker.waiting)


IDLE = 3.0
"""Seconds without a further task after which a worker is not looked at again."""

REPLACED = 2
"""Looks in a row that see new processes alone: a memory limit is below what a process needs for one task."""

EMPTY = 30_000
"""KiB that a pool process needs before its first task: Celery alone has 35,000 on Python 3.11."""


# Processes that end


def poison_loops(client: Redis, fleet: Fleet) -> Iterator[Finding]:
    """Yield the tasks that return to the queue each time they end their process, as seen for up to `REPEATED` seconds.

    A broker on Redis counts no deliveries. A task with the attribute `max_deliveries` counts them, as `Guarded` does.

    Raises:
        Unknown: tasks have both settings, and none is seen to do that.
    """
    endless = {worker.key: names for worker in fleet.workers if (names := set(_uncounted(worker)))}
    if not endless:
        return
    loops: dict[tuple[Key, str], _Loop] = {}
    found, began = list(_returned(fleet.workers, endless, loops)), time.monotonic()
    if any(worker.counts.get(name) for worker in fleet.workers for name in endless.get(worker.key, ())):
        found = poll(
            lambda: list(_returned(_again(client, fleet, endless), endless, loops)),
            REPEATED,
            every=0.1,
            # Between its return to the queue and its next start, no worker tells of a task: 1 s is enough to see it.
            until=lambda found: bool(found or (not loops and time.monotonic() > began + 1)),
        )
    yield from found
    if not found:
        worker = next(one for one in fleet.workers if one.key in endless)
        advice = f"{some(endless[worker.key])}: {BOTH}; a task that ends its process would return for ever"
        raise Unknown(f"advice: {worker.name}: {advice}")


Key = tuple[Mailbox, str]
"""What tells a worker from all others (`RunningWorker.key`)."""


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
    workers: Iterable[RunningWorker], endless: Mapping[Key, set[str]], loops: dict[tuple[Key, str], _Loop]
) -> Iterator[Finding]:
    """Yield the tasks that are held again after their process died; `loops` keeps what was seen, by worker and id."""
    for worker in workers:
        for held in (*worker.running, *worker.waiting):
            if not held.redelivered or held.name not in endless.get(worker.key, ()):
                continue
            seen = _Loop(set(), set(worker.pids), len(worker.pids), worker.counts.get(held.name, 0))
            loop = loops.setdefault((worker.key, held.id), seen)
            if loop.crashed(worker, held.name):
                why = f"{held.name} ended a process and was given to the next one: {BOTH}"
                yield {"WORKER": worker.name, "WHY": why}
            if held.pid is not None:
                loop.ran.add(held.pid)


BOTH = "acks_late with reject_on_worker_lost"

REPEATED = 5.0
"""Seconds in which a pool replaces a process and gives it the same task again: 2 on an idle machine."""


def _uncounted(worker: RunningWorker) -> Iterator[str]:
    """Yield the tasks that are given back when their process has died, and that count no deliveries."""
    for name, said in worker.tasks.items():
        if said.get("acks_late") == said.get("reject_on_worker_lost") == "True" and "max_deliveries" not in said:
            yield name


def _again(client: Redis, fleet: Fleet, keys: Container[Key]) -> Iterator[RunningWorker]:
    """Ask some workers again what they do; their names and settings are those of the first answer."""
    asked = {worker.key: worker for worker in fleet.workers if worker.key in keys}
    with Requester(client, fleet.mailboxes) as requester:
        for mailbox, said in requester.ask(AGAIN, nodes_of(asked.values())).items():
            for worker in read_workers(mailbox, said):
                if first := asked.get(worker.key):
                    yield replace(worker, name=first.name, settings=first.settings)


# Whether a worker takes tasks

SPAN = 3.0
"""Seconds over which a worker must do nothing before it counts as stuck."""

SHORTEST = 1.5
"""Seconds in which a free worker is seen to wait, although its BRPOP ends each second."""


@dataclass
class Look:
    """What the connections to the broker showed."""

    names: set[str] = field(default_factory=set)
    most: int = 0
    """The most connections that waited at one time."""


def stuck(client: Redis, fleet: Fleet) -> Iterator[Finding]:
    """Yield the workers that answer, could take a task, and take none for `SPAN` seconds.

    A free worker waits in BRPOP, or does tasks. One that does neither has a half-open connection or a dead consumer. A
    worker that has taken tasks and runs none has a dead pool.
    A sound fleet is seen at once; the span is for doubtful ones.

    Raises:
        Unknown: the broker refuses CLIENT LIST.
    """
    broker, seen = Broker(client), Look()
    judged = [worker for worker in fleet.workers if not _limits(worker, fleet)]
    suspects = {worker.key: worker for worker in judged if worker.is_free or _idles(worker)}

    def explained() -> bool:
        _see(broker, seen, fleet)
        return not _without_wait(suspects.values(), seen) and not any(map(_idles, suspects.values()))

    if not suspects or poll(explained, max(SHORTEST, SPAN - (time.monotonic() - fleet.taken)), every=0.05):
        return
    with Requester(client, fleet.mailboxes) as requester:
        answers = requester.ask(AGAIN, nodes_of(suspects.values()))
    now = {one.key: one for mailbox, said in answers.items() for one in read_workers(mailbox, said)}
    same = [(one, now[key]) for key, one in suspects.items() if key in now and now[key].done == one.done]
    for name in _without_wait([old for old, new in same if old.is_free and new.is_free], seen):
        yield {"WORKER": name, "WHY": "it is free, and no connection of it waits for a task (BRPOP)"}
    for old, one in same:
        held = {task.id for task in old.waiting}
        if _idles(one) and held & {task.id for task in one.waiting}:
            yield {"WORKER": old.name, "WHY": f"it holds {counted(len(one.waiting))} and runs none"}


def _see(broker: Broker, seen: Look, fleet: Fleet) -> None:
    """Add the connections that wait for tasks now."""
    told = broker.consumers()
    if told is None:
        raise Unknown(f"the broker refuses CLIENT LIST: {broker.refused['CLIENT LIST']}")
    waiting = [one for one in told if one.command == WAITING and one.blocked and one.database == fleet.database]
    seen.most = max(seen.most, len(waiting))
    seen.names |= {one.name for one in waiting}


def _idles(worker: RunningWorker) -> bool:
    """Tell whether a worker holds tasks that it could run and runs none; a rate limit may hold back a task."""
    free = [task for task in worker.waiting if "rate_limit" not in worker.tasks.get(task.name, {})]
    return bool(free) and not worker.running


def _limits(worker: RunningWorker, fleet: Fleet) -> bool:
    """Tell whether a rate limit may hold back tasks in a worker, which no answer lists: they fill its prefetch."""
    if not any("rate_limit" in attributes for attributes in worker.tasks.values()):
        return False
    prefix = worker.mailbox.prefix
    others = [one for one in fleet.workers if one.mailbox.prefix == prefix]
    held = [task for one in others for task in (*one.running, *one.waiting, *one.later) if not task.acknowledged]
    return fleet.unacknowledged[prefix].count > len(held)


def _without_wait(workers: Iterable[RunningWorker], seen: Look) -> list[str]:
    """Return the free workers that no connection in BRPOP explains; without names, one of them for each missing."""
    names = {one.name: str(one.options.get("client_name") or "") for one in workers if one.is_free}
    named = [worker for worker, name in names.items() if name and name not in seen.names]
    unnamed = sorted(worker for worker, name in names.items() if not name)
    of_named = len({name for name in names.values() if name} & seen.names)
    missing = max(0, len(unnamed) - max(0, seen.most - of_named))
    if not missing:
        return named
    if missing == len(unnamed):
        return [*named, *unnamed]
    return [*named, f"{missing} of {some(unnamed)}"]
