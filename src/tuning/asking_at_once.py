"""Many questions in flight at once by asyncio: while one task waits for its answer, others ask.

Pays where answers take long, as all do over a network. On the loopback asyncio costs more than it gains against a plain
loop; and against a pipeline it never wins: use it because your program is asynchronous, not to be fast.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis

from tuning.connecting import address


def by_tasks(server: Redis, keys: Sequence[str], tasks: int = 20) -> list[Any]:
    """Read `keys` by `tasks` that share as many connections; connecting included."""
    return asyncio.run(_read(address(server), keys, tasks))


async def _read(options: dict[str, Any], keys: Sequence[str], tasks: int) -> list[Any]:
    """Let `tasks` share `keys`, each reading one after the other."""
    pool = BlockingConnectionPool(max_connections=tasks, timeout=10, **options)
    values: dict[str, Any] = {}

    async def read_share(number: int) -> None:
        """Read every `tasks`-th key."""
        for key in keys[number::tasks]:
            values[key] = await client.get(key)

    async with AsyncRedis(connection_pool=pool) as client:
        await asyncio.gather(*(read_share(number) for number in range(tasks)))
    await pool.disconnect()
    return [values[key] for key in keys]
