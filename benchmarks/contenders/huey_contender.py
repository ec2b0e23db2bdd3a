"""huey: a task is removed from its list when it is taken, and lost when its worker dies."""

from __future__ import annotations

from huey import RedisHuey

from effect import URL, effect

huey = RedisHuey("benchmark", url=URL, results=False)


@huey.task()
def nothing(index: int, total: int) -> None:
    """Do nothing."""
    effect(index, total)


def publish(number: int) -> None:
    """Send one task after the other: it has no batches."""
    for index in range(number):
        nothing(index, number)
