"""Read and write many keys of a server or a cluster, and spread reads over its nodes.

redis-py's pipelines make objects for every command and read reply after reply. Here all commands of a batch are packed
together, and hiredis parses many replies in one call. Commands are sent while replies arrive, on all nodes of a cluster
at the same time. The replies have the order of the commands. A key whose slot has moved is read again at its new node
(``MOVED``, ``ASK``).

Use the client instead for transactions, and for commands with several keys.

After an interrupt or a lost connection, the connections of a call are closed: no reply answers a later command. Some
commands of the call may have been done. After a failover the first call fails, and the next one knows the new primary.

The socket and the parser of a connection have no public name in redis-py. So this module reads ``_sock`` and
``_get_parser``, and tests/test_redis_py_internals.py fails when they change. `_in_turns` needs neither. It serves
without hiredis, and connections whose class checks each command.
"""

from __future__ import annotations

import select
import socket
import ssl
from binascii import crc_hqx
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any
from weakref import WeakKeyDictionary

from redis import Redis
from redis.cluster import ClusterNode, LoadBalancingStrategy, RedisCluster
from redis.exceptions import (
    AskError,
    DataError,
    InvalidResponse,
    MovedError,
    RedisError,
    ResponseError,
    SlotNotCoveredError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redis_practices.clients import Packed, ReplyLateError, ReplyLostError, cluster_client, is_unwatched
from redis_practices.credentials import login_of
from redis_practices.redis_cluster.topology import slot_of

try:
    import hiredis
except ImportError:
    hiredis = None  # type: ignore[assignment]

Command = tuple[Any, ...]
"""The words of a command; the second one is the key."""

BATCH = 1000
"""Commands in flight to a node: more do not help, and the replies must fit into memory."""

Answer = Any

Work = Sequence[tuple[Redis, Sequence[Command]]]
"""Clients of servers, each with its commands."""


def bulk(cluster: RedisCluster, commands: Sequence[Command], batch: int = BATCH) -> list[Answer]:
    """Run `commands`, each with one key, and return their replies in order; a refused command gives its error.

    Text is sent as UTF-8; replies are bytes or text as the client was made. Up to `batch` commands a node are in
    flight.

    Raises:
        redis.exceptions.RedisError: a node does not answer; it may or may not have run its commands.
    """
    owners = _owners(cluster)
    names = list(map(owners.__getitem__, _checksums(commands)))
    groups: dict[str, list[Command]] = {name: [] for name in set(names)}
    add = {name: group.append for name, group in groups.items()}
    for name, command in zip(names, commands, strict=True):
        add[name](command)
    try:
        nodes = [(cluster.get_redis_connection(owners.nodes[name]), group) for name, group in groups.items()]
        replies = dict(zip(groups, map(iter, _run(nodes, batch)), strict=True))
    except (RedisConnectionError, RedisTimeoutError):
        cluster.nodes_manager.initialize()  # so that the next call knows the new primary
        raise
    answers: list[Answer] = list(map(next, map(replies.__getitem__, names)))
    if not _REDIRECTIONS.isdisjoint(map(type, answers)):
        _OWNERS.pop(cluster, None)
        for place, answer in enumerate(answers):
            if type(answer) in _REDIRECTIONS:
                answers[place] = _again(cluster, commands[place])
    return answers


def read_bulk(cluster: RedisCluster, keys: Sequence[str | bytes]) -> list[Answer]:
    """Return the values of `keys` in their order (``GET``)."""
    return bulk(cluster, [("GET", key) for key in keys])


def write_bulk(cluster: RedisCluster, values: Iterable[tuple[str | bytes, str | bytes]], ttl: int) -> list[Answer]:
    """Write keys and values with a ttl of `ttl` seconds (``SET ... EX``), and return each reply."""
    return bulk(cluster, [("SET", key, value, "EX", str(ttl)) for key, value in values])


def pipelined(server: Redis, commands: Sequence[Command], batch: int = BATCH) -> list[Answer]:
    """Run `commands` on one server in the same way; any command with one reply will do."""
    return _run([(server, commands)], batch)[0]


def packed(commands: Iterable[Command]) -> bytes:
    """Return the bytes of the commands on the wire.

    The words that have the same place in each command are handled together, which is quicker than command by command.
    """
    given = list(commands)
    try:
        columns = list(zip(*given, strict=True))
    except ValueError:  # commands of several lengths
        return b"".join([packed([command]) for command in given])
    between = b"*%d\r\n" % len(columns)
    parts: list[list[bytes]] = []
    for column in columns:
        first = column[0]
        if type(first) in {str, bytes} and column[-1] == first and column.count(first) == len(column):
            word = _as_bytes(first)
            between += b"$%d\r\n%b\r\n" % (len(word), word)
        else:
            words = _encoded(column)
            parts += [list(map(_Prefixes(between).__getitem__, map(len, words))), words]
            between = b"\r\n"
    if not parts:
        return between * len(given)
    parts.append([between] * len(given))
    pieces = [b""] * (len(parts) * len(given))
    for place, part in enumerate(parts):
        pieces[place :: len(parts)] = part
    return b"".join(pieces)


class _Prefixes(dict[int, bytes]):
    """The bytes before a word, by its size."""

    def __init__(self, between: bytes) -> None:
        super().__init__()
        self._between = between

    def __missing__(self, size: int) -> bytes:
        """Make the bytes for words of another size."""
        found = self[size] = b"%b$%d\r\n" % (self._between, size)
        return found


def _encoded(words: Sequence[Any]) -> list[bytes]:
    """Return words as bytes."""
    try:
        return list(map(str.encode, words))
    except TypeError:
        return list(map(_as_bytes, words))


def _as_bytes(word: Any) -> bytes:
    """Return a word as bytes; hiredis 3.5 may end the process over a number (docs/upstream/hiredis-py.md)."""
    if isinstance(word, str | int | float):
        return str(word).encode()
    if isinstance(word, bytes | bytearray | memoryview):
        return bytes(word)
    raise DataError(f"{type(word).__name__} is no word of a command: give bytes, text or a number")


class _Owners(dict[int, str]):
    """The name of the node that owns a slot, by the checksum of a key; its last 14 bits are the slot."""

    def __init__(self, slots: dict[int, list[ClusterNode]]) -> None:
        super().__init__()
        self.slots = slots
        self.nodes: dict[str, ClusterNode] = {}

    def __missing__(self, checksum: int) -> str:
        """Look into the client's table."""
        slot = checksum % 16384
        if slot not in self.slots:
            raise SlotNotCoveredError(f"slot {slot} is covered by no node")
        node = self.slots[slot][0]
        self.nodes[node.name] = node
        self[checksum] = name = str(node.name)
        return name


_OWNERS: WeakKeyDictionary[RedisCluster, _Owners] = WeakKeyDictionary()
"""What is known of each cluster, until one of its slots has moved."""

_REDIRECTIONS = frozenset({MovedError, AskError, TryAgainError})


def _owners(cluster: RedisCluster) -> _Owners:
    """Return the owners of slots as the client knows them."""
    slots, found = cluster.nodes_manager.slots_cache, _OWNERS.get(cluster)
    if found is None or found.slots is not slots:  # redis-py makes another table when it asks the nodes again
        found = _OWNERS[cluster] = _Owners(slots)
    return found


def _checksums(commands: Sequence[Command]) -> Iterator[int]:
    """Return the checksum of each command's key; for keys with hash tags, their slot."""
    keys = _encoded(list(map(itemgetter(1), commands)))
    return map(slot_of, keys) if b"{" in b"".join(keys) else map(crc_hqx, keys, repeat(0))


def _again(cluster: RedisCluster, command: Command) -> Answer:
    """Run one command through the client, which follows redirections; an error of the server is its reply."""
    try:
        return cluster.execute_command(*command)
    except (RedisConnectionError, RedisTimeoutError):
        raise
    except RedisError as error:
        return error


def _run(work: Work, batch: int) -> list[list[Answer]]:
    """Run the commands of each server, and return its replies; after an exception, close all connections."""
    taken: list[tuple[Any, Any]] = []
    done = False
    try:
        for server, _ in work:
            pool = server.connection_pool
            taken.append((pool, pool.get_connection()))
            taken[-1][1].check_health()  # a notice may come with its reply: before `is_direct` looks
        given = [(connection, commands) for (_, connection), (_, commands) in zip(taken, work, strict=True)]
        answers = (_at_once if all(is_direct(connection) for _, connection in taken) else _in_turns)(given, batch)
        done = True
    finally:
        for pool, connection in taken:
            if not done:
                # Replies may still be on their way: the connection must not go back to the pool.
                connection.disconnect()
            pool.release(connection)
    return answers


Given = Sequence[tuple[Any, Sequence[Command]]]
"""Connections, each with its commands."""


def _in_turns(given: Given, batch: int) -> list[list[Answer]]:
    """Send each server a batch, then read all replies."""
    answers: list[list[Answer]] = [[] for _ in given]
    for first in range(0, max((len(commands) for _, commands in given), default=0), batch):
        pieces = [(connection, commands[first : first + batch]) for connection, commands in given]
        for connection, piece in pieces:
            if piece:
                connection.send_packed_command(Packed([packed(piece)], len(piece)))
        for found, (connection, piece) in zip(answers, pieces, strict=True):
            found += [_read(connection) for _ in piece]
    return answers


def _read(connection: Any) -> Answer:
    """Return the next reply, or the server's error."""
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


_NOTHING = object()
"""The sign of hiredis that no whole reply is there."""

_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What a socket raises that has to wait."""

_PLAIN = frozenset({str, bytes, int, list, type(None)})
"""The usual types of replies; all others are looked at one by one."""

ROOM = 2**17
"""Bytes to receive at once."""


def is_direct(connection: Any) -> bool:
    """Tell whether this module may use the socket of a connection, which has no unread reply or notice."""
    return (
        hasattr(select, "poll")
        and hasattr(hiredis, "PushNotification")
        and is_unwatched(type(connection))
        and hasattr(connection, "_get_parser")
        and isinstance(getattr(connection, "_sock", None), socket.socket)
        and not connection.can_read()
    )


def _at_once(given: Given, batch: int) -> list[list[Answer]]:
    """Send to all servers, and receive from all of them at the same time."""
    streams = [_Stream(connection, commands, batch) for connection, commands in given]
    unfinished = {stream.socket.fileno(): stream for stream in streams if not stream.is_done}
    timeouts = [stream.socket.gettimeout() for stream in streams]
    longest = None if None in timeouts else 1000 * max(filter(None, timeouts), default=0.0)
    poller, room = select.poll(), bytearray(ROOM)
    try:
        for file, stream in unfinished.items():
            stream.socket.settimeout(0)
            poller.register(file, stream.send())
        while unfinished:
            ready = poller.poll(longest)
            if not ready:
                raise ReplyLateError("Timeout reading from socket")
            for file, _ in ready:
                stream = unfinished[file]
                stream.receive(room)
                poller.modify(file, stream.send())
                if stream.is_done:
                    poller.unregister(file)
                    del unfinished[file]
    except OSError as error:
        raise ReplyLostError(f"Error while reading from socket: {error.args}") from error
    for stream, timeout in zip(streams, timeouts, strict=True):
        stream.socket.settimeout(timeout)
    return [stream.answers for stream in streams]


class _Stream:
    """Commands on their way to one server, and the replies so far.

    hiredis parses an array in one call. So it is given the header of an array before the replies to a piece of the
    commands; errors stay in their places. It cannot be given a header between two replies that it has already. Their
    bytes go to another reader then, or they are read one by one.
    """

    def __init__(self, connection: Any, commands: Sequence[Command], batch: int) -> None:
        self.socket = connection._sock  # noqa: SLF001 - see the first lines
        self.answers: list[Answer] = []
        self._commands, self._batch, self._piece = commands, batch, max(1, batch // 2)
        self._sent, self._unsent = 0, memoryview(b"")
        self._parser = connection._get_parser()  # noqa: SLF001 - see the first lines
        encoder = connection.encoder
        self._options = {
            "protocolError": InvalidResponse,
            "replyError": self._parser.parse_error,
            "notEnoughData": _NOTHING,
            "errors": encoder.encoding_errors,
            **({"encoding": encoder.encoding} if encoder.decode_responses else {}),
        }
        self._reader: Any = hiredis.Reader(**self._options)
        self._awaited = 0
        """The number of replies in the array that hiredis parses; 0 without an array."""
        self._has_part = False
        """Whether hiredis has read a part of a reply or of a notice: its data may end behind the line of an array."""

    @property
    def is_done(self) -> bool:
        """Whether each command has its reply, and no part of a notice is there."""
        return len(self.answers) == len(self._commands) and not self._has_part

    def send(self) -> int:
        """Send up to `batch` commands without reply, and return the events to wait for."""
        while True:
            if not self._unsent:
                end = self._sent + self._piece
                if self._sent == len(self._commands) or end - len(self.answers) > self._batch:
                    return select.POLLIN
                self._unsent = memoryview(packed(self._commands[self._sent : end]))
                self._sent = min(end, len(self._commands))
            try:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
            except _NOT_NOW:
                return select.POLLIN | select.POLLOUT

    def receive(self, room: bytearray) -> None:
        """Receive what is there, and keep the replies."""
        if not (self._awaited or self._has_part):
            self._await_piece()
        held = self._reader.len()
        try:
            size = self.socket.recv_into(room)
        except _NOT_NOW:
            return
        if not size:
            raise ReplyLostError("Connection closed by server.")
        self._reader.feed(room, 0, size)
        held += size
        while self._awaited:
            found = self._reader.gets()
            if found is _NOTHING:
                return
            self._awaited = 0
            self._keep(found)
            rest = self._reader.len()
            # hiredis forgets what it has read from a kilobyte on: then its length is that of the rest.
            if not (LENGTH_IS_REST and 0 < rest < held):
                break
            self._reader = hiredis.Reader(**self._options)
            self._await_piece()
            self._reader.feed(room, size - rest, rest)
            held = self._reader.len()
        self._keep(self._one_by_one())

    def _one_by_one(self) -> list[Answer]:
        """Return the whole replies that are there."""
        found = []
        while self._reader.has_data():
            reply = self._reader.gets()
            self._has_part = reply is _NOTHING
            if self._has_part:
                break
            found.append(reply)
        return found

    def _await_piece(self) -> None:
        """Announce the outstanding replies of a piece to hiredis, as an array."""
        answered = len(self.answers)
        self._awaited = min(self._sent, answered - answered % self._piece + self._piece) - answered
        if self._awaited:
            self._reader.feed(b"*%d\r\n" % self._awaited)

    def _keep(self, found: list[Answer]) -> None:
        """Keep replies; notices (RESP3) are none, and an error that is for the connection is raised."""
        if not _PLAIN.issuperset(map(type, found)):
            for notice in found:
                if isinstance(notice, hiredis.PushNotification):
                    self._parser.handle_push_response(notice)
                if isinstance(notice, RedisConnectionError):
                    raise notice
            found = [reply for reply in found if not isinstance(reply, hiredis.PushNotification)]
        self.answers += found
        if len(self.answers) > self._sent:
            raise InvalidResponse("the server sends more replies than it was sent commands")


def length_is_rest() -> bool:
    """Tell whether the length of hiredis' reader after a long reply is the number of bytes behind that reply."""
    rest = b"$8\r\nhalf"
    reader = hiredis.Reader(notEnoughData=_NOTHING)
    reader.feed(b"*2\r\n$2000\r\n%b" % bytes(1000))
    begun = reader.gets() is _NOTHING
    reader.feed(b"%b\r\n:1\r\n%b" % (bytes(1000), rest))
    return begun and reader.gets() == [bytes(2000), 1] and bool(reader.len() == len(rest))


LENGTH_IS_REST = hasattr(hiredis, "Reader") and length_is_rest()


def read_fields_apart(cluster: RedisCluster, fields: Sequence[str]) -> list[Any]:
    """Naive: the fields of one user lie in different slots, so the client needs a command for each slot."""
    return list(cluster.mget_nonatomic([f"user:42:{field}" for field in fields]))


def read_fields_together(cluster: RedisCluster, fields: Sequence[str]) -> list[Any]:
    """Tuned: a hash tag puts the fields of one user into one slot, where one command reads them (``MGET``).

    Not for all of your keys: keys with one tag share one node, its memory and its processor.
    """
    answer: Any = cluster.mget([f"{{user:42}}:{field}" for field in fields])
    return list(answer)


def read_each(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Naive: read key after key from the primaries."""
    return [cluster.get(key) for key in keys]


def read_by_pipeline(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Better: redis-py's cluster pipeline, one round trip a node."""
    with cluster.pipeline() as pipe:
        for key in keys:
            pipe.get(key)
        return list(pipe.execute())


def read_tagged_by_pipeline(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Read keys with one hash tag by a pipeline, which goes to one node instead of all.

    It saves no round trip, since redis-py writes to all nodes before it reads from any. It saves the client the writes
    to and reads from further nodes: a tenth of its time for 30 commands, too little to measure for 300. And one server
    does all the work.
    """
    with cluster.pipeline() as pipe:
        for key in keys:
            pipe.get(f"{{tag}}{key}")
        return list(pipe.execute())


def read_by_node(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Tuned: one packed pipeline a node, all nodes at the same time; see `redis_practices.tuning.bulk`."""
    return read_bulk(cluster, keys)


def read_from_all(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Tuned: primaries and replicas take turns (``READONLY``); a replica may lag behind your last write."""
    return _balanced(cluster, keys, LoadBalancingStrategy.ROUND_ROBIN)


def read_from_replicas(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Tuned: only replicas answer, and primaries are left to writes."""
    return _balanced(cluster, keys, LoadBalancingStrategy.ROUND_ROBIN_REPLICAS)


def _balanced(cluster: RedisCluster, keys: Sequence[str], strategy: LoadBalancingStrategy) -> list[Any]:
    """Read key after key with a client of that load balancing strategy."""
    node = cluster.get_default_node()
    options: dict[str, Any] = {"decode_responses": True, **login_of(cluster.get_connection_kwargs())}
    url = f"redis://{node.host}:{node.port}"
    with cluster_client(url, load_balancing_strategy=strategy, **options) as client:
        return [client.get(key) for key in keys]


COPIES = 16


def read_hot_key(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Naive: every client reads the same hot key, so one node serves all of them."""
    return [cluster.get("hot") for _ in keys]


def read_hot_copies(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Tuned: copies on all nodes, read in turn; a write must change every copy, so only for rare writes."""
    return [cluster.get(f"hot:{number % COPIES}") for number in range(len(keys))]
