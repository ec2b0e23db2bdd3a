"""See the running workers of a broker, their queues and their unacknowledged tasks. No task is sent.

`look` asks all workers over the control mailbox, and reads the broker. It keeps named fields alone: arguments of tasks,
passwords and everything else that an answer holds are dropped at once. `worker_audit` finds what is wrong with it.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from redis import Redis
from redis.client import PubSub
from redis.exceptions import ResponseError
from redis.utils import str_if_bytes

from redis_practices.celery_worker.control import QUIET, SEP, Answers, Mailbox, Question, Requester, mailboxes, named

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
    *("beat_scheduler", "beat_enable_remote_control"),
)
"""Settings of an app that are kept; their values hold no secret."""

OPTIONS = (
    *("visibility_timeout", "global_keyprefix", "priority_steps", "queue_order_strategy", "sep", "client_name"),
    *("socket_timeout", "socket_connect_timeout", "socket_keepalive", "health_check_interval", "max_connections"),
    *("unacked_restore_interval", "unacked_restore_throttle", "unacked_mutex_expire", "unacked_key"),
    *("unacked_index_key", "unacked_mutex_key", "fanout_prefix", "fanout_patterns", "retry_on_timeout"),
)
"""Transport options that are kept."""

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
    ("heartbeat", {}),
)
"""What each worker is asked, in one round; a heartbeat is an event with the time of the worker's clock."""

MAY_FAIL = {"report", "heartbeat"}
"""Questions that a sound worker may answer with an error: by its kind of result backend, or without events."""

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


@dataclass
class RunningWorker:
    """What one worker says of itself."""

    node: str
    mailbox: Mailbox
    answered: int
    """Workers that answer under this name."""
    pickles: bool
    """Whether its answers are pickled, as with ``task_serializer="pickle"``."""
    settings: Mapping[str, Any]
    """Named settings of the app (`SETTINGS`); options of the command line do not show here."""
    options: Mapping[str, Any]
    """Named transport options (`OPTIONS`)."""
    backend: str
    """The scheme of ``result_backend``, such as ``redis``; "" without one."""
    results_timeout: float | None
    """``visibility_timeout`` among the transport options of the result backend, where it has no effect on tasks."""
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
    done: int
    """Tasks since its start."""
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

    @property
    def visibility_timeout(self) -> float:
        """Seconds until a task without acknowledgement is given to another worker; 3600 by default."""
        return _number(self.options.get("visibility_timeout")) or 3600.0

    @property
    def app(self) -> str:
        """The modules of its tasks: what tells one app from another."""
        return " ".join(sorted({name.rpartition(".")[0] for name in self.tasks})) or "no tasks"


@dataclass(frozen=True)
class Message:
    """A task in a queue; its arguments are not kept."""

    task: str
    id: str
    kind: str
    """The content type."""
    sender: str
    """``pid@host`` of the process that sent it."""
    eta: str | None
    expires: str | None
    sent: float | None
    """When it was sent, in seconds since 1970, where the sender stamps it (`queue_age`)."""


@dataclass
class QueueSeen:
    """A queue on the broker."""

    name: str
    prefix: str
    lengths: Mapping[int, int]
    """Waiting tasks by priority step."""
    idle: float | None
    """Seconds since anything was pushed or taken (``OBJECT IDLETIME``), the most of its lists; None if unknown."""
    messages: Sequence[Message]
    """The oldest and the newest tasks of each list, up to `PEEK` each; what is no Celery message is left out."""
    strange: int
    """Elements among those which are no Celery message."""

    @property
    def length(self) -> int:
        """All waiting tasks."""
        return sum(self.lengths.values())


@dataclass
class Unacknowledged:
    """Tasks that workers have taken and not acknowledged, by the broker's record."""

    count: int
    oldest: float | None
    """Seconds since the oldest one was taken or touched, by the broker's clock; None without one."""


@dataclass(frozen=True)
class Consumer:
    """A connection that waits for tasks (BRPOP in ``CLIENT LIST``)."""

    name: str
    address: str
    database: int
    blocked: bool
    idle: float


@dataclass
class Fleet:
    """All that runs at one broker, at one moment."""

    workers: list[RunningWorker]
    mailboxes: list[Mailbox]
    silent: int
    """Receivers of the questions that did not answer."""
    unreadable: Mapping[str, int]
    """By content type, answers that cannot be read."""
    beats: Mapping[str, int]
    """Answers of ``celery beat`` by node, more than 1 for two of one name; one before Celery 5.7 does not answer."""
    opened: Mapping[Mailbox, Sequence[str]]
    """The nodes that ever opened each mailbox, dead ones included."""
    queues: list[QueueSeen]
    unacknowledged: Mapping[str, Unacknowledged]
    """By key prefix."""
    endless_results: int | None
    """Of `results` sampled results, those without ttl; None if not asked."""
    results: int
    workflows: bool
    """Whether chords or groups are under way: they have keys beside their results."""
    consumers: list[Consumer] | None
    """None if ``CLIENT LIST`` is refused."""
    messages: int
    """Control messages that were published for this look."""
    commands: int
    """Other commands that read the broker."""
    now: float
    """The broker's clock in seconds since 1970."""
    taken: float = field(default_factory=time.monotonic)
    refused: dict[str, str] = field(default_factory=dict)
    """Commands that the broker refused, with its error."""

    def of(self, mailbox: Mailbox) -> list[RunningWorker]:
        """Return the workers of one app's mailbox."""
        return [worker for worker in self.workers if worker.mailbox == mailbox]

    def readers(self, queue: QueueSeen) -> list[RunningWorker]:
        """Return the workers that read a queue."""
        return [one for one in self.workers if one.mailbox.prefix == queue.prefix and queue.name in one.queues]


OWN = "practices-"
"""How names of queues and workers begin that a run of this specification starts; they are not judged."""

MOST_KEYS = 200_000
"""Keys of a server up to which all its key names are walked (SCAN)."""

PEEK = 10
"""Messages that are read at each end of a queue's list."""


class Reader:
    """Reads a broker for one look; it counts its commands, and a refused one is remembered."""

    def __init__(self, client: Redis) -> None:
        self.client, self.commands, self.refused = client, 0, dict[str, str]()

    def ask(self, command: str, *arguments: str | float, otherwise: Any = None) -> Any:
        """Return an answer of the broker, or `otherwise` if it refuses the command."""
        self.commands += 1
        try:
            return self.client.execute_command(command, *arguments)
        except ResponseError as error:
            self.refused[command] = str(error)
            return otherwise

    def keys(self, pattern: str) -> list[str]:
        """Return the names of all keys like `pattern` (``SCAN``), none of a large server."""
        if self.ask("DBSIZE", otherwise=MOST_KEYS + 1) > MOST_KEYS:
            return []
        cursor, found = 0, list[str]()
        while True:
            cursor, some = self.ask("SCAN", cursor, "MATCH", pattern, "COUNT", 10_000, otherwise=(0, []))
            found += map(str_if_bytes, some)
            if not cursor:
                return found


def look(
    client: Redis,
    *,
    prefix: str | None = None,
    exchange: str | None = None,
    queues: Sequence[str] = (),
    nodes: Sequence[str] | None = None,
) -> Fleet:
    """Ask the workers of a broker, and read their queues.

    `prefix` and `exchange` name one app's mailbox; without them all mailboxes in the database are asked. `queues` are
    read besides those of the workers. `nodes` restricts the questions to these workers.

    Raises:
        redis.exceptions.RedisError: the server does not answer, or refuses PUBLISH, SADD, SREM, BRPOP or DEL.
    """
    reader = Reader(client)
    found = mailboxes_of(reader, prefix, exchange)
    rounds = {mailbox: _asked(reader, mailbox, nodes) for mailbox in found}
    answers = {mailbox: of_one for mailbox, (of_one, _) in rounds.items()}
    workers = [
        replace(worker, clock=clocks.get(worker.node))
        for mailbox, (of_one, clocks) in rounds.items()
        for worker in read_workers(mailbox, of_one)
    ]
    workers = [worker for worker in workers if not worker.node.startswith(OWN)]
    sampled, endless = _results(reader, sorted({mailbox.prefix for mailbox in found}))
    return Fleet(
        workers=workers,
        mailboxes=found,
        silent=sum(of_one.silent for of_one in answers.values()),
        unreadable={kind: number for of_one in answers.values() for kind, number in of_one.unreadable.items()},
        beats={node: count for of_one in answers.values() for node, count in _beats(of_one)},
        opened={mailbox: mailbox.nodes_in(reader.ask("SMEMBERS", mailbox.bindings, otherwise=())) for mailbox in found},
        queues=list(read_queues(reader, found, workers, queues)),
        unacknowledged={mailbox.prefix: _unacknowledged(reader, mailbox.prefix, workers) for mailbox in found},
        endless_results=endless,
        results=sampled,
        workflows=any(_sampled(reader, mailbox.prefix, "celery-taskset-meta-*") for mailbox in found),
        consumers=read_consumers(reader),
        messages=sum(of_one.published for of_one in answers.values()),
        commands=reader.commands,
        now=_clock(reader),
        refused=reader.refused,
    )


def mailboxes_of(reader: Reader, prefix: str | None, exchange: str | None) -> list[Mailbox]:
    """Return the named mailbox, or all that the database holds; on a large server the default one."""
    database = int(reader.client.connection_pool.connection_kwargs.get("db") or 0)
    asked = Mailbox(prefix or "", database, exchange or "celery")
    if prefix is not None and exchange is not None:
        return [asked]
    found = mailboxes(reader.keys("*_kombu.binding.*.pidbox"), database)
    fitting = [one for one in found if prefix in {None, one.prefix} and exchange in {None, one.exchange}]
    return fitting or [asked]


def _asked(reader: Reader, mailbox: Mailbox, nodes: Sequence[str] | None) -> tuple[Answers, dict[str, float]]:
    """Ask the workers of a mailbox, and return how far the clock of each is ahead of the broker's, too."""
    with Requester(reader.client, mailbox) as requester, reader.client.pubsub() as heard:
        reader.commands += 1
        try:
            heard.subscribe(mailbox.heartbeats)
            heard.get_message(timeout=QUIET)  # the server's yes or no
        except ResponseError as error:
            reader.refused["SUBSCRIBE"] = str(error)
            return requester.ask(QUESTIONS, nodes), {}
        begun = _clock(reader)
        answers = requester.ask(QUESTIONS, nodes)
        return answers, dict(_clocks(heard, begun, _clock(reader)))


def _clocks(heard: PubSub, begun: float, ended: float) -> Iterator[tuple[str, float]]:
    """Yield by node the seconds that its clock is ahead, from the heartbeats of a round; 0 for a time within it."""
    with suppress(ResponseError):
        while (said := heard.get_message(timeout=0)) is not None:
            with suppress(ValueError, TypeError, LookupError, AttributeError):
                envelope = json.loads(said["data"])
                event = json.loads(base64.b64decode(envelope["body"]))
                time_of = float(event["timestamp"])
                yield str(event["hostname"]), min(0.0, time_of - begun) + max(0.0, time_of - ended)


def _beats(answers: Answers) -> Iterator[tuple[str, int]]:
    """Yield the nodes that answered ``ping`` and nothing else, as ``celery beat`` 5.7 does."""
    for node, said in answers.by_node.items():
        if node.startswith("celerybeat@") and set(said) == {"ping"}:
            yield node, answers.counts[node]


def read_workers(mailbox: Mailbox, answers: Answers) -> Iterator[RunningWorker]:
    """Yield the workers that answered ``stats``; a beat of Celery 5.7 answers ``ping`` alone."""
    for node, said in sorted(answers.by_node.items()):
        stats = said.get("stats")
        if isinstance(stats, Mapping):
            with suppress(ValueError, TypeError, AttributeError):
                yield _worker(mailbox, node, said, stats, answers)


def _worker(
    mailbox: Mailbox, node: str, said: Mapping[str, Any], stats: Mapping[str, Any], answers: Answers
) -> RunningWorker:
    conf, pool = said.get("conf") or {}, stats.get("pool") or {}
    options = {
        **named(conf.get("broker_transport_options"), OPTIONS),
        **named((stats.get("broker") or {}).get("transport_options"), OPTIONS),
    }
    schedule = conf.get("beat_schedule") or {}
    soft, hard = [*map(_number, pool.get("timeouts") or ()), 0.0, 0.0][:2]
    return RunningWorker(
        node=node,
        mailbox=mailbox,
        answered=answers.counts[node],
        pickles=node in answers.pickled,
        settings=named(conf, SETTINGS),
        options=options,
        backend=_scheme(conf.get("result_backend")),
        results_timeout=named(conf.get("result_backend_transport_options"), OPTIONS).get("visibility_timeout"),
        routed=frozenset(_routed(conf)),
        schedule={str(entry): str(named(one, ["task"]).get("task", "")) for entry, one in schedule.items()},
        pool=_pool(str(pool.get("implementation", ""))),
        processes=int(pool["max-concurrency"]) if str(pool.get("max-concurrency", "")).isdigit() else None,
        prefetch=int(stats.get("prefetch_count") or 0),
        limits=(soft, hard),
        recycles=pool["max-tasks-per-child"] not in {"N/A", None, 0} if "max-tasks-per-child" in pool else None,
        done=sum(int(number) for number in (stats.get("total") or {}).values()),
        pid=int(stats.get("pid") or 0),
        uptime=_number(stats.get("uptime")),
        memory=int((stats.get("rusage") or {}).get("maxrss") or 0) * 1024,
        running=list(_held(said.get("active"))),
        waiting=list(_held(said.get("reserved"))),
        later=list(_held(said.get("scheduled"))),
        tasks=dict(_registered(said.get("registered"))),
        queues=[str(one["name"]) for one in said.get("active_queues") or ()],
        versions=_versions(said.get("report")),
        hears={question for question, _ in QUESTIONS} - MAY_FAIL <= set(said),
    )


def _number(said: object) -> float:
    """Return a number of an answer, 0 for another value."""
    try:
        return float(str(said))
    except ValueError:
        return 0.0


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
            started=request.get("time_start"),
            acknowledged=bool(request.get("acknowledged")),
            redelivered=bool(delivery.get("redelivered")),
            eta=moment(one.get("eta")),
        )


def moment(said: Any) -> float | None:
    """Return an ISO 8601 time in seconds since 1970; None for one without a time zone."""
    try:
        read = datetime.fromisoformat(said)
        return read.timestamp() if read.tzinfo else None
    except (TypeError, ValueError):
        return None


_INFO = re.compile(r"(\S+?)=(.*?)(?= \w+=|\]$)")


def _registered(said: Any) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield tasks with attributes, from ``name [acks_late=True time_limit=30]``."""
    for one in said or ():
        name, _, attributes = str(one).partition(" [")
        yield name, dict(_INFO.findall(attributes))


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
    if said is None or isinstance(said, int | float):
        return said
    days, _, clock = str(said).rpartition(" day")
    hours, minutes, seconds = clock.lstrip("s, ").split(":")
    return timedelta(int(days or 0), float(seconds), hours=int(hours), minutes=int(minutes)).total_seconds()


# The broker


def read_queues(
    reader: Reader, boxes: Iterable[Mailbox], workers: Iterable[RunningWorker], further: Sequence[str]
) -> Iterator[QueueSeen]:
    """Yield the queues that workers read, that apps have declared or route to, and `further` ones."""
    for prefix in sorted({box.prefix for box in boxes}):
        of_prefix = [worker for worker in workers if worker.mailbox.prefix == prefix]
        names = {queue for worker in of_prefix for queue in (*worker.queues, *worker.routed)} | set(further)
        names |= set(_declared(reader, prefix))
        steps = sorted({0, *(step for worker in of_prefix for step in steps_of(worker))}) or [0]
        for name in sorted(names):
            if not name.startswith(OWN):
                yield _queue(reader, prefix, name, steps)


def steps_of(worker: RunningWorker) -> list[int]:
    """Return the priorities of a worker that have a list each (``priority_steps``)."""
    said = worker.options.get("priority_steps")
    return [int(step) for step in said] if isinstance(said, list | tuple) else [0, 3, 6, 9]


def _declared(reader: Reader, prefix: str) -> Iterator[str]:
    """Yield the queues that senders and workers have bound to an exchange, without those of control and events."""
    start = f"{prefix}_kombu.binding."
    for key in reader.keys(f"{_literal(start)}*"):
        if key.endswith((".pidbox", ".celeryev")) or key == f"{start}celeryev":
            continue
        for member in reader.ask("SMEMBERS", key, otherwise=()):
            yield str_if_bytes(member).split(SEP)[-1]


def _literal(text: str) -> str:
    """Return a pattern of SCAN that matches a text alone."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", text)


def _queue(reader: Reader, prefix: str, name: str, steps: Sequence[int]) -> QueueSeen:
    lists = {step: f"{prefix}{name}{SEP}{step}" if step else f"{prefix}{name}" for step in steps}
    lengths = {step: reader.ask("LLEN", key, otherwise=0) for step, key in lists.items()}
    full = [lists[step] for step, length in lengths.items() if length]
    idle = [reader.ask("OBJECT IDLETIME", key) for key in full]
    elements: list[Any] = []
    for key in full:
        oldest = reader.ask("LRANGE", key, -PEEK, -1, otherwise=[])
        newest = reader.ask("LRANGE", key, 0, PEEK - 1, otherwise=[])
        elements += [*oldest, *(one for one in newest if one not in oldest)]
    messages = [message for element in elements if (message := _message(element)) is not None]
    known = [float(seconds) for seconds in idle if seconds is not None]
    return QueueSeen(name, prefix, lengths, max(known, default=None), messages, len(elements) - len(messages))


def _message(element: str | bytes) -> Message | None:
    """Return the headers of a Celery message, None for anything else."""
    try:
        envelope = json.loads(element)
        headers = envelope["headers"]
        return Message(
            task=str(headers["task"]),
            id=str(headers["id"]),
            kind=str(envelope.get("content-type")),
            sender=str(headers.get("origin")),
            eta=headers.get("eta"),
            expires=headers.get("expires"),
            sent=_number(headers.get("sent_at")) or None,
        )
    except (ValueError, TypeError, LookupError, RecursionError):
        return None


def _unacknowledged(reader: Reader, prefix: str, workers: Iterable[RunningWorker]) -> Unacknowledged:
    """Read the record of kombu's transport under its usual name, or that of the workers' option."""
    of_prefix = [worker for worker in workers if worker.mailbox.prefix == prefix]
    count, scores = 0, list[float]()
    for name in {str(one.options.get("unacked_index_key", "unacked_index")) for one in of_prefix} or {"unacked_index"}:
        count += reader.ask("ZCARD", prefix + name, otherwise=0)
        scores += map(float, reader.ask("ZRANGE", prefix + name, 0, 0, "WITHSCORES", otherwise=[])[1::2])
    return Unacknowledged(count, _clock(reader) - min(scores) if scores else None)


SAMPLE = 50
"""Results whose ttl is read."""


def _results(reader: Reader, prefixes: Sequence[str]) -> tuple[int, int | None]:
    """Return the number of sampled results, and of those without ttl; another server may hold them."""
    names = [name for prefix in prefixes for name in _sampled(reader, prefix, "celery-task-meta-*")]
    ttls = [reader.ask("TTL", name) for name in names]
    known = [ttl for ttl in ttls if ttl is not None and ttl != -2]  # noqa: PLR2004 - it has expired meanwhile
    return len(known), sum(ttl == -1 for ttl in known) if known else None


def _sampled(reader: Reader, prefix: str, pattern: str) -> list[str]:
    """Return some keys with a prefix, by one SCAN."""
    _, some = reader.ask("SCAN", 0, "MATCH", _literal(prefix) + pattern, "COUNT", 2000, otherwise=(0, []))
    return [str_if_bytes(name) for name in some[:SAMPLE]]


def read_consumers(reader: Reader) -> list[Consumer] | None:
    """Return the connections that wait for tasks, None if the broker does not tell."""
    told = reader.ask("CLIENT LIST")
    if told is None:
        return None
    waiting = [one for one in told if str(one.get("cmd", "")).lower() == "brpop"]
    return [
        Consumer(str(one["name"]), str(one["addr"]), int(one["db"]), "b" in one["flags"], float(one["idle"]))
        for one in waiting
    ]


def _clock(reader: Reader) -> float:
    seconds, microseconds = reader.ask("TIME", otherwise=(time.time(), 0))
    return float(seconds) + float(microseconds) / 1e6


# Whether a worker takes tasks


LOOKS, EVERY = 3, 1.0
"""Looks at the broker's clients, and seconds between them."""


def _free(mailbox: Mailbox, answers: Answers) -> dict[str, tuple[int, str]]:
    """Return done tasks and connection name of the workers that could take a task."""
    return {
        one.node: (one.done, str(one.options.get("client_name") or ""))
        for one in read_workers(mailbox, answers)
        if one.queues and (not one.prefetch or one.prefetch > len(one.running) + len(one.waiting))
    }


@dataclass
class Stuck:
    """Workers that answer and have a free place, but wait for no task."""

    named: list[str] = field(default_factory=list)
    unnamed: int = 0
    """How many of `among` take nothing; their connections have no name (``client_name`` of the transport options)."""
    among: list[str] = field(default_factory=list)


def watch(client: Redis, mailbox: Mailbox, nodes: Sequence[str]) -> Stuck | None:
    """Find workers that answer and take no task, in 3 seconds; None if the broker refuses ``CLIENT LIST``.

    A free worker waits in BRPOP. A worker takes nothing if its number of tasks stays the same and none of three looks
    finds a BRPOP of its name. Its connection is half open, or its consumer has died.

    Raises:
        redis.exceptions.RedisError: the server does not answer, or refuses a command of `Requester`.
    """
    reader, most, names = Reader(client), 0, set[str]()
    with Requester(client, mailbox) as requester:
        first = _free(mailbox, requester.ask(AGAIN, nodes))
        for _ in range(LOOKS):
            told = read_consumers(reader)
            if told is None:
                return None
            waiting = [one for one in told if one.blocked and one.database == mailbox.database]
            most, names = max(most, len(waiting)), names | {one.name for one in waiting}
            time.sleep(EVERY)
        last = _free(mailbox, requester.ask(AGAIN, nodes))
    unchanged = {node: name for node, (done, name) in first.items() if node in last and last[node][0] == done}
    unnamed = sorted(node for node, name in unchanged.items() if not name)
    of_others = len({name for name in unchanged.values() if name} & names)
    return Stuck(
        sorted(node for node, name in unchanged.items() if name and name not in names),
        max(0, len(unnamed) - max(0, most - of_others)),
        unnamed,
    )
