"""Serve values from a cache in front of an origin, with threads or asyncio.

    cache = CacheAside(redis_client(url, timeout=0.2), ttl=300)
    user = cache.get_or_compute(f"user:{id}", lambda: load_user(id))

A writer invalidates the entry after its change:

    save_user(id, changed)
    cache.invalidate(f"user:{id}")

Values are JSON, never pickle: a client that can write to the cache must not run code in its readers. None means that
the origin has no value. Give the client a short timeout: while the server is paused, each call blocks for this timeout
until the circuit breaker opens. For asyncio there is `AsyncCacheAside`.

Single flight: one caller computes a missing value, other callers wait. In one process, callers that wait for the same
key share one read of the cache that begins after they came. They need one connection, and while the cache is away the
origin has one call at a time for a key. A caller that has waited for its `patience` asks the origin itself. Between
processes a lease does it. It is stored in the key to be filled, so deleting the key ends the lease too. A value
computed before an invalidation is therefore never stored after it. The lock of ``redis.lock.Lock`` is another key,
which cannot guarantee that.

A reader that fills the cache races with a writer that invalidates it. The reader's value is stored only if the key
still holds its lease (`set_if_equal`). ``WATCH``/``MULTI`` would need two more round trips and keep a connection
meanwhile.

Promises: an interrupt (soft time limit, alarm, cancelled task) gives the lease back. An entry knows its key, so
no reader gets another key's value. While the server is away or refuses, the origin answers. Each call pays one timeout
until the circuit breaker opens, and caching is back when it lets a call through (1 s). After a fork the child uses its
own connections. An eviction is a miss, and so is an entry of another form, such as one of an earlier release. A
value that JSON would change is refused (`NotJSONError`), so that a hit equals the miss.

`CacheProtocol` decides without any I/O (sans-I/O). Both drivers run the same steps, and a test can stop between any
two of them. A driver throws `Unavailable` into the steps if the cache does not answer, and the origin's error if that
fails.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from enum import Enum
from threading import get_ident
from typing import Any, Self
from weakref import ref

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio import RedisCluster as AsyncRedisCluster
from redis.client import NEVER_DECODE
from redis.cluster import RedisCluster
from redis.exceptions import (
    ClusterDownError,
    MaxConnectionsError,
    RedisClusterException,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redis_practices.clients import after_fork
from redis_practices.polling import Flag
from redis_practices.pure_cache.overload import Breaker, is_due, jittered

Command = tuple[str | bytes | int, ...]
"""A command as ``client.execute_command(*command)`` takes it."""

NATIVE = ("DELIFEQ", "DELEX")
"""Compare-and-delete of Valkey 9.0 and Redis 8.4, which also have ``SET ... IFEQ``; see ``COMMAND INFO``."""

SCRIPT = "EVAL"
"""The way of all other engines: a script."""

_SET = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('SET', KEYS[1], ARGV[2], unpack(ARGV, 3)) end"
_DELETE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


def set_if_equal(dialect: str, key: str, expected: bytes, value: bytes, *options: str | int) -> Command:
    """Return the command that sets `key` to `value` if it holds `expected`. Its reply is true if it was set.

    `options` are those of ``SET``: ``"PX", 5000``, or ``"KEEPTTL"``.
    """
    if dialect == SCRIPT:
        return (SCRIPT, _SET, 1, key, expected, value, *options)
    return ("SET", key, value, "IFEQ", expected, *options)


def delete_if_equal(dialect: str, key: str, expected: bytes) -> Command:
    """Return the command that deletes `key` if it holds `expected`; its reply is true if it did."""
    if dialect == SCRIPT:
        return (SCRIPT, _DELETE, 1, key, expected)
    if dialect == "DELEX":
        return ("DELEX", key, "IFEQ", expected)
    return ("DELIFEQ", key, expected)


LEASE = b"lease:"
"""The prefix of a lease. No JSON begins so, and readers of other programs see that it is not a value."""


class NotJSONError(TypeError, ValueError):
    """A value that JSON cannot hold, or would change."""


_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
"""Two surrogates that stand for one character, as the text of a wrong decoder holds them."""


def require_json(value: Any) -> None:
    """Require that a value is the same after it was written as JSON and read (NotJSONError).

    JSON makes lists of tuples, texts of keys and one character of two surrogates, and cannot hold sets or NaN.
    """
    kind = type(value)
    if kind is dict:
        if any(type(key) is not str for key in value):
            raise NotJSONError("JSON cannot hold a dict with a key that is no str")
        value = [*value, *value.values()]
    elif kind is str and not value.isascii() and _PAIR.search(value):
        raise NotJSONError("JSON cannot hold a pair of surrogates, and reads it as one character")
    elif kind is float and not math.isfinite(value):
        raise NotJSONError(f"JSON cannot hold {value}")
    elif kind not in {list, str, int, float, bool, type(None)}:
        raise NotJSONError(
            f"JSON cannot hold a {kind.__name__} as it is: cache a dict, list, str, number, bool or None"
        )
    if kind in {dict, list}:
        for member in value:
            require_json(member)


def _text(key: bytes | str) -> str:
    """Return a key as JSON can hold it."""
    return key.decode(errors="surrogateescape") if isinstance(key, bytes) else key


@dataclass(frozen=True)
class Entry:
    """A cached value, fresh `until` a time in seconds since 1970. Its computation took `cost` seconds."""

    value: Any
    cost: float
    until: float

    def encoded(self, key: bytes | str) -> bytes:
        """Return the bytes to store in `key` (NotJSONError if JSON cannot hold the value)."""
        require_json(self.value)
        return json.dumps([self.value, round(self.cost, 4), round(self.until, 3), _text(key)]).encode()

    def fresh_until(self, until: float) -> Entry:
        """Return the same value, fresh until another time and due for a refresh only then, since its cost is 0."""
        return replace(self, until=until, cost=0.0)


def decoded(raw: bytes, key: bytes | str) -> Entry | None:
    """Return the entry of `key` in `raw`, or None.

    None means a lease, another key's entry, another form, half a value, or JSON beyond Python's limits.
    """
    try:
        value, cost, until, name = json.loads(raw.decode())  # bytes would cost a look at their encoding
        return Entry(value, float(cost), float(until)) if name == _text(key) else None
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None


def new_lease() -> bytes:
    """Return a unique lease."""
    return LEASE + secrets.token_hex(8).encode()


class Unavailable(Exception):  # noqa: N818 - it never leaves this module: the origin is asked instead
    """The cache did not answer, or the circuit breaker is open."""


class Refused(Unavailable):
    """The cache answered with an error: it is full, read-only, or refuses the command to this user."""


class Effect(Enum):
    """A request of the steps that is neither a command nor a pause."""

    COMPUTE = "the value, from the origin"
    REFRESH = "the value, from the origin, while other callers read the old one"


COMPUTE, REFRESH = Effect.COMPUTE, Effect.REFRESH


class Pause(float):
    """Seconds to wait for the caller that has `lease`. A driver may end the pause when that caller is done."""

    lease: bytes

    def __new__(cls, seconds: float, lease: bytes) -> Self:
        """Wait for the owner of a lease."""
        pause = super().__new__(cls, seconds)
        pause.lease = lease
        return pause


Steps = Generator[Command | Pause | Effect, Any, Any]
"""Steps that yield a command, a pause, `COMPUTE` or `REFRESH`, and get the reply sent."""


@dataclass(frozen=True)
class Rules:
    """The rules of a cache; all times are in seconds."""

    ttl: float
    """The longest life of a value in the cache."""
    spread: float = 0.1
    """TTL jitter: each ttl is shorter by up to this share, so that a batch does not expire at once; see `jittered`."""
    absent_ttl: float = 0.0
    """Life of the knowledge that the origin has no value (negative caching); 0 turns it off."""
    lease: float = 10.0
    """The time for one computation, after which another caller may compute; above the origin's slowest answer."""
    patience: float = 5.0
    """How long a caller waits for another caller's computation before it asks the origin itself."""
    beta: float = 1.0
    """How early a value is refreshed before it expires, see `is_due`; 0 is never."""
    draw: Callable[[], float] = random.random
    """A random number from 0 up to 1."""
    clock: Callable[[], float] = time.time
    """Seconds since 1970; the machines that share a cache must agree to a fraction of the ttl."""

    def life_of(self, value: Any) -> float:
        """Return the longest life of this value in seconds; 0 means not to cache it."""
        ttl = self.absent_ttl if value is None else self.ttl
        return jittered(ttl, self.spread, self.draw) if ttl else 0.0


class CacheProtocol:
    """The decisions of one cache, as steps without I/O."""

    def __init__(self, rules: Rules) -> None:
        """Decide by `rules`."""
        self.rules = rules
        self.known_dialect = ""

    def get_or_compute(self, key: str, waited: float = 0.0) -> Steps:
        """Return the value of `key`; on a miss one caller computes it, and other callers wait.

        `waited` are the seconds of its patience that a caller has already spent.
        """
        try:
            entry, held = yield from self._look(key, self.rules.clock() + self.rules.patience - waited)
        except Unavailable:
            entry = held = None
        if entry and not held:
            return entry.value
        return (yield from self._fill(key, held, entry))

    def _look(self, key: str, give_up: float) -> Steps:
        """Return the found entry, if any. If this caller must compute, return its mark in the key too."""
        pause, mark = 0.005, None
        while True:
            raw = yield ("GET", key)
            entry = decoded(raw, key) if raw else None
            if mark is not None and raw == mark:
                # This caller's lease: its first reply was lost, and the client sent the command again.
                return entry, mark
            if entry and not self._is_due(entry):
                return entry, None
            if raw is None or not raw.startswith(LEASE):
                mark = self._mark(key, entry)
                try:
                    won = yield from self._or_drop(key, mark, self._claim(key, raw, mark, keep_ttl=bool(entry)))
                except Refused:
                    # A full or read-only cache still serves what it holds.
                    if not entry:
                        raise
                    won = False
                except Unavailable:
                    # The reply was lost. The mark may be in the key, and then the value can be stored in its place.
                    won = True
                if won or entry:
                    return entry, mark if won else None
            if self.rules.clock() >= give_up:
                return None, None
            # Jittered, so that the waiting callers do not all ask at the same moment.
            yield Pause(jittered(pause, 0.5, self.rules.draw), raw or b"")
            pause = min(pause * 2, 0.05)

    def _is_due(self, entry: Entry) -> bool:
        """Tell whether this caller is to refresh the entry early."""
        return is_due(entry.cost, entry.until - self.rules.clock(), self.rules.beta, self.rules.draw)

    def _mark(self, key: str, entry: Entry | None) -> bytes:
        """Return what this caller puts into the key: a lease, or the old entry, fresh until the lease would end.

        Other callers keep reading the old value; its mark expires, so one of them computes if this caller dies.
        """
        return entry.fresh_until(self.rules.clock() + self.rules.lease).encoded(key) if entry else new_lease()

    def _claim(self, key: str, raw: bytes | None, mark: bytes, *, keep_ttl: bool) -> Steps:
        """Replace `raw` in the key by this caller's mark. Return False if another caller was faster."""
        lease = round(self.rules.lease * 1000)
        if raw is None:
            return (yield ("SET", key, mark, "NX", "PX", lease))
        options = ("KEEPTTL",) if keep_ttl else ("PX", lease)
        return (yield from self._compare(lambda dialect: set_if_equal(dialect, key, raw, mark, *options)))

    def _fill(self, key: str, held: bytes | None, old: Entry | None) -> Steps:
        """Compute the value, and store it if the key still holds the mark. If the origin fails, serve `old`."""
        begun = self.rules.clock()
        try:
            value = yield REFRESH if old else COMPUTE
            life = self.rules.life_of(value)
            raw = self.encoded(key, value, life, self.rules.clock() - begun)
        except GeneratorExit:
            # The driver was cancelled, which is like a crash: the lease expires.
            raise
        except BaseException as error:
            if old and isinstance(error, Exception) and not isinstance(error, NotJSONError):
                return old.value
            yield from self._drop(key, held)
            raise
        if held and life:
            with suppress(Unavailable):
                milliseconds = max(1, round(life * 1000))
                store = self._compare(lambda dialect: set_if_equal(dialect, key, held, raw, "PX", milliseconds))
                yield from self._or_drop(key, held, store)
        else:
            yield from self._drop(key, held)
        return value

    def encoded(self, key: str, value: Any, life: float, cost: float = 0.0) -> bytes:
        """Return the stored form of a value (NotJSONError if JSON cannot hold it)."""
        return Entry(value, max(0.0, cost), self.rules.clock() + life).encoded(key)

    def _or_drop(self, key: str, held: bytes, steps: Steps) -> Steps:
        """Run steps, and give the lease back if they are interrupted."""
        try:
            return (yield from steps)
        except (Unavailable, GeneratorExit):
            raise
        except BaseException:
            yield from self._drop(key, held)
            raise

    def _drop(self, key: str, held: bytes | None) -> Steps:
        """Give the lease back, so that the next caller computes at once."""
        if held:
            with suppress(Unavailable):
                yield from self._compare(lambda dialect: delete_if_equal(dialect, key, held))

    def _compare(self, command: Callable[[str], Command]) -> Steps:
        """Run a compare-and-set. After a refusal of the native command, ask the server again for its way.

        The server may have been replaced by an older one, or by another engine.
        """
        dialect = yield from self.dialect()
        try:
            return (yield command(dialect))
        except Refused:
            self.known_dialect = ""
            now = yield from self.dialect()
            if now == dialect:
                raise
            return (yield command(now))

    def dialect(self) -> Steps:
        """Return the compare-and-set command of this engine, asked once (``COMMAND INFO``)."""
        for name in () if self.known_dialect else NATIVE:
            with suppress(Refused):
                answer = yield ("COMMAND INFO", name)
                if answer and any(answer.values() if isinstance(answer, dict) else answer):
                    self.known_dialect = name
        self.known_dialect = self.known_dialect or SCRIPT
        return self.known_dialect


# For replies that may hold bytes: another program's value need not be text.
RAW: dict[str, Any] = {NEVER_DECODE: True}
DEAD = (RedisConnectionError, RedisTimeoutError, OSError, ClusterDownError, RedisClusterException)
ERRORS = (RedisError, OSError, RedisClusterException)


def is_dead(error: Exception) -> bool:
    """Tell whether an error means that the server does not answer.

    A full or read-only cache can still be read.
    """
    return isinstance(error, DEAD) and not isinstance(error, MaxConnectionsError)


MOST_AT_ONCE = 100
"""Concurrent commands on a client whose pool has no limit of connections."""


def copied(value: Any) -> Any:
    """Return a copy of a value, as its caller may change it."""
    return json.loads(json.dumps(value)) if type(value) in {dict, list} else value


class Leader:
    """A caller in its flight: an interrupt between any two instructions drops this object with its frame."""

    __slots__ = ("__weakref__",)


class Flight:
    """One read of a key in this process. Callers that came before it began share its value."""

    __slots__ = ("called", "followed", "landed", "leader", "over", "thread", "value")

    def __init__(self, leader: Leader, over: Any) -> None:
        """Set the event `over` at the end."""
        self.leader, self.thread, self.over = ref(leader), get_ident(), over
        self.called = time.monotonic()
        """When its caller came; that caller's patience counts from then."""
        self.followed = False
        """Whether another caller waits for the value."""
        self.value: Any = None
        self.landed = False
        """Whether `value` is its result: it was followed, and neither interrupted nor refused by the origin."""

    @property
    def is_lost(self) -> bool:
        """Whether its caller was interrupted before its end, or waits for itself: its origin reads the key."""
        return self.leader() is None or self.thread == get_ident()

    @property
    def waited(self) -> float:
        """Seconds since its caller came."""
        return time.monotonic() - self.called

    def land(self, value: Any) -> None:
        """Share a value. The callers that follow get their own copy, as the leader's caller may change its object."""
        if self.followed:
            self.value = copied(value)
            self.landed = True


class Common:
    """The part that both drivers share: rules, steps and a circuit breaker that hears every outcome."""

    def __init__(self, client: Any, ttl: float, breaker: Breaker | None, rules: Any) -> None:
        """Keep values for `ttl` seconds."""
        self._client = client
        self.rules = Rules(ttl, **rules)
        self.protocol = CacheProtocol(self.rules)
        self.breaker = breaker or Breaker()
        self.is_cluster = isinstance(client, RedisCluster | AsyncRedisCluster)
        self._begin()
        after_fork(self._begin)

    def _begin(self) -> None:
        """Begin with no caller at work."""

    _flights: dict[str, Flight]

    def _end(self, key: str, flight: Flight) -> None:
        """End a flight."""
        if self._flights.get(key) is flight:
            self._flights.pop(key, None)
        flight.over.set()

    def check(self) -> None:
        """Raise `Unavailable` while the circuit breaker is open."""
        if not self.breaker.allows():
            raise Unavailable("the breaker is open")

    def failed(self, error: Exception) -> Unavailable:
        """Report an error to the circuit breaker, and return the error for the steps."""
        if is_dead(error):
            self.breaker.failed()
            return Unavailable(str(error))
        self.breaker.succeeded()
        return Refused(str(error))

    def options_of(self, command: Command) -> dict[str, Any]:
        """Return the function that sends a command. A cluster client needs a node for a command without a key."""
        if self.is_cluster and command[0] == "COMMAND INFO":
            return {**RAW, "target_nodes": self._client.get_random_node()}
        return RAW

    def deletions(self, keys: tuple[str, ...]) -> list[tuple[str, ...]]:
        """Return the arguments of each ``DEL``: in a cluster one key each, since their slots differ."""
        if self.is_cluster:
            return [(key,) for key in keys]
        return [keys] if keys else []


class CacheAside(Common):
    """A cache in front of an origin, for threads; one object serves a whole process.

    The client may be one of a server or of a cluster. Callers that miss the same key in one process wait for its
    computation. Callers beyond the connections of the client's pool wait for a connection.
    """

    def __init__(
        self, client: Redis | RedisCluster, *, ttl: float, breaker: Breaker | None = None, **rules: Any
    ) -> None:
        """Keep values for `ttl` seconds; `rules` are the other fields of `Rules`."""
        super().__init__(client, ttl, breaker, rules)

    def _begin(self) -> None:
        """Begin with no caller at work."""
        self._computing: dict[bytes, Flag] = {}
        self._flights: dict[str, Flight] = {}

    def get_or_compute(self, key: str, compute: Callable[[], Any]) -> Any:
        """Return the value of `key`. On a miss, and while the cache does not answer, `compute` makes it.

        Raises any exception of `compute`, and NotJSONError (a TypeError) if JSON cannot hold its value; never an error
        of the cache. A StopIteration of `compute` is raised as the cause of a RuntimeError, as in any generator.
        """
        leader = Leader()
        flight = Flight(leader, Flag())
        try:
            return self._share(key, compute, flight)
        finally:
            self._end(key, flight)

    def _share(self, key: str, compute: Callable[[], Any], flight: Flight) -> Any:
        """Read a key for all callers of this process that wait for it, or get what another caller reads."""
        shares = False
        while (other := self._flights.setdefault(key, flight)) is not flight:
            if shares:
                other.followed = True
            if not self._is_over(key, other, self.rules.patience - flight.waited):
                break
            if shares and other.landed:
                return copied(other.value)
            # The first one began before this call, so it may have read what was invalidated before this call.
            shares = True
        value = self._run(key, compute, flight)
        flight.land(value)
        return value

    def _is_over(self, key: str, flight: Flight, within: float) -> bool:
        """Wait for the end of a flight; tell whether it has ended in time."""
        give_up = time.monotonic() + within
        while not flight.over.is_set():
            if flight.is_lost:
                self._end(key, flight)
            elif time.monotonic() > give_up:
                return False
            else:
                flight.over.wait(LOOK)
        return True

    def invalidate(self, *keys: str) -> None:
        """Delete keys after the origin has changed; computations from the old state are then not stored (``DEL``).

        Raises:
            redis.exceptions.RedisError: the cache did not answer. Readers may see the old value until its ttl ends; if
                that is not acceptable, repeat the call later.
        """
        for some in self.deletions(keys):
            self._client.delete(*some)

    def _run(self, key: str, compute: Callable[[], Any], flight: Flight) -> Any:
        """Run the steps to their end. Other callers wait for a flight only while they have no value to read."""
        steps, answer, error, mark = self.protocol.get_or_compute(key, flight.waited), None, None, b""
        while True:
            try:
                effect = steps.throw(error) if error is not None else steps.send(answer)
            except StopIteration as done:
                return done.value
            answer, error = None, None
            try:
                if isinstance(effect, tuple):
                    answer = self._command(effect)
                    mark = _mark_in(effect) or mark
                elif isinstance(effect, Effect):
                    if effect is REFRESH:
                        self._end(key, flight)
                    with self._at_work(mark):
                        answer = compute()
                else:
                    self._wait(effect)
            except BaseException as raised:  # noqa: BLE001 - the steps give the lease back, then raise it again
                error = raised

    @contextmanager
    def _at_work(self, mark: bytes) -> Iterator[None]:
        """Let callers of this process wait for the end of a computation under a lease."""
        done = Flag()
        if mark:
            self._computing[mark] = done
        try:
            yield
        finally:
            self._computing.pop(mark, None)
            done.set()

    def _wait(self, pause: Pause) -> None:
        """Wait for the owner of a lease: in this process until it is done, otherwise for the pause."""
        if done := self._computing.get(pause.lease):
            done.wait(LONGEST_WAIT)
        time.sleep(pause / 10 if done else pause)

    def _command(self, command: Command) -> Any:
        """Run a command unless the circuit breaker is open; wait while all connections are in use."""
        give_up, pause = time.monotonic() + self.rules.patience, 0.005
        while True:
            self.check()
            try:
                answer = self._client.execute_command(*command, **self.options_of(command))
            except ERRORS as error:
                if not isinstance(error, MaxConnectionsError) or time.monotonic() > give_up:
                    raise self.failed(error) from error
            else:
                self.breaker.succeeded()
                return answer
            # Not a semaphore: an interrupt in it would cost a permit for ever.
            time.sleep(jittered(pause, 0.5, self.rules.draw))
            pause = min(pause * 2, 0.1)


LOOK = 0.1
"""Seconds after which a caller that waits for another one looks whether that was interrupted."""

LONGEST_WAIT = 1.0
"""Seconds after which a caller that waits for a caller of the same process reads the cache again."""


def _mark_in(command: Command) -> bytes:
    """Return the lease that a command puts into its key; empty if it puts none."""
    return next((word for word in command if isinstance(word, bytes) and word.startswith(LEASE)), b"")


class AsyncCacheAside(Common):
    """`CacheAside` for asyncio; one object serves one event loop."""

    def __init__(
        self, client: AsyncRedis | AsyncRedisCluster, *, ttl: float, breaker: Breaker | None = None, **rules: Any
    ) -> None:
        """Keep values for `ttl` seconds, as `CacheAside` does."""
        super().__init__(client, ttl, breaker, rules)

    def _begin(self) -> None:
        """Begin with no caller at work."""
        pool = getattr(self._client, "connection_pool", None)
        self._connections = asyncio.Semaphore(getattr(pool, "max_connections", MOST_AT_ONCE))
        self._computing: dict[bytes, asyncio.Event] = {}
        self._flights: dict[str, Flight] = {}

    async def get_or_compute(self, key: str, compute: Callable[[], Awaitable[Any]]) -> Any:
        """Return the value of `key`, as `CacheAside.get_or_compute` does."""
        leader = Leader()
        flight = Flight(leader, asyncio.Event())
        try:
            return await self._share(key, compute, flight)
        finally:
            self._end(key, flight)

    async def _share(self, key: str, compute: Callable[[], Awaitable[Any]], flight: Flight) -> Any:
        """Read a key for all callers of this event loop that wait for it, or get what another caller reads."""
        shares = False
        while (other := self._flights.setdefault(key, flight)) is not flight:
            if shares:
                other.followed = True
            if not await self._is_over(other, self.rules.patience - flight.waited):
                break
            if shares and other.landed:
                return copied(other.value)
            shares = True
        value = await self._run(key, compute, flight)
        flight.land(value)
        return value

    async def _is_over(self, flight: Flight, within: float) -> bool:
        """Wait for the end of a flight; tell whether it has ended in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await flight.over.wait()
        return bool(flight.over.is_set())

    async def _run(self, key: str, compute: Callable[[], Awaitable[Any]], flight: Flight) -> Any:
        """Run the steps as `CacheAside` does."""
        steps, answer, error, mark = self.protocol.get_or_compute(key, flight.waited), None, None, b""
        while True:
            try:
                effect = steps.throw(error) if error is not None else steps.send(answer)
            except StopIteration as done:
                return done.value
            answer, error = None, None
            try:
                if isinstance(effect, tuple):
                    answer = await self._command(effect)
                    mark = _mark_in(effect) or mark
                elif isinstance(effect, Effect):
                    if effect is REFRESH:
                        self._end(key, flight)
                    async with self._at_work(mark):
                        answer = await compute()
                else:
                    await self._wait(effect)
            except BaseException as raised:  # noqa: BLE001 - also when cancelled: the steps give the lease back
                error = raised

    async def invalidate(self, *keys: str) -> None:
        """Forget keys, as `CacheAside.invalidate` does."""
        for some in self.deletions(keys):
            await self._client.delete(*some)

    @asynccontextmanager
    async def _at_work(self, mark: bytes) -> AsyncIterator[None]:
        """Let callers of this event loop wait for the end of a computation under a lease."""
        event = asyncio.Event()
        if mark:
            self._computing[mark] = event
        try:
            yield
        finally:
            self._computing.pop(mark, None)
            event.set()

    async def _wait(self, pause: Pause) -> None:
        """Wait as `CacheAside` does."""
        if event := self._computing.get(pause.lease):
            with suppress(TimeoutError):
                async with asyncio.timeout(LONGEST_WAIT):
                    await event.wait()
        await asyncio.sleep(pause / 10 if event else pause)

    async def _command(self, command: Command) -> Any:
        """Run a command as `CacheAside` does."""
        give_up = time.monotonic() + self.rules.patience
        while True:
            async with self._connections:
                self.check()
                try:
                    answer = await self._client.execute_command(*command, **self.options_of(command))
                except ERRORS as error:
                    if not isinstance(error, MaxConnectionsError) or time.monotonic() > give_up:
                        raise self.failed(error) from error
                else:
                    self.breaker.succeeded()
                    return answer
            await asyncio.sleep(jittered(0.01, 0.5, self.rules.draw))
