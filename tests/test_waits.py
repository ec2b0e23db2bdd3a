"""Test that waits for servers, threads and locks give up with an error that names them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis.exceptions import TimeoutError as RedisTimeoutError

from fixtures.reporting.merging import wait_for
from fixtures.stacks.external import rate_limit
from redis_practices.polling import join
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import CACHE, Server, start_server
from redis_practices.tuning import load

KEYS = [f"key:{number}" for number in range(20)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Give a server with some keys, and clients with short timeouts."""
    monkeypatch.setattr(load, "PATIENCE", 1)
    with ProcessGroup() as group:
        started = start_server(group, CACHE)
        with started.client() as client:
            client.mset(dict.fromkeys(KEYS, "12345678"))
        yield started


def test_raw_reads_give_up(server: Server) -> None:
    """A read from a paused server fails with the address and the number of received bytes."""
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
    """Read three times: answers may be under way when the server is paused or killed."""
    for _ in range(3):
        reads()


def test_raw_reads_notice_an_end(server: Server) -> None:
    """A read from a killed server fails with its address."""
    with server.client() as client:
        reads = load.RawReads([(client, KEYS)], 8)
        server.kill()
        with pytest.raises(ConnectionError):
            _repeat(reads)
        reads.close()


def test_open_loop_gives_up(server: Server) -> None:
    """An open loop fails with the number of reads without an answer."""
    with server.client() as client:
        client.ping()
        server.pause()
        with pytest.raises(RedisTimeoutError, match=r"^no answer for 1 s to 10 of 10 reads$"):
            load.open_loop(client, KEYS, rate=100, seconds=0.1)
        server.resume()


def test_join_gives_up() -> None:
    """A join fails with the name of the thread."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait, args=(30,), name="a waiting thread")
    thread.start()
    with pytest.raises(TimeoutError, match=r"^the thread 'a waiting thread' still runs after 0.1 s$"):
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
    """A rate limit whose file stays locked fails in every thread, and works once it is free."""
    limit = rate_limit.RateLimit(f"1000:{tmp_path / 'turns'}")
    command = [sys.executable, "-c", HOLDS, str(tmp_path / "turns")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder, ThreadPoolExecutor() as threads:
        try:
            assert holder.stdout
            holder.stdout.readline()
            monkeypatch.setattr(rate_limit, "PATIENCE", 3)
            first = threads.submit(limit.wait)
            time.sleep(0.5)  # it waits for the file, and holds the lock for threads
            monkeypatch.setattr(rate_limit, "PATIENCE", 0.2)
            errors = threads.submit(limit.wait).exception(1.5), first.exception(10)
        finally:
            holder.kill()
    assert list(map(str, errors)) == [rate_limit.LATE] * 2
    limit.wait()  # both locks are free


def test_merge_waits_for_judges(tmp_path: Path) -> None:
    """The merge of parts waits for the last one, and gives up after its time."""

    def write(index: int, *, ended: bool) -> None:
        folder = tmp_path / str(index)
        folder.mkdir(exist_ok=True)
        part = {"index": index, "of": 2, "ended": ended}
        (folder / "report.json").write_text(json.dumps({"part": part, "troubles": []}), encoding="utf-8")

    write(0, ended=True)
    begun = time.monotonic()
    wait_for([tmp_path], 0.5)
    assert time.monotonic() - begun >= 0.5, "one part is missing"
    write(1, ended=False)
    last = threading.Timer(0.5, write, (1,), {"ended": True})
    last.start()
    begun = time.monotonic()
    wait_for([tmp_path], 60)
    join(last)
    assert 0.4 < time.monotonic() - begun < 30
