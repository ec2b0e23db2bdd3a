"""Test that what waits for a server, a thread or a turn gives up, and says what it waited for."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis.exceptions import TimeoutError as RedisTimeoutError

from fixtures.stacks.external import command_guard
from redis_practices.polling import join
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import CACHE, Server, start_server
from redis_practices.tuning import load

KEYS = [f"key:{number}" for number in range(20)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Give a server with some keys, and little patience with it."""
    monkeypatch.setattr(load, "PATIENCE", 1)
    with ProcessGroup() as group:
        started = start_server(group, CACHE)
        with started.client() as client:
            client.mset(dict.fromkeys(KEYS, "12345678"))
        yield started


def test_raw_reads_give_up(server: Server) -> None:
    """Require an error with the address, and how much has come, of a server that hangs."""
    with server.client() as client:
        reads = load.RawReads([(client, KEYS)], 8)
        assert reads() == 2 * len(KEYS)
        reads()
        server.pause()
        with pytest.raises(TimeoutError, match=rf"^{server.address} has sent 0 of 280 bytes of answers after 1 s$"):
            _repeat(reads)
        server.resume()
        reads.close()


def _repeat(reads: load.RawReads) -> None:
    """Read three times: answers may be on their way when the server hangs or ends."""
    for _ in range(3):
        reads()


def test_raw_reads_notice_an_end(server: Server) -> None:
    """Require an error with the address of a server that ends."""
    with server.client() as client:
        reads = load.RawReads([(client, KEYS)], 8)
        server.kill()
        with pytest.raises(ConnectionError):
            _repeat(reads)
        reads.close()


def test_open_loop_gives_up(server: Server) -> None:
    """Require an error with the number of reads that have no answer."""
    with server.client() as client:
        client.ping()
        server.pause()
        with pytest.raises(RedisTimeoutError, match=r"^no answer for 1 s to 10 of 10 reads$"):
            load.open_loop(client, KEYS, rate=100, seconds=0.1)
        server.resume()


def test_join_gives_up() -> None:
    """Require an error with the name of the thread."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait, args=(30,), name="the one that waits")
    thread.start()
    with pytest.raises(TimeoutError, match=r"^the thread 'the one that waits' still runs after 0.1 s$"):
        join(thread, 0.1)
    over.set()
    join(thread)


HOLDS = """
import fcntl, sys, time

with open(sys.argv[1], "w") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    print(flush=True)
    time.sleep(60)
"""


def test_rate_limit_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Require an error when another process holds the file, of a second thread too, and a turn when it has ended."""
    limit = command_guard.RateLimit(f"1000:{tmp_path / 'turns'}")
    command = [sys.executable, "-c", HOLDS, str(tmp_path / "turns")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder, ThreadPoolExecutor() as threads:
        try:
            assert holder.stdout
            holder.stdout.readline()
            monkeypatch.setattr(command_guard, "PATIENCE", 3)
            first = threads.submit(limit.wait)
            time.sleep(0.5)  # it waits for the file, and holds the lock of this process's threads
            monkeypatch.setattr(command_guard, "PATIENCE", 0.2)
            errors = threads.submit(limit.wait).exception(1.5), first.exception(10)
        finally:
            holder.kill()
    assert list(map(str, errors)) == [command_guard.LATE] * 2
    limit.wait()  # neither lock is left behind
