"""`once` lets one caller in, also when its process, its connection or its lease is lost."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator

import pytest
from redis import Redis

from fixtures.run.processes import ForkingGroup
from redis_practices.celery_worker.delivery import Busy, LeaseLost, once
from redis_practices.clients import redis_client
from redis_practices.polling import eventually
from redis_practices.servers.server import BROKER, start_server


@pytest.fixture(scope="module")
def client() -> Iterator[Redis]:
    """Give a client of a server that evicts nothing."""
    with ForkingGroup() as group, redis_client(start_server(group, BROKER).url) as connected:
        yield connected


LEASE = 0.6
"""Seconds; renewed three times in it, so a busy judge may hold up a renewal for 0.4 s."""


def test_longer_than_its_lease(client: Redis) -> None:
    """A block that takes longer than its lease keeps the key: no other caller gets in."""
    with once(client, "slow", lease=LEASE, keep=60) as first:
        for _ in range(3):
            time.sleep(LEASE / 2)
            with pytest.raises(Busy), once(client, "slow", lease=LEASE, keep=60):
                pass
    with once(client, "slow", lease=LEASE, keep=60) as second:
        assert (first, second) == (True, False)


def test_lease_that_another_took(client: Redis) -> None:
    """A caller whose key was taken, as after a pause longer than its lease, hears of it at the end of its block."""
    with pytest.raises(LeaseLost, match="taken by another"), once(client, "lost", lease=60, keep=60):
        client.set("lost", "token of another process")
    assert client.get("lost") == "token of another process"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_block_that_fails(client: Redis, kind: type[BaseException]) -> None:
    """A block that fails or is interrupted gives the key back at once."""
    with pytest.raises(kind), once(client, "failing", lease=60, keep=60):
        raise kind
    assert not client.exists("failing")


class SoftTimeLimitExceeded(Exception):  # noqa: N818 - it has the name of Celery's
    """What a signal raises between any two instructions."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("calls", [100, pytest.param(5_000, marks=pytest.mark.slow)])
def test_interrupts_at_any_moment(client: Redis, calls: int) -> None:
    """The work of a key is done at most once, and a key that an interrupt left is free when its lease is over."""
    draw, interrupted = random.Random(calls), 0

    def interrupt(*_: object) -> None:
        raise SoftTimeLimitExceeded

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for number in range(calls):
            name = f"{calls}:{number}"
            try:
                signal.setitimer(signal.ITIMER_REAL, draw.uniform(1e-5, 0.001))
                with once(client, f"charge:{name}", lease=0.5, keep=60) as first:
                    if first:
                        client.incr(f"charged:{name}")
                signal.setitimer(signal.ITIMER_REAL, 0)
            except SoftTimeLimitExceeded:
                interrupted += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert interrupted > calls / 10
    assert {client.get(key) for key in client.scan_iter(f"charged:{calls}:*", count=1000)} == {"1"}

    def free() -> None:
        held = [
            key for key in client.scan_iter(f"charge:{calls}:*", count=1000) if client.get(key) not in ("done", None)
        ]
        assert not held, f"{len(held)} keys are held"

    eventually(free, 5)
