"""Serve values from a cache in front of an origin, with threads or asyncio.

    cache = CacheAside(redis_client(url, timeout=0.2), ttl=300)
    user = cache.get_or_compute(f"user:{id}", lambda: load_user(id))
    save_user(id, changed); cache.invalidate(f"user:{id}")

Values are JSON, never pickle: a client that can write to the cache must not run code in its readers. None means that
the origin has no value. Give the client a short timeout: while the server is paused, each call blocks for this timeout
until the circuit breaker opens. For asyncio there is `AsyncCacheAside`.

Single flight: one caller computes a missing value, other callers wait. Its lease is stored in the key to be filled, so
deleting the key ends the lease too. A value computed before an invalidation is therefore never stored after it. The
lock of ``redis.lock.Lock`` is another key, which cannot guarantee that.

A reader that fills the cache races with a writer that invalidates it. The reader's value is stored only if the key
still holds its lease (`set_if_equal`). ``WATCH``/``MULTI`` would need two more round trips and keep a connection
meanwhile.

`Flows` makes the decisions without any I/O (sans-I/O). Both drivers run the same steps, and a test can stop between any
two of them. A driver throws `Unavailable` into the steps if the cache does not answer, and the origin's error if that
fails.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.client import NEVER_DECODE
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redis_practices.pure_cache.circuit_breaker import Breaker
from redis_practices.pure_cache.expiry import is_due, jittered

Command = tuple[str | bytes | int, ...]
"""A command as ``client.execute_command(*command)`` takes it."""

NATIVE = ("DELIFEQ", "DELEX")
"""Compare-and-delete of Valkey 9.0 and Redis 8.4, which also have ``SET ... IFEQ``; see ``COMMAND INFO``."""

SCRIPT = "EVAL"
"""The way of all other engines: a script."""

_SET = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('SET', KEYS[1], ARGV[2], unpack(ARGV, 3)) end"
_DELETE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


def set_if_equal(dialect: str, key: str, expected: bytes, value: bytes, *options: str | int) -> Command:
    """Return the command that sets `key` to `value` if it holds `expected`; its reply is true if it did.

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


@dataclass(frozen=True)
class Entry:
    """A cached value: its computation took `cost` seconds, and it is fresh `until` a time in seconds since 1970."""

    value: Any
    cost: float
    until: float

    def encoded(self) -> bytes:
        """Return the bytes to store (TypeError or ValueError if JSON cannot hold the value)."""
        return json.dumps([self.value, round(self.cost, 4), round(self.until, 3)], allow_nan=False).encode()

    def fresh_until(self, until: float) -> Entry:
        """Return the same value, fresh until another time."""
        return replace(self, until=until)


def decoded(raw: bytes) -> Entry | None:
    """Return the entry in `raw`; None for a lease, another program's value or half a value."""
    try:
        value, cost, until = json.loads(raw)
        return Entry(value, float(cost), float(until))
    except (ValueError, TypeError):
        return None


def new_lease() -> bytes:
    """Return a unique lease."""
    return LEASE + secrets.token_hex(8).encode()


class Unavailable(Exception):  # noqa: N818 - it never leaves this module: the origin is asked instead
    """The cache did not answer, or the circuit breaker is open."""


class Refused(Unavailable):
    """The cache answered with an error: it is full, read-only, or refuses the command to this user."""


class Ask(Enum):
    """A request of the steps that is neither a command nor a pause."""

    COMPUTE = "the value, from the origin"


COMPUTE = Ask.COMPUTE

Flow = Generator[Command | float | Ask, Any, Any]
"""Steps that yield a command, seconds to wait, or `COMPUTE`, and get the reply sent."""


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


class Flows:
    """The decisions of one cache, as steps without I/O."""

    def __init__(self, rules: Rules) -> None:
        """Decide by `rules`."""
        self.rules = rules
        self.known_dialect = ""

    def get_or_compute(self, key: str) -> Flow:
        """Return the value of `key`; on a miss one caller computes it, and other callers wait."""
        try:
            entry, held = yield from self._look(key)
        except Unavailable:
            entry = held = None
        if entry and not held:
            return entry.value
        return (yield from self._fill(key, held, entry))

    def _look(self, key: str) -> Flow:
        """Return the entry found, if any, and the bytes that this caller put into the key if it is to compute."""
        give_up, pause = self.rules.clock() + self.rules.patience, 0.005
        while True:
            raw = yield ("GET", key)
            entry = decoded(raw) if raw else None
            if entry and not self._is_due(entry):
                return entry, None
            if raw is None or not raw.startswith(LEASE):
                held = yield from self._claim(key, raw, entry)
                if held or entry:
                    return entry, held
            if self.rules.clock() >= give_up:
                return None, None
            # Jittered, so that the waiting callers do not all ask at the same moment.
            yield jittered(pause, 0.5, self.rules.draw)
            pause = min(pause * 2, 0.05)

    def _is_due(self, entry: Entry) -> bool:
        """Tell whether this caller is to refresh the entry early."""
        return is_due(entry.cost, entry.until - self.rules.clock(), self.rules.beta, self.rules.draw)

    def _claim(self, key: str, raw: bytes | None, entry: Entry | None) -> Flow:
        """Put this caller's mark into the key and return it; None if another caller was faster."""
        until, lease = self.rules.clock() + self.rules.lease, round(self.rules.lease * 1000)
        # Other callers keep reading the old value; its mark expires, so one of them computes if this caller dies.
        held = entry.fresh_until(until).encoded() if entry else new_lease()
        if raw is None:
            won = yield ("SET", key, held, "NX", "PX", lease)
        else:
            options = ("KEEPTTL",) if entry else ("PX", lease)
            won = yield set_if_equal((yield from self.dialect()), key, raw, held, *options)
        return held if won else None

    def _fill(self, key: str, held: bytes | None, old: Entry | None) -> Flow:
        """Compute the value, and store it if the key still holds the mark; serve `old` if the origin fails."""
        begun = self.rules.clock()
        try:
            value = yield COMPUTE
            life = self.rules.life_of(value)
            raw = self.encoded(value, life, self.rules.clock() - begun)
        except GeneratorExit:
            # The driver was cancelled, which is like a crash: the lease expires.
            raise
        except BaseException as error:
            if old and isinstance(error, Exception):
                return old.value
            yield from self._drop(key, held)
            raise
        if held and life:
            with suppress(Unavailable):
                yield set_if_equal((yield from self.dialect()), key, held, raw, "PX", max(1, round(life * 1000)))
        else:
            yield from self._drop(key, held)
        return value

    def encoded(self, value: Any, life: float, cost: float = 0.0) -> bytes:
        """Return the stored form of a value (TypeError or ValueError if JSON cannot hold it)."""
        return Entry(value, max(0.0, cost), self.rules.clock() + life).encoded()

    def _drop(self, key: str, held: bytes | None) -> Flow:
        """Give the lease back, so that the next caller computes at once."""
        if held:
            with suppress(Unavailable):
                yield delete_if_equal((yield from self.dialect()), key, held)

    def dialect(self) -> Flow:
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
DEAD = (RedisConnectionError, RedisTimeoutError, OSError)


class Common:
    """The part that both drivers share: rules, steps and a circuit breaker that hears every outcome."""

    def __init__(self, ttl: float, breaker: Breaker | None, rules: Any) -> None:
        """Keep values for `ttl` seconds."""
        self.rules = Rules(ttl, **rules)
        self.flows = Flows(self.rules)
        self.breaker = breaker or Breaker()

    def check(self) -> None:
        """Raise `Unavailable` while the circuit breaker is open."""
        if not self.breaker.allows():
            raise Unavailable("the breaker is open")

    def failed(self, error: Exception) -> Unavailable:
        """Report an error to the circuit breaker, and return the error for the steps."""
        if isinstance(error, DEAD):
            self.breaker.failed()
            return Unavailable(str(error))
        # It answered: a full or read-only cache can still be read.
        self.breaker.succeeded()
        return Refused(str(error))


class CacheAside(Common):
    """A cache in front of an origin, for threads; one object serves a whole process."""

    def __init__(self, client: Redis, *, ttl: float, breaker: Breaker | None = None, **rules: Any) -> None:
        """Keep values for `ttl` seconds; `rules` are the other fields of `Rules`."""
        super().__init__(ttl, breaker, rules)
        self._client = client

    def get_or_compute(self, key: str, compute: Callable[[], Any]) -> Any:
        """Return the value of `key`; `compute` makes it on a miss, and while the cache does not answer.

        Raises any exception of `compute`, and TypeError or ValueError if JSON cannot hold its value; never an error of
        the cache.
        """
        return self._run(self.flows.get_or_compute(key), compute)

    def invalidate(self, *keys: str) -> None:
        """Delete keys after the origin has changed; computations from the old state are then not stored (``DEL``).

        Raises:
            redis.exceptions.RedisError: the cache did not answer. Readers may see the old value until its ttl ends; if
                that is not acceptable, repeat the call later.
        """
        self._client.delete(*keys)

    def _run(self, flow: Flow, compute: Callable[[], Any]) -> Any:
        """Run the steps to their end."""
        answer, error = None, None
        while True:
            try:
                ask = flow.throw(error) if error else flow.send(answer)
            except StopIteration as done:
                return done.value
            answer, error = None, None
            try:
                if isinstance(ask, tuple):
                    answer = self._command(ask)
                elif isinstance(ask, Ask):
                    answer = compute()
                else:
                    time.sleep(ask)
            except BaseException as raised:  # noqa: BLE001 - the steps give the lease back, then raise it again
                error = raised

    def _command(self, command: Command) -> Any:
        """Run a command unless the circuit breaker is open."""
        self.check()
        try:
            answer = self._client.execute_command(*command, **RAW)
        except (RedisError, OSError) as error:
            raise self.failed(error) from error
        self.breaker.succeeded()
        return answer


class AsyncCacheAside(Common):
    """`CacheAside` for asyncio; one object serves one event loop."""

    def __init__(self, client: AsyncRedis, *, ttl: float, breaker: Breaker | None = None, **rules: Any) -> None:
        """Keep values for `ttl` seconds, as `CacheAside` does."""
        super().__init__(ttl, breaker, rules)
        self._client = client

    async def get_or_compute(self, key: str, compute: Callable[[], Awaitable[Any]]) -> Any:
        """Return the value of `key`, as `CacheAside.get_or_compute` does."""
        flow, answer, error = self.flows.get_or_compute(key), None, None
        while True:
            try:
                ask = flow.throw(error) if error else flow.send(answer)
            except StopIteration as done:
                return done.value
            answer, error = None, None
            try:
                if isinstance(ask, tuple):
                    answer = await self._command(ask)
                else:
                    answer = await (compute() if ask is COMPUTE else asyncio.sleep(ask))
            except BaseException as raised:  # noqa: BLE001 - also when cancelled: the steps give the lease back
                error = raised

    async def invalidate(self, *keys: str) -> None:
        """Forget keys, as `CacheAside.invalidate` does."""
        await self._client.delete(*keys)

    async def _command(self, command: Command) -> Any:
        """Run a command unless the circuit breaker is open."""
        self.check()
        try:
            answer = await self._client.execute_command(*command, **RAW)
        except (RedisError, OSError) as error:
            raise self.failed(error) from error
        self.breaker.succeeded()
        return answer
