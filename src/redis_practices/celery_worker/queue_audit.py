"""Find what is wrong with the queues of running Celery workers.

Each detector yields its findings from the first look of a run (`running.look`), like those of `worker_audit`. Some ask
the broker again. A finding that a silent worker may explain is none: then the detector raises `Unknown`.
"""

from __future__ import annotations

import math
import time
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from redis import Redis

from redis_practices.celery_worker.control import PROBE, WHOLE, Requester, envelope
from redis_practices.celery_worker.queue_age import WAITING, Broker, Consumer, QueueSeen, number_of
from redis_practices.celery_worker.running import Fleet, RunningWorker, nodes_of, read_workers, steps_of
from redis_practices.celery_worker.worker_audit import PICKLE, Finding, Unknown, counted, some
from redis_practices.polling import poll


def readers(fleet: Fleet) -> list[Consumer]:
    """Return the connections whose last command took tasks (BRPOP), in the database of the workers."""
    return [one for one in _taking(fleet) if one.command == WAITING]


def _taking(fleet: Fleet) -> list[Consumer]:
    """Return the connections whose last command took from a list, in the database of the workers."""
    return [one for one in fleet.consumers or () if one.database == fleet.database]


def doubt(fleet: Fleet, *, strict: bool = False) -> str:
    """Return why there may be workers that did not answer, "" if there are none.

    A strict doubt counts connections too that wait no more: a busy worker's, or those of a monitor that was answered.
    """
    waiting = [one for one in readers(fleet) if one.blocked]
    if fleet.late:
        return (
            f"{', '.join(fleet.late[:3])} answered `ping` and not `stats`: too slow, or with a transport option that "
            "JSON cannot write: `priority_steps=range(10)` must be a list"
        )
    free = sum(worker.answered for worker in fleet.workers if worker.is_free)
    if fleet.silent and len(waiting) >= free + fleet.silent:
        return f"no answer in JSON from {_workers(fleet.silent)} that took tasks: accept_content lacks it"
    if fleet.silent:
        return (
            f"{fleet.silent} of {_workers(fleet.silent + len(fleet.workers))} did not answer{_unheard(fleet)}: busy in "
            "a solo pool, paused, short of processors, or without JSON in accept_content"
        )
    if unreadable := ", ".join(sorted(fleet.unreadable)):
        return f"a worker answers in a form that is not read: {unreadable}"
    seen, answered = readers(fleet) if strict else waiting, sum(worker.answered for worker in fleet.workers)
    if len(seen) > answered:
        return (
            f"{len(seen) - answered} of {len(seen)} connections that take tasks (BRPOP) belong to no worker which "
            f"answered ({some([one.address for one in seen])}): {_unasked(fleet)}"
        )
    return ""


def _unasked(fleet: Fleet) -> str:
    """Return why a worker was not asked."""
    if fleet.mistyped:
        return f"remote control needs {some(fleet.mistyped)}, which is no set: delete it if no other program needs it"
    return (
        "its remote control is off, or it has another key prefix or control exchange (--key-prefix, "
        "--control-exchange), or a `fanout_prefix`"
    )


def is_empty(fleet: Fleet) -> bool:
    """Tell whether nothing answers and no connection waits for tasks: workers may be about to start."""
    return not (fleet.workers or fleet.silent or fleet.unreadable or any(one.blocked for one in readers(fleet)))


def _unheard(fleet: Fleet) -> str:
    """Return the nodes which opened a mailbox and did not answer; a killed one is among them for ever."""
    # An app with a `fanout_prefix` has a second mailbox, whose nodes stand in the same set.
    heard = {(worker.mailbox.bindings, worker.node) for worker in fleet.workers}
    opened = {(mailbox.bindings, node) for mailbox, nodes in fleet.opened.items() for node in nodes}
    names = sorted({node for _, node in opened - heard})
    return f" ({some(names)})" if names else ""


def _workers(number: int) -> str:
    return f"{number} worker{'s' * (number != 1)}"


def sure(fleet: Fleet, *, strict: bool = True) -> None:
    """Raise Unknown if not all workers answered."""
    if why := doubt(fleet, strict=strict):
        raise Unknown(why)


def needs(fleet: Fleet, *commands: str) -> None:
    """Raise Unknown if the broker refused a command: what it would have shown counts as nothing."""
    for command in commands:
        if command in fleet.refused:
            raise Unknown(f"the broker refuses {command}: {fleet.refused[command]}")


# Queues


def absent(client: Redis, fleet: Fleet) -> Iterator[Finding]:
    """Yield the queues with tasks if no worker runs.

    Raises:
        Unknown: a worker may run that does not answer, no task waits for one, or another program takes them.
    """
    sure(fleet, strict=False)
    if fleet.workers:
        return
    needs(fleet, *READS)
    filled = [queue for queue in fleet.queues if queue.has_tasks]
    if not filled:
        raise Unknown(f"no worker runs at this broker, and no task waits for one{_elsewhere(fleet)}")
    for queue in left_alone(client, fleet, filled):
        yield {"WORKER": "none", "QUEUE": shown(queue), "TASKS": f"{_tasks(queue, fleet)}{_elsewhere(fleet)}"}


def _elsewhere(fleet: Fleet) -> str:
    """Return in which other databases workers may run, by the connections that wait there."""
    others = sorted({one.database for one in fleet.consumers or () if one.blocked} - {fleet.database})
    return f"; workers may run in database {others[0]}: end the URL with /{others[0]}" if others else ""


READS = ("DBSIZE", "SCAN", "SMEMBERS", "LLEN")
"""Commands that show which queues hold tasks."""


def unread(client: Redis, fleet: Fleet, named: Collection[str] = ()) -> Iterator[Finding]:
    """Yield the queues with tasks that no worker reads, and those of `named` that none reads.

    Raises:
        Unknown: a worker that did not answer, or another program, may read one of them.
    """
    needs(fleet, *READS)
    alone = {queue.name for queue in fleet.queues if fleet.readers(queue)}
    lonely = [queue for queue in fleet.queues if not fleet.readers(queue)]
    found = [queue for queue in lonely if queue.has_tasks or (queue.name in named and queue.name not in alone)]
    if found and fleet.workers:
        sure(fleet)
        read = some(sorted({shown(queue) for queue in fleet.queues if fleet.readers(queue)})) or "none"
        for queue in left_alone(client, fleet, found):
            yield {
                "QUEUE": shown(queue),
                "TASKS": _tasks(queue, fleet),
                "READ": f"the workers read {read}, and no other connection takes from a list of this database",
            }


def left_alone(client: Redis, fleet: Fleet, queues: Sequence[QueueSeen]) -> list[QueueSeen]:
    """Return the queues from which no other program takes: one of these grows shorter, or a connection polls it.

    Raises:
        Unknown: a connection that takes from lists, otherwise than a worker does, may read one of them.
    """
    needs(fleet, "CLIENT LIST")
    broker, left = Broker(client), {shown(queue): queue for queue in queues}
    lengths = {key: queue.lengths.get(0, 0) for key, queue in left.items()}

    def is_taken() -> bool:
        now = dict(zip(lengths, broker.each("LLEN", list(lengths), otherwise=0), strict=True))
        for key in [key for key in left if now[key] < lengths[key]]:
            del left[key]
        lengths.update(now)
        return not any(lengths[key] for key in left)

    if any(lengths.values()):
        poll(is_taken, max(0.0, PATIENCE - (time.monotonic() - fleet.taken)), every=0.05)
    for key, queue in left.items():
        if takers := [one for one in _taking(fleet) if one.command != WAITING and _may_poll(one, queue)]:
            commands = ", ".join(sorted({one.command.upper() for one in takers}))
            seen = f"{len(takers)} connection{'s' * (len(takers) != 1)} ({some(one.address for one in takers)})"
            raise Unknown(f"{key}: another program may read it: {seen} took from a list by {commands}")
    return list(left.values())


PATIENCE = 3.0
"""Seconds after the first look in which a program that polls a queue is seen to take from it."""


def _may_poll(consumer: Consumer, queue: QueueSeen) -> bool:
    """Tell whether the last command of a connection can have been for a queue: one touches a list that it reads."""
    idle = queue.idles.get(0)
    return idle is None or idle <= consumer.idle + GRACE


def unread_priorities(fleet: Fleet) -> Iterator[Finding]:
    """Yield lists of a priority that no worker reads, although workers read the queue."""
    needs(fleet, "LLEN")
    for queue in fleet.queues:
        for step, length in queue.unread.items():
            steps = sorted({step for worker in fleet.readers(queue) for step in steps_of(worker)})
            read = ", ".join(map(str, steps))
            yield {"QUEUE": shown(queue), "TASKS": f"{counted(length)} of priority {step}", "READ": f"{read} are read"}


def undeclared_routes(fleet: Fleet) -> Iterator[Finding]:
    """Yield the queues of routes and schedules that no worker reads and no process has ever declared.

    A queue that was declared may belong to workers that are started when tasks wait.

    Raises:
        Unknown: a worker that did not answer may read one of them.
    """
    known = {(queue.prefix, queue.name) for queue in fleet.queues if queue.declared or fleet.readers(queue)}
    nowhere: dict[tuple[str, str], list[str]] = {}
    for worker in fleet.workers:
        for queue in worker.routed:
            if (worker.mailbox.prefix, queue) not in known:
                nowhere.setdefault((worker.mailbox.prefix, queue), []).append(worker.name)
    if nowhere:
        sure(fleet)
    for (prefix, queue), names in sorted(nowhere.items()):
        where = f"a route or schedule in the settings of {some(names)} leads to it"
        yield {"QUEUE": f"{prefix}{queue}", "WORKER": where}


def unknown_schedules(fleet: Fleet) -> Iterator[Finding]:
    """Yield the entries of a schedule whose task no worker has registered.

    Raises:
        Unknown: a worker that did not answer may have it.
    """
    for worker in fleet.workers:
        fellows = [other for other in fleet.workers if other.mailbox.prefix == worker.mailbox.prefix]
        missing = {
            entry: task for entry, task in worker.schedule.items() if not any(other.knows(task) for other in fellows)
        }
        if missing:
            sure(fleet)
        for entry, task in missing.items():
            yield {"ENTRY": entry, "TASK": task, "WORKER": f"in the settings of {worker.name}"}


def unknown_tasks(fleet: Fleet) -> Iterator[Finding]:
    """Yield the tasks that a reader of their queue does not know: it discards them.

    Tasks that wait there prove it, and tasks that a worker holds from there. So do tasks done by a worker of no other
    queue since its start, if the reader was there before.

    Raises:
        Unknown: a worker that did not answer may know it.
    """
    needs(fleet, "LLEN", "LRANGE")
    for queue in fleet.queues:
        readers = fleet.readers(queue)
        discarding = defaultdict[str, list[str]](list)
        for worker in readers:
            for task in _sent(queue, readers, worker.uptime) if worker.tasks else ():
                if not worker.knows(task):
                    discarding[task].append(worker.name)
        for task, nodes in sorted(discarding.items()):
            if len(nodes) == len(readers):
                sure(fleet)
            yield {"TASK": task, "QUEUE": shown(queue), "WORKER": f"{some(nodes)} discards it"}


def _sent(queue: QueueSeen, readers: Sequence[RunningWorker], uptime: float) -> set[str]:
    """Return the tasks that were for certain sent to a queue in the last seconds, as many as `uptime` is."""
    found = {message.task for message in queue.messages}
    for worker in readers:
        found |= {held.name for held in (*worker.running, *worker.waiting) if held.queue == queue.name}
        if len(worker.queues) == 1 and worker.uptime <= uptime:
            found |= set(worker.counts)
    return found


def unreadable_tasks(fleet: Fleet) -> Iterator[Finding]:
    """Yield what waits in a queue and its readers cannot read: no Celery message, or of a refused content type."""
    needs(fleet, "LLEN", "LRANGE")
    for queue in fleet.queues:
        readers = fleet.readers(queue)
        if readers and not queue.is_list:
            yield {"QUEUE": shown(queue), "TASKS": "a key of this name is no list"}
        if readers and queue.strange:
            yield {"QUEUE": shown(queue), "TASKS": f"{queue.strange} elements that are no task of Celery"}
        for kind in sorted({message.kind for message in queue.messages}):
            refusing = [worker.name for worker in readers if not _accepts(worker, kind)]
            if refusing:
                tasks = some(sorted({message.task for message in queue.messages if message.kind == kind}))
                yield {"QUEUE": shown(queue), "TASKS": f"{tasks} as {kind}", "WORKER": f"{some(refusing)} refuses it"}


def overaged(fleet: Fleet) -> Iterator[Finding]:
    """Yield the queues whose oldest task has waited for longer than the user allows; by default every time is right.

    The time is a lower bound where the senders do not stamp their tasks, so that a task which is found waits as long.
    """
    most = fleet.limits.get("oldest-message", math.inf)
    for queue in fleet.queues:
        for step, (age, how) in sorted(queue.ages(fleet.now).items()):
            if age > most:
                yield {"QUEUE": shown(queue), "TASKS": f"of priority {step}, the oldest waits for {age:.0f} s ({how})"}


def piled(fleet: Fleet) -> Iterator[Finding]:
    """Advise about queues that are full of one periodic task, which never expires.

    Raises:
        Unknown: there is such a queue; whether its tasks are still wanted, only their author knows.
    """
    for queue in fleet.queues:
        periodic = {task for worker in fleet.readers(queue) for task in worker.schedule.values()}
        tasks = {message.task for message in queue.messages}
        ends = queue.strange or any(message.expires for message in queue.messages)
        if (
            queue.length > fleet.limits.get("periodic-tasks", PILED)
            and len(tasks) == 1
            and tasks <= periodic
            and not ends
        ):
            why = f"{counted(queue.length)} wait, all {some(sorted(tasks))} of beat_schedule, without expires"
            raise Unknown(f"advice: {shown(queue)}: {why}")
    return iter(())


PILED = 10
"""Runs of a periodic task from which on they pile up."""

MOST_BYTES = 1_000_000
"""Bytes of a message. The broker holds it, and each worker repeats its arguments when it answers ``active``."""


def huge_messages(fleet: Fleet) -> Iterator[Finding]:
    """Yield the queues whose messages have more than `MOST_BYTES` bytes on average."""
    needs(fleet, "LLEN", "MEMORY USAGE")
    for queue in fleet.queues:
        if queue.size > fleet.limits.get("message-size", MOST_BYTES):
            yield {"QUEUE": shown(queue), "BYTES": f"{queue.size / 1e6:.1f} MB a message"}


ALIASES = {
    "application/json": {"json"},
    "application/x-python-serialize": PICKLE,
    "application/x-yaml": {"yaml"},
    "application/x-msgpack": {"msgpack"},
    "application/data": {"auth"},
}
"""The names of serializers by content type."""


def _accepts(worker: RunningWorker, kind: str) -> bool:
    """Tell whether a worker accepts a content type; one of unknown settings or an unknown type counts as accepted."""
    return not worker.accepted or kind not in ALIASES or bool(worker.accepted & {kind, *ALIASES[kind]})


def without_queue(fleet: Fleet) -> Iterator[Finding]:
    """Yield the workers that answer and read no queue."""
    for worker in fleet.workers:
        if worker.hears and not worker.queues:
            yield {"WORKER": worker.name, "QUEUE": "none"}


def overdue(fleet: Fleet) -> Iterator[Finding]:
    """Yield the records of taken tasks that no worker gives back: they are older than each visibility timeout.

    Workers look for such tasks periodically, from their start on.
    """
    needs(fleet, "ZCARD", "ZRANGE", "TTL")
    for prefix, record in fleet.unacknowledged.items():
        workers = [worker for worker in fleet.workers if worker.mailbox.prefix == prefix]
        key = f"{prefix}unacked_index"
        if record.count and record.stuck_mutex:
            why = f"{record.stuck_mutex} has no ttl, so no worker gives them back"
            yield {"KEY": key, "TASKS": f"{counted(record.count)} unacknowledged", "WHY": why}
        elif workers and record.oldest is not None:
            limit = max(worker.visibility_timeout for worker in workers) + max(map(_sweep, workers)) + GRACE
            if record.oldest > limit and max(worker.uptime for worker in workers) > limit - GRACE:
                why = f"the oldest was taken {record.oldest:.0f} s ago, and is due back after {limit - GRACE:.0f} s"
                yield {"KEY": key, "TASKS": f"{counted(record.count)} unacknowledged", "WHY": why}


GRACE = 60.0
"""Seconds for a worker that is late."""


def orphaned(fleet: Fleet) -> Iterator[Finding]:
    """Advise about taken tasks that no worker has: theirs was killed, and they wait for the visibility timeout.

    Raises:
        Unknown: there are such tasks; they will be given back in time.
    """
    if doubt(fleet, strict=True):
        return iter(())
    for prefix, record in fleet.unacknowledged.items():
        workers = [worker for worker in fleet.workers if worker.mailbox.prefix == prefix]
        # A task that waits for its rate limit is in no answer.
        if not workers or any("rate_limit" in said for worker in workers for said in worker.tasks.values()):
            continue
        held = {task.id for one in workers for task in (*one.running, *one.waiting, *one.later)}
        lost = {one: told for one, told in record.tasks.items() if one not in held and told[1] > 2 * WHOLE}
        if lost:
            names, age = sorted({name for name, _ in lost.values()}), max(age for _, age in lost.values())
            timeout = min(worker.visibility_timeout for worker in workers)
            raise Unknown(
                f"advice: {prefix}unacked: no worker has {some(names)}, taken {age:.0f} s ago, as after a SIGKILL: "
                f"it is given back after the visibility timeout of {timeout:.0f} s"
            )
    return iter(())


def _sweep(worker: RunningWorker) -> float:
    """Return the seconds after which a worker looks again for tasks to give back."""
    interval, throttle = worker.options.get("unacked_restore_interval"), worker.options.get("unacked_restore_throttle")
    return (number_of(interval) or 10) * (number_of(throttle) or 10)


MOST_ABANDONED = 1_000_000
"""Bytes of lists that nothing reads; a killed requester leaves a few answers of 10 kB."""


def abandoned(client: Redis, fleet: Fleet) -> Iterator[Finding]:
    """Yield the lists of answers and events that nothing reads, if they hold more than `MOST_ABANDONED` bytes.

    A list in use has a ttl, or changes within the time that a requester waits.
    """
    needs(fleet, "SCAN", "TYPE", "TTL", "MEMORY USAGE")
    broker, old = Broker(client), {key: size for key, size in fleet.abandoned.items() if size}
    begun = broker.each("LLEN", list(old), otherwise=0)
    kept, most = dict(old), fleet.limits.get("abandoned-answers", MOST_ABANDONED)

    def is_read() -> bool:
        for key, before, now in zip(old, begun, broker.each("LLEN", list(old), otherwise=0), strict=True):
            if now < max(1, before):
                kept.pop(key, None)
        return sum(kept.values()) <= most

    if sum(old.values()) > most and not poll(is_read, REQUEST, every=0.1):
        yield {"KEYS": some(sorted(kept)), "BYTES": f"{sum(kept.values())} bytes in {len(kept)} lists without ttl"}


REQUEST = 1.0
"""Seconds that a requester of remote control waits for answers by default."""


def shown(queue: QueueSeen) -> str:
    """Return the name of a queue with its key prefix."""
    return f"{queue.prefix}{queue.name}"


def _tasks(queue: QueueSeen, fleet: Fleet) -> str:
    """Return how many tasks wait, and the age of the oldest."""
    if not queue.length:
        return "no task waits"
    age, how = queue.age(fleet.now)
    return f"{counted(queue.length)} waiting, the oldest for {age:.0f} s ({how})"


# Whether a worker runs a task

TAKEN = 5.0
"""Seconds in which a free worker runs a task."""


def unanswered_probes(client: Redis, fleet: Fleet, queues: Sequence[str]) -> Iterator[Finding]:
    """Send the task `PROBE` to each queue, and yield the queues in which no worker ran it within `TAKEN` seconds.

    It keeps no result and expires. One that was not taken is removed.

    Raises:
        Unknown: no reader of the queue has the task, or takes JSON.
    """
    for name in queues:
        found = [queue for queue in fleet.queues if queue.name == name and fleet.readers(queue)]
        ready = [one for queue in found for one in fleet.readers(queue) if _takes_probe(one)]
        if not found or len(ready) < sum(len(fleet.readers(queue)) for queue in found):
            raise Unknown(
                f"a reader of {name} has no task {PROBE}: add it by include=['redis_practices.celery_worker.control']"
            )
        for queue in found:
            key, element = f"{queue.prefix}{name}", _probe(name)
            before = _probed(client, fleet, ready)
            client.lpush(key, element)
            begun = time.monotonic()
            if not poll(partial(_has_run, client, fleet, ready, before), TAKEN, every=0.1):
                removed = client.lrem(key, 1, element)
                why = "no worker took it" if removed else "a worker took it and has not run it"
                yield {"QUEUE": shown(queue), "WHY": f"{why} within {time.monotonic() - begun:.1f} s"}


def _takes_probe(worker: RunningWorker) -> bool:
    return PROBE in worker.tasks and _accepts(worker, "application/json")


def _probed(client: Redis, fleet: Fleet, workers: Sequence[RunningWorker]) -> int:
    """Return how many of these tasks the workers have run."""
    keys = {worker.key for worker in workers}
    with Requester(client, fleet.mailboxes) as requester:
        answers = requester.ask([("stats", {})], nodes_of(workers))
    told = [one for mailbox, said in answers.items() for one in read_workers(mailbox, said)]
    return sum(one.counts.get(PROBE, 0) for one in told if one.key in keys)


def _has_run(client: Redis, fleet: Fleet, workers: Sequence[RunningWorker], before: int) -> bool:
    return _probed(client, fleet, workers) > before


def _probe(queue: str) -> str:
    """Return a message with the task, as Celery writes it (protocol 2)."""
    identity = str(uuid.uuid4())
    headers = {
        "lang": "py",
        "task": PROBE,
        "id": identity,
        "root_id": identity,
        "parent_id": None,
        "group": None,
        "expires": (datetime.now(UTC) + timedelta(seconds=60)).isoformat(),
        "retries": 0,
        "timelimit": [None, None],
        "ignore_result": True,
        "origin": "redis-practices",
    }
    return envelope([[], {}, {}], headers, "", queue)
