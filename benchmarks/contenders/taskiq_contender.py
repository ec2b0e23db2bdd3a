"""taskiq on Redis streams: a message is acknowledged when it is done; otherwise another worker claims it."""

from __future__ import annotations

import asyncio

from taskiq_redis import RedisStreamBroker

from effect import URL, effect

broker = RedisStreamBroker(url=URL)


@broker.task(task_name="nothing")
async def nothing(index: int, total: int) -> None:
    """Do nothing."""
    effect(index, total)


def publish(number: int) -> None:
    """Send one task after the other: it has no batches."""
    asyncio.run(_publish(number))


async def _publish(number: int) -> None:
    """Send the tasks."""
    await broker.startup()
    for index in range(number):
        await nothing.kiq(index, number)
    await broker.shutdown()
