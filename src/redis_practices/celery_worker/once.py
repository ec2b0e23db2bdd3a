"""Do a thing once, however often it is asked for: the answer to tasks that are delivered twice.

Celery on Redis delivers a task again when its worker dies, when it takes longer than the visibility timeout, and when
a connection drops. So a task that charges a card must know whether it has done so already.

    with once(client, f"charge:{order}", lease=60, keep=86400) as first:
        if first:
            charge(order)

Whoever comes first holds the key with a token of its own for `lease` seconds; when its block ends well the key says
"done" for `keep` seconds; when it fails the key is given back. Whoever comes while another holds it gets `Busy`, and
tries again later. What no key can close: an effect outside Redis may happen just before the process is killed, and
then happens again after the lease. Give such a service the same key (an idempotency key), or use `effect_once`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
