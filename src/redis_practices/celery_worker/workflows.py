"""End every chord, group and chain: a result backend, and reports of members that Celery drops.

With Celery alone the last task of a workflow may never run, and nothing is logged. `Backend` and the signals below
mend these cases, on Celery 5.6 and 5.7:

    app.conf.result_backend = with_chords("redis://broker:6379/0")
    app.conf.result_chord_expires = 7 * 86400

a member                                                the workflow's reader gets
returns, fails, hits a time limit, loses its process    the result, or the member's error (Celery too).
is delivered twice, with two results                    each member once, with its first result.
ends later than `result_expires` after another          the result; the limit is `result_chord_expires`.
is unknown to its worker, or its message is malformed   NotRegistered, or the error of the message.
drops its message with Reject or Ignore                 Reject or Ignore as the error.
is revoked or expires, as a link of a chain             TaskRevokedError, for the last link too.
is a group at the end of a chain, in a chord            all results.
ends while Redis is away                                the result, when Redis is back: see `transport`.

Celery takes a group inside the header of a chord apart, from its end; where the order matters, put a chord there.
The body of a chord is sent once. It is sent twice if its sender is killed between sending and recording that: make a
body idempotent, see `once`. A failed chord is reported once its other members have ended. A chord never ends if
its server evicts keys, or the broker loses a member, or a member ends later than `result_chord_expires`. The reader
then gets a TimeoutError from `value_of`, so give it a time limit. All members need this backend and the senders too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from celery import maybe_signature, states
from celery.app.backends import BACKEND_ALIASES
from celery.app.task import Context
from celery.exceptions import ChordError, Ignore, InvalidTaskError, NotRegistered, Reject, TaskRevokedError
from celery.result import GroupResult
from celery.signals import task_postrun, task_rejected, task_unknown

from redis_practices.celery_worker import transport

logger = logging.getLogger(__name__)

CHORD_EXPIRES = 7 * 86400
"""Seconds for which a chord waits for its next member, if ``result_chord_expires`` is not set."""

CLAIM = 60
"""Seconds for which one member may send the body: longer than sending takes with all its retries."""

_RECORD = """
local parts, added, size, seen, claim, shape = unpack(KEYS)
local task, index, part, ttl, lease = unpack(ARGV)

-- After the body was sent, another delivery changes nothing.
if redis.call('GET', claim) == 'done' then return false end

-- A member counts once, with its first result.
if redis.call('SADD', seen, task .. ':' .. index) == 1 then redis.call('ZADD', parts, index, part) end

for _, key in ipairs({parts, added, size, seen, shape}) do redis.call('EXPIRE', key, ttl) end

local members = redis.call('GET', size)
if not members then return false end

local missing = members + (redis.call('GET', added) or 0) - redis.call('ZCOUNT', parts, '-inf', '+inf')
if missing > 0 then return false end

-- Only a second delivery of the member that claimed the body may claim it again: the first one was killed.
if (redis.call('GET', claim) or task) ~= task then return false end
redis.call('SET', claim, task, 'EX', lease)
return redis.call('ZRANGE', parts, 0, -1)
"""
"""Record a part; return all parts to the member that must send the body. The keys are those of Celery 5.7."""

_SIZE = """
local size = math.max(ARGV[1], redis.call('GET', KEYS[1]) or 0)
return redis.call('SET', KEYS[1], size, 'EX', ARGV[2])
"""
"""Set the number of members, or keep a greater one: a group inside the header sets its own under the same key."""

Value = TypeVar("Value")


class _Chords:
    """What both backends do otherwise than Celery's."""

    def set_chord_size(self: Any, group_id: str, chord_size: int) -> None:
        """Store the number of members, for `result_chord_expires` seconds (``EVALSHA``)."""
        size = self.client.register_script(_SIZE)
        self._ensured(lambda: size([self.get_key_for_group(group_id, ".s")], [chord_size, self._kept]))

    def apply_chord(self: Any, header_result_args: Any, body: Any, **options: Any) -> None:
        """Begin a chord: forget an earlier run. The shape of a nested chord is kept as long as its size."""
        keys = self._keys(header_result_args[0])
        self._ensured(lambda: self.client.delete(*keys))
        super().apply_chord(header_result_args, body, **options)  # type: ignore[misc]
        self._ensured(lambda: self.client.expire(keys[-1], self._kept))

    def on_chord_part_return(self: Any, request: Context, state: str, result: Any, **_: Any) -> None:
        """Record the end of a member; after the last one send the body, or its failure (``EVALSHA``)."""
        if not request.group or not request.id:
            return
        keys = self._keys(request.group)
        index = "+inf" if request.group_index is None else request.group_index
        part = self.encode([index, request.id, state, self.encode_result(result, state)])
        record = self.client.register_script(_RECORD)
        parts = self._ensured(lambda: record(keys, [request.id, index, part, self._kept, CLAIM]))
        if parts is None:
            return
        self._send_body(request, parts)
        *recorded, claim, shape = keys
        self._ensured(lambda: self.client.set(claim, "done", ex=self._kept))
        self._ensured(lambda: self.client.delete(*recorded, shape))

    def _keys(self: Any, group_id: str) -> list[Any]:
        """Return the keys of a chord, with Celery's names: parts, added, size, seen, claim, shape."""
        return [self.get_key_for_group(group_id, suffix) for suffix in (".j", ".t", ".s", ".d", ".c", "")]

    def _send_body(self: Any, request: Context, parts: list[bytes]) -> None:
        """Send the body of a complete chord. The body fails if a member failed or it cannot be sent."""
        body = maybe_signature(request.chord, app=self.app)
        try:
            body.delay(self._results(request.group, parts))
        except Exception as error:
            logger.exception("the chord %s fails", request.group)
            failure = error if isinstance(error, ChordError) else ChordError(f"the chord failed: {error!r}")
            self.chord_error_from_stack(body, failure)
            # The body may be a link, or a member of another chord.
            self._end_links([body, *(body.options.get("chain") or ())], failure, states.FAILURE)

    def _results(self: Any, group_id: str, parts: list[bytes]) -> list[Any]:
        """Return the results of all members in their order and shape (ChordError: one failed)."""
        results = {self.decode(part)[1]: self._unpack_chord_result(part, self.decode) for part in parts}
        nested = GroupResult.restore(group_id, app=self.app)
        # Celery reads the members of a nested chord from their own results, which may have expired.
        return list(results.values()) if nested is None else _shaped(nested, results)

    def mark_as_failure(self: Any, task_id: str, exc: Exception, *args: Any, **options: Any) -> None:
        """Store a failure, also for the links of a chain that follow."""
        super().mark_as_failure(task_id, exc, *args, **options)  # type: ignore[misc]
        self._end_links(_chain(options), exc, states.FAILURE, store=options.get("store_result", True))

    def mark_as_revoked(self: Any, task_id: str, reason: str = "", *args: Any, **options: Any) -> None:
        """Store that a task was revoked, also for the links of a chain that follow."""
        super().mark_as_revoked(task_id, reason, *args, **options)  # type: ignore[misc]
        revoked = TaskRevokedError(reason)
        self._end_links(_chain(options), revoked, states.REVOKED, store=options.get("store_result", True))

    def _end_links(self: Any, links: Any, exc: object, state: str, *, store: bool = True) -> None:
        """End the links that will never run, so that a reader of the last one does not wait."""
        for link in _links(links):
            if not (task_id := link["options"].get("task_id")):
                continue
            context = Context({**link, **link["options"]}, id=task_id, group=link["options"].get("group_id"))
            if store:
                self.store_result(task_id, exc, state, request=context)
            if context.chord:
                self.on_chord_part_return(context, state, exc)

    @property
    def _kept(self: Any) -> int:
        """Whole seconds for which the state of a chord is kept: never shorter than a result."""
        return max(1, int(self.app.conf.get("result_chord_expires") or CHORD_EXPIRES), int(self.expires or 0))

    def _ensured(self: Any, command: Callable[[], Value]) -> Value:
        """Return the reply of an idempotent command, repeated after a lost connection as `transport` has it."""
        return self.ensure(command, ())  # type: ignore[no-any-return]


class Backend(_Chords, transport.Backend):
    """Celery's result backend, whose chords end."""


class BackendOfSentinels(_Chords, transport.BackendOfSentinels):
    """The same for ``sentinel://`` URLs."""


def with_chords(url: str) -> str:
    """Return the URL for ``result_backend``, with `Backend` if it names a Redis or sentinels.

    The classes have short names in the URL: with a module's name in it, ``celery inspect conf`` and ``report`` fail.
    """
    kinds = {"redis": Backend, "rediss": Backend, "sentinel": BackendOfSentinels}
    if (kind := kinds.get(url.partition("://")[0])) is None:
        return url
    name = f"practices-{kind.__name__.lower()}"
    BACKEND_ALIASES[name] = f"{__name__}:{kind.__name__}"
    return f"{name}+{url}"


def _shaped(members: GroupResult, results: Mapping[str, Any]) -> list[Any]:
    """Return a group's results as a list, with a list for each group in it."""
    return [_shaped(one, results) if isinstance(one, GroupResult) else results[one.id] for one in members.results]


def _chain(options: Mapping[str, Any]) -> Any:
    """Return the links that follow the task of a report to the backend."""
    return getattr(options.get("request"), "chain", None) or ()


def _links(chain: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the single tasks of a chain, in a chord those of its body."""
    for link in chain:
        arguments = link.get("kwargs") or {}
        if link.get("subtask_type") == "chord":
            yield from _links([arguments["body"]])
        elif link.get("subtask_type") in {"chain", "group"}:
            yield from _links(arguments["tasks"])
        else:
            yield link


@task_unknown.connect
def fail_unknown(sender: Any, message: Any, exc: Exception, **known: Any) -> None:
    """Fail the whole workflow of an unknown task; Celery fails the task alone."""
    del exc
    _fail_workflow(sender.app, message, NotRegistered(known["name"]))


@task_rejected.connect
def fail_malformed(sender: Any, message: Any, exc: Exception | None, **_: Any) -> None:
    """Fail a task, and its workflow, whose message is no task; Celery leaves it PENDING."""
    _fail_workflow(sender.app, message, exc or InvalidTaskError("the message is no task"))


def _fail_workflow(app: Any, message: Any, error: Exception) -> None:
    """Fail the task of a message that no worker will run. A message without an id belongs to no workflow."""
    if "id" not in (message.headers or ()):
        return
    _, _, embedded = message.payload
    request = Context(dict(message.headers), **embedded, delivery_info=message.delivery_info)
    app.backend.mark_as_failure(request.id, error, request=request)


REPLACED = "Replaced by new task"
"""The text of the Ignore that ``Task.replace`` raises (celery/app/task.py): the new task takes the old one's place."""


@task_postrun.connect
def fail_dropped(task: Any, retval: object, **_: Any) -> None:
    """Fail a task that dropped its message, unless it stored its end; Celery 5.6 leaves it PENDING.

    An ignored task outside a workflow keeps its state, as Celery documents it.
    """
    request = task.request
    rejected = isinstance(retval, Reject) and not retval.requeue
    ignored = isinstance(retval, Ignore) and str(retval) != REPLACED and (request.chord or request.chain)
    if request.is_eager or not (rejected or ignored):
        return
    stored = task.backend.get_task_meta(request.id, cache=False)
    if stored["status"] not in states.READY_STATES:
        task.backend.mark_as_failure(request.id, retval, request=request)
    elif request.chord:
        task.backend.on_chord_part_return(request, stored["status"], stored["result"])
