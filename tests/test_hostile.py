"""Test that a broken or hostile server ends a run in one line, within limits of time and memory."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import redis

from fixtures import PROJECT
from fixtures.gate.deployment_under_test import gate_environment
from fixtures.proxies.streams import Command, LoopThread, Mutation, RespProxy, Serve, TlsProxy, commands_of
from fixtures.run.deadline import DeadlineError
from fixtures.run.keys import StackError
from fixtures.run.processes import ForkingGroup
from fixtures.stacks.external import command_guard, deployments
from fixtures.stacks.external.command_guard import ANSWER_BYTES, Bounded, GuardedPool
from fixtures.stacks.external.deployments import ExternalCluster
from fixtures.stacks.external.stack import engines_of
from redis_practices.clients import POOLS
from redis_practices.servers.server import CACHE, Server, start_server

MOST_SECONDS = 30.0
MOST_MEMORY = 300 * 2**20


def says(answer: Callable[[Command], bytes], *, closes: bool = False) -> Serve:
    """Return a server with an answer for each command, which may close the connection afterwards."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            async for commands in commands_of(reader):
                writer.write(b"".join(map(answer, commands)))
                await writer.drain()
                if closes:
                    break
        writer.close()

    return serve


def sends(first: bytes, again: bytes, every: float = 0.0) -> Serve:
    """Return a server that sends `first`, then repeats `again` until the client gives up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(first)
        with suppress(OSError):
            while not writer.is_closing():
                writer.write(again)
                await writer.drain()
                await asyncio.sleep(every)

    return serve


def http(_command: Command) -> bytes:
    """Answer as a web server does."""
    return b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def half(command: Command) -> bytes:
    """Answer PING as a server does, and OK to all other commands."""
    return b"+PONG\r\n" if command[0].upper() == b"PING" else b"+OK\r\n"


FULL = b"x" * 65536

HOSTILE: dict[str, tuple[Serve, str]] = {
    "a byte each half second": (sends(b"$", b"1", 0.5), "an answer is not whole 8 s after its first byte"),
    "a bulk without end": (sends(b"$999999999999\r\n", FULL), "an answer is longer than 32 MiB"),
    "a line without end": (sends(b"+", FULL), "an answer is "),
    "an error without end": (sends(b"-ERR ", FULL), "an answer is "),
    "an array without end": (sends(b"*999999999\r\n", b":1\r\n" * 16384), "an answer is longer than 32 MiB"),
    "arrays in arrays without end": (sends(b"", b"*1\r\n" * 16384), "does not answer like a Redis server"),
    "more maps than there is memory": (sends(b"%4294967295\r\n", b":1\r\n"), "does not answer like a Redis server"),
    "nothing, for ever": (sends(b"", b"", 0.1), "did not answer within 5 s"),
    "OK to everything": (says(lambda _: b"+OK\r\n"), "answers PING without PONG"),
    "OK to everything but PING": (says(half), "does not answer like a Redis server"),
    "noise": (says(lambda _: bytes(range(128, 256))), "does not answer like a Redis server"),
    "the end after each command": (
        says(lambda _: b"+OK\r\n", closes=True),
        "closes the connection instead of answering",
    ),
    "the end at once": (says(lambda _: b"", closes=True), "closes the connection instead of answering"),
    "HTTP": (says(http), "does not answer like a Redis server"),
    "an error of many signs": (says(lambda _: b"-ERR " + b"no " * 9999 + b"\r\n"), "answers: no no no"),
    "an error that steers the terminal": (
        says(lambda _: b"-ERR \x1b]0;title\x07\x1b[31mred \xc2\x9b31m \xe2\x80\xaetxt\r\n"),
        r"\x1b]0;title\x07\x1b[31mred \x9b31m \u202etxt",
    ),
    "no HELLO": (says(lambda _: b"-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n"), "?protocol=2"),
}
"""By the behaviour of a server: the server, and the error of a run. The time limit covers a whole line."""

RUN = """
import resource, sys, pytest
code = pytest.main(sys.argv[1:])
print("memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(code)
"""


def run(role: str, url: str, folder: Path) -> tuple[int, list[str], float, int]:
    """Run the gate on a URL; return its exit code, lines, seconds and most bytes."""
    begun = time.monotonic()
    command = [
        sys.executable,
        "-c",
        RUN,
        "features",
        "--processes",
        "0",
        f"--{role}-url={url}",
        "--report",
        str(folder),
    ]
    ended = subprocess.run(
        command, cwd=PROJECT, env=gate_environment(), capture_output=True, text=True, timeout=120, check=False
    )
    *said, memory = [line for line in f"{ended.stderr}\n{ended.stdout}".splitlines() if line.strip()]
    return ended.returncode, said, time.monotonic() - begun, int(memory.split()[1]) * 1024


@pytest.fixture
def listening() -> Iterator[Callable[[Serve], str]]:
    """Give a function that starts a listener and returns its address."""
    with closing(LoopThread()) as loop:
        yield lambda serve: f"127.0.0.1:{loop.listen(serve)}"


def check_refused(role: str, url: str, folder: Path, reason: str) -> None:
    """Require that a run ends in one printable line with the reason, within the limits."""
    code, said, seconds, memory = run(role, url, folder)
    assert len(said) == 1, said
    assert reason in said[0]
    assert said[0].isprintable()
    assert len(said[0]) < 600
    assert code == pytest.ExitCode.USAGE_ERROR
    assert seconds < MOST_SECONDS
    assert memory < MOST_MEMORY, f"{memory >> 20} MiB"
    assert json.loads((folder / "report.json").read_text(encoding="utf-8"))["verdict"] == "error"


@pytest.mark.slow
@pytest.mark.parametrize("sent", HOSTILE)
def test_hostile_server_is_one_line(listening: Callable[[Serve], str], sent: str, tmp_path: Path) -> None:
    """A run names the server, its fault and a remedy."""
    serve, reason = HOSTILE[sent]
    check_refused("cache", f"redis://:s3cret@{listening(serve)}/0", tmp_path, reason)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Give a healthy server."""
    with ForkingGroup() as group:
        yield start_server(group, CACHE)


@pytest.mark.slow
def test_plain_speech_to_a_port_of_tls_is_one_line(server: Server, tmp_path: Path) -> None:
    """A plain URL for a port with TLS leads to one line with the remedy."""
    with closing(TlsProxy(server.folder)) as proxy:
        check_refused("cache", f"redis://{proxy.before(server.port)}", tmp_path, "write rediss:// if it wants TLS")


@pytest.mark.slow
def test_tls_to_a_plain_port_is_one_line(server: Server, tmp_path: Path) -> None:
    """A TLS URL for a plain port leads to one line with the remedy."""
    check_refused("cache", f"rediss://{server.address}", tmp_path, "write redis://")


@pytest.mark.slow
def test_tls_without_the_certificate_of_the_client_is_one_line(server: Server, tmp_path: Path) -> None:
    """A server that wants the client's certificate is no server that wants TLS."""
    with closing(TlsProxy(server.folder, wants_certificate=True)) as proxy:
        url = f"rediss://{proxy.before(server.port)}?ssl_ca_certs={proxy.ca_file}"
        check_refused("cache", url, tmp_path, "name ssl_certfile and ssl_keyfile in the URL")


class EndlessAnswer(Mutation):
    """A server that answers one command endlessly, and all others well."""

    def command(self, command: Command) -> Command | bytes:
        """Answer ECHO with more bytes than a client accepts."""
        return b"$999999999999\r\n" + FULL * 600 if command[0] == b"ECHO" else command


def test_answer_is_bounded_in_the_middle_of_a_run(server: Server) -> None:
    """An endless answer in the middle of a run ends one command, and the next command works."""
    with closing(RespProxy(server.port, EndlessAnswer())) as proxy, GuardedPool.from_url(proxy.url) as pool:
        client = redis.Redis(connection_pool=pool)
        with pytest.raises(redis.InvalidResponse, match="longer than 32 MiB"):
            client.echo("x")
        assert client.ping()


STEERS = b"\x1b]0;title\x07 \xe2\x80\xaetxt"
NODE = b"*4\r\n$%d\r\n%s\r\n:1\r\n$40\r\n" % (len(STEERS), STEERS) + b"a" * 40 + b"\r\n*0\r\n"
CLUSTER = {
    b"HELLO": b"-ERR unknown command 'HELLO'\r\n",
    b"CLUSTER": b"*1\r\n*3\r\n:0\r\n:16383\r\n" + NODE,
    b"INFO": b"$%d\r\nredis_version:%s\r\n" % (len(STEERS) + 14, STEERS),
}
"""A node whose host and version contain control characters of a terminal."""


@pytest.mark.parametrize("info", [CLUSTER[b"INFO"], b"$-1\r\n", b"$0\r\n\r\n", b":5\r\n"])
def test_what_nodes_say_is_printable(
    listening: Callable[[Serve], str], monkeypatch: pytest.MonkeyPatch, info: bytes
) -> None:
    """Hosts and versions of nodes are printed without control characters; a missing version is unknown."""
    said = {**CLUSTER, b"INFO": info}
    monkeypatch.setitem(POOLS, "sync", GuardedPool)
    address = listening(says(lambda command: said.get(command[0].upper(), b"+OK\r\n")))
    engines = engines_of(ExternalCluster(f"redis://{address}?protocol=2"))
    assert engines
    assert all(text.isprintable() for told in engines.items() for text in told), engines


def test_slow_answer_says_nothing_of_a_deployment(
    listening: Callable[[Serve], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow answer is an error of the run, not a failure: the judge may be slow."""
    monkeypatch.setattr(command_guard, "ANSWER_SECONDS", 0.2)
    address = listening(sends(b"$99\r\n", b"1", 0.05))
    with GuardedPool.from_url(f"redis://{address}") as pool:
        client = redis.Redis(connection_pool=pool)
        with pytest.raises(StackError, match="Nothing is said of the deployment"):
            client.ping()


def test_idle_time_is_no_part_of_an_answer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits count only time and bytes of one answer, without the wait before it."""
    monkeypatch.setattr(command_guard, "ANSWER_SECONDS", 0.2)
    with GuardedPool.from_url(server.url) as pool:
        client = redis.Redis(connection_pool=pool)
        assert client.blpop(["practices:none"], timeout=1) is None
        client.set("practices:big", b"x" * (ANSWER_BYTES // 4), ex=60)
        assert [len(client.get("practices:big") or b"") for _ in range(5)] == [ANSWER_BYTES // 4] * 5


def test_silence_between_messages_is_no_part_of_an_answer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscriber that polls receives a message long after the last one."""
    monkeypatch.setattr(command_guard, "ANSWER_SECONDS", 0.2)
    with GuardedPool.from_url(server.url) as pool:
        client = redis.Redis(connection_pool=pool)
        with client.pubsub() as listener:
            listener.subscribe("practices:news")
            assert listener.get_message(timeout=1)
            for _ in range(2):
                time.sleep(0.4)
                client.publish("practices:news", "x")
                assert listener.get_message(timeout=1)


class SearchesForEver(Mutation):
    """A server whose SCAN never ends."""

    def command(self, command: Command) -> Command | bytes:
        """Answer that there are more keys."""
        return b"*2\r\n$1\r\n7\r\n*0\r\n" if command[0].upper() == b"SCAN" else command


def test_search_for_keys_of_a_killed_run_ends(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endless SCAN blocks neither the beginning nor the end of a run."""
    monkeypatch.setattr(deployments, "PATIENCE", 0.2)
    with closing(RespProxy(server.port, SearchesForEver())) as proxy, server.client() as client:
        running = deployments.RunMarker(proxy.url, "practices:here:")
        client.sadd(deployments.REGISTER, "practices:killed:")
        with pytest.raises(DeadlineError):
            deployments.RunMarker(proxy.url, "practices:next:")
        running.end()
        assert client.sismember(deployments.REGISTER, "practices:here:")


def test_redis_that_connects_another_way_is_noticed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run does not begin with a redis-py that lacks ``_connect``."""
    monkeypatch.delattr(Bounded, "_connect")  # redis-py would then call no method of the guard
    with GuardedPool.from_url(server.url) as pool, pytest.raises(StackError, match="would have no bound"):
        redis.Redis(connection_pool=pool).ping()
