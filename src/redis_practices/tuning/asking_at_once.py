"""Many questions in flight at once by asyncio: while one task waits for its answer, others ask.

Pays where answers take long, as all do over a network. On the loopback asyncio costs more than it gains against a plain
loop; and against a pipeline it never wins: use it because your program is asynchronous, not to be fast.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.asyncio import BlockingConnectionPool as AsyncPool
from redis.asyncio import Redis as AsyncRedis

from redis_practices.tuning.connecting import address


@contextmanager
def tasks_of(server: Redis, tasks: int = 20) -> Iterator[Callable[[Sequence[str]], list[Any]]]:
    """Yield a function that reads keys by `tasks` that share as many connections, which are kept between its calls."""
    pool = AsyncPool(max_connections=tasks, timeout=10, **address(server))
    client = AsyncRedis(connection_pool=pool)
    with asyncio.Runner() as runner:
        yield lambda keys: runner.run(_read(client, keys, tasks))
        runner.run(pool.disconnect())


async def _read(client: AsyncRedis, keys: Sequence[str], tasks: int) -> list[Any]:
    """Let `tasks` share `keys`, each reading one after the other, and return the values in the order of `keys`."""
    values: dict[str, Any] = {}

    async def read_share(number: int) -> None:
        """Read every `tasks`-th key."""
        for key in keys[number::tasks]:
            values[key] = await client.get(key)

    await asyncio.gather(*(read_share(number) for number in range(tasks)))
    return [values[key] for key in keys]
