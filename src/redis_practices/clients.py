"""Make clients with timeouts, retries and pools, and errors that name the server without its password.

Promises, for threads and asyncio:

- Interrupt (soft time limit, alarm, Ctrl-C, cancelled task): no reply answers another command. The pool closes the
  connection, and counts it no more. A subscription can still be closed.
- Outage: a lost connection is retried twice, at once and after 50 ms; a timeout is not. A command that may have been
  done is not sent again, unless twice is the same as once (`ReplyLostError`, `ReplyLateError`).
- Blocking read: the time that BLPOP, XREAD and similar commands may wait is added to the timeout for replies.
- Failover: a cluster client finds the new primaries, and after all addresses changed it asks the name in its URL again.
- Fork: the child makes its own connections.

Not promised: whether an interrupted command was done. A client of one server does not follow a failover to another
address; give it a name that does.
"""

from __future__ import annotations

import gc
import math
import os
import re
import socket
import ssl
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit
from weakref import WeakMethod, WeakSet

from redis import Redis
from redis.asyncio import Connection as AsyncConnection
from redis.asyncio import ConnectionPool as AsyncConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.connection import RedisSSLContext
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff
from redis.client import PubSub
from redis.cluster import PRIMARY, ClusterNode, ClusterPubSub, RedisCluster
from redis.connection import (
    AbstractConnection,
    CacheProxyConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
    parse_url,
)
from redis.credentials import StreamingCredentialProvider
from redis.driver_info import DriverInfo
from redis.exceptions import (
    AuthenticationError,
    InvalidResponse,
    MaxConnectionsError,
    MovedError,
    NoPermissionError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from redis_practices.cli import Failure, UsageError, printable
from redis_practices.credentials import NoLoginError, provider_of
from redis_practices.polling import Flag

TIMEOUT = 5.0
"""Seconds for connecting, and for each reply. redis-py before version 8 had no timeout by default."""

DRIVER = DriverInfo()
"""The client's name for ``CLIENT SETINFO``, made once: redis-py spends 0.5 ms on it for every client."""


WITHOUT_NOTICES = MaintNotificationsConfig(enabled=False)
"""No notices of Redis Cloud about maintenance. To ask for them redis-py calls ``logging.getLogger`` at each connection.

A signal handler that raises there leaves the lock of `logging` taken (Python before 3.13), and other threads then wait
for ever. With notices, redis-py also does not look whether an idle connection has an unread reply.
"""


def after_fork(method: Callable[[], None]) -> None:
    """Have a method called in each child of this process, as long as its object lives.

    A child has the locks of its parent in the state that they had, but not the threads that would release them.
    """
    weak = WeakMethod(method)

    def call() -> None:
        if (alive := weak()) is not None:
            alive()

    os.register_at_fork(after_in_child=call)


class Packed(list[bytes]):
    """Commands as they go over the wire, with their number."""

    def __init__(self, parts: Iterable[bytes], number: int) -> None:
        """Hold the parts of `number` commands."""
        super().__init__(parts)
        self.number = number


def as_text(command: Iterable[Any]) -> tuple[Any, ...]:
    """Return a command with its numbers as text.

    hiredis 3.5 ends the process (SIGSEGV) where a signal handler raises while it packs an int; see
    docs/upstream/hiredis-py.md.
    """
    return tuple(str(word) if type(word) in {int, float} else word for word in command)


class ReplyLostError(RedisConnectionError):
    """The connection ended before the reply: a repeated command might be done twice."""


class ReplyLateError(RedisTimeoutError):
    """The reply did not come in time: a repeated command might be done twice."""


_READ = """
ACL AUTH CLIENT CLUSTER COMMAND CONFIG DBSIZE ECHO HELLO INFO LATENCY MEMORY OBJECT PING ROLE SELECT SLOWLOG TIME WAIT

EXISTS EXPIRETIME PEXPIRETIME PTTL SCAN TTL TYPE
GET GETRANGE MGET STRLEN
HEXISTS HGET HGETALL HKEYS HLEN HMGET HSCAN HVALS
LINDEX LLEN LRANGE

SCARD SISMEMBER SMEMBERS SMISMEMBER SSCAN
ZCARD ZCOUNT ZRANGE ZRANGEBYSCORE ZRANK ZSCAN ZSCORE
XLEN XRANGE XREVRANGE
"""
_WRITE = """
DEL EXPIRE EXPIREAT HDEL HSET LSET MSET PERSIST PEXPIRE PEXPIREAT PSETEX SADD SETEX SREM TOUCH UNLINK ZREM
"""
REPEATABLE = frozenset([*_READ.split(), *_WRITE.split()])
"""Commands that leave the same data when they are done twice; so does ``SET`` without a condition."""

_CONDITIONS = {"NX", "XX", "GET", "IFEQ", "IFNE"}


def is_repeatable(command: Sequence[Any]) -> bool:
    """Tell whether a command may be sent again after its reply was lost."""
    words: list[Any] = [*str(command[0]).upper().split(), *command[1:]]
    name, *rest = words
    if name == "SET":
        options = [word.decode(errors="replace") if isinstance(word, bytes) else str(word) for word in rest[2:]]
        return _CONDITIONS.isdisjoint(map(str.upper, options))
    return name in REPEATABLE


_WAITS: Mapping[str, tuple[int, float]] = {
    **dict.fromkeys(("BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BZPOPMIN", "BZPOPMAX"), (-1, 1.0)),
    **dict.fromkeys(("BLMPOP", "BZMPOP"), (1, 1.0)),
    **dict.fromkeys(("WAIT", "WAITAOF"), (-1, 0.001)),
}
"""Where commands have the time that they may wait in the server, and its unit in seconds."""


def waiting_time(command: Sequence[Any]) -> float:
    """Return the seconds that a command may wait in the server: 0 for most, infinite for a blocking read without end.

    With redis-py 8 a blocking read that is longer than its timeout of 5 s fails: redis/redis-py#2807.
    """
    name = str(command[0]).upper()
    try:
        if name in _WAITS:
            place, unit = _WAITS[name]
        elif name in {"XREAD", "XREADGROUP"}:
            place, unit = next(i for i, word in enumerate(command) if word in {"BLOCK", b"BLOCK"}) + 1, 0.001
        else:
            return 0.0
        return float(command[place]) * unit or math.inf
    except (StopIteration, IndexError, ValueError, TypeError):
        return 0.0


def _unless_done(is_retryable: Callable[[Exception], bool] | None) -> Callable[[Exception], bool]:
    """Return the test of errors after which a command is sent again."""
    return lambda error: not isinstance(error, ReplyLostError) and (is_retryable is None or is_retryable(error))


class SafeRetry(Retry):
    """Retry a command after a lost connection, unless that might do it twice (`ReplyLostError`)."""

    def call_with_retry(self, do: Any, fail: Any, is_retryable: Any = None, with_failure_count: bool = False) -> Any:  # noqa: FBT001, FBT002 - redis-py's
        """Do it, as redis-py's own does."""
        return super().call_with_retry(do, fail, _unless_done(is_retryable), with_failure_count)


class AsyncSafeRetry(AsyncRetry):
    """The same for asyncio."""

    async def call_with_retry(
        self,
        do: Any,
        fail: Any,
        is_retryable: Any = None,
        with_failure_count: bool = False,  # noqa: FBT001, FBT002 - redis-py's
    ) -> Any:
        """Do it, as redis-py's own does."""
        return await super().call_with_retry(do, fail, _unless_done(is_retryable), with_failure_count)


class _Counting:
    """Count the commands of a connection that have no reply yet.

    An exception can come between a command and its reply: Celery's soft time limit, an alarm, Ctrl-C, a cancelled task.
    The next command on that connection would then read the reply to the earlier command. The count goes up before a
    command is sent, and down after its reply was read whole. The pool closes a connection that is not clean. redis-py
    closes one only if the exception comes while it sends or reads.
    """

    unanswered = 0
    is_repeatable = False
    """Whether what was sent last may be sent again."""
    waiting = 0.0
    """The seconds that what was sent last may wait in the server."""
    socket_timeout: float | None
    is_connecting = False
    is_whole = False
    """Whether connecting, with its handshake, was not interrupted; closing it was begun otherwise."""

    def pack_commands(self, commands: Iterable[Any]) -> Packed:
        """Pack the commands of a pipeline or transaction; each has a reply."""
        packed = [as_text(command) for command in commands]  # redis-py passes a generator for asyncio's transactions
        self.is_repeatable, self.waiting = all(map(is_repeatable, packed)), 0.0
        parts: Iterable[bytes] = super().pack_commands(packed)  # type: ignore[misc]
        return Packed(parts, len(packed))

    def send_command(self, *command: Any, **options: Any) -> Any:
        """Send one command."""
        self.is_repeatable, self.waiting = is_repeatable(command), waiting_time(command)
        return super().send_command(*as_text(command), **options)  # type: ignore[misc]

    def require_repeatable(self, error: RedisError) -> None:
        """Replace an error after a lost reply, unless the command may be sent again."""
        kinds = {RedisConnectionError: ReplyLostError, RedisTimeoutError: ReplyLateError}
        if not self.is_repeatable and type(error) in kinds:
            raise kinds[type(error)](*error.args) from error

    def longest_read(self) -> float | None:
        """Return the timeout of the next reply in seconds, and forget what its command may wait."""
        waiting, self.waiting = self.waiting, 0.0
        if self.socket_timeout is None or waiting == math.inf:
            return None
        return self.socket_timeout + waiting

    @property
    def is_clean(self) -> bool:
        """Whether the next reply that it reads belongs to the next command."""
        return self.is_whole and self.unanswered == 0

    def reset_should_reconnect(self) -> None:
        """Forget replies that cannot come any more; redis-py calls it when the connection is closed."""
        self.unanswered = 0
        super().reset_should_reconnect()  # type: ignore[misc]


class _Counted(_Counting):
    """A connection that counts, for threads."""

    def re_auth(self) -> None:
        """Log in with the last login of a stream of credentials.

        redis-py's raises its error to the caller whose command was done. This one closes the connection, and the next
        command connects with the newest login.
        """
        try:
            if self.is_whole:
                super().re_auth()  # type: ignore[misc]
        except RedisError:
            self.disconnect()
        if not self.is_whole:
            self.set_re_auth_token(None)  # type: ignore[attr-defined]

    def connect_check_health(self, *arguments: Any, **options: Any) -> None:
        """Connect, if it is not connected, from the beginning where an exception ended the last attempt."""
        if not self.is_whole:
            self.disconnect()
            self.set_re_auth_token(None)  # type: ignore[attr-defined] # it connects with the newest login
        self.is_whole, self.is_connecting = False, True
        try:
            super().connect_check_health(*arguments, **options)  # type: ignore[misc]
        finally:
            self.is_connecting = False
        self.is_whole = True

    def disconnect(self, *arguments: Any, **options: Any) -> None:
        """Close the connection."""
        self.is_whole = False
        super().disconnect(*arguments, **options)  # type: ignore[misc]

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - redis-py's
        """Send commands."""
        repeatable, waiting, number = self.is_repeatable, self.waiting, getattr(command, "number", 1)
        if not (self.is_whole or self.is_connecting):
            self.connect_check_health(check_health=False)
        if check_health:  # before it counts: a health check may connect again, which forgets the count
            self.check_health()  # type: ignore[attr-defined]
        self.unanswered += number
        try:
            super().send_packed_command(command, check_health=False)  # type: ignore[misc]
        except RedisConnectionError as error:
            # One command that was not sent whole was not done; of several, the first ones may be.
            self.is_repeatable = repeatable or number == 1
            self.require_repeatable(error)
            raise
        self.is_repeatable, self.waiting = repeatable, waiting  # handshake and health check send commands too

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read one reply."""
        if self.waiting:
            options.setdefault("timeout", self.longest_read())
        try:
            reply = super().read_response(*arguments, **options)  # type: ignore[misc]
        except ResponseError:
            self.unanswered -= 1
            raise
        except (RedisConnectionError, RedisTimeoutError) as error:
            self.require_repeatable(error)
            raise
        self.unanswered -= 1
        return reply


class _AsyncCounted(_Counting):
    """A connection that counts, for asyncio."""

    async def connect_check_health(self, *arguments: Any, **options: Any) -> None:
        """Connect, if it is not connected, from the beginning where an exception ended the last attempt."""
        if not self.is_whole:
            await self.disconnect()
        self.is_whole, self.is_connecting = False, True
        try:
            await super().connect_check_health(*arguments, **options)  # type: ignore[misc]
        finally:
            self.is_connecting = False
        self.is_whole = True

    async def disconnect(self, *arguments: Any, **options: Any) -> None:
        """Close the connection."""
        self.is_whole = False
        await super().disconnect(*arguments, **options)  # type: ignore[misc]

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - above
        """Send commands."""
        repeatable, waiting, number = self.is_repeatable, self.waiting, getattr(command, "number", 1)
        if not (self.is_whole or self.is_connecting):
            await self.connect_check_health(check_health=False)
        if check_health:  # before it counts: a health check may connect again, which forgets the count
            await self.check_health()  # type: ignore[attr-defined]
        self.unanswered += number
        try:
            await super().send_packed_command(command, check_health=False)  # type: ignore[misc]
        except RedisConnectionError as error:
            self.is_repeatable = repeatable or number == 1
            self.require_repeatable(error)
            raise
        self.is_repeatable, self.waiting = repeatable, waiting

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read one reply."""
        usual = self.socket_timeout
        if self.waiting:  # redis-py's argument `timeout` would return None after it, as if that were the reply
            self.socket_timeout = self.longest_read()
        try:
            reply = await super().read_response(*arguments, **options)  # type: ignore[misc]
        except ResponseError:
            self.unanswered -= 1
            raise
        except (RedisConnectionError, RedisTimeoutError) as error:
            self.require_repeatable(error)
            raise
        finally:
            self.socket_timeout = usual
        self.unanswered -= 1
        return reply


CONTEXT_SECONDS = 60
"""Seconds for which connections share a context: a renewed store of the system is read after them."""


@lru_cache(maxsize=64)
def tls_context(state: Hashable, **options: Any) -> ssl.SSLContext:
    """Return the context of all TLS connections with these options, as long as `state` is the same."""
    del state
    return RedisSSLContext(**options).get()


def _file_state(path: str | None) -> tuple[int, ...]:
    """Return what changes if a file is written or replaced, nothing without a file."""
    try:
        seen = Path(path).stat() if path else None
    except OSError:
        seen = None
    return (seen.st_ino, seen.st_mtime_ns, seen.st_size) if seen else ()


class OneContext(SSLConnection):
    """A TLS connection for threads that shares its context with others.

    redis-py makes a context for each connection, which loads the system's certificates: 34 ms of a core.
    """

    def _connect(self) -> Any:
        """Connect, and begin TLS."""
        if self.ssl_validate_ocsp or self.ssl_validate_ocsp_stapled:
            return super()._connect()  # type: ignore[no-untyped-call]
        plain: Any = Connection._connect(self)  # noqa: SLF001 - the abstract method of redis-py's connections
        try:
            return self.context().wrap_socket(plain, server_hostname=self.host)
        except (OSError, RedisError):
            plain.close()
            raise

    def context(self) -> ssl.SSLContext:
        """Return the context that it shares (RedisError, OSError)."""
        files = (self.keyfile, self.certfile, self.ca_certs, self.ca_path)
        return tls_context(
            (int(time.monotonic() / CONTEXT_SECONDS), *map(_file_state, files)),
            keyfile=self.keyfile,
            certfile=self.certfile,
            password=self.certificate_password,
            cert_reqs=self.cert_reqs,
            check_hostname=self.check_hostname,
            ca_certs=self.ca_certs,
            ca_data=self.ca_data,
            ca_path=self.ca_path,
            min_version=self.ssl_min_version,
            ciphers=self.ssl_ciphers or None,
            include_verify_flags=tuple(self.ssl_include_verify_flags or ()),
            exclude_verify_flags=tuple(self.ssl_exclude_verify_flags or ()),
        )


@cache
def counted(kind: type) -> type:
    """Return a class of connections that counts unanswered commands, for a class of redis-py."""
    if issubclass(kind, _Counting):
        return kind
    ours = _Counted if issubclass(kind, AbstractConnection) else _AsyncCounted
    return type(f"Counted{kind.__name__}", (ours, OneContext if kind is SSLConnection else kind), {})


def is_unwatched(connection_class: type) -> bool:
    """Tell whether a class of connections for threads sends and reads by redis-py's own methods, counted or not."""
    kinds = [kind for kind in connection_class.__mro__ if kind is not _Counted]
    names = ("send_packed_command", "read_response")
    first = [next((kind for kind in kinds if name in vars(kind)), None) for name in names]
    return first == [AbstractConnection, AbstractConnection]


COLLECTION = 1.0
"""Seconds between two collections of garbage by a pool that has no connection left: one takes 50 ms and more."""


class Pool(ConnectionPool):
    """A pool of counted connections that is not used up by callers that were interrupted.

    An exception can come after a caller was given a connection and before it could say so. Nothing refers to that
    connection any more, so the pool, which refers weakly to connections in use, counts it no more.
    """

    def __init__(self, connection_class: type = Connection, **options: Any) -> None:
        """Take what redis-py's pool takes."""
        super().__init__(counted(connection_class), **options)
        self._next_collection = 0.0

    def reset(self) -> None:
        """Forget all connections, as after a fork, and have a stream of credentials tell new logins.

        redis-py has the stream tell them to the pools of the last slot map alone, and to none that its caller made.
        """
        super().reset()
        self._in_use_connections: Any = WeakSet()
        provider = self.connection_kwargs.get("credential_provider")
        if isinstance(provider, StreamingCredentialProvider):
            provider.on_next(self.re_auth_callback)

    def re_auth_callback(self, token: Any) -> None:
        """Log each connection in: an idle one now, one in use when it is released."""
        if self.pid != os.getpid():
            return  # the connections are the parent's
        with self._lock:
            idle = list(self._available_connections)
            for connection in [*idle, *self._in_use_connections]:
                connection.set_re_auth_token(token)
            answers = True
            for connection in idle:
                if not answers:
                    connection.disconnect()  # else each would wait for a server that hangs
                elif connection.is_whole:
                    connection.re_auth()
                    answers = connection.is_whole

    def get_connection(self, *arguments: Any, **options: Any) -> Any:
        """Return a connection (MaxConnectionsError if none is free)."""
        try:
            return super().get_connection(*arguments, **options)
        except MaxConnectionsError:
            if time.monotonic() > self._next_collection:
                self._next_collection = time.monotonic() + COLLECTION
                gc.collect()
            with self._lock:
                # A signal may have interrupted the callback that drops a dead member, which the length then counts.
                self._in_use_connections = WeakSet(list(self._in_use_connections))
                self._created_connections = len(self._available_connections) + len(self._in_use_connections)
            return super().get_connection(*arguments, **options)

    def release(self, connection: Any) -> None:
        """Take a connection back, closed if a reply may still come on it."""
        behind: Any = connection._conn if isinstance(connection, CacheProxyConnection) else connection  # noqa: SLF001
        if not behind.is_clean:
            connection.disconnect()
        super().release(connection)


class AsyncPool(AsyncConnectionPool):
    """The same for asyncio."""

    def __init__(self, connection_class: type = AsyncConnection, **options: Any) -> None:
        """Take what redis-py's pool takes."""
        super().__init__(counted(connection_class), **options)
        self._in_use_connections: Any = WeakSet()

    async def release(self, connection: Any) -> None:
        """Take a connection back, closed if a reply may still come on it."""
        if not connection.is_clean:
            await connection.disconnect()
        await super().release(connection)


POOLS: dict[str, Any] = {"sync": Pool, "asynchronous": AsyncPool}
"""The pool classes of all clients; a program may replace them, for example to set a ``connection_class``."""


def client_options(timeout: float = TIMEOUT) -> dict[str, Any]:
    """Return the settings of every client; `timeout` (seconds) is for connecting and for each reply.

    A dropped connection (a restart, a failover) is retried twice, at once and after 50 ms. A timeout is not retried:
    that would only multiply the wait for a paused server.
    """
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": SafeRetry(ExponentialBackoff(cap=0.5, base=0.05), 2, supported_errors=(RedisConnectionError,)),
        "health_check_interval": 30,
        "maint_notifications_config": WITHOUT_NOTICES,
        "driver_info": DRIVER,
        "decode_responses": True,
    }


class _Interruptible:
    """A subscription that an exception of a signal handler leaves able to end.

    redis-py's has a `threading.Event`, whose lock may stay taken: then ``close`` waits for ever.
    """

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Make its flag first: redis-py's ``__del__`` uses it even if ``__init__`` was interrupted."""
        made = super().__new__(cls)
        made._flag = Flag()
        return made

    _flag: Flag

    @property
    def subscribed_event(self) -> Flag:
        """Whether it has a subscription."""
        return self._flag

    @subscribed_event.setter
    def subscribed_event(self, _: object) -> None:
        """Ignore redis-py's event."""


class Subscription(_Interruptible, PubSub):  # type: ignore[misc] # redis-py's event is an attribute
    """redis-py's, interruptible."""


class ClusterSubscription(_Interruptible, ClusterPubSub):  # type: ignore[misc] # the same
    """redis-py's for clusters, interruptible."""


class Client(Redis):
    """redis-py's client, with interruptible subscriptions."""

    def pubsub(self, **options: Any) -> PubSub:
        """Return a subscription, as redis-py's does."""
        return Subscription(self.connection_pool, **options)


def node_client(host: str, port: int, **options: Any) -> Redis:
    """Return a client of one server; `options` are redis-py's and override `client_options`."""
    return Client.from_pool(POOLS["sync"](host=host, port=port, **{**client_options(), **options}))


def _positive(value: float) -> bool:
    """Tell whether a number of seconds can be a timeout."""
    return 0 < value <= 1e8  # noqa: PLR2004 - the limit of `redis_practices.cli.seconds`


def _text(value: object) -> bool:
    """Tell whether a value is a text that is not empty."""
    return isinstance(value, str) and bool(value)


def _any(_value: object) -> bool:
    """Accept every value that redis-py can parse."""
    return True


URL_OPTIONS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "db": (lambda number: number >= 0, "the number of a database"),
    "username": (_text, "a text"),
    "password": (_text, "a text"),
    "credential_provider": (_text, "the name of a class, as module.Class"),
    "client_name": (lambda name: bool(re.fullmatch(r"[!-~]+", name)), "a name without blanks"),
    "protocol": (lambda number: number in {2, 3}, "2 or 3"),
    "socket_timeout": (_positive, "a number of seconds"),
    "socket_connect_timeout": (_positive, "a number of seconds"),
    "socket_keepalive": (_any, "true or false"),
    "socket_read_size": (lambda number: number > 0, "a number of bytes"),
    "health_check_interval": (lambda number: number >= 0, "a whole number of seconds"),
    "retry_on_timeout": (_any, "true or false"),
    "max_connections": (lambda number: number > 0, "a number of connections"),
    "decode_responses": (lambda word: word.lower() in {"1", "true", "t", "yes", "y"}, "true: answers are read as text"),
    "ssl_ca_certs": (_text, "a file"),
    "ssl_ca_path": (_text, "a folder"),
    "ssl_ca_data": (_text, "certificates in PEM format"),
    "ssl_certfile": (_text, "a file"),
    "ssl_keyfile": (_text, "a file"),
    "ssl_password": (_text, "a text"),
    "ssl_cert_reqs": (lambda word: word in {"required", "optional", "none"}, "required, optional or none"),
    "ssl_check_hostname": (_any, "true or false"),
    "ssl_min_version": (lambda number: number in set(ssl.TLSVersion), "the number of a version, as 772 for TLS 1.3"),
    "ssl_ciphers": (_text, "OpenSSL's names of ciphers"),
    "ssl_include_verify_flags": (_any, "a list of ssl.VerifyFlags"),
    "ssl_exclude_verify_flags": (_any, "a list of ssl.VerifyFlags"),
}
"""The options of a URL, by redis-py's names: a test of the value, and the kind of value to ask for."""

_OBJECTS = {"retry", "retry_on_error", "parser_class", "connection_class", "redis_connect_func"}
_ANOTHER = {"encoding", "encoding_errors", "legacy_responses", "timeout", "lib_name", "lib_version", "driver_info"}


def _check_option(name: str, value: str, scheme: str) -> None:
    """Raise UsageError for an unusable option. The message shows no part of the URL's value."""
    if name in _OBJECTS:
        raise UsageError(f"has the option {name}, which takes a Python object: leave it out")
    if name in _ANOTHER:
        raise UsageError(f"has the option {name}, which would change the form of the replies: leave it out")
    if name not in URL_OPTIONS:
        near = get_close_matches(name, URL_OPTIONS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(URL_OPTIONS)}"
        raise UsageError(f"has an option that redis-py does not know: {hint}")
    if name.startswith("ssl_") and scheme != "rediss":
        raise UsageError(f"has the option {name}, which is for TLS: write rediss://, or leave it out")
    fits, kind = URL_OPTIONS[name]
    try:
        usable = bool(value) and fits(parse_url(f"redis://h?{urlencode({name: value})}")[name])
    except (ValueError, KeyError, TypeError, AttributeError):
        usable = False
    if not usable:
        raise UsageError(f"has the option {name} with a wrong value: give {kind}")
    if kind in {"a file", "a folder"} and not Path(value).exists():
        raise UsageError(f"names {kind} for {name} that does not exist: {value}")
    if name == PROVIDER:
        provider_of(value)


def checked_url(url: str, variable: str) -> str:
    """Return `url` if redis-py can use it.

    Raises:
        UsageError: redis-py cannot. The message names the variable and shows no part of the URL: a password that is not
            percent-encoded may stand anywhere in it.
    """
    form = "write redis://[[user]:password@]host[:port][/db], rediss:// for TLS, special characters percent-encoded"
    try:
        parts = urlsplit(url)
        if parts.scheme == "unix":
            raise UsageError(f"is a unix socket, and a host and port are needed: {form}")
        usable = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and parts.port != 0
        usable = usable and bool(re.fullmatch(r"[^\s\x00-\x20\x7f]+", parts.hostname or ""))
        usable = usable and (parts.path.strip("/") == "" or parts.path.strip("/").isdigit())
        (parts.hostname or "").encode("idna")  # the resolver would fail with the same error
        if usable:
            for name, values in parse_qs(parts.query, keep_blank_values=True).items():
                _check_option(name, values[0], parts.scheme)
        # Makes the connection object, which refuses contradictory options, without connecting.
        address, provider = _split(url)
        ConnectionPool.from_url(address, **provider).make_connection()
    except UsageError as error:
        raise UsageError(f"{variable} {error}") from None
    except (ValueError, TypeError, RedisError):
        usable = False
    if not usable:
        raise UsageError(f"{variable} is not a Redis URL: {form}")
    return url


def shown(url: str) -> str:
    """Return host and port of a URL, the only parts of it that may be printed."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or 6379}"


PROVIDER = "credential_provider"
"""The option of a URL that names what gives the login: Celery's name for it."""


def _split(url: str) -> tuple[str, dict[str, Any]]:
    """Return a URL without ``decode_responses``, and the object that its option ``credential_provider`` names.

    In redis-py the former would override the caller's choice, and the latter stay a text.
    """
    names = parse_qs(urlsplit(url).query).get(PROVIDER)
    without = re.sub(rf"([?&])(?:(?:decode_responses|{PROVIDER})=[^&]*(?:&|$))+", r"\1", url)
    return without, {PROVIDER: provider_of(names[0])} if names else {}


def with_login(url: str, name: str) -> str:
    """Return a URL with the option ``credential_provider``, unless it has a login."""
    parts = urlsplit(url)
    if "@" in parts.netloc or PROVIDER in parse_qs(parts.query):
        return url
    return parts._replace(query="&".join(filter(None, (parts.query, f"{PROVIDER}={name}")))).geturl()


def redis_client(url: str, timeout: float = TIMEOUT, **options: Any) -> Redis:
    """Return a client of the server at `url`; it connects at the first command."""
    address, provider = _split(url)
    return Client.from_pool(POOLS["sync"].from_url(address, **{**client_options(timeout), **provider, **options}))


def async_client(url: str, timeout: float = TIMEOUT, **options: Any) -> AsyncRedis:
    """Return a client for asyncio, with the same retries."""
    again = AsyncSafeRetry(ExponentialBackoff(cap=0.5, base=0.05), 2, supported_errors=(RedisConnectionError,))
    address, provider = _split(url)
    ours = {**client_options(timeout), "retry": again, **provider}
    return AsyncRedis.from_pool(POOLS["asynchronous"].from_url(address, **{**ours, **options}))


class ClusterClient(RedisCluster):
    """redis-py's cluster client, which also follows ASK to a node without slots.

    The first slots of a new node migrate to such a node, which no client's slot map has. redis-py 8.1 fails with an
    AttributeError there: https://github.com/redis/redis-py/issues/4015.
    """

    def get_node(self, host: str | None = None, port: int | None = None, node_name: str | None = None) -> Any:
        """Return a node by host and port if the map has it. Return it by name (``host:port``) in any case."""
        found = super().get_node(host, port, node_name)  # type: ignore[no-untyped-call]
        if found is None and node_name:
            name, _, number = node_name.rpartition(":")
            found = ClusterNode(name, int(number), PRIMARY)
        return found

    def pubsub(self, node: Any = None, host: Any = None, port: Any = None, **options: Any) -> PubSub:
        """Return a subscription, as redis-py's does."""
        return ClusterSubscription(self, node=node, host=host, port=port, **options)

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command. If it reaches no node, the next command resolves the name in the URL again.

        All nodes may have new addresses.
        """
        try:
            return super().execute_command(*args, **kwargs)  # type: ignore[no-untyped-call]
        except RedisClusterException:
            self.nodes_manager.startup_nodes.update({node.name: node for node in self.startup_nodes})
            raise


def cluster_client(url: str, timeout: float = TIMEOUT, **options: Any) -> ClusterClient:
    """Return a client of the cluster to which the node at `url` belongs.

    It connects at once to learn the slots.

    Raises:
        RedisError: the node does not answer, or is not a cluster node.
    """
    address, provider = _split(url)
    ours = {**client_options(timeout), "connection_pool_class": POOLS["sync"], **provider}
    return ClusterClient(url=address, **{**ours, **options})


def is_cluster_node(client: Redis) -> bool | None:
    """Ask a server whether it is a cluster node; None if it answers neither yes nor no.

    A plain server refuses ``CLUSTER INFO``. If a proxy or the user's rights refuse it, ``INFO`` decides.

    Raises:
        RedisError: the server does not answer, or refuses the user or password.
    """
    try:
        client.execute_command("CLUSTER INFO")
    except ResponseError as error:
        if "cluster support disabled" in str(error):
            return False
    else:
        return True
    try:
        enabled = client.info("cluster").get("cluster_enabled")
    except ResponseError:
        return None
    return None if enabled is None else bool(enabled)


@contextmanager
def one_line_errors(url: str, timeout: float = TIMEOUT) -> Iterator[None]:
    """Turn every redis-py error in the block into a `Failure`: one line with the server and the cause.

    Raises:
        Failure: in place of the error of redis-py.
    """
    try:
        yield
    # redis-py's errors about a whole cluster are not subclasses of RedisError.
    except (RedisError, RedisClusterException) as error:
        line = explained(error, shown(url), timeout)
        if url.startswith("rediss"):
            line = line.replace(NO_TLS, "name ssl_certfile and ssl_keyfile in the URL if it wants a certificate")
        # A plain server reads TLS as the start of a command, and waits for the rest.
        hint = "; where it speaks no TLS, write redis://" if url.startswith("rediss") and "not answer" in line else ""
        raise Failure(f"{line}{hint}") from error


NO_TLS = "write rediss:// if it wants TLS"
"""What to do about a server that gives up a plain connection."""

_MEANINGS: tuple[tuple[tuple[type[Exception], ...], tuple[str, ...], str], ...] = (
    (
        (),
        ("'HELLO'", "`HELLO`", "'hello'", "NOPROTO"),
        "refuses HELLO, as a server before Redis 6 and some proxies do: add protocol=2 to the URL (?protocol=2)",
    ),
    (
        (),
        ("'PING'", "`PING`", "'ping'"),
        "refuses PING, by which a client checks its connection: allow it, or add health_check_interval=0 to the URL",
    ),
    ((NoLoginError,), (), "gets no login from the client: there is {error}"),
    (
        (AuthenticationError,),
        ("NOAUTH", "WRONGPASS"),
        "refuses the user or password: check the URL (special characters percent-encoded)",
    ),
    ((NoPermissionError,), ("NOPERM",), "refuses a command to this user: {error}"),
    (
        (ssl.SSLCertVerificationError,),
        ("CERTIFICATE_VERIFY_FAILED",),
        "shows a certificate that is not trusted: name its authority in the URL (?ssl_ca_certs=FILE)",
    ),
    (
        (),
        ("[X509", "PEM lib", "cadata", "No cipher"),
        "cannot be asked: a file or an option for TLS in the URL is invalid: {error}",
    ),
    (
        (),
        ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"),
        "does not speak TLS there: write redis://, or name its port for TLS",
    ),
    (
        (InvalidResponse,),
        (),
        f"does not answer like a Redis server ({{error}}): check host and port, and {NO_TLS}",
    ),
    ((socket.gaierror,), (), "does not resolve: check the host's name"),
    (
        (RedisTimeoutError, TimeoutError),
        (),
        "did not answer within {timeout:g} s: it is paused or overloaded, or a firewall drops the traffic",
    ),
    ((ConnectionRefusedError,), ("refused",), "refuses the connection: nothing listens there"),
    (
        (),
        ("Connection closed by server", "Connection reset by peer", "CERTIFICATE_REQUIRED"),
        f"closes the connection instead of answering: {NO_TLS}, or look at its log",
    ),
    ((MovedError,), ("MOVED",), "is a cluster node: name a plain server, or give it as CLUSTER_URL"),
    ((), ("Cluster mode is not enabled",), "is a plain server, not a cluster node"),
    ((RedisClusterException, RedisConnectionError), (), "cannot be reached: {error}"),
    ((), ("",), "answers: {error}"),
)
"""Kinds of errors, words of their messages, and their meaning; the first match counts."""


def explained(error: Exception, server: str, timeout: float) -> str:
    """Return the meaning of a redis-py `error` of `server`, and what to do about it."""
    causes = [error]
    while isinstance(cause := causes[-1].__cause__ or causes[-1].__context__, Exception) and cause not in causes:
        causes.append(cause)
    said = " ".join(str(error) for error in causes)
    meaning = next(
        text
        for kinds, words, text in _MEANINGS
        if any(isinstance(cause, kinds) for cause in causes) or any(word in said for word in words)
    )
    return f"{server} {meaning.format(error=server_text(error), timeout=timeout)}"


MOST = 300
"""The characters of a server's text that are shown: an error may have any length."""


def server_text(error: object) -> str:
    """Return a server's text as one printable line of limited length."""
    text = " ".join(printable(str(error)).split())
    return text if len(text) <= MOST else f"{text[:MOST]}..."
