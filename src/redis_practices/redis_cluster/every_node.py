"""Ask every node of a cluster, side by side, and reduce the answers as they come.

A node costs one connection and few round trips, so 200 nodes take a fraction of a second and one thread. Nothing is
kept of a node but what the caller keeps: maps are compared by digest, settings by value.

    found = Maps()
    silent = ask_every({"10.0.0.1:6379": client, ...}, found.ask)      clients of redis-py, which stay unconnected
    print(len(found.views), "different maps,", len(silent), "nodes without an answer")

Promises:

- At most `AT_ONCE` connections are open. One deadline holds for all nodes, and the client's timeouts for each of them.
- A node that refuses the connection or the login, hangs, or closes in the middle of a reply is returned with its error.
  It stops no other node.
- User, password, credential provider, TLS and IPv6 are those of the client. Its connection class may check commands
  (a static method `check_command`, which gets the bytes of each).

Not promised: a retry. The parser is hiredis', which ``redis[hiredis]`` installs; without it `ask_every` raises
`Failure`.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from itertools import chain
from typing import Any, TypeVar

from redis import Redis
from redis.connection import DefaultParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.utils import str_if_bytes

from redis_practices.cli import Failure, shortened
from redis_practices.clients import OneContext, is_unwatched, redis_client
from redis_practices.redis_cluster.topology import SLOTS, Member, as_ranges, endpoint, read_nodes
from redis_practices.server_info import asking

try:
    import hiredis
except ImportError:
    hiredis = None  # type: ignore[assignment]

T = TypeVar("T")

AT_ONCE = 64
"""Connections that are open at once. With 16 or 200 the time is the same, and 200 take more memory."""

WITHIN = 10.0
"""Seconds for all nodes."""

MOST = 32 * 2**20
"""The most bytes of the replies to one question; the map of 1,000 nodes has 110 kB."""

NO_ANSWERS = (InvalidResponse, ValueError, TypeError, LookupError, RecursionError, MemoryError)
"""Errors of hiredis about bytes that are no reply."""

_NOTHING = object()
"""The sign of hiredis that no whole reply is there."""


class Wire(asyncio.Protocol):
    """A connection that sends commands, and parses their replies as the bytes come (RESP2)."""

    def __init__(self) -> None:
        """Have the server's errors parsed as redis-py does."""
        self._reader: Any = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=DefaultParser.parse_error,
            notEnoughData=_NOTHING,
            errors="surrogateescape",
        )
        self._replies: list[Any] = []
        self._wanted = self._bytes = 0
        self._done: asyncio.Future[list[Any]] | None = None
        self._lost: Exception | None = None
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what writes to the socket."""
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """End the question with an error."""
        self._fail(RedisConnectionError(f"Connection closed by server{f': {exc}' if exc else ''}"))

    def _fail(self, error: Exception) -> None:
        """End this question and all later ones."""
        self._lost = self._lost or error
        if self._done and not self._done.done():
            self._done.set_exception(self._lost)

    def data_received(self, data: bytes) -> None:
        """Parse what has come."""
        self._reader.feed(data)
        self._bytes += len(data)
        try:
            while (reply := self._reader.gets()) is not _NOTHING:
                self._replies.append(reply)
        except NO_ANSWERS as error:
            self._fail(error if isinstance(error, InvalidResponse) else InvalidResponse(type(error).__name__))
        if len(self._replies) > self._wanted:
            self._fail(InvalidResponse("more replies than commands"))
        if self._bytes > MOST:
            self._fail(InvalidResponse(f"an answer is longer than {MOST >> 20} MiB"))
            self._transport.abort()
        if self._done and not self._done.done() and len(self._replies) == self._wanted:
            self._done.set_result(self._replies)

    def ask(self, wire: bytes, number: int) -> asyncio.Future[list[Any]]:
        """Send commands as bytes, and return the future of their replies (RedisError)."""
        self._replies, self._wanted, self._bytes = [], number, 0
        self._done = asyncio.get_running_loop().create_future()
        if self._lost:
            self._done.set_exception(self._lost)
        else:
            self._transport.write(wire)
        return self._done


class Clock:
    """The seconds for all nodes, without those for which a check of commands held up the loop."""

    def __init__(self, within: float) -> None:
        """Begin now."""
        self._held_up = 0.0
        self._end = self._now() + within

    def _now(self) -> float:
        return time.monotonic() - self._held_up

    def hold_up(self, check: Callable[[bytes], object], command: bytes) -> None:
        """Check a command; a limit of commands a second sleeps there."""
        begun = time.monotonic()
        check(command)
        self._held_up += time.monotonic() - begun

    async def wait(self, future: asyncio.Future[Any], patience: float | None, what: str) -> Any:
        """Return the result of a future (`redis.exceptions.TimeoutError` if it has none in time)."""
        end = self._end if patience is None else min(self._end, self._now() + patience)
        while not future.done() and (left := end - self._now()) > 0:
            await asyncio.wait({future}, timeout=left)
        if not future.done():
            future.cancel()
            raise RedisTimeoutError(what)
        return future.result()


@dataclass
class Asked:
    """A node that is asked."""

    name: str
    wire: Wire
    clock: Clock
    timeout: float | None
    """Seconds for the replies to one question."""
    check: Callable[[bytes], object] | None
    """What the connection class of the client does before it sends a command."""

    async def __call__(self, *command: bytes | str | float) -> Any:
        """Return the reply to a command, with texts as bytes.

        Raises:
            redis.exceptions.RedisError: the server replies with an error, or not in time.
        """
        [reply] = await self.all([command])
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def all(self, commands: Sequence[Sequence[bytes | str | float]]) -> list[Any]:
        """Return the replies to commands that are sent at once; errors of the server are values.

        Raises:
            redis.exceptions.RedisError: the connection breaks, or the replies do not come in time.
        """
        # hiredis 3.5 may end the process over a number (docs/upstream/hiredis-py.md).
        packed = [
            bytes(hiredis.pack_command(tuple(w if isinstance(w, bytes | str) else str(w) for w in command)))  # type: ignore[arg-type]
            for command in commands
        ]
        if self.check:
            for one in packed:
                self.clock.hold_up(self.check, one)
        return list(
            await self.clock.wait(
                self.wire.ask(b"".join(packed), len(packed)), self.timeout, "Timeout reading from socket"
            )
        )

    async def log_in(self, options: Mapping[str, Any]) -> None:
        """Send the login of a client with these options (RedisError)."""
        if provider := options.get("credential_provider"):
            await self("AUTH", *provider.get_credentials())
        elif options.get("username"):
            await self("AUTH", options["username"], options.get("password") or "")
        elif options.get("password"):
            await self("AUTH", options["password"])
        if options.get("db"):
            await self("SELECT", options["db"])


Interview = Callable[[Asked], Awaitable[object]]
"""What is asked of each node: it awaits replies, and keeps what it needs of them."""


def ask_every(
    nodes: Mapping[str, Redis], interview: Interview, *, at_once: int = AT_ONCE, within: float = WITHIN
) -> dict[str, RedisError]:
    """Interview the nodes of these clients side by side, and return the errors of nodes, by name.

    An error that the interview raises is the node's if it is a `RedisError`, else it ends the whole. A node without an
    answer after `within` seconds has a `redis.exceptions.TimeoutError`.

    Raises:
        Failure: hiredis is not installed, or a connection class would have commands sent unseen.
    """
    if hiredis is None:
        raise Failure("asking every node needs hiredis: pip install 'redis[hiredis]'")
    return asyncio.run(_ask_every(nodes, interview, at_once, within))


def hold_open(node: Redis, number: int, interview: Interview, *, within: float = WITHIN) -> dict[str, RedisError]:
    """Interview one node over a number of connections, and close none before each has ended; see `ask_every`."""
    met = asyncio.Barrier(number)

    async def meet(asked: Asked) -> None:
        await interview(asked)
        await met.wait()

    return asyncio.run(_ask_every({str(n): node for n in range(number)}, meet, number, within, met.wait))


def answers(nodes: Mapping[str, Redis], ask: Callable[[Asked], Awaitable[T]]) -> dict[str, T]:
    """Return what `ask` returns of each node, by name, in their order.

    Raises:
        Failure: as `ask_every` does.
        redis.exceptions.RedisError: a node does not answer; the error of the first one in order.
    """
    found: dict[str, T] = {}

    async def keep(asked: Asked) -> None:
        found[asked.name] = await ask(asked)

    errors = ask_every(nodes, keep)
    for name in nodes:
        if name in errors:
            raise errors[name]
    return {name: found[name] for name in nodes}


async def _ask_every(
    nodes: Mapping[str, Redis],
    interview: Interview,
    at_once: int,
    within: float,
    failed: Callable[[], Awaitable[object]] | None = None,
) -> dict[str, RedisError]:
    """Share the nodes among `at_once` tasks."""
    errors: dict[str, RedisError] = {}
    waiting, clock = iter(nodes.items()), Clock(within)

    async def ask_next() -> None:
        for name, node in waiting:
            try:
                await _ask(name, node, interview, clock)
            except RedisError as error:
                errors[name] = error
                if failed:
                    await failed()

    await asyncio.gather(*(ask_next() for _ in range(min(at_once, len(nodes)))))
    return errors


async def _ask(name: str, node: Redis, interview: Interview, clock: Clock) -> None:
    """Connect to a node with the options of its client, log in, and interview it (RedisError)."""
    pool = node.connection_pool
    options: Mapping[str, Any] = pool.connection_kwargs
    kind = pool.connection_class
    check = getattr(kind, "check_command", None)
    if check is None and not is_unwatched(kind):
        raise Failure(f"{kind.__name__} has no check_command: its commands would be sent unseen")
    host, port = endpoint(node)
    try:
        tls: dict[str, Any] = {}
        if issubclass(kind, OneContext):
            unused: Any = pool.make_connection()
            tls = {"ssl": unused.context(), "server_hostname": host}
        connecting = asyncio.get_running_loop().create_connection(Wire, host, port, **tls)
        task = asyncio.ensure_future(connecting)
        timeout = options.get("socket_connect_timeout")
        transport, wire = await clock.wait(task, timeout, "Timeout connecting to server")
    except OSError as error:
        why = os.strerror(error.errno) if isinstance(error, ConnectionError) and error.errno else str(error)
        raise RedisConnectionError(f"Error {error.errno} connecting to {host}:{port}. {why}.") from error
    try:
        asked = Asked(name, wire, clock, options.get("socket_timeout"), check)
        await asked.log_in(options)
        await interview(asked)
    finally:
        transport.abort()


# Answers, reduced


@dataclass
class View:
    """A map of the cluster, and the nodes that gave it."""

    members: dict[str, Member]
    """The nodes by id, without the viewer's own: links, times, open slots and the flag `myself`."""
    viewers: list[str] = field(default_factory=list)

    @cached_property
    def owners(self) -> Counter[int]:
        """The number of owners of each slot that has one."""
        return Counter(chain.from_iterable(member.slots for member in self.members.values()))


@dataclass
class Maps:
    """The maps of all nodes (``CLUSTER NODES``), each kept once."""

    views: dict[bytes, View] = field(default_factory=dict)
    """By digest."""
    own: dict[str, Member] = field(default_factory=dict)
    """By name of a node, what it says of itself, with its open slots."""

    async def ask(self, asked: Asked) -> None:
        """Ask a node for its map (RedisError)."""
        self.add(asked.name, await asked("CLUSTER", "NODES"))

    def add(self, name: str, answer: bytes) -> View:
        """Add the map that a node gave, and return it as it is kept."""
        lines = []
        for line in answer.splitlines():
            identity, place, flags, primary, _, _, epoch, _, *slots = line.split(b" ")
            if b"myself" in flags:
                [self.own[name]] = read_nodes(line)
                flags = flags.replace(b"myself,", b"")
                slots = [held for held in slots if held[:1] != b"["]
            lines.append(b" ".join((identity, place, flags, primary, b"0 0", epoch, b"-", *slots)))
        lines.sort()
        text = b"\n".join(lines)
        digest = blake2b(text, digest_size=16).digest()
        if digest not in self.views:
            self.views[digest] = View({one.identity: replace(one, linked=None) for one in read_nodes(text)})
        self.views[digest].viewers.append(name)
        return self.views[digest]


async def itself(asked: Asked) -> Member:
    """Return what a node says of itself (RedisError)."""
    answer: bytes = await asked("CLUSTER", "NODES")
    [found] = read_nodes(next(line for line in answer.splitlines() if b"myself" in line))
    return found


@dataclass
class Values:
    """What nodes say under names, such as settings. Each value is kept once, with the nodes that have it."""

    nodes: list[str] = field(default_factory=list)
    found: defaultdict[str, defaultdict[str, list[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def add(self, node: str, told: Mapping[str, str]) -> None:
        """Add what a node says."""
        self.nodes.append(node)
        for name, value in told.items():
            self.found[name][value].append(node)

    def unusual(self) -> Iterator[tuple[str, str | None, dict[str, str | None]]]:
        """Yield each name with different values, its most frequent value, and the other values by node."""
        for name in sorted(self.found):
            held = self.found[name]
            if len(held) > 1 or sum(map(len, held.values())) < len(self.nodes):
                said = {node: value for value, nodes in held.items() for node in nodes}
                usual, _ = Counter(said.get(node) for node in self.nodes).most_common(1)[0]
                yield name, usual, {node: said.get(node) for node in self.nodes if said.get(node) != usual}


OWN = re.compile(
    r"(cluster|replica|slave)-announce-.*|(tls-)?port|tls-(cert|key)-file|bind|unixsocket|cluster-port"
    r"|cluster-config-file|dbfilename|dir|logfile|pidfile|aclfile|replicaof|slaveof|availability-zone"
)
"""Settings that identify a node; they may differ."""


async def settings(asked: Asked) -> dict[str, str]:
    """Return every setting of a node (RedisError, `server_info.Refused`)."""
    with asking("CONFIG GET"):
        return as_pairs(await asked("CONFIG", "GET", "*"))


def as_pairs(told: Sequence[bytes]) -> dict[str, str]:
    """Return names with their values, from a list of both in turns."""
    return {str_if_bytes(name): str_if_bytes(value) for name, value in zip(told[::2], told[1::2], strict=True)}


PARSERS = redis_client("redis://127.0.0.1?protocol=2").response_callbacks
"""The parsers of replies that redis-py has, by command."""


async def facts(asked: Asked, section: str = "everything") -> dict[str, Any]:
    """Return the fields of a section of ``INFO`` (RedisError, `server_info.Refused`)."""
    with asking("INFO"):
        return dict(PARSERS["INFO"](await asked("INFO", section)))


async def users(asked: Asked) -> dict[str, str]:
    """Return the rules of every user of a node, in one order (RedisError, `server_info.Refused`)."""
    with asking("ACL LIST"):
        return as_rules(await asked("ACL", "LIST"))


def as_rules(told: Sequence[bytes]) -> dict[str, str]:
    """Return the rules of each user, in one order: Redis 7.0 lists commands in an order of the process."""
    lines = map(str_if_bytes, told)
    return {line.split()[1]: " ".join(sorted(line.split())) for line in lines}


def setting_differences(nodes: Mapping[str, Redis]) -> list[str]:
    """Return a line for each setting in which `nodes` (by name) differ (``CONFIG GET *``), except `OWN`.

    Raises:
        server_info.Refused: the user may not run the command.
        redis.exceptions.RedisError: a node does not answer.
    """
    lines = []
    for setting, usual, others in _values(nodes, settings).unusual():
        # Passwords are settings too.
        secret = any(word in setting for word in ("auth", "pass"))
        listed = shortened([f"{value!r} on {node}" for node, value in others.items()])
        shown = f"different on {len(others)} nodes" if secret else f"{listed}, {usual!r} elsewhere"
        lines += [] if OWN.fullmatch(setting) else [f"{setting} is {shown}"]
    return lines


def user_differences(nodes: Mapping[str, Redis]) -> list[str]:
    """Return a line for each user whose rights differ among `nodes`, by name (``ACL LIST``).

    No line holds a password or its hash.

    Raises:
        server_info.Refused: the user may not run the command.
        redis.exceptions.RedisError: a node does not answer.
    """
    differing = _values(nodes, users).unusual()
    return [f"user {user} differs on {shortened(list(others))}" for user, _, others in differing]


def _values(nodes: Mapping[str, Redis], ask: Callable[[Asked], Awaitable[dict[str, str]]]) -> Values:
    """Ask all nodes, and return what they say by name (RedisError)."""
    found = Values()

    async def add(asked: Asked) -> None:
        found.add(asked.name, await ask(asked))

    answers(nodes, add)
    return found


COUNT = """
local told = {redis.call('DBSIZE')}
for place = 1, #ARGV, 2 do
  for slot = tonumber(ARGV[place]), tonumber(ARGV[place + 1]) do
    local keys = redis.call('CLUSTER', 'COUNTKEYSINSLOT', slot)
    if keys > 0 then
      told[#told + 1] = slot
      told[#told + 1] = keys
    end
  end
end
return told
"""
"""A script that counts all keys, and those of each slot of some ranges. It names no key, so every node runs it."""

BATCH = 1024
"""Slots that one call of the script counts: a server does nothing else meanwhile, for about a millisecond."""


async def count_keys(asked: Asked, slots: Iterable[int]) -> tuple[int, dict[int, int]]:
    """Return the number of all keys of a node, and by slot those of `slots`; of up to `BATCH` slots, at one moment.

    Raises:
        server_info.Refused: the server refuses the script to this user.
        redis.exceptions.RedisError: the node does not answer.
    """
    size, found, wanted = 0, dict[int, int](), sorted(slots)
    for start in range(0, len(wanted), BATCH):
        ranges = as_ranges(wanted[start : start + BATCH])
        with asking("CLUSTER COUNTKEYSINSLOT in a script"):
            size, *told = await asked("EVAL", COUNT, 0, *(edge for one in ranges for edge in one))
        found.update(zip(told[::2], told[1::2], strict=True))
    return size, found


async def foreign_keys(asked: Asked) -> dict[int, int]:
    """Return the number of keys in each slot that a primary neither owns nor imports; {} for a replica.

    A node whose own slots have all its keys has none elsewhere. So 16,384 slots are counted in all, and the foreign
    slots of those nodes alone whose numbers differ.
    """
    me = await itself(asked)
    mine = me.slots | set(me.arriving)
    if not me.slots:
        return {}
    size, own = await count_keys(asked, mine)
    if sum(own.values()) == size:
        return {}
    return (await count_keys(asked, set(range(SLOTS)) - mine))[1]
