"""Test bulk commands: order, errors, redirections, notices, interrupts, outages, and what is in flight."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any

import pytest
from redis import Redis
from redis.cluster import RedisCluster
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import DataError, InvalidResponse
from redis.exceptions import TimeoutError as RedisTimeoutError

from fixtures import PROJECT
from fixtures.proxies.streams import LoopThread, Mutation, RespProxy, commands_of
from fixtures.run.processes import ForkingGroup
from redis_practices.clients import WITHOUT_NOTICES, cluster_client, redis_client
from redis_practices.redis_cluster.topology import itself, known_to, slot_of
from redis_practices.servers.cluster import start_cluster
from redis_practices.servers.server import CACHE, Server, start_server
from redis_practices.tuning import bulk
from redis_practices.tuning.bulk import packed, pipelined, read_bulk, write_bulk

NOTICE = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nkey\r\n"
"""A notice of RESP3 that a key has changed."""


OPTIONS: dict[str, Any] = {
    "socket_timeout": 10,
    "protocol": 2,
    "driver_info": None,
    "maint_notifications_config": WITHOUT_NOTICES,
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Give a cache."""
    with ForkingGroup() as group:
        yield start_server(group, CACHE)


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    """Give the client of a cluster."""
    with ForkingGroup() as group, cluster_client(start_cluster(group, replicas=0).url) as client:
        yield client


@pytest.fixture(params=["direct", "one by one", "in turns"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Choose how replies are read; the last two are for other versions of hiredis and redis-py."""
    if request.param == "one by one":
        monkeypatch.setattr(bulk, "LENGTH_IS_REST", False)
    elif request.param == "in turns":
        monkeypatch.setattr(bulk, "is_direct", lambda _: False)
    return str(request.param)


class Scripted:
    """A server that replies to a command with the command's last word, in pieces of random size."""

    def __init__(self, *, notices: int = 0, ends_after: int | None = None, extra: bytes = b"") -> None:
        """Listen.

        A notice comes after each `notices` replies, unless it is 0; the end comes after `ends_after` bytes; `extra`
        comes together with the replies.
        """
        self._draw, self._notices, self._left, self._extra = random.Random(0), notices, ends_after, extra
        self.cut: int | None = None
        """The place in the replies where a pause comes, and no other piece ends; None for random pieces."""
        self.most = 0
        """The most commands that waited for a reply."""
        self.loop = LoopThread()
        self._port = self.loop.listen(self._serve)

    def client(self, **options: Any) -> Redis:
        """Return a client."""
        return Redis(port=self._port, **{**OPTIONS, **options})

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Collect commands until the client closes the connection."""
        waiting: list[bytes] = []
        replier = asyncio.ensure_future(self._reply(waiting, writer))
        with suppress(ConnectionError):
            async for commands in commands_of(reader):
                waiting += [command[-1] for command in commands]
        replier.cancel()
        writer.close()

    async def _reply(self, waiting: list[bytes], writer: asyncio.StreamWriter) -> None:
        """Reply when no more commands come, so that as many as possible are in flight."""
        seen = 0
        while True:
            await asyncio.sleep(0.005)
            if not waiting or len(waiting) != seen:
                seen = len(waiting)
                continue
            self.most = max(self.most, seen)
            replies = list(waiting)
            waiting.clear()
            if replies == [b"3"]:  # HELLO
                replies = [b"%1\r\n$5\r\nproto\r\n:3\r\n"]
            elif self._notices:
                replies = [b"+PONG\r\n" if reply == b"PING" else reply for reply in replies]
                replies = [reply + NOTICE * (place % self._notices == 0) for place, reply in enumerate(replies)]
            await self._write(b"".join(replies) + self._extra, writer)

    async def _write(self, replies: bytes, writer: asyncio.StreamWriter) -> None:
        """Send replies in pieces, up to the end."""
        if (cut := self.cut) is not None:
            writer.write(replies[:cut])
            await asyncio.sleep(0.005)
            writer.write(replies[cut:])
            return
        while replies and self._left != 0:
            size = len(replies) if self._extra else self._draw.choice([1, 2, 3, 10, 100, 1000, 5000, 100_000])
            if self._left is not None:
                size = min(size, self._left)
                self._left -= size
            writer.write(replies[:size])
            await writer.drain()
            replies = replies[size:]
        if self._left == 0:
            writer.close()


@pytest.fixture
def scripted() -> Iterator[Callable[..., Scripted]]:
    """Give a function that starts a scripted server."""
    with ExitStack() as ending:

        def start(**options: Any) -> Scripted:
            made = Scripted(**options)
            ending.enter_context(closing(made.loop))
            return made

        yield start


def some_replies(draw: random.Random, number: int) -> list[bytes]:
    """Return random replies as bytes on the wire; texts look like replies."""
    size = draw.choice([0, 5, 100, 1023, 1024, 5000, 70_000])
    text = (b"\r\n*2\r\n$1\r\n:1" * size)[:size]
    kinds = [
        b":%d\r\n" % draw.randrange(1000),
        b"+OK\r\n",
        b"$-1\r\n",
        b"-WRONGTYPE %d\r\n" % draw.randrange(1000),
        b"*3\r\n:1\r\n-ERR inside\r\n*1\r\n$2\r\n\r\n\r\n",
        b"$%d\r\n%b\r\n" % (size, text),
    ]
    return [draw.choice(kinds), *some_replies(draw, number - 1)] if number else []


def shown(reply: Any) -> Any:
    """Return a reply in a form that can be compared: two errors are never equal."""
    if isinstance(reply, list):
        return list(map(shown, reply))
    return (type(reply), str(reply)) if isinstance(reply, Exception) else reply


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("batch", [1, 3, 10, 100, 1000])
def test_replies_in_any_pieces(scripted: Callable[..., Scripted], way: str, batch: int, *, text: bool) -> None:
    """Each command gets the reply that redis-py's pipeline gets, and at most a batch is in flight."""
    draw, started = random.Random(f"{way} {batch} {text}"), scripted()
    with started.client(decode_responses=text) as client:
        for number in (1, 2, 60):
            sent = [("ECHO", reply) for reply in some_replies(draw, number)]
            with client.pipeline(transaction=False) as pipe:
                for command in sent:
                    pipe.execute_command(*command)
                expected = pipe.execute(raise_on_error=False)
            started.most = 0
            found = pipelined(client, sent, batch)
            assert list(map(shown, found)) == list(map(shown, expected))
            assert started.most <= batch


def test_window_is_used(scripted: Callable[..., Scripted]) -> None:
    """A whole batch is in flight, so that the server always has work."""
    started = scripted()
    with started.client() as client:
        assert pipelined(client, [("ECHO", b":1\r\n")] * 400, 100) == [1] * 400
    assert started.most == 100


def test_notice_is_no_reply(scripted: Callable[..., Scripted], way: str) -> None:
    """Notices between replies go to the handler of redis-py's parser, and replies stay in their places."""
    sent = [("ECHO", b":%d\r\n" % number) for number in range(500)]
    heard: list[Any] = []
    with scripted(notices=7).client(protocol=3) as client:
        connection: Any = client.connection_pool.get_connection()
        connection._get_parser().set_invalidation_push_handler(heard.append)  # noqa: SLF001 - as NearCache
        client.connection_pool.release(connection)
        assert pipelined(client, sent, 100) == list(range(500))
        assert pipelined(client, sent[:9]) == list(range(9))
    # The last notice may come after the last reply: then the next reader of the connection hears it.
    assert len(heard) >= 50, way
    assert heard[0] == [b"invalidate", [b"key"]]


@pytest.mark.parametrize("notices", [0, 1])
def test_pieces_that_end_at_each_byte(scripted: Callable[..., Scripted], way: str, notices: int) -> None:
    """Replies come in two pieces, and the first ends anywhere: after the first line of an array or of a notice, too."""
    reply = b"*2\r\n:1\r\n*1\r\n$2\r\n\r\n\r\n"
    started = scripted(notices=notices)
    with started.client(protocol=3 if notices else 2) as client:
        client.echo(b"+opened\r\n")
        size = len(reply + NOTICE * notices)
        for started.cut in range(size, 2 * size):
            assert pipelined(client, [("ECHO", reply)] * 2, 2) == [[1, [b"\r\n"]]] * 2, (way, started.cut)
            assert client.echo(b"+next\r\n") == b"next", (way, started.cut)


def test_notice_with_the_reply_of_a_health_check(scripted: Callable[..., Scripted]) -> None:
    """A notice of which a part came with PONG is whole before the replies."""
    started = scripted(notices=1)
    with started.client(protocol=3, health_check_interval=1) as client:
        connection: Any = client.connection_pool.get_connection()
        for started.cut in range(len(b"+PONG\r\n"), len(b"+PONG\r\n" + NOTICE)):
            client.connection_pool.release(connection)
            connection.next_health_check = 0
            assert pipelined(client, [("ECHO", b":7\r\n")] * 2, 2) == [7, 7], started.cut
            connection = client.connection_pool.get_connection()


@pytest.mark.parametrize(
    ("extra", "error"),
    [(b":1\r\n", InvalidResponse), (b"$5\r\nha", RedisTimeoutError), (b"*1\r\n", RedisTimeoutError)],
)
def test_reply_to_no_command(scripted: Callable[..., Scripted], extra: bytes, error: type[Exception]) -> None:
    """A reply that no command asked for is an error, and so is a part of one."""
    with scripted(extra=extra).client(socket_timeout=0.2) as client, pytest.raises(error):
        pipelined(client, [("ECHO", b":7\r\n")])


def test_connection_is_kept(server: Server) -> None:
    """The connection of a call stays open, and waits for a late reply again."""
    with redis_client(server.url) as client:
        before = client.client_id()
        assert pipelined(client, [("SET", "kept", "1"), ("GET", "kept")]) == ["OK", "1"]
        assert client.blpop(["none"], timeout=0.05) is None
        assert client.client_id() == before


@pytest.mark.parametrize("ends_after", [0, 1, 9, 1000])
def test_lost_connection(scripted: Callable[..., Scripted], way: str, ends_after: int) -> None:
    """A server that closes the connection in the middle is an error, at once."""
    with scripted(ends_after=ends_after).client() as client, pytest.raises(RedisConnectionError):
        pipelined(client, [("ECHO", b"$5\r\nhello\r\n")] * 300, 50)
    assert way


def test_silent_server(scripted: Callable[..., Scripted], way: str) -> None:
    """A server that does not reply is an error after the timeout."""
    with scripted().client(socket_timeout=0.1) as client, pytest.raises(RedisTimeoutError):
        pipelined(client, [("ECHO", b"$5\r\nhe")])
    assert way


def test_lines_of_all_kinds(server: Server, way: str) -> None:
    """Words are text, bytes and numbers, in commands of several lengths; refused commands give their errors."""
    name, value = b"\xff\r\n$", bytes(range(256))
    with redis_client(server.url, decode_responses=False) as client:
        sent = [
            ("SET", name, value, "EX", 60),
            ("GET", name),
            ("SET", "größe", "x" * 5000),
            ("STRLEN", "größe"),
            ("INCR", name),
            ("SET", "number", 1.5),
            ("GET", "number"),
            ("SET", "whole", -7),
            ("DECR", "whole"),
            ("NOSUCH",),
            ("GET", bytearray(name)),
            ("GET", "größe"),
        ]
        found = pipelined(client, sent, 4)
    expected = [
        b"OK",
        value,
        b"OK",
        5000,
        "not an integer",
        b"OK",
        b"1.5",
        b"OK",
        -8,
        "unknown command",
        value,
        b"x" * 5000,
    ]
    for reply, right in zip(found, expected, strict=True):
        assert right in str(reply) if isinstance(right, str) else reply == right, way
    with pytest.raises(DataError, match="NoneType is no word"):
        packed([("GET", None)])


def test_packed_columns() -> None:
    """Commands have the same bytes, packed together or one by one."""
    draw = random.Random(0)
    words: list[Any] = ["a", "bb", b"\r\n", "é", 1, 1.0, True, "", b"a", "x" * 999]
    for number in (0, 1, 2, 50):
        for length in (1, 2, 5):
            for kinds in (1, 2, len(words)):
                commands = [tuple(draw.choices(words[:kinds], k=length)) for _ in range(number)]
                assert packed(commands) == b"".join(packed([command]) for command in commands)
    assert (
        packed([("GET", "é"), ("GET", "b")]) == b"*2\r\n$3\r\nGET\r\n$2\r\n\xc3\xa9\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n"
    )


def test_memory_is_bounded(server: Server) -> None:
    """The memory of a call is that of its replies, and a batch."""
    with redis_client(server.url) as client:
        commands = [("GET", f"none:{number}") for number in range(100_000)]
        tracemalloc.start()
        try:
            assert pipelined(client, commands) == [None] * len(commands)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    # Two lists of places for 100,000 replies, and a batch of 1000 commands. All commands packed have 4 MB.
    assert most < 3_000_000, f"{most:,} bytes"


def test_passwords_and_users() -> None:
    """A connection has the rights of its user: a command that the user may not run gives its error."""
    with ForkingGroup() as group:
        server = start_server(group, {**CACHE, "requirepass": "s3cret"})
        with redis_client(server.url) as admin:
            admin.execute_command("ACL", "SETUSER", "reader", "on", ">word", "~user:*", "+@read", "+hello", "+client")
            assert pipelined(admin, [("SET", "user:1", "Ann"), ("SET", "other", "x")]) == ["OK", "OK"]
            where = admin.connection_pool.connection_kwargs
        with redis_client(f"redis://reader:word@{where['host']}:{where['port']}") as reader:
            found = pipelined(reader, [("GET", "user:1"), ("GET", "other"), ("DEL", "user:1"), ("GET", "user:1")])
    assert [type(reply).__name__ for reply in found] == ["str", "NoPermissionError", "NoPermissionError", "str"]


def test_cluster_in_order(cluster: RedisCluster, way: str) -> None:
    """Replies of all nodes have the order of the commands; keys are text or bytes, with hash tags or without."""
    for keys in (
        [f"key:{number}" for number in range(2500)],
        [f"{{tag{number}}}:{number}".encode() for number in range(300)],
    ):
        assert write_bulk(cluster, [(key, f"value of {key!r}") for key in keys], ttl=60) == ["OK"] * len(keys)
        assert read_bulk(cluster, keys) == [f"value of {key!r}" for key in keys], way
    assert read_bulk(cluster, []) == []


class Move:
    """An open slot with one key at its old owner; other keys of the slot are at the new one."""

    def __init__(self, cluster: RedisCluster, stay: str, gone: str) -> None:
        """Open the slot."""
        self.slot = slot_of(stay)
        nodes = [cluster.get_redis_connection(node) for node in cluster.get_primaries()]
        self.old = next(node for node in nodes if self.slot in itself(node).slots)
        self.new = next(node for node in nodes if node is not self.old)
        self.new.execute_command("CLUSTER SETSLOT", self.slot, "IMPORTING", itself(self.old).identity)
        self.old.execute_command("CLUSTER SETSLOT", self.slot, "MIGRATING", itself(self.new).identity)
        self._migrate(gone)

    def _migrate(self, key: str) -> None:
        """Move a key."""
        where = self.new.connection_pool.connection_kwargs
        self.old.execute_command("MIGRATE", where["host"], where["port"], key, 0, 5000)

    def finish(self, *keys: str) -> None:
        """Move the other keys and the slot."""
        for key in keys:
            self._migrate(key)
        for node in (self.new, self.old):
            node.execute_command("CLUSTER SETSLOT", self.slot, "NODE", known_to(self.old, self.new).identity)


def test_redirections_are_followed(cluster: RedisCluster, way: str) -> None:
    """A key of a moving slot is read by ASK, a moved one by MOVED; TRYAGAIN is tried again until the slot has moved."""
    stay, gone, far = f"{{{way}}}stay", f"{{{way}}}gone", [f"far:{number}" for number in range(100)]
    values = [(key, f"value of {key}") for key in (stay, gone, *far)]
    write_bulk(cluster, values, ttl=60)
    move = Move(cluster, stay, gone)
    assert read_bulk(cluster, [stay, *far, gone]) == [f"value of {key}" for key in (stay, *far, gone)]
    ending = threading.Timer(0.1, move.finish, [stay])
    ending.start()
    both = bulk.bulk(cluster, [("MGET", stay, gone), ("GET", far[0])])
    ending.join()
    assert both == [[f"value of {stay}", f"value of {gone}"], f"value of {far[0]}"]
    assert read_bulk(cluster, [key for key, _ in values]) == [value for _, value in values]
    sent_before = move.old.info("errorstats")["errorstat_MOVED"]["count"]
    assert read_bulk(cluster, [stay, gone]) == [f"value of {stay}", f"value of {gone}"]
    assert move.old.info("errorstats")["errorstat_MOVED"]["count"] == sent_before, "the new owner was forgotten"


def test_lost_node_behind_a_redirection(cluster: RedisCluster) -> None:
    """A node that does not answer is an error of the call, also when another node has named it as the new owner."""
    with ForkingGroup() as group:
        made = start_cluster(group, replicas=0)
        with cluster_client(made.url, timeout=1) as client:
            keys = [f"key:{number}" for number in range(50)]
            write_bulk(client, [(key, key) for key in keys], ttl=60)
            owners = client.nodes_manager.slots_cache
            lost, other = client.get_primaries()[:2]
            next(node for node in made.nodes if node.port == lost.port).kill()
            client.nodes_manager.slots_cache = {
                slot: [other] if owner.port == lost.port else [owner, *rest] for slot, (owner, *rest) in owners.items()
            }
            with pytest.raises((RedisConnectionError, RedisTimeoutError)):
                read_bulk(client, keys)
    assert read_bulk(cluster, []) == []


class Interrupted(Exception):  # noqa: N818 - no error
    """What a signal raises between two lines."""


def interrupted_at(line: int, call: Callable[[], Any]) -> bool:
    """Raise before the n-th line of bulk.py; return False if the call has fewer lines."""
    left = [line]

    def trace(found: Any, event: str, _: object) -> Any:
        if found.f_code.co_filename != bulk.__file__:
            return None
        left[0] -= event == "line"
        if left[0] == 0:
            left[0] = -1
            raise Interrupted
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except Interrupted:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("pool", ["counted", "plain"])
def test_interrupt_at_each_line(server: Server, pool: str, every: int) -> None:
    """After an exception at a line of a call, the next command of the client gets its own reply."""
    keys = [f"k{number}" for number in range(6)]
    with server.client() as admin:
        admin.mset({key: f"value of {key}" for key in keys})
    with closing(RespProxy(server.port, Mutation(delay=0.002))) as late, ExitStack() as ending:
        maker = redis_client if pool == "counted" else Redis.from_url
        client = ending.enter_context(maker(late.url, decode_responses=True))
        lines = every
        while interrupted_at(lines, lambda: pipelined(client, [("GET", key) for key in keys[:5]], 2)):
            lines += every
            assert client.get(keys[5]) == f"value of {keys[5]}", f"after line {lines}"
    assert lines > 100


def test_without_hiredis(server: Server) -> None:
    """Bulk commands work where hiredis is not installed."""
    program = f"""
import sys
sys.modules["hiredis"] = None
from redis_practices.clients import redis_client
from redis_practices.tuning.bulk import pipelined
with redis_client({server.url!r}) as client:
    print(*pipelined(client, [("SET", "a", 1), ("INCR", "a"), ("HGET", "a", "b")]))
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=PROJECT / "src", capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.startswith("OK 2 WRONGTYPE"), done.stderr
