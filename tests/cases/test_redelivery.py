"""Test when and how often a reserved task runs, despite faults of worker, broker and clocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from kombu.connection import Connection
from redis.exceptions import ConnectionError as RedisConnectionError

from fixtures.stacks.protocols import worker_environment
from redis_practices.celery_worker.sending import send_many
from redis_practices.polling import eventually
from redis_practices.servers.celery import WorkerProcess, start_worker
from redis_practices.servers.process_group import ProcessGroup
from tests.cases.bench import Bench
from tests.cases.preparing import prepared

COUNTDOWN = 4.0
"""Seconds until the tasks are due."""

HELD = 3
"""The number of tasks that the worker holds."""

BATCH = "redis_practices.celery_worker.batch_transport:Transport"


def stop(bench: Bench, worker: WorkerProcess) -> None:
    """Stop the worker by a warm shutdown, and start another."""
    worker.stop()
    bench.worker()


def cold_stop(bench: Bench, worker: WorkerProcess) -> None:
    """Stop the worker by a cold shutdown, and start another."""
    worker.quit()
    worker.wait_end(20)
    bench.worker()


def drop(bench: Bench, worker: WorkerProcess) -> None:
    """Close all connections to the broker."""
    prepared(lambda: worker.runs)
    bench.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def restart(bench: Bench, worker: WorkerProcess) -> None:
    """Restart the broker."""
    prepared(lambda: worker.runs)
    bench.server.kill()
    bench.server.restart()
    bench.client = bench.server.client()


@pytest.mark.slow
@pytest.mark.parametrize("event", [stop, cold_stop, drop, restart])
def test_countdown_that_a_worker_holds(
    new_bench: Callable[..., Bench], event: Callable[[Bench, WorkerProcess], None]
) -> None:
    """Reserved tasks with a countdown run once when they are due."""
    bench = new_bench({"appendfsync": "always"})
    worker = bench.worker()
    tasks = [bench.send("stamp", [0], countdown=COUNTDOWN) for _ in range(HELD)]
    prepared(lambda: bench.client.hlen("unacked") == HELD)
    event(bench, worker)
    eventually(lambda: [bench.state(task) for task in tasks] == ["SUCCESS"] * HELD, within=COUNTDOWN + 10)
    assert [bench.runs(task) for task in tasks] == [1] * HELD


@pytest.mark.slow
def test_task_beside_a_worker_of_another_queue(bench: Bench) -> None:
    """A task runs once, although a worker of another queue has a shorter visibility timeout."""
    for _ in range(2):
        bench.worker(TASK_QUEUE="orders")
    bench.worker(TASK_QUEUE="mails", VISIBILITY_TIMEOUT="1", RESTORE_INTERVAL="1")
    task = bench.send("stamp", [4], queue="orders")
    assert (bench.ended(task, within=20), bench.runs(task)) == ("SUCCESS", 1)


@pytest.fixture
def plain_group() -> Iterator[ProcessGroup]:
    """Give a group whose programs start again, and read their start-up file."""
    with ProcessGroup() as processes:
        yield processes


@pytest.mark.slow
@pytest.mark.parametrize("hours", [0, 2])
def test_task_beside_a_worker_with_a_wrong_clock(
    bench: Bench, plain_group: ProcessGroup, tmp_path: Path, hours: int
) -> None:
    """A task runs once, although another worker's clock is ahead by more than the visibility timeout."""
    bench.worker()
    task = bench.send("stamp", [12])  # longer than the start of another worker on busy cores
    bench.await_run(task)
    (tmp_path / "sitecustomize.py").write_text(
        f"import time\nreal = time.time\ntime.time = lambda: real() + {3600 * hours}\n"
    )
    changed = {"PYTHONPATH": str(tmp_path), "RESTORE_INTERVAL": "1", "WORKER_CONCURRENCY": "1"}
    start_worker(plain_group, bench.url, "ahead", worker_environment(changed))
    prepared(lambda: bench.state(task) == "SUCCESS")
    prepared(lambda: bench.client.hlen("unacked") == 0)
    assert bench.runs(task) == 1


COUNT = """
return redis.call('LLEN', 'celery') + redis.call('HLEN', 'unacked') + #redis.call('KEYS', 'runs:*')
"""
"""At one moment: how many tasks wait, are noted, and have run (each run leaves a key)."""


def test_batch_transport_has_every_task_at_any_moment(bench: Bench) -> None:
    """Each task waits, is noted as taken or has run, while a worker with the batch transport takes them.

    A worker with kombu's transport has moments at which a task is in the worker alone, and dies with it.
    """
    bench.worker(WORKER_POOL="solo", BROKER_TRANSPORT=BATCH)
    count = bench.client.register_script(COUNT)
    send_many(bench.sender(), "worker.stamp", [[]] * 500)
    begun, seen = time.monotonic(), []
    while bench.client.exists("celery", "unacked"):
        assert time.monotonic() < begun + 60, "the worker does not get on"
        seen.append(int(count()))
    assert len(seen) >= 100
    assert min(seen) >= 500, f"{500 - min(seen)} tasks were in the worker alone"


def lose_answer(bench: Bench, channel: Any) -> None:
    """Close the connections before the script is sent: its answer never comes."""
    bench.client.client_kill_filter(_type="normal", skipme=True)
    channel.connection.drain_events(channel.connection, timeout=1)


def lose_question(_: Bench, channel: Any) -> None:
    """Break the connection, so that the script cannot be sent."""
    channel.client.connection._sock.close()  # noqa: SLF001 - no public way breaks it unnoticed
    channel.connection.drain_events(channel.connection, timeout=1)


def lose_write(bench: Bench, channel: Any) -> None:
    """Cancel the consumer while the server is away: the acknowledged tags cannot be written."""
    bench.server.kill()
    try:
        channel.basic_cancel("consumer")
    finally:
        bench.server.restart()
        bench.client = bench.server.client()


@pytest.mark.parametrize("lose", [lose_answer, lose_question, lose_write])
def test_batch_transport_acknowledges_with_the_next_connection(
    new_bench: Callable[..., Bench], lose: Callable[[Bench, Any], None]
) -> None:
    """An acknowledged task has no record once the check of a new connection has run."""
    bench = new_bench({"appendfsync": "always"})
    bench.send("stamp")
    with Connection(bench.url, transport=BATCH) as connection:
        channel: Any = connection.channel()
        channel.basic_qos(0, 4, apply_global=False)
        channel.basic_consume("celery", no_ack=False, callback=lambda message: message.ack(), consumer_tag="consumer")
        connection.drain_events(timeout=2)
        with suppress(RedisConnectionError):
            lose(bench, channel)
        assert bench.client.hlen("unacked") == 1
        channel.qos.restore_visible()
        assert bench.client.hlen("unacked") == 0


def test_batch_transport_acknowledges_any_number_of_tasks(bench: Bench) -> None:
    """The records of more acknowledged tasks than one script can take are removed."""
    tags = [str(number) for number in range(9000)]
    bench.client.hset("unacked", mapping=dict.fromkeys(tags, "[]"))
    bench.client.zadd("unacked_index", dict.fromkeys(tags, time.time()))
    with Connection(bench.url, transport=BATCH) as connection:
        channel: Any = connection.channel()
        channel.qos.unwritten.update(tags)
        channel.basic_consume("celery", no_ack=False, callback=lambda message: message.ack(), consumer_tag="consumer")
        with suppress(TimeoutError):
            connection.drain_events(timeout=0.5)
    assert not bench.client.exists("unacked", "unacked_index")


@pytest.mark.slow
def test_batch_transport_acknowledges_a_task_that_ran_while_the_connection_was_lost(bench: Bench) -> None:
    """A worker removes the record of a task during which the connections were closed, so that it runs once."""
    worker = bench.worker(WORKER_POOL="solo", BROKER_TRANSPORT=BATCH)
    task = bench.send("stamp", [0.5])
    bench.await_run(task)
    drop(bench, worker)
    eventually(lambda: bench.has_ended(task) and not bench.client.exists("unacked"), within=5)
    assert bench.runs(task) == 1
