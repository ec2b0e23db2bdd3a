"""Ask running Celery workers over the broker, with plain Redis commands.

``app.control.inspect()`` waits out its timeout for each question: it does not know whether all workers have answered.
It cannot read the replies of a worker that pickles them. Here one round trip publishes all questions to the control
mailbox (kombu's pidbox). PUBLISH returns the number of receivers, so that a round ends with the last answer.

A round writes one member into ``_kombu.binding.reply.<exchange>.pidbox`` of each mailbox, and reads one list for each.
It removes both. What a killed requester left behind is removed by a later `sweep`.

    with redis_client(url) as client, Requester(client, [Mailbox()]) as requester:
        answers = requester.ask([("ping", {}), ("active_queues", {})])[Mailbox()]

Answers may hold secrets: `stats` and ``report`` show passwords, ``active`` the arguments of tasks. Read named fields.
"""

from __future__ import annotations

import base64
import io
import json
import math
import pickle
import re
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from types import TracebackType
from typing import Any, Self

from celery import shared_task
from redis import Redis
from redis.client import NEVER_DECODE
from redis.exceptions import RedisError, ResponseError
from redis.utils import str_if_bytes

SEP = "\x06\x16"
"""kombu's sign between the parts of a binding, and between a queue and its priority."""

RAW: dict[str, Any] = {NEVER_DECODE: True}
"""The option for answers as bytes: each client of the server may have written any."""

Question = tuple[str, Mapping[str, Any]]
"""A command of remote control and its arguments, such as ``("conf", {"with_defaults": True})``."""


BEAT = "celeryev/worker.heartbeat"
"""How the names of the channels of heartbeats end."""

PROBE = "redis_practices.probe"
"""A task without effect. A worker that has it (``include=["redis_practices.celery_worker.control"]``) can be probed."""


@shared_task(name=PROBE, ignore_result=True)
def probe() -> None:
    """Do nothing: that a worker has run it shows in the worker's statistics."""


@dataclass(frozen=True)
class Mailbox:
    """The control mailbox that the workers of one app share on a server."""

    prefix: str = ""
    """``global_keyprefix`` of the transport options."""
    database: int = 0
    exchange: str = "celery"
    """``control_exchange`` of the app's settings."""
    sep: str = SEP
    """The transport option ``sep`` of its workers, without which they cannot answer."""
    fanout: str | None = None
    """What stands before the exchange in its channels where `fanout_prefix` is set: "" for False."""

    @property
    def start(self) -> str:
        """How the names of its channels begin."""
        return f"{self.prefix}{f'/{self.database}.' if self.fanout is None else self.fanout}"

    @property
    def channel(self) -> str:
        """The channel of the questions."""
        return f"{self.start}{self.exchange}.pidbox"

    @property
    def bindings(self) -> str:
        """The set that names the nodes which ever opened the mailbox."""
        return f"{self.prefix}_kombu.binding.{self.exchange}.pidbox"

    @property
    def replies(self) -> str:
        """The set that names the lists for answers."""
        return f"{self.prefix}_kombu.binding.reply.{self.exchange}.pidbox"

    @property
    def heartbeats(self) -> str:
        """The channel of the workers' heartbeats, which are events (``event_exchange``)."""
        return f"{self.start}{BEAT}"

    def nodes_in(self, members: Iterable[str | bytes]) -> list[str]:
        """Return the nodes that the members of `bindings` name; a killed one stays named."""
        names = (str_if_bytes(member).rpartition(self.sep)[2] for member in members)
        return sorted(name.removesuffix(f".{self.exchange}.pidbox") for name in names)

    def with_sep(self, members: Iterable[str | bytes]) -> Mailbox:
        """Return it with the separator that most members of `bindings` have: twice, before the name of a queue."""
        heads = Counter(found[1] for member in members if (found := _TWICE.match(str_if_bytes(member))))
        return replace(self, sep=heads.most_common(1)[0][0]) if heads else self


_TWICE = re.compile(r"(.{1,8}?)\1", re.DOTALL)
"""A text that is repeated at the beginning: the empty routing key and pattern of a fanout binding stand before it."""


def mailboxes(keys: Iterable[str], database: int = 0) -> list[Mailbox]:
    """Return the mailboxes of all apps in a database, by the names of its keys ``*_kombu.binding.*.pidbox``."""
    found = set()
    for key in keys:
        prefix, _, exchange = key.removesuffix(".pidbox").partition("_kombu.binding.")
        if key.endswith(".pidbox") and exchange and not exchange.startswith(("reply.", "permanent.")):
            found.add(Mailbox(prefix, database, exchange))
    return sorted(found, key=lambda one: (one.prefix, one.exchange))


class Inert(dict[str, Any]):
    """Stands for an object of any class in a pickled answer; it keeps a mapping that the object was made of."""

    def __init__(self, *arguments: Any, **_: Any) -> None:
        super().__init__(*[one for one in arguments if isinstance(one, dict)])

    def __setstate__(self, state: object) -> None:
        """Ignore the state: it belongs to a class that is not imported."""


class Unpickler(pickle.Unpickler):
    """Reads plain values of a pickle, and imports nothing."""

    def find_class(self, module: str, name: str) -> type:
        """Return a class without behaviour for every name."""
        return type(name, (Inert,), {"__module__": module})


MOST = 16_000_000
"""Bytes of an answer that is read, within about a second: 30,000 tasks with a countdown have fewer."""


@dataclass
class Answers:
    """What the workers of one mailbox have answered in one round."""

    by_node: dict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    """By node and question, the last answer."""
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """By node, the answers to the first question: more than 1 if two workers have one name."""
    receivers: int = 0
    """Subscribers of the mailbox that received the first question: workers, and a beat of Celery 5.7."""
    published: int = 0
    """Messages of this round."""
    pickled: set[str] = field(default_factory=set)
    """Nodes that pickle their answers."""
    unreadable: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """By content type or size, answers that are too long, or neither JSON nor a pickle of plain values."""

    @property
    def silent(self) -> int:
        """The number of receivers that did not answer the first question."""
        return max(0, self.receivers - sum(self.counts.values()) - sum(self.unreadable.values()))

    def add(self, question: str, node: str, answer: Any, *, is_first: bool) -> None:
        """Keep an answer; one that is an error of the worker counts as none."""
        self.counts[node] += is_first
        if not (isinstance(answer, dict) and set(answer) == {"error"}):
            self.by_node[node][question] = answer

    def keep(self, message: str | bytes, first: str) -> None:
        """Read one message; it may hold anything, since each client of the server can write it."""
        if len(message) > MOST:
            self.unreadable[f"more than {MOST // 10**6} MB"] += 0  # the first answer is short
            return
        kind, ticket, said = _read(message)
        if said is None:
            self.unreadable[kind] += ticket == first
            return
        for node, answer in said.items():
            if "python-serialize" in kind:
                self.pickled.add(node)
            self.add(ticket, node, answer, is_first=ticket == first)


QUIET, WHOLE = 3.0, 5.0
"""Seconds after which a round ends: without a further answer, and in any case."""

HEARTBEAT = 2.2
"""Seconds in which a worker sends a heartbeat."""

LATE = 0.25
"""Seconds for an answer that is on its way when a round ends without it."""

MANY = 10_000
"""Answers that are taken at once."""

MARK = "practices-mailbox"
"""How the names of lists for answers begin."""

FORGOTTEN = 60.0
"""Seconds after which the requester of a list is dead: a round takes `WHOLE` seconds at most."""


class Requester:
    """A list for answers in each of some mailboxes, from the first round to the end of a ``with`` block."""

    def __init__(self, client: Redis, mailboxes: Iterable[Mailbox]) -> None:
        """Use `client`, whose ``socket_timeout`` must exceed `QUIET`."""
        self._client, self._late = client, LATE
        self._missing = 0.0
        """Answers that are due."""
        self._name = f"{MARK}-{time.time():.0f}-{secrets.token_hex(16)}"
        self._mailboxes = {f"{box.prefix}{self._queue(box)}": box for box in mailboxes}

    def _queue(self, mailbox: Mailbox) -> str:
        return f"{self._name}.reply.{mailbox.exchange}.pidbox"

    def _member(self, mailbox: Mailbox) -> str:
        return mailbox.sep.join([self._name, "", self._queue(mailbox)])

    def __enter__(self) -> Self:
        """Try all commands of a round but PUBLISH, before the first round opens the lists.

        A user without one of them would leave a list, and a broker that takes no SADD would have workers answer
        nowhere. Within MULTI, BRPOP does not wait.
        """
        if self._mailboxes:
            with self._client.pipeline() as pipe:
                for mailbox in self._mailboxes.values():
                    pipe.sadd(mailbox.replies, self._member(mailbox))
                    pipe.srem(mailbox.replies, self._member(mailbox))
                pipe.delete(*self._mailboxes)
                pipe.execute_command("BRPOP", *self._mailboxes, 1)
                pipe.execute()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Remove the lists, and their names; again, if a signal interrupts it."""
        if kind is not None:
            self._missing += math.inf  # an interrupted round does not know how many answers are due
        try:
            self._clean_up()
        except RedisError:
            raise
        except BaseException:
            self._clean_up()
            raise

    def _clean_up(self) -> None:
        for mailbox in self._mailboxes.values():
            self._client.srem(mailbox.replies, self._member(mailbox))
        # A worker that has read the set before that pushes its answer now.
        while self._missing > 0 and (popped := self._pop(self._late)):
            self._missing -= len(popped)
        for name in self._mailboxes:
            self._client.delete(name)

    def ask(
        self,
        questions: Sequence[Question],
        nodes: Mapping[Mailbox, Sequence[str]] | None = None,
        *,
        quiet: float = QUIET,
        whole: float = WHOLE,
    ) -> dict[Mailbox, Answers]:
        """Ask all questions at once, of all nodes of the mailboxes or of `nodes` alone.

        A round ends with the last answer, after `quiet` seconds without one, or after `whole` seconds, however many
        mailboxes there are.

        Raises:
            redis.exceptions.RedisError: the server does not answer, or refuses a command.
        """
        asked = self._publish(questions, nodes, whole)
        answers = {mailbox: asked.get(mailbox, Answers()) for mailbox in self._mailboxes.values()}
        until = time.monotonic() + whole
        while self._missing > 0 and (rest := min(quiet, until - time.monotonic())) > 0:
            popped = self._pop(max(rest, 0.01))
            if not popped:
                break
            self._missing -= len(popped)
            self._late = QUIET if time.monotonic() > until - QUIET else LATE  # answers still come
            for mailbox, message in popped:
                answers[mailbox].keep(message, questions[0][0])
        return answers

    def _pop(self, seconds: float) -> list[tuple[Mailbox, bytes]]:
        """Return the next answer and those that are there behind it, nothing after `seconds` without one."""
        first = self._client.execute_command("BRPOP", *self._mailboxes, seconds, **RAW)
        if first is None:
            return []
        further: Any = None
        if self._missing > 1:
            with suppress(ResponseError):  # a server before Redis 6.2, or a user without RPOP: one after the other
                further = self._client.execute_command("RPOP", first[0], int(min(self._missing, MANY)) - 1, **RAW)
        mailbox = self._mailboxes[str_if_bytes(first[0])]
        return [(mailbox, message) for message in (first[1], *(further or ()))]

    def _publish(
        self, questions: Sequence[Question], nodes: Mapping[Mailbox, Sequence[str]] | None, whole: float
    ) -> dict[Mailbox, Answers]:
        """Send the questions in one round trip, none to a mailbox without `nodes`, and count the due answers."""
        to = [box for box in self._mailboxes.values() if nodes is None or nodes.get(box)]
        with self._client.pipeline(transaction=False) as pipe:
            for mailbox in to:
                pipe.sadd(mailbox.replies, self._member(mailbox))
                for question in questions:
                    asked = None if nodes is None else nodes[mailbox]
                    pipe.publish(mailbox.channel, self._message(mailbox, *question, asked, whole))
            told = iter(pipe.execute())
        answers = {}
        for mailbox in to:
            _, *received = islice(told, 1 + len(questions))
            most = math.inf if nodes is None else len(nodes[mailbox]) * len(questions)
            self._missing += min(most, sum(received))
            answers[mailbox] = Answers(receivers=received[0], published=len(questions))
        return answers

    def _message(
        self,
        mailbox: Mailbox,
        method: str,
        arguments: Mapping[str, Any],
        nodes: Sequence[str] | None,
        whole: float,
    ) -> str:
        """Return a question as kombu writes it (`kombu.pidbox.Mailbox._publish`)."""
        body = {
            "method": method,
            "arguments": dict(arguments),
            "destination": nodes,
            "pattern": None,
            "matcher": None,
            "ticket": method,
            "reply_to": {"exchange": f"reply.{mailbox.exchange}.pidbox", "routing_key": self._name},
        }
        headers = {"clock": 1, "expires": time.time() + whole}
        return envelope(body, headers, f"{mailbox.exchange}.pidbox", "")


class Heartbeats:
    """Hears the heartbeats of the workers of some mailboxes, in a ``with`` block: the one event with their time."""

    def __init__(self, client: Redis, mailboxes: Iterable[Mailbox]) -> None:
        self._heard = client.pubsub()
        self._channels = {mailbox.heartbeats for mailbox in mailboxes}
        self._found: dict[tuple[str, str], float] = {}
        self.since = time.monotonic()

    def __enter__(self) -> Self:
        """Subscribe, as far as the server lets it."""
        if not self._channels:
            return self
        with suppress(ResponseError):
            self._heard.subscribe(*self._channels)
            self._heard.psubscribe(f"*{BEAT}")  # those of mailboxes with a `fanout_prefix`, too
            for _ in range(len(self._channels) + 1):
                self._heard.get_message(timeout=QUIET)  # the server's yes or no
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the connection."""
        self._heard.close()

    def ahead(self, begun: float, nodes: Collection[tuple[str, str]], within: float) -> dict[tuple[str, str], float]:
        """Return the seconds that the clocks of nodes are ahead of the broker's, which was `begun` at `since`.

        A node is named by the channel of its heartbeats and its name. It ends when all `nodes` were heard, or `within`
        seconds after `since`. A question for a heartbeat would be quick, but a worker with ``--without-heartbeat`` and
        ``--without-gossip`` logs it as an error.
        """
        self._listen(begun, within, lambda: set(nodes) <= self._found.keys())
        return self._found

    def channels(self, begun: float, within: float) -> set[str]:
        """Return the channels of all workers of the server that were heard until `within` seconds after `since`."""
        self._listen(begun, within, lambda: False)
        return {channel for channel, _ in self._found}

    def _listen(self, begun: float, within: float, is_done: Callable[[], bool]) -> None:
        # A message that is no UTF-8 is a ValueError.
        with suppress(ResponseError, ValueError):
            while self._heard.subscribed and not is_done():
                rest = max(0.0, self.since + within - time.monotonic())
                if (said := self._heard.get_message(timeout=rest)) is None:
                    if not rest:
                        break
                    continue
                ended = begun + time.monotonic() - self.since
                with suppress(ValueError, TypeError, LookupError, AttributeError, RecursionError):
                    event = json.loads(base64.b64decode(json.loads(said["data"])["body"]))
                    sent = float(event["timestamp"])
                    node = str_if_bytes(said["channel"]), str(event["hostname"])
                    self._found[node] = min(0.0, sent - begun) + max(0.0, sent - ended)


def envelope(body: object, headers: Mapping[str, object], exchange: str, routing_key: str) -> str:
    """Return a message as kombu writes it to Redis."""
    message = {
        "body": base64.b64encode(json.dumps(body).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": {
            "correlation_id": headers.get("id"),
            "delivery_mode": 1,
            "priority": 0,
            "body_encoding": "base64",
            "delivery_info": {"exchange": exchange, "routing_key": routing_key},
            "delivery_tag": secrets.token_hex(16),
        },
    }
    return json.dumps(message)


def _read(message: str | bytes) -> tuple[str, str, dict[str, Any] | None]:
    """Return content type, question and answer by node of a message; None for an answer that cannot be read."""
    kind = ticket = ""
    try:
        envelope = json.loads(message)
        kind, ticket = str(envelope["content-type"]), str(envelope["headers"]["ticket"])
        return kind, ticket, {str(node): answer for node, answer in body_of(envelope).items()}
    # A pickle that is not one raises errors of nearly every kind.
    except Exception:  # noqa: BLE001
        return kind, ticket, None


def body_of(envelope: Mapping[str, Any]) -> Any:
    """Return the body of a message in JSON or in a pickle of plain values; another one raises errors of many kinds."""
    body = base64.b64decode(envelope["body"]) if "body_encoding" in envelope["properties"] else envelope["body"]
    is_pickle = "python-serialize" in str(envelope["content-type"])
    return Unpickler(io.BytesIO(body)).load() if is_pickle else json.loads(body)


_LEFT = re.compile(rf"{MARK}-(\d+)-[0-9a-f]+\.reply\..+\.pidbox", re.DOTALL)


def sweep(client: Redis, keys: Iterable[str]) -> None:
    """Remove the lists of requesters that were killed, which `keys` are, or of which `keys` are the sets."""
    for key in keys:
        prefix, binds, _ = key.partition("_kombu.binding.reply.")
        if not binds:
            if _is_left(key):
                client.delete(key)
            continue
        members: Any = ()
        with suppress(ResponseError):  # it is no set, or this user may not read it
            members = client.execute_command("SMEMBERS", key, **RAW)
        for member in members:
            if found := _is_left(str_if_bytes(member)):
                client.delete(f"{prefix}{found[0]}")
                client.srem(key, member)


def _is_left(text: str) -> re.Match[str] | None:
    """Return the list of a dead requester that a key, or a member of a set, names at its end."""
    found = _LEFT.fullmatch(text, max(0, text.rfind(MARK)))
    return found if found and time.time() - float(found[1]) > FORGOTTEN else None


def named(values: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return the named items of a mapping, and nothing of another value: the rest may hold secrets."""
    return {name: values[name] for name in names if name in values} if isinstance(values, Mapping) else {}
