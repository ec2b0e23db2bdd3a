"""Carry a worker through an outage of its broker: kombu's transport for Redis, with its faults mended.

- A connection leaves a server that has become a replica: the next command reaches the primary. With kombu 5.7.0 alone
  the worker exits, and a sender fails until it is restarted.
- A connection that was idle is replaced: a firewall or balancer may have forgotten it.
- An acknowledgement that failed is made with the next connection. With kombu alone the task runs again.
- A task that was taken and could not be recorded is given back. With kombu alone it is lost.
- A task is given back by workers of the same queue, and by the server's clock. With kombu alone any worker does it, by
  the timeout and the clock of that worker.

`consumer` does its part when a worker connects again. A worker killed between taking a task and recording it still
loses it: see `Outbox`. Keys and values are kombu's, so workers with and without this transport share
queues. A worker without it gives back tasks of all queues of its database and prefix after its own visibility timeout.
With such workers on the same server give each application a KEY_PREFIX or a database.

The names of a killed worker's and a killed asker's queues for control commands are removed after `FORGOTTEN` seconds.

While Redis is away (restarted, hung, read-only, failed over), with the settings of `worker.py`:

- A running task continues, and runs once. Its process waits until Redis takes the result, as long as the time limit of
  the task allows.
- A task that waits in the worker, for its countdown or a free process, returns to the queue with the next connection.
  It runs when it is due.
- A retry, the next step of a chain or chord, and a task that a task sends: its process waits until Redis takes it. The
  soft time limit interrupts the wait. In the pools `threads` and `solo` kombu may give up, and the task fails.
- ``celery beat`` sends what was due as soon as Redis is back.
- The worker stays the same process, and connects again within `consumer.RECONNECT` seconds.

Not promised:

- What the server has forgotten: with ``appendfsync everysec`` the last second, after a failover what the replica lacks.
- A task that Redis gives away at the moment when the connection breaks is lost, see `Outbox`.
- A task, also a retry, is sent twice if its sending lost the answer. Make tasks idempotent: see `once`.
- A warm shutdown during an outage waits for the results. ``docker stop`` then kills the worker after its grace period,
  and its tasks run again after the visibility timeout.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable
from typing import Any

from celery.backends.redis import RedisBackend, SentinelBackend
from celery.signals import beat_init, worker_init, worker_process_init
from celery.utils.log import get_logger
from kombu.transport import redis, virtual
from kombu.transport.redis import MutexHeld
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps, loads
from redis.backoff import ExponentialBackoff
from redis.connection import Connection, SSLConnection
from redis.exceptions import AuthenticationError, MasterDownError, OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry
from redis.sentinel import SentinelManagedConnection

from redis_practices.clients import Pool, counted

logger = get_logger(__name__)


class NotPrimaryError(RedisConnectionError):
    """The server does not take writes now; the command was not done, and the connection is closed."""


_WORDS = ("UNBLOCKED", "MISCONF", "NOREPLICAS")
"""Further errors of that kind: a blocked BRPOP of a new replica, a full disk, too few replicas."""


def is_about_server(error: ResponseError) -> bool:
    """Tell whether an error is about the server's state, not about the command."""
    return isinstance(error, (ReadOnlyError, MasterDownError)) or str(error).startswith(_WORDS)


class Patience(Retry):
    """Repeat a command until it is answered, at least once a second.

    A refused password is an error at once, unless a credential provider gives another one later.
    """

    def __init__(self, provider: Any = None) -> None:
        """Wait 0.1 s after the first failure, and up to 1 s after later ones."""
        super().__init__(ExponentialBackoff(cap=1.0, base=0.05), -1)
        self._is_final = (AuthenticationError,) if provider is None else ()

    def call_with_retry(self, do: Any, fail: Any, is_retryable: Any = None, with_failure_count: bool = False) -> Any:  # noqa: FBT001, FBT002 - redis-py's
        """Do it, as redis-py's own does."""

        def is_outage(error: Exception) -> bool:
            logger.warning("Redis is away or takes no writes: %s", error)
            return not isinstance(error, self._is_final) and (is_retryable is None or is_retryable(error))

        return super().call_with_retry(do, fail, is_outage, with_failure_count)


waits = False
"""Whether commands of this process are repeated until the broker is back: `repeat_commands` sets it."""


class Kept:
    """A connection that is replaced when its server takes no writes, and when it was idle.

    After a failover behind one address the old connections lead to the old primary, now a replica. Celery and kombu
    handle a lost connection, but not the error READONLY. A connection that a firewall or balancer has forgotten would
    take the whole timeout to notice, also by redis-py's check.
    """

    next_health_check: float
    health_check_interval: float

    def __init__(self, **options: Any) -> None:
        """Take what redis-py's connection takes."""
        super().__init__(**options)
        if waits:
            self.retry: Retry = Patience(options.get("credential_provider"))

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read one reply.

        Raises:
            NotPrimaryError: the reply, or one in it (``EXEC``), says that the server takes no writes.
        """
        try:
            reply = super().read_response(*arguments, **options)  # type: ignore[misc]
            for one in reply if isinstance(reply, list) else ():
                if isinstance(one, ResponseError) and is_about_server(one):
                    raise one
        except ResponseError as error:
            if not is_about_server(error):
                raise
            self.disconnect()
            raise NotPrimaryError(str(error)) from error
        return reply

    def check_health(self) -> None:
        """Reconnect if the last reply is older than the interval of checks (seconds)."""
        if self.health_check_interval and self.is_idle:
            self.disconnect()
            self.connect()  # type: ignore[attr-defined]

    @property
    def is_idle(self) -> bool:
        """Whether the last reply is older than the interval of checks."""
        return 0 < self.next_health_check < time.monotonic()

    def disconnect(self, *arguments: Any, **options: Any) -> None:
        """Close the connection."""
        self.next_health_check = 0
        super().disconnect(*arguments, **options)  # type: ignore[misc]


def kept(kind: Any) -> Any:
    """Return a class of connections with `Kept`, for a class of redis-py."""
    return kind if issubclass(kind, Kept) else type(f"Kept{kind.__name__}", (Kept, kind), {})


class QoS(redis.QoS):
    """The unacknowledged tasks of a connection."""

    _ahead: float | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Start with none; called by kombu."""
        super().__init__(*arguments, **options)
        self.unwritten: set[str] = set()
        """Tags that were acknowledged, without an answer of the server."""
        self.unrecorded: list[Any] = []
        """Messages that were taken, and not recorded."""

    def now(self) -> float:
        """Return the server's time in seconds since 1970: the clocks of workers differ."""
        if self._ahead is None:
            self._ahead = self._ask_clock()
        return time.time() - (self._ahead or 0.0)

    def _ask_clock(self) -> float:
        """Return the seconds by which this machine's clock is ahead of the server's (``TIME``); 0 without the right."""
        with self.channel.conn_or_acquire() as client:
            try:
                seconds, microseconds = client.time()
            except ResponseError:
                return 0.0
        return time.time() - (float(seconds) + float(microseconds) / 1e6)

    def append(self, message: Any, delivery_tag: str) -> None:
        """Record a message that was taken. If a full server refuses the record, the task runs without it."""
        place = message.delivery_info
        record = dumps([message._raw, place["exchange"], place["routing_key"]])  # noqa: SLF001 - as kombu's own does
        try:
            now = self.now()
            with self.pipe_or_acquire() as pipe:
                pipe.zadd(self.unacked_index_key, {delivery_tag: now})
                pipe.hset(self.unacked_key, delivery_tag, record).execute()
        except OutOfMemoryError:
            redis.warning("task %s is not recorded: it is lost if this worker is killed", delivery_tag, exc_info=True)
        except self.channel.connection_errors:
            self.unrecorded.append(message)
            raise
        virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Remove the record of a message. While the broker is away, the next check or connection removes it."""
        try:
            super().ack(delivery_tag)
        except self.channel.connection_errors as error:
            redis.warning("the acknowledgement of task %s waits for the broker: %s", delivery_tag, error)
            self.unwritten.add(delivery_tag)
            virtual.QoS.ack(self, delivery_tag)

    def forget(self, tags: Collection[str]) -> None:
        """Remove the records of messages."""
        if tags:
            with self.pipe_or_acquire() as pipe:
                pipe.zrem(self.unacked_index_key, *tags).hdel(self.unacked_key, *tags).execute()
            self.unwritten.difference_update(tags)

    def give_back(self, messages: Iterable[Any]) -> None:
        """Return messages that no record knows to their queues."""
        with self.channel.conn_or_acquire() as client, client.pipeline() as pipe:
            for message in messages:
                place = message.delivery_info
                self.channel._do_restore_message(message._raw, place["exchange"], place["routing_key"], pipe)  # noqa: SLF001
            pipe.execute()

    def restore_visible(self, start: int = 0, num: int | None = 10, interval: int = 10) -> None:
        """Give back tasks of this worker's queues that are older than the visibility timeout."""
        self._vrestore_count += 1
        if (self._vrestore_count - 1) % (interval or 1):
            return
        self.forget(list(self.unwritten))
        self._ahead = self._ask_clock()
        with self.channel.conn_or_acquire() as client:
            oldest = self.now() - self.visibility_timeout
            try:
                with redis.Mutex(client, self.unacked_mutex_key, self.unacked_mutex_expire):
                    late = client.zrange(
                        self.unacked_index_key, oldest, 0, desc=True, byscore=True, offset=num and start, num=num
                    )
                    for tag in late:
                        if self._is_ours(client.hget(self.unacked_key, tag)):
                            self.restore_by_tag(tag, client)
            except MutexHeld:
                pass

    def _is_ours(self, record: bytes | None) -> bool:
        """Tell whether a record belongs to this worker's queues.

        Any worker removes a record without a task.
        """
        if record is None:
            return True
        _, exchange, routing_key = loads(bytes_to_str(record))
        queues = self.channel._lookup(exchange, routing_key)  # noqa: SLF001 - as kombu's own does
        return not set(self.channel.active_queues).isdisjoint(queues)


FORGOTTEN = 6.0
"""Seconds without a sign of life after which the name of a queue for control commands is removed."""

# KEYS: the table with the names of the queues; the times at which they were seen. ARGV: the seconds above; the names of
# this process. A living process shows itself three times as often.
SHOW = """
local now = redis.call('TIME')
local seconds = tonumber(now[1]) + tonumber(now[2]) / 1000000

for number = 2, #ARGV do
  redis.call('SADD', KEYS[1], ARGV[number])
  redis.call('ZADD', KEYS[2], seconds, ARGV[number])
end

for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', seconds - ARGV[1])) do
  redis.call('SREM', KEYS[1], gone)
  redis.call('ZREM', KEYS[2], gone)
end
"""

CHECK_EVERY = 1.0
"""Seconds between two checks of a waiting connection: a firewall or balancer forgets it no more, or it is noticed."""

IDLE = 2.0
"""Seconds without a command after which a connection is replaced."""

SILENCE = 10
"""Seconds until an overdue reply to BRPOP means a lost connection.

A server that hangs for less still executes BRPOP. A connection closed meanwhile would lose the task that it takes.
"""


class Channel(redis.Channel):
    """A channel with the tasks above."""

    QoS = QoS
    connection_class = kept(Connection)
    connection_class_ssl = kept(SSLConnection)
    # Of BRPOP; that of the connections is CHECK_EVERY.
    health_check_interval = SILENCE
    from_transport_options = tuple(
        name for name in redis.Channel.from_transport_options if name != "health_check_interval"
    )  # type: ignore[assignment] # a tuple of another length

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 - kombu's
        """Return the parameters of the connections."""
        return {**super()._connparams(asynchronous), "health_check_interval": CHECK_EVERY if asynchronous else IDLE}

    def renew(self) -> None:
        """Replace the connection of BRPOP if it was idle, while the worker's processes were busy."""
        if self.client.connection.is_idle:
            self.client.connection.disconnect()
            self.connection.cycle._register(self, self.client, "BRPOP")  # noqa: SLF001 - the poller must know it

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Send BRPOP."""
        self.renew()
        super()._brpop_start(timeout)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Open a channel; called by kombu."""
        self._shown: dict[str, set[str]] = {}
        self._shown_at = 0.0
        super().__init__(*arguments, **options)

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        """Bind a queue; if it is for control commands, show that its process lives."""
        if exchange.endswith(".pidbox"):
            self._shown.setdefault(exchange, set()).add(self.sep.join([routing_key or "", pattern or "", queue]))
            self._show()
        super()._queue_bind(exchange, routing_key, pattern, queue)

    def _delete(self, queue: str, exchange: str, *arguments: Any, **options: Any) -> None:
        """Delete a queue."""
        self._shown.pop(exchange, None)
        super()._delete(queue, exchange, *arguments, **options)

    def maybe_refresh_binding_expiry(self) -> None:
        """Show that this process lives; kombu calls it every second."""
        super().maybe_refresh_binding_expiry()
        if self._shown and time.monotonic() > self._shown_at + FORGOTTEN / 3:
            self._show()

    def _show(self) -> None:
        """Show the names of this process's queues for control commands, and remove those of killed ones."""
        self._shown_at = time.monotonic()
        with self.conn_or_acquire() as client:
            show = client.register_script(SHOW)
            for exchange, names in self._shown.items():
                # The client with a prefix adds it to the first key only.
                seen = f"{self.global_keyprefix}_kombu.binding_seen.{exchange}"
                show([self.keyprefix_queue % exchange, seen], [FORGOTTEN, *names])

    def _get_pool(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - kombu's
        """Return a pool whose connections survive an exception between a command and its reply."""
        if asynchronous:
            return super()._get_pool(asynchronous)
        parameters = self._connparams(asynchronous)
        self.keyprefix_fanout = self.keyprefix_fanout.format(db=parameters["db"])
        return Pool(**parameters)


class Transport(redis.Transport):
    """kombu's transport for Redis with the channel above."""

    Channel = Channel
    # With these two names kombu tries again as often as the retry policy says, not only until it is connected again.
    recoverable_connection_errors = redis.Transport.connection_errors + redis.Transport.channel_errors
    recoverable_channel_errors: tuple[type[Exception], ...] = ()


class SentinelChannel(redis.SentinelChannel, Channel):
    """The same channel for a primary that sentinels name."""

    from_transport_options = tuple(
        name for name in redis.SentinelChannel.from_transport_options if name != "health_check_interval"
    )  # type: ignore[assignment] # a tuple of another length
    connection_class = kept(redis.SentinelChannel.connection_class)
    connection_class_ssl = kept(redis.SentinelChannel.connection_class_ssl)


class SentinelTransport(redis.SentinelTransport, Transport):
    """kombu's transport for sentinels with the channel above."""

    Channel = SentinelChannel


ATTEMPTS = 10**6
"""Attempts to send a task, with up to 1 s between them: Celery 5.7 makes 3 of None, which is without end in 5.6."""

PAUSE = 0.5
"""Seconds between two attempts to send a task while the broker answers and refuses it."""

_worker = 0
"""The id of the worker's process; 0 in a sender."""


@worker_init.connect
def wait_for_results(**_: Any) -> None:
    """Make this process and its pool wait for an absent Redis. A sender does not wait: it reports the absence."""
    global _worker  # noqa: PLW0603 - the pool's processes inherit it
    _worker = os.getpid()


@beat_init.connect
@worker_process_init.connect
def repeat_commands(**_: Any) -> None:
    """Make beats and pool processes repeat commands to an absent broker. The worker itself connects again."""
    global waits  # noqa: PLW0603 - the connections of this process read it
    waits = os.getpid() != _worker


@worker_init.connect
@beat_init.connect
def wait_for_broker(sender: Any = None, **_: Any) -> None:
    """Make a worker and a beat wait for an absent broker when they send a task."""
    sender.app.conf.task_publish_retry_policy = {"max_retries": ATTEMPTS, "interval_start": 0, "errback": wait_to_send}


def wait_to_send(error: Exception, seconds: float) -> None:
    """Wait before a task is sent again, or raise an error that will not pass. `seconds` is kombu's own wait."""
    if isinstance(error, ResponseError) and not isinstance(error, OutOfMemoryError):
        raise error
    logger.warning("Redis does not take a task now: %s", error)
    if not seconds:
        time.sleep(PAUSE)


class Backend(RedisBackend):  # type: ignore[misc] # Celery has no types
    """Celery's store of results; a worker's waits until Redis is back, a sender's raises."""

    connection_class: type = Connection

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take what Celery's takes."""
        super().__init__(*arguments, **options)
        self.connparams["connection_class"] = counted(
            kept(self.connparams.get("connection_class", self.connection_class))
        )

    @property
    def ConnectionPool(self) -> Any:  # noqa: N802 - Celery's
        """The class of the pool: its connections survive an exception between a command and its reply."""
        return Pool

    def _create_client(self, **parameters: Any) -> Any:
        """Return a client of the results."""
        client = super()._create_client(**parameters)
        if _worker:
            client.set_retry(Patience(client.get_connection_kwargs().get("credential_provider")))
        return client


class BackendOfSentinels(SentinelBackend, Backend):  # type: ignore[misc] # Celery has no types
    """The same for a primary that sentinels name."""

    connection_class = SentinelManagedConnection
