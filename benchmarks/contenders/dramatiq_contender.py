"""dramatiq: a message is acknowledged when it is done, and redelivered when its worker's heartbeat stops."""

from __future__ import annotations

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from effect import URL, effect

dramatiq.set_broker(RedisBroker(url=URL))


@dramatiq.actor
def nothing(index: int, total: int) -> None:
    """Do nothing."""
    effect(index, total)


def publish(number: int) -> None:
    """Send one message after the other: it has no batches."""
    for index in range(number):
        nothing.send(index, number)
