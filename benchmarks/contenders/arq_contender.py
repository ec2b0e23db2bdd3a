"""arq: a job stays in its sorted set until it is done, and its result is stored."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from arq import create_pool
from arq.connections import RedisSettings

from effect import URL, effect

SETTINGS = RedisSettings.from_dsn(URL)


async def nothing(_context: dict[str, Any], index: int, total: int) -> None:
    """Do nothing."""
    effect(index, total)


class WorkerSettings:
    """The settings for `arq`: a short poll, and as many concurrent jobs as its queue holds."""

    functions: ClassVar = [nothing]
    redis_settings = SETTINGS
    poll_delay = 0.01
    max_jobs = 100
    keep_result = 60


def publish(number: int) -> None:
    """Send one job after the other, as its documentation shows."""
    asyncio.run(_publish(number))


async def _publish(number: int) -> None:
    """Send the jobs."""
    pool = await create_pool(SETTINGS)
    for index in range(number):
        await pool.enqueue_job("nothing", index, number)
    await pool.aclose()
