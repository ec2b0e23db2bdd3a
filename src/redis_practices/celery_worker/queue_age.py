"""Report how many tasks wait in a queue, and the age of the oldest.

Set an alarm on these two numbers. The length alone does not tell a busy queue from a queue without workers; the age
does. Celery's messages carry no time, so the sender writes it into a header.

    PYTHONPATH=src python -m redis_practices.celery_worker.queue_age redis://broker:6379/0 celery

`Broker` reads all that a broker tells of queues, of unacknowledged tasks and of connections that wait for tasks.
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from celery.signals import before_task_publish
from redis import Redis
from redis.exceptions import ResponseError
from redis.utils import str_if_bytes

from redis_practices.celery_worker.control import RAW, SEP, body_of, named
from redis_practices.cli import UsageError, run
from redis_practices.clients import checked_url, one_line_errors, redis_client

SENT_AT = "sent_at"
"""The header with the time of sending, in seconds since 1970; a task reads it as ``self.request.sent_at``."""

DEFAULT_STEPS = (0, 3, 6, 9)
"""kombu's priorities with a separate list each, unless ``priority_steps`` is set."""


@before_task_publish.connect  # for every task that this process sends, retries included
def stamp_message(headers: dict[str, Any] | None = None, **_: Any) -> None:
    """Write the time of sending into the headers of a task."""
    if headers is not None:
        headers[SENT_AT] = time.time()


@dataclass(frozen=True)
class QueueState:
    """The tasks that wait in a queue."""

    length: int
    """Tasks that no worker has taken yet."""
    oldest: float | None
    """Seconds since the oldest of them was sent; None for an empty queue, or a message without that header."""


def queue_state(client: Redis, queue: str, *, prefix: str = "", steps: Sequence[int] = DEFAULT_STEPS) -> QueueState:
    """Return the state of `queue` with two commands a priority step (``LLEN``, ``LINDEX``), at any length.

    `prefix` is the ``global_keyprefix`` and `steps` the ``priority_steps`` of the transport options.

    Raises:
        RedisError: the server does not answer, or refuses the user.
    """
    pipe = client.pipeline(transaction=False)
    for step in steps:
        pipe.llen(list_of(prefix, queue, step))
        # Tasks are pushed on the left and taken from the right, so the oldest is the last.
        pipe.lindex(list_of(prefix, queue, step), -1)
    replies = pipe.execute()
    sent = [moment for message in replies[1::2] if (moment := _sent_at(message)) is not None]
    return QueueState(sum(replies[::2]), max(0.0, time.time() - min(sent)) if sent else None)


def list_of(prefix: str, queue: str, step: int, sep: str = SEP) -> str:
    """Return the name of the list that holds a queue's tasks of one priority."""
    return f"{prefix}{queue}{sep}{step}" if step else f"{prefix}{queue}"


def _sent_at(message: str | bytes | None) -> float | None:
    """Return the time when a message was sent; None without a message or without the header."""
    try:
        return float(json.loads(message or "{}")["headers"][SENT_AT])
    except (ValueError, TypeError, LookupError):
        return None


# What a broker tells, read by named fields


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
    """When it was sent, in seconds since 1970, where the sender stamps it (`stamp_message`)."""
    step: int = 0
    """The priority step of its list."""


@dataclass(frozen=True)
class Named:
    """A queue that may be on the broker."""

    prefix: str
    name: str
    steps: Sequence[int]
    """The priorities with a list each."""
    sep: str

    @property
    def lists(self) -> dict[int, str]:
        """The names of its lists by priority."""
        return {step: list_of(self.prefix, self.name, step, self.sep) for step in self.steps}


@dataclass
class QueueSeen:
    """A queue on the broker."""

    name: str
    prefix: str
    lengths: Mapping[int, int]
    """Waiting tasks by priority step."""
    idles: Mapping[int, float]
    """By priority step, seconds since anything was pushed or taken (``OBJECT IDLETIME``), where it is known."""
    messages: Sequence[Message]
    """The oldest and the newest tasks of each list, up to `PEEK` each; what is no Celery message is left out."""
    strange: int
    """Elements among those which are no Celery message."""
    size: float = 0.0
    """Bytes of a message, the mean of the list with the largest; 0 if unknown."""
    declared: bool = True
    """Whether a sender or a worker has ever bound it to an exchange."""
    unread: Mapping[int, int] = field(default_factory=dict)
    """Waiting tasks by priority, in lists that no worker reads although workers read the queue."""
    is_list: bool = True
    """False if a key of its name is of another type, from which no worker can take a task."""

    @property
    def length(self) -> int:
        """All waiting tasks."""
        return sum(self.lengths.values())

    @property
    def has_tasks(self) -> bool:
        """Whether tasks wait; elements of another kind are none: another program may read them."""
        return bool(self.length and (self.messages or not self.strange))

    def ages(self, now: float) -> dict[int, tuple[float, str]]:
        """Return by priority step how long the oldest task waits, at least, and how that is known.

        Celery's messages carry no time: without a stamp the age is the time since the last push or pop.
        """
        found = dict[int, tuple[float, str]]()
        for step in (step for step, length in self.lengths.items() if length):
            stamped = [message.sent for message in self.messages if message.sent and message.step == step]
            idle = self.idles.get(step, 0.0), "at least, by OBJECT IDLETIME"
            found[step] = (max(0.0, now - min(stamped)), f"by the header {SENT_AT}") if stamped else idle
        return found

    def age(self, now: float) -> tuple[float, str]:
        """Return how long the oldest task of all priorities waits, at least, and how that is known."""
        return max(self.ages(now).values(), default=(0.0, "at least, by OBJECT IDLETIME"))


@dataclass
class Unacknowledged:
    """Tasks that workers have taken and not acknowledged, by the broker's record."""

    count: int
    oldest: float | None
    """Seconds since the oldest one was taken or touched, by the broker's clock; None without one."""
    stuck_mutex: str = ""
    """The key that keeps workers from giving tasks back for ever: it has no ttl."""
    tasks: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    """By id, name and seconds of the oldest ones, up to `PEEK`."""


RUN = "redis-practices"
"""The ``lib-name`` in ``CLIENT LIST`` of a run of this specification, whose own workers are not judged."""


WAITING = "brpop"
"""The command by which kombu takes tasks."""

TAKING = {
    WAITING,
    *("blpop", "rpop", "lpop", "blmpop", "lmpop", "blmove", "lmove", "brpoplpush", "rpoplpush"),
}
"""Commands that take from lists."""


@dataclass(frozen=True)
class Consumer:
    """A connection whose last command takes from a list (``CLIENT LIST``); a worker of Celery uses BRPOP."""

    command: str
    name: str
    address: str
    database: int
    blocked: bool
    idle: float


@dataclass
class KeysSeen:
    """Keys of a broker that only kombu and Celery name so."""

    bindings: list[str] = field(default_factory=list)
    """Sets of the queues of each exchange."""
    mailboxes: list[str] = field(default_factory=list)
    """Lists for control messages, answers and events."""


MOST_KEYS = 200_000
"""Keys of a server up to which all its key names are walked (SCAN)."""

PEEK = 10
"""Messages that are read at each end of a queue's list."""

MOST_BYTES = 4_000_000
"""Bytes of messages that are read at each end of a list; of larger ones none is read."""

SMALL = 10_000
"""Bytes of a message up to which the ends of all lists are read in one round trip."""

AT_ONCE = 1000
"""Commands in one round trip."""

SAMPLE = 50
"""Results whose ttl is read."""

BINDINGS = "_kombu.binding."
"""The beginning, after the prefix, of the sets that name the queues of an exchange."""


class Broker:
    """Reads a broker; it counts its commands. A refused one is remembered, and a key of another type than kombu's."""

    def __init__(self, client: Redis) -> None:
        self.client, self.commands, self.refused, self.mistyped = client, 0, dict[str, str](), set[str]()

    def ask(self, command: str, *arguments: str | float, otherwise: Any = None) -> Any:
        """Return an answer of the broker, or `otherwise` if it refuses the command."""
        self.commands += 1
        try:
            return self.client.execute_command(command, *arguments, **RAW)
        except ResponseError as error:
            self._remember(error, command, *arguments)
            return otherwise

    def _remember(self, error: ResponseError, command: str, *arguments: str | float) -> None:
        if str(error).startswith("WRONGTYPE"):
            self.mistyped.add(str(arguments[0]))
        else:
            self.refused[command] = str(error)

    def each(self, command: str, keys: Sequence[str], *arguments: str | float, otherwise: Any = None) -> list[Any]:
        """Return the answers about some keys, `AT_ONCE` in one round trip, `otherwise` for each that is refused."""
        self.commands += len(keys)
        answers: list[Any] = []
        for some in (keys[at : at + AT_ONCE] for at in range(0, len(keys), AT_ONCE)):
            pipe = self.client.pipeline(transaction=False)
            for key in some:
                pipe.execute_command(*command.split(), key, *arguments, **RAW)
            answers += pipe.execute(raise_on_error=False)
        for key, answer in zip(keys, answers, strict=True):
            if isinstance(answer, ResponseError):
                self._remember(answer, command, key)
            elif isinstance(answer, Exception):
                raise answer
        return [otherwise if isinstance(answer, Exception) else answer for answer in answers]

    def keys(self, pattern: str) -> list[str]:
        """Return the names of all keys like `pattern` (``SCAN``), none of a large server."""
        if self.ask("DBSIZE", otherwise=MOST_KEYS + 1) > MOST_KEYS:
            return []
        cursor, found = 0, set[str]()
        while True:
            cursor, some = self.ask("SCAN", cursor, "MATCH", pattern, "COUNT", 10_000, otherwise=(0, []))
            found |= set(map(str_if_bytes, some))
            if not int(cursor):
                return sorted(found)

    def kombu_keys(self, prefix: str | None, without: str) -> KeysSeen:
        """Return the keys of one app's prefix, or of all prefixes that do not begin with `without`."""
        start = "*" if prefix is None else literal(prefix)
        bindings = self.keys(f"{start}{literal(BINDINGS)}*")
        lists = {*self.keys("*.pidbox"), *self.keys("*celeryev.*")} - set(bindings)
        own = prefix is not None and prefix.startswith(without)
        return KeysSeen([key for key in bindings if own or not key.startswith(without)], sorted(lists))

    def mistyped_sets(self, keys: Iterable[str]) -> set[str]:
        """Return the keys that are no set; one that does not exist is none of them."""
        names = list(keys)
        kinds = self.each("TYPE", names, otherwise="none")
        return {key for key, kind in zip(names, kinds, strict=True) if str_if_bytes(kind) not in {"set", "none"}}

    def abandoned(self, mailboxes: Sequence[str]) -> dict[str, int]:
        """Return the bytes of the lists without ttl among `mailboxes`."""
        kinds = self.each("TYPE", mailboxes)
        lists = [key for key, kind in zip(mailboxes, kinds, strict=True) if str_if_bytes(kind) == "list"]
        ttls, sizes = self.each("TTL", lists), self.each("MEMORY USAGE", lists)
        return {key: int(size or 0) for key, ttl, size in zip(lists, ttls, sizes, strict=True) if ttl == -1}

    def clock(self) -> float:
        """Return the broker's time in seconds since 1970."""
        seconds, microseconds = self.ask("TIME", otherwise=(time.time(), 0))
        return float(seconds) + float(microseconds) / 1e6

    def consumers(self) -> list[Consumer] | None:
        """Return the connections that take from lists, None if the broker does not tell."""
        told = self.ask("CLIENT LIST")
        if told is None:
            return None
        others = (one for one in told if one.get("lib-name") != RUN)
        taking = ((str(one.get("cmd", "")).lower(), one) for one in others)
        return [
            Consumer(
                command, str(one["name"]), str(one["addr"]), int(one["db"]), "b" in one["flags"], float(one["idle"])
            )
            for command, one in taking
            if command in TAKING
        ]

    def declared(self, bindings: Iterable[str], seps: Mapping[str, str]) -> dict[str, set[str]]:
        """Return by prefix the queues that senders and workers have bound to exchanges, save control and events."""
        found: dict[str, set[str]] = {}
        exchanges = {key: key.partition(BINDINGS) for key in bindings}
        keys = [key for key, (_, _, name) in exchanges.items() if not f".{name}".endswith((".pidbox", ".celeryev"))]
        for key, members in zip(keys, self.each("SMEMBERS", keys, otherwise=()), strict=True):
            prefix, _, _ = exchanges[key]
            sep = seps.get(prefix, SEP)
            found.setdefault(prefix, set()).update(str_if_bytes(member).split(sep)[-1] for member in members)
        return found

    def queues(self, named: Sequence[Named]) -> list[QueueSeen]:
        """Return what waits in some queues, by the two ends of their lists; a round trip asks about all of them."""
        lists = [key for one in named for key in one.lists.values()]
        # Before all other commands: each of them is an access, which sets the idle time to 0.
        idle = dict(zip(lists, self.each("OBJECT IDLETIME", lists), strict=True))
        lengths = dict(zip(lists, self.each("LLEN", lists, otherwise=0), strict=True))
        full = [key for key in lists if lengths[key]]
        used = self.each("MEMORY USAGE", full)
        sizes = {key: float(bytes_ or 0) / lengths[key] for key, bytes_ in zip(full, used, strict=True)}
        ends, seen = self._ends(sizes), []
        for one in named:
            keys = {step: key for step, key in one.lists.items() if lengths[key]}
            elements = {(element, step) for step, key in keys.items() for element in ends.get(key, ())}
            messages = [message for element, step in elements if (message := _message(element, step)) is not None]
            seen.append(
                QueueSeen(
                    name=one.name,
                    prefix=one.prefix,
                    lengths={step: lengths[key] for step, key in one.lists.items()},
                    idles={step: float(idle[key]) for step, key in keys.items() if idle[key] is not None},
                    messages=messages,
                    strange=len(elements) - len(messages),
                    size=max((sizes[key] for key in keys.values()), default=0.0),
                    is_list=not self.mistyped & set(one.lists.values()),
                )
            )
        return seen

    def _ends(self, sizes: Mapping[str, float]) -> dict[str, set[Any]]:
        """Return the elements at both ends of some lists, fewer of a list whose elements have that many bytes."""
        found: dict[str, set[Any]] = {}
        large = [[key] for key, size in sizes.items() if SMALL < size <= MOST_BYTES]
        for keys in filter(None, [[key for key, size in sizes.items() if size <= SMALL], *large]):
            peek = int(min(PEEK, MOST_BYTES // max(sizes[keys[0]], 1.0)))
            oldest = self.each("LRANGE", keys, -peek, -1, otherwise=())
            newest = self.each("LRANGE", keys, 0, peek - 1, otherwise=())
            found |= {key: {*one, *other} for key, one, other in zip(keys, oldest, newest, strict=True)}
        return found

    def other_steps(self, named: Sequence[Named]) -> list[dict[int, int]]:
        """Return the lengths of the lists of each queue with other priorities than its own, where tasks wait."""
        others = [replace(one, steps=[step for step in range(1, 10) if step not in one.steps]) for one in named]
        lengths = iter(self.each("LLEN", [key for one in others for key in one.lists.values()], otherwise=0))
        return [{step: length for step in one.lists if (length := next(lengths))} for one in others]

    def unacknowledged(self, prefix: str, names: Iterable[tuple[str, str, str]]) -> Unacknowledged:
        """Read kombu's record of taken tasks under the names of its index, its mutex and its hash."""
        count, stuck, now, oldest, tasks = 0, "", self.clock(), None, dict[str, tuple[str, float]]()
        for index, mutex, record in sorted(set(names)) or [("unacked_index", "unacked_mutex", "unacked")]:
            number = self.ask("ZCARD", prefix + index, otherwise=0)
            scores = _pairs(self.ask("ZRANGE", prefix + index, 0, PEEK - 1, "WITHSCORES", otherwise=[]))
            ages = {tag: now - float(score) for tag, score in scores}
            for tag, message in self._taken(prefix + record, list(ages), number):
                tasks[message.id] = message.task, ages[tag]
            count, oldest = count + number, max([*ages.values(), *([] if oldest is None else [oldest])], default=None)
            if self.ask("TTL", prefix + mutex, otherwise=0) == -1:
                stuck = prefix + mutex
        return Unacknowledged(count, oldest, stuck, tasks)

    def _taken(self, key: str, tags: Sequence[Any], number: int) -> Iterator[tuple[Any, Message]]:
        """Yield tags with the headers of their tasks, of some `number` in a hash; fewer where they are large."""
        size = (self.ask("MEMORY USAGE", key, otherwise=0) or 0) / max(1, number) if tags else 0.0
        tags = tags[: int(MOST_BYTES // max(size, 1.0))]
        for tag, element in zip(tags, self.ask("HMGET", key, *tags, otherwise=()) if tags else (), strict=False):
            # With the exchange and the routing key, a message is a list.
            if (message := _message(_first(element))) is not None:
                yield tag, message

    def sampled(self, prefix: str, pattern: str) -> list[str]:
        """Return some keys with a prefix, by one SCAN."""
        _, some = self.ask("SCAN", 0, "MATCH", literal(prefix) + pattern, "COUNT", 2000, otherwise=(0, []))
        return [str_if_bytes(name) for name in some[:SAMPLE]]

    def results(self, prefixes: Sequence[str]) -> tuple[int, int | None]:
        """Return the number of sampled results, and of those without ttl; another server may hold them."""
        names = [name for prefix in prefixes for name in self.sampled(prefix, "celery-task-meta-*")]
        ttls = self.each("TTL", names)
        known = [ttl for ttl in ttls if ttl is not None and ttl != -2]  # noqa: PLR2004 - it has expired meanwhile
        return len(known), sum(ttl == -1 for ttl in known) if known else None


def number_of(said: object) -> float:
    """Return a finite number of an answer, 0 for anything else."""
    try:
        return number if math.isfinite(number := float(str(said))) else 0.0
    except ValueError:
        return 0.0


def literal(text: str) -> str:
    """Return a pattern of SCAN that matches a text alone."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", text)


def _pairs(answer: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield members with scores: RESP3 has pairs, RESP2 one after the other."""
    if answer and isinstance(answer[0], list | tuple):
        yield from ((one[0], one[1]) for one in answer)
    else:
        yield from zip(answer[::2], answer[1::2], strict=True)


def _first(element: str | bytes | None) -> str:
    """Return the first item of a list in JSON, as JSON; "" for anything else."""
    try:
        return json.dumps(json.loads(element or "")[0])
    except (ValueError, TypeError, LookupError, RecursionError):
        return ""


def _message(element: str | bytes, step: int = 0) -> Message | None:
    """Return the headers of a Celery message, None for anything else."""
    try:
        envelope = json.loads(element)
        headers = envelope["headers"]
        if "task" not in headers:  # a sender with task_protocol 1, as libraries of other languages have it
            headers = {**headers, **named(body_of(envelope), ["task", "id", "eta", "expires"])}
        return Message(
            task=str(headers["task"]),
            id=str(headers["id"]),
            kind=str(envelope.get("content-type")),
            sender=str(headers.get("origin")),
            eta=headers.get("eta"),
            expires=headers.get("expires"),
            sent=_sent_at(element),
            step=step,
        )
    except Exception:  # noqa: BLE001 - a pickle that is not one raises errors of nearly every kind
        return None


def main() -> None:
    """Print the state of the queue named on the command line."""
    if len(sys.argv) != 3:  # noqa: PLR2004 - the command, the URL, the queue
        raise UsageError(
            "give a URL and a queue, like: python -m redis_practices.celery_worker.queue_age redis://127.0.0.1 celery"
        )
    url = checked_url(sys.argv[1], "the first argument")
    with one_line_errors(url), redis_client(url) as client:
        state = queue_state(client, sys.argv[2])
    age = "unknown" if state.oldest is None else f"{state.oldest:.1f} s"
    print(f"{state.length} tasks wait; the oldest was sent {age} ago" if state.length else "no task waits")


if __name__ == "__main__":
    run(main)
