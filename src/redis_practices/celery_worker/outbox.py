"""What has no recorded effect after its deadline is sent again: nothing is lost, whatever becomes of a message.

A broker on Redis can swallow a task: when a worker dies between taking and noting it, when a restart comes without a
file, when somebody evicts or flushes. So the sender writes down what must happen, and a sweep sends again what has not
happened in time. Tasks are then delivered more than once, and must bear it: see once.py. The two belong together.

The outbox of a real application is a table in its database, written in the transaction that makes the order; this one
lives in a Redis hash and a sorted set, which shows the same.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from redis import Redis

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
