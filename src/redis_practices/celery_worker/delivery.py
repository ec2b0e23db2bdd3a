"""Lose no task and do none twice: `once`, `effect_once`, `Outbox`.

Celery on Redis delivers a task again when its worker dies, when it takes longer than the visibility timeout, and when
a connection drops. So a task that charges a card must know whether it has done so already.

    with once(client, f"charge:{order}", lease=60, keep=86400) as first:
        if first:
            charge(order)

The first caller holds the key with a token of its own for `lease` seconds. When its block ends well the key says
"done" for `keep` seconds; when it fails the key is given back. A caller meanwhile gets `Busy` and tries again later.
What no key can close: an effect outside Redis may happen just before the process is killed, and then happens again
after the lease. Give such a service the same key (an idempotency key), or use `effect_once`.

The broker can lose a task: a worker dies between taking and noting it, a restart comes without a file, keys are evicted
or flushed. So the sender writes down in an `Outbox` what must happen, and a sweep sends again what has not happened in
time. Tasks are then delivered more than once and need `once`. The outbox of a real application is a table in its
database, written in the transaction that makes the order; this one is a Redis hash and a sorted set.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.client import Pipeline

DONE = "done"

_FINISH = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('SET', KEYS[1], 'done', 'PX', ARGV[2]) end"
_GIVE_BACK = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end"


class Busy(Exception):  # noqa: N818 - it is no error: somebody else is at it
    """Another process does this very thing now; try again when its lease has ended."""


class LeaseLost(Exception):  # noqa: N818 - it reads as what happened
    """The block took longer than its lease, and another may have done the same meanwhile."""


@contextmanager
def once(client: Redis, key: str, *, lease: float, keep: float) -> Iterator[bool]:
    """Give True to the first who comes, False to all after it has done its work; seconds for `lease` and `keep`.

    `client` decodes its answers. `lease` must exceed the longest time the block takes; `keep` the longest time after
    which the same thing may be asked for again.

    Raises:
        Busy: another holds the key.
        LeaseLost: the block took longer than `lease`.
        redis.exceptions.RedisError: Redis does not answer.
    """
    token = secrets.token_hex(8)
    if not client.set(key, token, nx=True, px=_milliseconds(lease)):
        # NX and GET in one command would need Redis 7.0. Between these two the key may be given back: then it is Busy
        # too, and who tries again later finds it free.
        if client.get(key) != DONE:
            raise Busy(f"{key} is being done by another")
        yield False
        return
    try:
        yield True
    except BaseException:
        client.eval(_GIVE_BACK, 1, key, token)
        raise
    if not client.eval(_FINISH, 1, key, token, _milliseconds(keep)):
        raise LeaseLost(f"{key} took longer than its lease of {lease:g} s")


def effect_once(client: Redis, key: str, effect: Callable[[Pipeline], object], *, keep: float) -> bool:
    """Write an effect that lives in Redis itself exactly once: in one transaction with the key that says so.

    `effect` queues its commands on the pipeline it is given. Return False when it had been written before; the key is
    kept for `keep` seconds (``WATCH``, ``MULTI``, ``EXEC``).

    Raises:
        redis.exceptions.RedisError: Redis does not answer; whether it was written is unknown, so call it again.
    """
    written = False

    def write(pipe: Pipeline) -> None:
        """Queue the effect unless it is there; called again when another was faster."""
        nonlocal written
        written = not pipe.exists(key)
        pipe.multi()
        if written:
            effect(pipe)
            pipe.set(key, DONE, px=_milliseconds(keep))

    client.transaction(write, key)
    return written


def _milliseconds(seconds: float) -> int:
    """Return what PX wants."""
    return max(1, round(seconds * 1000))


Send = Callable[[str, Sequence[Any]], object]
"""Sends a task by its name and its arguments; may raise, and the task stays in the outbox."""


class Outbox:
    """Tasks that must have an effect, and when each of them is due to be sent again."""

    def __init__(self, client: Redis, name: str = "outbox", *, deadline: float = 60.0) -> None:
        """Keep it under the keys `name` and ``{name}:due``; `deadline` in seconds is what an effect may take.

        Choose it longer than a task usually waits and runs: what is sent again too early is only work done twice.
        """
        self._client, self._tasks, self._due = client, name, f"{name}:due"
        self._deadline = deadline

    def add(self, calls: Iterable[tuple[str, str, Sequence[Any]]]) -> None:
        """Write down tasks, as (effect, task, arguments), before they are sent; `effect` names what must happen."""
        due = time.time() + self._deadline
        with self._client.pipeline() as pipe:
            for effect, task, arguments in calls:
                pipe.hset(self._tasks, effect, json.dumps([task, list(arguments)]))
                pipe.zadd(self._due, {effect: due})
            pipe.execute()

    def settle(self, effect: str, client: Redis | None = None) -> None:
        """Strike out an effect that has happened; give the pipeline that writes it to do both in one transaction."""
        for_it = self._client if client is None else client
        for_it.hdel(self._tasks, effect)
        for_it.zrem(self._due, effect)

    def open(self) -> int:
        """Return how many effects are outstanding."""
        return int(self._client.hlen(self._tasks))

    def sweep(self, send: Send, limit: int = 1000) -> int:
        """Send again what is past its deadline, at most `limit`, and return how many; run it every few seconds.

        Each gets a new deadline before it is sent, so that two sweeps at once rarely send the same.
        """
        now = time.time()
        late = self._client.zrange(self._due, "-inf", now, byscore=True, offset=0, num=limit)
        for effect in map(str, late):
            self._client.zadd(self._due, {effect: now + self._deadline}, xx=True)
            if stored := self._client.hget(self._tasks, effect):
                task, arguments = json.loads(stored)
                send(task, arguments)
        return len(late)
