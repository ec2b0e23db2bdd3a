"""Find what is wrong with the queues of running Celery workers, and which workers take no task.

Each detector yields its findings from the first look of a run (`running.look`), like those of `worker_audit`. Some ask
the broker again. A finding that a silent worker may explain is none: then the detector raises `Unknown`.
"""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from redis import Redis

from redis_practices.celery_worker.control import PROBE, Requester, envelope
from redis_practices.celery_worker.queue_age import Broker, Consumer, QueueSeen, number_of
from redis_practices.celery_worker.running import AGAIN, Fleet, RunningWorker, read_workers, steps_of
from redis_practices.celery_worker.worker_audit import PICKLE, Finding, Unknown
from redis_practices.polling import poll


def readers(fleet: Fleet) -> list[Consumer]:
    """Return the connections whose last command took tasks (BRPOP), in the database of the workers."""
    databases = {mailbox.database for mailbox in fleet.mailboxes}
    return [one for one in fleet.consumers or () if one.database in databases]


def doubt(fleet: Fleet, *, strict: bool = False) -> str:
    """Return why there may be workers that did not answer, "" if there are none.

    A strict doubt counts connections too that wait no more: a busy worker's, or those of a monitor that was answered.
    """
    waiting = [one for one in readers(fleet) if one.blocked]
    free = sum(worker.answered for worker in fleet.workers if worker.is_free)
    if fleet.silent and len(waiting) >= free + fleet.silent:
        return f"{_workers(fleet.silent)} wait for tasks and answer no JSON: accept_content lacks it"
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
            f"answered ({_some([one.address for one in seen])}): its remote control is off, or it has another "
            "key prefix or control exchange (--key-prefix, --control-exchange)"
        )
    return ""


def is_empty(fleet: Fleet) -> bool:
    """Tell whether nothing answers and no connection waits for tasks: workers may be about to start."""
    return not (fleet.workers or fleet.silent or fleet.unreadable or any(one.blocked for one in readers(fleet)))


def _unheard(fleet: Fleet) -> str:
    """Return the nodes which opened a mailbox and did not answer; a killed one is among them for ever."""
    heard = {worker.node for worker in fleet.workers}
    names = sorted({node for nodes in fleet.opened.values() for node in nodes} - heard)
    return f" ({_some(names)})" if names else ""


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


def absent(fleet: Fleet) -> Iterator[Finding]:
    """Yield the queues with tasks if no worker runs.

    Raises:
        Unknown: a worker may run that does not answer, or no task waits for one.
    """
    sure(fleet, strict=False)
    if fleet.workers:
        return
    needs(fleet, *READS)
    filled = [queue for queue in fleet.queues if queue.has_tasks]
    if not filled:
        raise Unknown(f"no worker runs at this broker, and no task waits for one{_elsewhere(fleet)}")
    for queue in filled:
        yield {"WORKER": "none", "QUEUE": shown(queue), "TASKS": f"{_tasks(queue, fleet)}{_elsewhere(fleet)}"}


def _elsewhere(fleet: Fleet) -> str:
    """Return in which other databases workers may run, by the connections that wait there."""
    here = {mailbox.database for mailbox in fleet.mailboxes}
    others = sorted({one.database for one in fleet.consumers or () if one.blocked} - here)
    return f"; workers may run in database {others[0]}: end the URL with /{others[0]}" if others else ""


READS = ("DBSIZE", "SCAN", "SMEMBERS", "LLEN")
"""Commands that show which queues hold tasks."""


def unread(fleet: Fleet, named: Collection[str] = ()) -> Iterator[Finding]:
    """Yield the queues with tasks that no worker reads, and those of `named` that none reads.

    Raises:
        Unknown: a worker that did not answer may read one of them.
    """
    needs(fleet, *READS)
    alone = {queue.name for queue in fleet.queues if fleet.readers(queue)}
    lonely = [queue for queue in fleet.queues if not fleet.readers(queue)]
    found = [queue for queue in lonely if queue.has_tasks or (queue.name in named and queue.name not in alone)]
    if found and fleet.workers:
        sure(fleet)
        read = _some(sorted({shown(queue) for queue in fleet.queues if fleet.readers(queue)})) or "none"
        for queue in found:
            yield {"QUEUE": shown(queue), "TASKS": _tasks(queue, fleet), "READ": f"the workers read {read}"}


def unread_priorities(fleet: Fleet) -> Iterator[Finding]:
    """Yield lists of a priority that no worker reads, although workers read the queue."""
    needs(fleet, "LLEN")
    for queue in fleet.queues:
        for step, length in queue.unread.items():
            steps = sorted({step for worker in fleet.readers(queue) for step in steps_of(worker)})
            read = ", ".join(map(str, steps))
            yield {"QUEUE": shown(queue), "TASKS": f"{_count(length)} of priority {step}", "READ": f"{read} are read"}


def undeclared_routes(fleet: Fleet) -> Iterator[Finding]:
    """Yield the queues of routes and schedules that no worker reads and no process has ever declared.

    A queue that was declared may belong to workers that are started when tasks wait.

    Raises:
        Unknown: a worker that did not answer may read one of them.
    """
    known = {(queue.prefix, queue.name) for queue in fleet.queues if queue.declared or fleet.readers(queue)}
    nowhere: dict[str, list[str]] = {}
    for worker in fleet.workers:
        for queue in worker.routed:
            if (worker.mailbox.prefix, queue) not in known:
                nowhere.setdefault(queue, []).append(worker.node)
    if nowhere:
        sure(fleet)
    for queue, nodes in sorted(nowhere.items()):
        yield {"QUEUE": queue, "WORKER": f"a route or schedule in the settings of {_some(nodes)} leads to it"}


def unknown_schedules(fleet: Fleet) -> Iterator[Finding]:
    """Yield the entries of a schedule whose task no worker has registered.

    Raises:
        Unknown: a worker that did not answer may have it.
    """
    for worker in fleet.workers:
        missing = {
            entry: task
            for entry, task in worker.schedule.items()
            if not any(other.knows(task) for other in fleet.workers)
        }
        if missing:
            sure(fleet)
        for entry, task in missing.items():
            yield {"ENTRY": entry, "TASK": task, "WORKER": f"in the settings of {worker.node}"}


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
                    discarding[task].append(worker.node)
        for task, nodes in sorted(discarding.items()):
            if len(nodes) == len(readers):
                sure(fleet)
            yield {"TASK": task, "QUEUE": shown(queue), "WORKER": f"{_some(nodes)} discards it"}


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
            refusing = [worker.node for worker in readers if not _accepts(worker, kind)]
            if refusing:
                tasks = _some(sorted({message.task for message in queue.messages if message.kind == kind}))
                yield {"QUEUE": shown(queue), "TASKS": f"{tasks} as {kind}", "WORKER": f"{_some(refusing)} refuses it"}


MOST_BYTES = 1_000_000
"""Bytes of a message. The broker holds it, and each worker repeats its arguments when it answers ``active``."""


def huge_messages(fleet: Fleet) -> Iterator[Finding]:
    """Yield the queues whose messages have more than `MOST_BYTES` bytes on average."""
    needs(fleet, "LLEN", "MEMORY USAGE")
    for queue in fleet.queues:
        if queue.size > MOST_BYTES:
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
            yield {"WORKER": worker.node, "QUEUE": "none"}


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
            yield {"KEY": key, "TASKS": f"{_count(record.count)} unacknowledged", "WHY": why}
        elif workers and record.oldest is not None:
            limit = max(worker.visibility_timeout for worker in workers) + max(map(_sweep, workers)) + GRACE
            if record.oldest > limit and max(worker.uptime for worker in workers) > limit - GRACE:
                why = f"the oldest was taken {record.oldest:.0f} s ago, and is due back after {limit - GRACE:.0f} s"
                yield {"KEY": key, "TASKS": f"{_count(record.count)} unacknowledged", "WHY": why}


GRACE = 60.0
"""Seconds for a worker that is late."""


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
    kept = dict(old)

    def is_read() -> bool:
        for key, before, now in zip(old, begun, broker.each("LLEN", list(old), otherwise=0), strict=True):
            if now < max(1, before):
                kept.pop(key, None)
        return sum(kept.values()) <= MOST_ABANDONED

    if sum(old.values()) > MOST_ABANDONED and not poll(is_read, REQUEST, every=0.1):
        yield {"KEYS": _some(sorted(kept)), "BYTES": f"{sum(kept.values())} bytes in {len(kept)} lists without ttl"}


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
    return f"{_count(queue.length)} waiting, the oldest for {age:.0f} s ({how})"


def _count(number: int) -> str:
    return f"{number} task{'s' * (number != 1)}"


def _some(names: Sequence[str], most: int = 3) -> str:
    """Return the first names, and how many there are more."""
    further = len(names) - most
    return ", ".join(names[:most]) + (f" and {further} more" if further > 0 else "")


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
    suspects = {worker.node: worker for worker in judged if worker.is_free or _idles(worker)}

    def explained() -> bool:
        _see(broker, seen, fleet)
        return not _without_wait(suspects, seen) and not any(map(_idles, suspects.values()))

    if not suspects or poll(explained, max(SHORTEST, SPAN - (time.monotonic() - fleet.taken)), every=0.05):
        return
    with Requester(client, fleet.mailboxes) as requester:
        answers = requester.ask(AGAIN, sorted(suspects))
    now = {one.node: one for mailbox, said in answers.items() for one in read_workers(mailbox, said)}
    same = {node: one for node, one in now.items() if node in suspects and one.done == suspects[node].done}
    for node in _without_wait(
        {node: one for node, one in same.items() if one.is_free and suspects[node].is_free}, seen
    ):
        yield {"WORKER": node, "WHY": "it is free, and no connection of it waits for a task (BRPOP)"}
    for node, one in same.items():
        held = {task.id for task in suspects[node].waiting}
        if _idles(one) and held & {task.id for task in one.waiting}:
            yield {"WORKER": node, "WHY": f"it holds {_count(len(one.waiting))} and runs none"}


def _see(broker: Broker, seen: Look, fleet: Fleet) -> None:
    """Add the connections that wait for tasks now."""
    told = broker.consumers()
    if told is None:
        raise Unknown(f"the broker refuses CLIENT LIST: {broker.refused['CLIENT LIST']}")
    databases = {mailbox.database for mailbox in fleet.mailboxes}
    waiting = [one for one in told if one.blocked and one.database in databases]
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


def _without_wait(workers: Mapping[str, RunningWorker], seen: Look) -> list[str]:
    """Return the free workers that no connection in BRPOP explains; without names, one of them for each missing."""
    names = {node: str(one.options.get("client_name") or "") for node, one in workers.items() if one.is_free}
    named = [node for node, name in names.items() if name and name not in seen.names]
    unnamed = sorted(node for node, name in names.items() if not name)
    of_named = len({name for name in names.values() if name} & seen.names)
    missing = max(0, len(unnamed) - max(0, seen.most - of_named))
    if not missing:
        return named
    if missing == len(unnamed):
        return [*named, *unnamed]
    return [*named, f"{missing} of {_some(unnamed)}"]


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
    nodes = [worker.node for worker in workers]
    with Requester(client, fleet.mailboxes) as requester:
        answers = requester.ask([("stats", {})], nodes)
    told = [one for mailbox, said in answers.items() for one in read_workers(mailbox, said)]
    return sum(one.counts.get(PROBE, 0) for one in told if one.node in nodes)


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
