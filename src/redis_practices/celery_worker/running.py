"""See the running workers of a broker, their queues and their unacknowledged tasks. No task is sent.

`look` asks all workers over the control mailbox, and reads the broker. It keeps named fields alone: arguments of tasks,
passwords and everything else that an answer holds are dropped at once. `worker_audit` finds what is wrong with it.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from redis import Redis

from redis_practices.celery_worker.control import (
    BEAT,
    HEARTBEAT,
    PROBE,
    SEP,
    Answers,
    Heartbeats,
    Mailbox,
    Question,
    Requester,
    mailboxes,
    named,
    sweep,
)
from redis_practices.celery_worker.queue_age import (
    DEFAULT_STEPS,
    WAITING,
    Broker,
    Consumer,
    Named,
    QueueSeen,
    Unacknowledged,
    number_of,
)

SETTINGS = (
    *("accept_content", "task_serializer", "result_serializer", "result_expires", "result_chord_expires"),
    *("task_acks_late", "task_reject_on_worker_lost", "task_acks_on_failure_or_timeout", "task_time_limit"),
    *("task_soft_time_limit", "task_ignore_result", "task_store_errors_even_if_ignored", "task_default_queue"),
    *("task_create_missing_queues", "task_publish_retry", "worker_prefetch_multiplier", "worker_disable_prefetch"),
    *("worker_max_tasks_per_child", "worker_max_memory_per_child", "worker_enable_remote_control"),
    *("worker_cancel_long_running_tasks_on_connection_loss", "worker_deduplicate_successful_tasks"),
    *("worker_soft_shutdown_timeout", "worker_consumer", "broker_connection_retry", "broker_connection_max_retries"),
    *("broker_connection_retry_on_startup", "broker_pool_limit", "redis_socket_timeout", "redis_socket_keepalive"),
    *("redis_retry_on_timeout", "redis_backend_health_check_interval", "result_backend_always_retry"),
    *("result_backend_max_retries", "enable_utc", "timezone", "control_queue_exclusive", "event_queue_exclusive"),
    *("beat_scheduler", "beat_enable_remote_control", "worker_eta_task_limit"),
)
"""Settings of an app that are kept; their values hold no secret."""

OWN, OWN_KEYS = "practices-", "practices:"
"""How names of queues and workers, and of keys, begin that a run of this specification makes; they are not judged."""

OPTIONS = (
    *("visibility_timeout", "global_keyprefix", "priority_steps", "queue_order_strategy", "sep", "client_name"),
    *("socket_timeout", "socket_connect_timeout", "socket_keepalive", "health_check_interval", "max_connections"),
    *("unacked_restore_interval", "unacked_restore_throttle", "unacked_mutex_expire", "unacked_key"),
    *("unacked_index_key", "unacked_mutex_key", "fanout_prefix", "fanout_patterns", "retry_on_timeout"),
)
"""Transport options that are kept."""

MASK = "********"
"""What Celery shows of a setting whose name has a word like KEY or PASS, as a route of ``accounts.reset_password``."""

ATTRIBUTES = (
    *("acks_late", "reject_on_worker_lost", "acks_on_failure_or_timeout", "time_limit", "soft_time_limit"),
    *("serializer", "ignore_result", "max_retries", "default_retry_delay", "expires", "rate_limit", "track_started"),
    "max_deliveries",
)
"""Attributes of a registered task that are asked for; one that is None is left out."""

QUESTIONS: tuple[Question, ...] = (
    ("ping", {}),
    ("conf", {"with_defaults": True}),
    ("stats", {}),
    ("active", {}),
    ("reserved", {}),
    ("scheduled", {}),
    ("registered", {"taskinfoitems": list(ATTRIBUTES)}),
    ("active_queues", {}),
    ("report", {}),
)
"""What each worker is asked, in one round."""

MAY_FAIL = {"report"}
"""Questions that a sound worker may answer with an error: by its kind of result backend."""

COST = (
    f"{len(QUESTIONS)} control messages ({', '.join(name for name, _ in QUESTIONS)}) to the mailbox of each app, "
    "then reads of queues, bindings and connections; nothing is put into a queue"
)
"""What `look` sends, in words."""

AGAIN: tuple[Question, ...] = (("stats", {}), ("active", {}), ("reserved", {}), ("active_queues", {}))
"""What tells, asked twice, whether a worker takes tasks."""


@dataclass(frozen=True)
class Held:
    """A task that a worker has taken and not finished."""

    name: str
    id: str
    queue: str
    started: float | None
    """When it began to run by the worker's clock, in seconds since 1970; None for one that waits in the worker."""
    acknowledged: bool
    redelivered: bool
    eta: float | None = None
    """When it may run at the earliest, in seconds since 1970."""
    pid: int | None = None
    """The process of the pool that runs it."""


@dataclass
class RunningWorker:
    """What one worker says of itself."""

    node: str
    name: str
    """The node, with the key prefix before it where the workers of another app have a node of this name."""
    mailbox: Mailbox
    answered: int
    """Workers that answer under this name."""
    pickles: bool
    """Whether its answers are pickled, as with ``task_serializer="pickle"``."""
    settings: Mapping[str, Any]
    """Named settings of the app (`SETTINGS`); options of the command line do not show here."""
    options: Mapping[str, Any]
    """Named transport options (`OPTIONS`)."""
    routed: frozenset[str]
    """Queues that `task_routes`, `task_queues` and ``beat_schedule`` name."""
    schedule: Mapping[str, str]
    """Tasks of ``beat_schedule`` by entry; beat itself does not answer before Celery 5.7."""
    pool: str
    """``prefork``, ``solo``, ``thread``, ``gevent`` or ``eventlet``."""
    processes: int | None
    """Tasks that it runs at once."""
    prefetch: int
    """Tasks that it takes at most; 0 is no limit."""
    limits: tuple[float, float]
    """Soft and hard time limit in seconds, 0 without one; only a prefork pool enforces and reports them."""
    recycles: bool | None
    """Whether its processes end after a number of tasks; None where the pool has no processes."""
    per_process: int
    """Tasks after which a process ends; 0 is no limit."""
    counts: Mapping[str, int]
    """Tasks since its start by name."""
    pid: int
    uptime: float
    """Seconds since its start."""
    memory: int
    """The most resident bytes of its main process."""
    running: Sequence[Held]
    waiting: Sequence[Held]
    """Taken and not begun, without those of `later`."""
    later: Sequence[Held]
    """Held until their ETA or countdown."""
    tasks: Mapping[str, Mapping[str, str]]
    """Registered tasks with the attributes that are set (`ATTRIBUTES`), as text."""
    queues: Sequence[str]
    versions: Mapping[str, str]
    """Of celery, kombu, py, billiard and redis."""
    hears: bool = True
    """Whether it answered every question but those of `MAY_FAIL`."""
    clock: float | None = None
    """Seconds that its clock is ahead of the broker's; None if it sends no event, as ``--without-heartbeat`` has it."""
    pids: frozenset[int] = frozenset()
    """The processes of a prefork pool."""
    intervals: Mapping[str, float] = field(default_factory=dict)
    """Seconds between two sendings by entry of ``beat_schedule``, where the schedule is an interval."""
    backend: str = ""
    """The scheme of ``result_backend``, such as ``redis``; "" without one."""
    results_timeout: float | None = None
    """``visibility_timeout`` among the transport options of the result backend, where it has no effect on tasks."""

    @property
    def key(self) -> tuple[Mailbox, str]:
        """Mailbox and node: what the workers of two apps differ in."""
        return self.mailbox, self.node

    @property
    def done(self) -> int:
        """Tasks since its start."""
        return sum(self.counts.values())

    @property
    def is_free(self) -> bool:
        """Whether it reads queues and could take one more task."""
        begun = len(self.running) + len(self.waiting)
        if self.settings.get("worker_disable_prefetch") and begun >= (self.processes or 1):
            return False
        # Each countdown that a worker holds adds one to its prefetch.
        return bool(self.queues) and (not self.prefetch or self.prefetch > begun + len(self.later))

    @property
    def accepted(self) -> set[str]:
        """The names in `accept_content`, which shows as a list, or as the text of a set."""
        return set(re.findall(r"[\w./+-]+", str(self.settings.get("accept_content") or "")))

    def knows(self, task: str) -> bool:
        """Tell whether it has a task; those of Celery itself are in each worker, and in no answer."""
        return task in self.tasks or task.startswith("celery.")

    @property
    def visibility_timeout(self) -> float:
        """Seconds until a task without acknowledgement is given to another worker; 3600 by default."""
        return number_of(self.options.get("visibility_timeout")) or 3600.0

    @property
    def app(self) -> str:
        """The modules of its tasks, without the probe: what tells one app from another."""
        return " ".join(sorted({name.rpartition(".")[0] for name in self.tasks if name != PROBE})) or "no tasks"


@dataclass
class Fleet:
    """All that runs at one broker, at one moment."""

    workers: list[RunningWorker]
    mailboxes: list[Mailbox]
    silent: int
    """Receivers of the questions that did not answer, or too late."""
    unreadable: Mapping[str, int]
    """By content type, answers that cannot be read."""
    opened: Mapping[Mailbox, Sequence[str]]
    """The nodes that ever opened each mailbox, dead ones included."""
    queues: list[QueueSeen]
    unacknowledged: Mapping[str, Unacknowledged]
    """By key prefix."""
    endless_results: int | None
    """Of `results` sampled results, those without ttl; None if not asked."""
    results: int
    consumers: list[Consumer] | None
    """None if ``CLIENT LIST`` is refused."""
    messages: int
    """Control messages that were published for this look."""
    commands: int
    """Other commands that read the broker."""
    now: float
    """The broker's clock in seconds since 1970."""
    database: int = 0
    mistyped: Sequence[str] = ()
    """Keys of another type with the names of a mailbox, which is not asked."""
    taken: float = field(default_factory=time.monotonic)
    late: Sequence[str] = ()
    """The workers of `silent` that answered ``ping`` and not ``stats``."""
    abandoned: Mapping[str, int] = field(default_factory=dict)
    """Lists of answers and events that may have no reader any more, with their bytes."""
    beats: Mapping[Mailbox, Mapping[str, int]] = field(default_factory=dict)
    """Answers of ``celery beat`` by mailbox and node, more than 1 for two of one name; one before 5.7 is silent."""
    workflows: bool = False
    """Whether chords or groups are under way: they have keys beside their results."""
    refused: dict[str, str] = field(default_factory=dict)
    """Commands that the broker refused, with its error."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """The most that detectors allow, by name, where it is not their default."""

    def of(self, mailbox: Mailbox) -> list[RunningWorker]:
        """Return the workers of one app's mailbox."""
        return [worker for worker in self.workers if worker.mailbox == mailbox]

    def readers(self, queue: QueueSeen) -> list[RunningWorker]:
        """Return the workers that read a queue."""
        return [one for one in self.workers if one.mailbox.prefix == queue.prefix and queue.name in one.queues]


def look(
    client: Redis,
    *,
    prefix: str | None = None,
    exchange: str | None = None,
    queues: Sequence[str] = (),
    listen: float = HEARTBEAT,
) -> Fleet:
    """Ask the workers of a broker, and read their queues.

    `prefix` and `exchange` name one app's mailbox; without them all mailboxes in the database are asked. `queues` are
    read besides those of the workers. The clocks of workers are known by their heartbeats, for which it waits at most
    `listen` seconds.

    Raises:
        redis.exceptions.RedisError: the server does not answer, or refuses PUBLISH, SADD, SREM, BRPOP or DEL.
    """
    broker = Broker(client)
    keys = broker.kombu_keys(prefix, OWN_KEYS)
    database = int(client.connection_pool.connection_kwargs.get("db") or 0)
    named_so = [one for one in mailboxes(keys.bindings, database) if exchange in {None, one.exchange}]
    # A large server is not searched for mailboxes: there the default one is asked.
    named_so = named_so or [Mailbox(prefix or "", database, exchange or "celery")]
    mistyped = broker.mistyped_sets(key for one in named_so for key in (one.bindings, one.replies))
    opened = opened_by(broker, [one for one in named_so if not mistyped & {one.bindings, one.replies}])
    found = list(opened)
    sweep(client, {*keys.mailboxes, *(mailbox.replies for mailbox in found)})
    with Heartbeats(client, found if listen else ()) as heartbeats:
        begun, taken = broker.clock(), heartbeats.since
        with Requester(client, found) as requester:
            answers = requester.ask(QUESTIONS)
        if listen and not sum(of_one.silent for of_one in answers.values()) and _others(broker, answers, database):
            further = hidden(broker, found, heartbeats.channels(begun, listen))
            with Requester(client, further) as requester:
                answers |= requester.ask(QUESTIONS)
            found = list(answers)
        workers = [worker for mailbox, of_one in answers.items() for worker in read_workers(mailbox, of_one)]
        workers = [worker for worker in workers if not worker.node.startswith(OWN)]
        prefixes = sorted({mailbox.prefix for mailbox in found})
        seen = list(read_queues(broker, found, keys.bindings, workers, queues))
        sampled, endless = broker.results(prefixes)
        consumers = broker.consumers()
        clocks = heartbeats.ahead(begun, {(one.mailbox.heartbeats, one.node) for one in workers}, listen)
    workers = [replace(one, clock=clocks.get((one.mailbox.heartbeats, one.node))) for one in told_apart(workers)]
    return Fleet(
        workers=workers,
        mailboxes=found,
        silent=sum(of_one.silent + len(_late(of_one)) for of_one in answers.values()),
        late=[node for of_one in answers.values() for node in _late(of_one)],
        unreadable={kind: number for of_one in answers.values() for kind, number in of_one.unreadable.items()},
        beats={mailbox: dict(_beats(of_one)) for mailbox, of_one in answers.items()},
        opened=opened,
        queues=seen,
        unacknowledged={prefix: broker.unacknowledged(prefix, _records(workers, prefix)) for prefix in prefixes},
        endless_results=endless,
        results=sampled,
        workflows=any(broker.sampled(prefix, "celery-taskset-meta-*") for prefix in prefixes),
        consumers=consumers,
        messages=sum(of_one.published for of_one in answers.values()),
        commands=broker.commands,
        now=begun,
        database=database,
        mistyped=sorted(mistyped),
        taken=taken,
        abandoned=broker.abandoned(keys.mailboxes),
        refused=broker.refused,
    )


def _others(broker: Broker, answers: Mapping[Mailbox, Answers], database: int) -> bool:
    """Tell whether more connections wait for tasks than workers have answered."""
    waiting = [one for one in broker.consumers() or () if one.command == WAITING and one.blocked]
    heard = sum(sum(of_one.counts.values()) for of_one in answers.values())
    return sum(one.database == database for one in waiting) > heard


def hidden(broker: Broker, boxes: Sequence[Mailbox], channels: Iterable[str]) -> list[Mailbox]:
    """Return the mailboxes of workers that send heartbeats to other channels: their `fanout_prefix` is set."""
    starts, known = {channel.removesuffix(BEAT) for channel in channels}, {box.start for box in boxes}
    found = []
    for start in sorted(starts - known):
        of_prefix = [box for box in boxes if start.startswith(box.prefix)]
        longest = max((len(box.prefix) for box in of_prefix), default=0)
        boxes_of_app = [box for box in of_prefix if len(box.prefix) == longest]
        fanout = start[longest:]
        found += [replace(box, fanout=fanout) for box in boxes_of_app if not _is_another(broker, box, fanout)]
    return found


def _is_another(broker: Broker, box: Mailbox, fanout: str) -> bool:
    """Tell whether channels that begin so belong to another database, or to an app with another key prefix."""
    of_database = re.search(r"/(\d+)\.$", fanout)
    if of_database and (not of_database.start() or int(of_database[1]) != box.database):
        return True
    prefixes = {fanout, fanout.removesuffix(f"/{box.database}.")} - {""}
    return any(broker.ask("SCARD", replace(box, prefix=f"{box.prefix}{one}").bindings, otherwise=0) for one in prefixes)


def opened_by(broker: Broker, boxes: Sequence[Mailbox]) -> dict[Mailbox, list[str]]:
    """Return mailboxes, each with the separator of its workers, and the nodes that ever opened it."""
    members = broker.each("SMEMBERS", [mailbox.bindings for mailbox in boxes], otherwise=())
    told = ((mailbox.with_sep(some), some) for mailbox, some in zip(boxes, members, strict=True))
    return {mailbox: mailbox.nodes_in(some) for mailbox, some in told}


def told_apart(workers: Sequence[RunningWorker]) -> list[RunningWorker]:
    """Return the workers, each with a name that no worker of another mailbox has."""
    mailboxes = defaultdict[str, set[Mailbox]](set)
    for one in workers:
        mailboxes[one.node].add(one.mailbox)
    return [replace(one, name=_name(one, mailboxes[one.node])) for one in workers]


def _name(worker: RunningWorker, mailboxes: Collection[Mailbox]) -> str:
    """Return the name of a worker whose node several mailboxes have: with its prefix, and its exchange if needed."""
    own = worker.mailbox
    if len(mailboxes) == 1:
        return worker.node
    of_prefix = [one for one in mailboxes if one.prefix == own.prefix]
    return f"{own.prefix}{worker.node}" if len(of_prefix) == 1 else f"{own.prefix}{own.exchange}/{worker.node}"


def nodes_of(workers: Iterable[RunningWorker]) -> dict[Mailbox, list[str]]:
    """Return the nodes of workers by mailbox, to ask these alone."""
    nodes = defaultdict[Mailbox, list[str]](list)
    for one in workers:
        nodes[one.mailbox].append(one.node)
    return nodes


def _late(answers: Answers) -> list[str]:
    """Return the workers that answered ``ping`` and not, or not in time, ``stats``."""
    return [
        node for node, said in answers.by_node.items() if "stats" not in said and not node.startswith("celerybeat@")
    ]


def _beats(answers: Answers) -> Iterator[tuple[str, int]]:
    """Yield the nodes that answered ``ping`` and nothing else, as ``celery beat`` 5.7 does."""
    for node, said in answers.by_node.items():
        if node.startswith("celerybeat@") and set(said) == {"ping"}:
            yield node, answers.counts[node]


def _records(workers: Iterable[RunningWorker], prefix: str) -> Iterator[tuple[str, str, str]]:
    """Yield the names of the index, the mutex and the hash under which workers note what they have taken."""
    for one in workers:
        if one.mailbox.prefix == prefix:
            index, mutex = (one.options.get(f"{name}_key", name) for name in ("unacked_index", "unacked_mutex"))
            yield str(index), str(mutex), str(one.options.get("unacked_key", "unacked"))


def read_queues(
    broker: Broker,
    boxes: Iterable[Mailbox],
    bindings: Iterable[str],
    workers: Sequence[RunningWorker],
    further: Sequence[str],
) -> Iterator[QueueSeen]:
    """Yield the queues that workers read, that apps have declared or route to, and `further` ones."""
    seps = {box.prefix: box.sep for box in boxes}
    declared = broker.declared(bindings, seps)
    for prefix in sorted({*seps, *declared}):
        of_prefix = [worker for worker in workers if worker.mailbox.prefix == prefix]
        read = {queue for worker in of_prefix for queue in worker.queues}
        names = read | {queue for worker in of_prefix for queue in worker.routed} | declared.get(prefix, set())
        names |= set(further) if prefix in seps else set()
        steps = sorted(
            {0, *(step for worker in of_prefix for step in steps_of(worker))} if of_prefix else DEFAULT_STEPS
        )
        named = [
            Named(prefix, name, steps, seps.get(prefix, SEP)) for name in sorted(names) if not name.startswith(OWN)
        ]
        found = broker.queues(named)
        for one in found:
            one.declared = one.name in declared.get(prefix, ())
        of_readers = [one for one in named if one.name in read]
        unread = dict(zip((one.name for one in of_readers), broker.other_steps(of_readers), strict=True))
        yield from (replace(one, unread=unread.get(one.name, {})) for one in found)


def steps_of(worker: RunningWorker) -> list[int]:
    """Return the priorities of a worker that have a list each (``priority_steps``)."""
    said = worker.options.get("priority_steps")
    steps = [step for step in said if step in range(256)] if isinstance(said, list | tuple) else []
    return steps or list(DEFAULT_STEPS)


FORMS: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("conf", "stats", "report"), Mapping),
    **dict.fromkeys(("active", "reserved", "scheduled", "registered", "active_queues"), (list, tuple)),
}
"""The form of an answer by question: a control command of an app may have the name of one of Celery's."""


def read_workers(mailbox: Mailbox, answers: Answers) -> Iterator[RunningWorker]:
    """Yield the workers that answered ``stats``; a beat of Celery 5.7 answers ``ping`` alone.

    An answer of another form counts as none.
    """
    for node, all_said in sorted(answers.by_node.items()):
        said: dict[str, Any] = {name: one for name, one in all_said.items() if isinstance(one, FORMS.get(name, object))}
        if "stats" in said:
            # A client that may publish can answer anything under the name of a node.
            with suppress(ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError):
                worker = _worker(mailbox, node, said, said["stats"], answers)
                # Names of keys: JSON may hold half of a character, which no client can send.
                "".join([*worker.queues, *worker.routed, *map(str, worker.options.values())]).encode()
                yield worker


def _worker(
    mailbox: Mailbox, node: str, said: Mapping[str, Any], stats: Mapping[str, Any], answers: Answers
) -> RunningWorker:
    told, pool = said.get("conf"), stats.get("pool") or {}
    conf = told if isinstance(told, Mapping) else {}
    options = {
        **named(conf.get("broker_transport_options"), OPTIONS),
        **named((stats.get("broker") or {}).get("transport_options"), OPTIONS),
    }
    planned = conf.get("beat_schedule")
    schedule = planned if isinstance(planned, Mapping) else {}
    soft, hard = [*map(number_of, pool.get("timeouts") or ()), 0.0, 0.0][:2]
    return RunningWorker(
        node=node,
        name=node,
        mailbox=mailbox,
        answered=answers.counts[node],
        pickles=node in answers.pickled,
        settings=named(conf, SETTINGS),
        options=options,
        pids=frozenset(int(one) for one in pool.get("processes") or () if isinstance(one, int)),
        intervals=dict(_intervals(schedule)),
        backend=_scheme(conf.get("result_backend")),
        results_timeout=named(conf.get("result_backend_transport_options"), OPTIONS).get("visibility_timeout"),
        routed=frozenset(_routed(conf)) - {MASK},
        schedule={str(entry): str(named(one, ["task"]).get("task", "")) for entry, one in schedule.items()},
        pool=_pool(str(pool.get("implementation", ""))),
        processes=int(pool["max-concurrency"]) if str(pool.get("max-concurrency", "")).isdigit() else None,
        prefetch=int(number_of(stats.get("prefetch_count"))),
        limits=(soft, hard),
        recycles=pool["max-tasks-per-child"] not in {"N/A", None, 0} if "max-tasks-per-child" in pool else None,
        per_process=int(number_of(pool.get("max-tasks-per-child"))),
        counts={str(name): int(number) for name, number in (stats.get("total") or {}).items()},
        pid=int(stats.get("pid") or 0),
        uptime=number_of(stats.get("uptime")),
        memory=int((stats.get("rusage") or {}).get("maxrss") or 0) * 1024,
        running=list(_held(said.get("active"))),
        waiting=list(_held(said.get("reserved"))),
        later=list(_held(said.get("scheduled"))),
        tasks=dict(_registered(said.get("registered"))),
        queues=[str(one["name"]) for one in said.get("active_queues") or ()],
        versions=_versions(said.get("report")),
        hears={question for question, _ in QUESTIONS} - MAY_FAIL <= set(said),
    )


def _intervals(schedule: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield name and interval of the entries of ``beat_schedule`` that have one; a crontab has none."""
    for name, entry in schedule.items():
        with suppress(ValueError, TypeError):
            if every := seconds_of(named(entry, ["schedule"]).get("schedule")):
                yield str(name), every


def _scheme(url: Any) -> str:
    """Return the part of a URL before its address, "" for anything else."""
    scheme, is_url, _ = str(url).partition("://")
    return scheme if is_url else ""


def _pool(implementation: str) -> str:
    """Return the name of a pool by its class, such as ``celery.concurrency.prefork:TaskPool``."""
    return implementation.partition(":")[0].rpartition(".")[2] or "unknown"


def _held(said: Any) -> Iterator[Held]:
    """Yield tasks without their arguments."""
    for one in said or ():
        request = one.get("request", one)
        delivery = request.get("delivery_info") or {}
        yield Held(
            name=str(request.get("name")),
            id=str(request.get("id")),
            queue=str(delivery.get("routing_key")),
            started=number_of(request.get("time_start")) or None,
            acknowledged=bool(request.get("acknowledged")),
            redelivered=bool(delivery.get("redelivered")),
            eta=moment(one.get("eta")),
            pid=int(number_of(request.get("worker_pid"))) or None,
        )


def moment(said: Any) -> float | None:
    """Return an ISO 8601 time in seconds since 1970; None for one without a time zone."""
    try:
        read = datetime.fromisoformat(said)
        return read.timestamp() if read.tzinfo else None
    except (TypeError, ValueError):
        return None


_REGISTERED = re.compile(rf"(.*?)(?: \[((?:{'|'.join(ATTRIBUTES)})=.*\]))?", re.DOTALL)
_INFO = re.compile(r"(\S+?)=(.*?)(?= \w+=|\]$)")


def _registered(said: Any) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield tasks with attributes, from ``name [acks_late=True time_limit=30]``; a name may have brackets, too."""
    for one in said or ():
        if found := _REGISTERED.fullmatch(str(one)):
            yield found[1], dict(_INFO.findall(found[2] or ""))


def _versions(said: Any) -> dict[str, str]:
    """Return the versions in the first lines of ``celery report``, and nothing of the settings after them."""
    head = str(said.get("ok", "") if isinstance(said, Mapping) else "").partition("platform ->")[0]
    return dict(re.findall(r"\b(celery|kombu|py|billiard|redis):(\d[\w.]*)", head))


def _routed(conf: Mapping[str, Any]) -> Iterator[str]:
    """Yield the queues that the settings of an app send to."""
    routes = conf.get("task_routes")
    for route in [*routes.values()] if isinstance(routes, Mapping) else []:
        queue = route.get("queue") if isinstance(route, Mapping) else route
        if isinstance(queue, str):
            yield queue
        elif isinstance(queue, Mapping):
            yield str(queue.get("name"))
    schedule = conf.get("beat_schedule")
    for entry in schedule.values() if isinstance(schedule, Mapping) else []:
        if isinstance(entry, Mapping) and isinstance(queue := (entry.get("options") or {}).get("queue"), str):
            yield queue


def seconds_of(said: Any) -> float | None:
    """Return a duration setting in seconds: a number, or the text of a timedelta; None for no limit.

    Raises:
        ValueError: it is neither.
    """
    if said is None:
        return None
    if isinstance(said, int | float):
        return number_of(said)
    days, _, clock = str(said).rpartition(" day")
    hours, minutes, seconds = clock.lstrip("s, ").split(":")
    return timedelta(int(days or 0), float(seconds), hours=int(hours), minutes=int(minutes)).total_seconds()
