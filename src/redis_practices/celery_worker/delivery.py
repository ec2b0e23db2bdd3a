"""Lose no task and run none twice: `once`, `effect_once`, `Outbox`.

Celery on Redis delivers a task again when its worker dies, when it runs longer than the visibility timeout, and when
a connection drops. A task that charges a card must therefore know whether it has done so already (be idempotent).

    with once(client, f"charge:{order}", lease=60, keep=86400) as first:
        if first:
            charge(order)

The first caller holds the key with a random token, renewed while its block runs. When its block succeeds, the key says
"done" for `keep` seconds; when the block fails, the key is deleted. A second caller gets `Busy` meanwhile and tries
again later. One gap stays: a process can be killed just after an effect outside Redis, which is then repeated after the
lease. Give that service the same key (an idempotency key), or use `effect_once`.

The broker can lose a task: a worker dies between taking and recording it, the server restarts without a file, keys are
evicted or flushed. So the sender writes each effect that must happen into an `Outbox`, and a sweep sends overdue ones
again. Tasks are then delivered more than once and need `once`. In a real application the outbox is a table of its
database, written in the transaction that makes the order. This one is a Redis hash and a sorted set.
"""

from __future__ import annotations

import _thread
import json
import secrets
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError

from redis_practices.clients import ReplyLostError

DONE = "done"

_FINISH = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('SET', KEYS[1], 'done', 'PX', ARGV[2]) end"
_RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end"
_GIVE_BACK = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end"


class Busy(Exception):  # noqa: N818 - the other process may well succeed
    """Another process holds the key now; try again when its lease has ended."""


class LeaseLost(Exception):  # noqa: N818 - it reads as what happened
    """The lease ended before the block did, so another process may have run it meanwhile."""


@contextmanager
def once(client: Redis, key: str, *, lease: float, keep: float) -> Iterator[bool]:
    """Yield True to the first caller, and False once the work is done.

    `client` decodes its answers. A thread renews the lease three times in `lease` seconds, so the
    block may take longer. After a kill the key stays taken for up to `lease`. `keep` (seconds) must
    exceed the longest time after which the same work may be requested again. The key has a ttl, so the server must not
    evict: ``noeviction``, or a server for such keys alone.

    An interrupt (soft time limit, alarm) gives the lease back. If the connection is lost while the key is taken or
    while the end is recorded, the state is asked for, not assumed.

    Raises:
        Busy: another caller holds the key.
        LeaseLost: the lease could not be renewed, so another process may have run the block meanwhile.
        redis.exceptions.RedisError: Redis does not answer.
    """
    token = secrets.token_hex(8)
    try:
        taken = _taken(client, key, token, lease)
    except BaseException:
        _give_back(client, key, token)
        raise
    if not taken:
        yield False
        return
    block = _Block()
    try:
        # Not threading.Thread: a signal handler that raises in its start or its Event leaves them broken.
        _thread.start_new_thread(_renew, (weakref.ref(block), block.running, client, key, token, lease))
        yield True
    except BaseException:
        _give_back(client, key, token)
        raise
    finally:
        block.running.release()
    if not _finished(client, key, token, keep):
        raise LeaseLost(f"{key} was taken by another process: its lease of {lease:g} s was not renewed in time")


def _taken(client: Redis, key: str, token: str, lease: float) -> bool:
    """Take the key; return False if the work is done (Busy if another caller holds it)."""
    for _ in range(2):
        with suppress(ReplyLostError):
            if client.set(key, token, nx=True, px=_milliseconds(lease)):
                return True
        # NX and GET in one command would need Redis 7.0. If the key is deleted between the two, try again.
        held = client.get(key)
        if held is not None:
            break
    if held not in {DONE, token}:
        raise Busy(f"{key} is being done by another")
    return held == token


def _finished(client: Redis, key: str, token: str, keep: float) -> bool:
    """Record that the work is done; return False if another caller has the key."""
    try:
        return bool(client.eval(_FINISH, 1, key, token, _milliseconds(keep)))
    except ReplyLostError:
        return client.get(key) == DONE or bool(client.eval(_FINISH, 1, key, token, _milliseconds(keep)))


def _give_back(client: Redis, key: str, token: str) -> None:
    """Delete the key if this caller holds it. If the server does not answer, the lease ends later."""
    with suppress(RedisError):
        client.eval(_GIVE_BACK, 1, key, token)


class _Block:
    """A running block: any interrupt of the block drops this object with its frame."""

    def __init__(self) -> None:
        self.running = _thread.allocate_lock()
        self.running.acquire()


def _renew(  # noqa: PLR0913, PLR0917 - the arguments of a thread
    block: weakref.ref[_Block], running: _thread.LockType, client: Redis, key: str, token: str, lease: float
) -> None:
    """Renew the lease until the block has ended; retry while the server does not answer."""
    while not running.acquire(timeout=lease / 3) and block() is not None:
        with suppress(RedisError, OSError):
            if not client.eval(_RENEW, 1, key, token, _milliseconds(lease)):
                return


def effect_once(client: Redis, key: str, effect: Callable[[Pipeline], object], *, keep: float) -> bool:
    """Write an effect in Redis exactly once.

    One transaction writes the effect and the key that marks it as done (``WATCH``, ``MULTI``, ``EXEC``).
    `effect` queues its commands on the pipeline it gets. Return False if the effect was written before. The key is kept
    for `keep` seconds.

    Raises:
        redis.exceptions.RedisError: Redis does not answer. The effect may be written or not, so call it again.
    """
    written = False

    def write(pipe: Pipeline) -> None:
        """Queue the effect unless it is done; called again when another client changed the key."""
        nonlocal written
        written = not pipe.exists(key)
        pipe.multi()
        if written:
            effect(pipe)
            pipe.set(key, DONE, px=_milliseconds(keep))

    client.transaction(write, key)
    return written


def _milliseconds(seconds: float) -> int:
    """Return whole milliseconds, as PX takes them."""
    return max(1, round(seconds * 1000))


Send = Callable[[str, Sequence[Any]], object]
"""A function that sends a task by its name and arguments; if it raises, the task stays in the outbox."""


class Outbox:
    """Effects that must happen, and the time at which each task is due to be sent again."""

    def __init__(self, client: Redis, name: str = "outbox", *, deadline: float = 60.0) -> None:
        """Keep it under the keys `name` and ``{name}:due``; an effect is overdue after `deadline` seconds.

        Choose a deadline longer than a task usually waits and runs: a task that is sent again too early runs twice.
        """
        self._client, self._tasks, self._due = client, name, f"{name}:due"
        self._deadline = deadline

    def add(self, calls: Iterable[tuple[str, str, Sequence[Any]]]) -> None:
        """Write down tasks, as (effect, task, arguments), before sending them; `effect` is the id of the effect."""
        due = time.time() + self._deadline
        with self._client.pipeline() as pipe:
            for effect, task, arguments in calls:
                pipe.hset(self._tasks, effect, json.dumps([task, list(arguments)]))
                pipe.zadd(self._due, {effect: due})
            pipe.execute()

    def settle(self, effect: str, client: Redis | None = None) -> None:
        """Remove an effect that has happened.

        As `client`, pass the pipeline that writes the effect: one transaction does both.
        """
        for_it = self._client if client is None else client
        for_it.hdel(self._tasks, effect)
        for_it.zrem(self._due, effect)

    def open(self) -> int:
        """Return the number of outstanding effects."""
        return int(self._client.hlen(self._tasks))

    def sweep(self, send: Send, limit: int = 1000) -> int:
        """Send overdue tasks again, at most `limit`, and return their number; run it every few seconds.

        Each task gets a new deadline before it is sent, so that two concurrent sweeps rarely send the same task.
        """
        now = time.time()
        late = self._client.zrange(self._due, "-inf", now, byscore=True, offset=0, num=limit)
        for effect in map(str, late):
            self._client.zadd(self._due, {effect: now + self._deadline}, xx=True)
            if stored := self._client.hget(self._tasks, effect):
                task, arguments = json.loads(stored)
                send(task, arguments)
        return len(late)
