"""Ask running Celery workers over the broker, with plain Redis commands.

``app.control.inspect()`` waits out its timeout for each question: it does not know whether all workers have answered.
It cannot read the replies of a worker that pickles them. Here one round trip publishes all questions to the control
mailbox (kombu's pidbox). PUBLISH returns the number of receivers, so that a round ends with the last answer.

A round writes one member into ``_kombu.binding.reply.<exchange>.pidbox`` and reads one list. It removes both.

    with redis_client(url) as client, Requester(client, Mailbox()) as requester:
        answers = requester.ask([("ping", {}), ("active_queues", {})])

Answers may hold secrets: `stats` and ``report`` show passwords, ``active`` the arguments of tasks. Read named fields.
"""

from __future__ import annotations

import base64
import io
import json
import pickle
import secrets
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from redis import Redis
from redis.utils import str_if_bytes

SEP = "\x06\x16"
"""kombu's sign between the parts of a binding, and between a queue and its priority."""

Question = tuple[str, Mapping[str, Any]]
"""A command of remote control and its arguments, such as ``("conf", {"with_defaults": True})``."""


@dataclass(frozen=True)
class Mailbox:
    """The control mailbox that the workers of one app share on a server."""

    prefix: str = ""
    """``global_keyprefix`` of the transport options."""
    database: int = 0
    exchange: str = "celery"
    """``control_exchange`` of the app's settings."""

    @property
    def channel(self) -> str:
        """The channel of the questions."""
        return f"{self.prefix}/{self.database}.{self.exchange}.pidbox"

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
        return f"{self.prefix}/{self.database}.celeryev/worker.heartbeat"

    def nodes_in(self, members: Iterable[str | bytes]) -> list[str]:
        """Return the nodes that the members of `bindings` name; a killed one stays named."""
        names = (str_if_bytes(member).split(SEP)[-1] for member in members)
        return sorted(name.removesuffix(f".{self.exchange}.pidbox") for name in names)


def mailboxes(keys: Iterable[str], database: int = 0) -> list[Mailbox]:
    """Return the mailboxes of all apps in a database, by the names of its keys ``*_kombu.binding.*.pidbox``."""
    found = set()
    for key in keys:
        prefix, _, exchange = key.removesuffix(".pidbox").partition("_kombu.binding.")
        if exchange and not exchange.startswith(("reply.", "permanent.")):
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
    """By content type, answers that are neither JSON nor a pickle of plain values."""

    @property
    def silent(self) -> int:
        """The number of receivers that did not answer the first question."""
        return max(0, self.receivers - sum(self.counts.values()) - sum(self.unreadable.values()))

    def add(self, question: str, node: str, answer: Any, *, is_first: bool) -> None:
        """Keep an answer; one that is an error of the worker counts as none."""
        self.counts[node] += is_first
        if not (isinstance(answer, dict) and set(answer) == {"error"}):
            self.by_node[node][question] = answer


QUIET, WHOLE = 1.0, 4.0
"""Seconds after which a round ends: without a further answer, and in any case."""

LATE = 0.05
"""Seconds for an answer that is on its way when a round ends."""


class Requester:
    """A list for answers on the server, from the first round to the end of a ``with`` block."""

    def __init__(self, client: Redis, mailbox: Mailbox) -> None:
        """Use `client`, whose ``socket_timeout`` must exceed `QUIET`."""
        self._client, self._mailbox = client, mailbox
        self._name = f"practices-{secrets.token_hex(16)}"
        queue = f"{self._name}.reply.{mailbox.exchange}.pidbox"
        self._list, self._member = mailbox.prefix + queue, SEP.join([self._name, "", queue])

    def __enter__(self) -> Self:
        """Return it: the first round opens the list."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Remove the list, and its name."""
        self._client.srem(self._mailbox.replies, self._member)
        # A worker that has read the set before that pushes its answer now.
        while self._client.brpop([self._list], timeout=LATE):
            pass
        self._client.delete(self._list)

    def ask(
        self,
        questions: Sequence[Question],
        nodes: Sequence[str] | None = None,
        *,
        quiet: float = QUIET,
        whole: float = WHOLE,
    ) -> Answers:
        """Ask all questions at once, of all nodes of the mailbox or of `nodes`.

        A round ends with the last answer, after `quiet` seconds without one, or after `whole` seconds.

        Raises:
            redis.exceptions.RedisError: the server does not answer, or refuses a command.
        """
        self._client.sadd(self._mailbox.replies, self._member)
        pipe, answers = self._client.pipeline(transaction=False), Answers(published=len(questions))
        for question in questions:
            pipe.publish(self._mailbox.channel, self._message(*question, nodes, whole))
        received = pipe.execute()
        answers.receivers = received[0]
        missing = len(nodes) * len(questions) if nodes is not None else sum(received)
        until = time.monotonic() + whole
        while missing > 0 and (rest := min(quiet, until - time.monotonic())) > 0:
            popped = self._client.brpop([self._list], timeout=max(rest, 0.01))
            if popped is None:
                break
            missing -= 1
            self._keep(answers, popped[1], questions[0][0])
        return answers

    def _keep(self, answers: Answers, message: str | bytes, first: str) -> None:
        """Add one message to the answers."""
        kind, ticket, said = _read(message)
        if said is None:
            answers.unreadable[kind] += ticket == first
            return
        for node, answer in said.items():
            if "python-serialize" in kind:
                answers.pickled.add(node)
            answers.add(ticket, node, answer, is_first=ticket == first)

    def _message(self, method: str, arguments: Mapping[str, Any], nodes: Sequence[str] | None, whole: float) -> str:
        """Return a question as kombu writes it (`kombu.pidbox.Mailbox._publish`)."""
        body = {
            "method": method,
            "arguments": dict(arguments),
            "destination": nodes,
            "pattern": None,
            "matcher": None,
            "ticket": method,
            "reply_to": {"exchange": f"reply.{self._mailbox.exchange}.pidbox", "routing_key": self._name},
        }
        message = {
            "body": base64.b64encode(json.dumps(body).encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"clock": 1, "expires": time.time() + whole},
            "properties": {
                "delivery_mode": 1,
                "priority": 0,
                "body_encoding": "base64",
                "delivery_info": {"exchange": f"{self._mailbox.exchange}.pidbox", "routing_key": ""},
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
        body = base64.b64decode(envelope["body"]) if "body_encoding" in envelope["properties"] else envelope["body"]
        said = Unpickler(io.BytesIO(body)).load() if "python-serialize" in kind else json.loads(body)
        return kind, ticket, {str(node): answer for node, answer in said.items()}
    # A pickle that is not one raises errors of nearly every kind.
    except Exception:  # noqa: BLE001
        return kind, ticket, None


def named(values: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return the named items of a mapping, and nothing of another value: the rest may hold secrets."""
    return {name: values[name] for name in names if name in values} if isinstance(values, Mapping) else {}
