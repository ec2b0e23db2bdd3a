"""Take, record and acknowledge tasks in one round trip: a transport for kombu.

kombu's transport needs three round trips a task: BRPOP takes it, a second records it as unacknowledged, and a third
removes the record. They are most of a busy worker's time. Here one script does all
three: it removes the records of finished tasks, takes as many tasks as the worker may hold, and records them.

While a queue has tasks, a kill cannot fall between taking and recording a task, which is where kombu loses it. With an
empty queue the worker waits in BRPOP and has kombu's gap: see `Outbox`.

Keys and values are kombu's, so workers with and without this transport share queues and restore each other's tasks. The
server's user needs the right to RPOP in addition to `security.rules`. With sentinels use SentinelTransport.

    BROKER_TRANSPORT=redis_practices.celery_worker.batch_transport:Transport celery -A worker worker -P solo
"""

from __future__ import annotations

from collections import deque
from queue import Empty
from time import monotonic
from typing import Any

from kombu.transport import redis, virtual
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads
from redis.exceptions import NoScriptError

from redis_practices.celery_worker import transport

# KEYS: the hash of unacknowledged tasks, its index, then the lists to take from. ARGV: the time in seconds since 1970,
# the number of tasks to take, and the tags that were acknowledged. Returns list and message alternately. A message that
# is not a task is not recorded, and kombu complains about it. The first write frees memory: a full server runs it all.
TAKE = """
if #ARGV > 2 then
  redis.call('HDEL', KEYS[1], unpack(ARGV, 3))
  redis.call('ZREM', KEYS[2], unpack(ARGV, 3))
end
local taken, left = {}, tonumber(ARGV[2])
for key = 3, #KEYS do
  while left > 0 do
    local raw = redis.call('RPOP', KEYS[key])
    if not raw then break end
    local known, message = pcall(cjson.decode, raw)
    local properties = known and type(message) == 'table' and message.properties
    local place = type(properties) == 'table' and properties.delivery_info
    if type(place) == 'table' and properties.delivery_tag then
      local note = {raw, cjson.encode(place.exchange), cjson.encode(place.routing_key)}
      redis.call('HSET', KEYS[1], properties.delivery_tag, '[' .. table.concat(note, ', ') .. ']')
      redis.call('ZADD', KEYS[2], ARGV[1], properties.delivery_tag)
    end
    taken[#taken + 1] = KEYS[key]
    taken[#taken + 1] = raw
    left = left - 1
  end
end
return taken
"""

AT_ONCE = 1000
"""Tags that one script gets: from 8,000 on Lua's ``unpack`` fails."""


class QoS(transport.QoS):
    """The worker's unacknowledged tasks."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Start with none; called by kombu."""
        super().__init__(*args, **options)
        self.recorded = False
        """Whether the script has recorded the message that is being delivered."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Record a message, unless the script did when it took the message."""
        (virtual.QoS if self.recorded else transport.QoS).append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Remove the record of a message: with the next round trip if one follows, else immediately."""
        self.unwritten.add(delivery_tag)  # other threads do so too
        virtual.QoS.ack(self, delivery_tag)
        if not self.channel.is_about_to_ask():
            self.write_acknowledged()

    def write_acknowledged(self) -> None:
        """Remove the records of the acknowledged tags. While the broker is away, the next check or connection does."""
        try:
            self.forget(list(self.unwritten))
        except self.channel.connection_errors as error:
            redis.warning("the acknowledgements of tasks %s wait for the broker: %s", self.unwritten, error)


class Channel(transport.Channel):
    """A channel that takes tasks with the script, and waits in BRPOP once that finds none."""

    QoS = QoS
    _in_poll: Any
    _brpop_sent_at: Any
    _question: list[str] | None = None
    """The tags that the running script was given; None while BRPOP is running."""
    _script: str | None = None
    """The script's digest, once the server has loaded it."""
    _found_nothing = False

    def __init__(self, *args: Any, **options: Any) -> None:
        """Open a channel; called by kombu."""
        super().__init__(*args, **options)
        self._unrecorded: set[str] = set()
        """Queues whose consumer acknowledges nothing, such as the replies to a control command."""

    def basic_consume(self, queue: str, *args: Any, **options: Any) -> Any:
        """Consume from `queue`; the script is not used while a consumer acknowledges nothing."""
        if (args[0] if args else options.get("no_ack")) and queue not in self._fanout_queues:
            self._unrecorded.add(queue)
        return super().basic_consume(queue, *args, **options)

    def _basic_cancel(self, consumer_tag: str) -> Any:
        """Cancel a consumer; it may have been the last one, so write the acknowledged tags now."""
        self.qos.write_acknowledged()
        self._unrecorded.discard(self._tag_to_queue.get(consumer_tag, ""))
        return super()._basic_cancel(consumer_tag)

    def is_about_to_ask(self) -> bool:
        """Return whether the event loop is about to send a command that can carry the acknowledged tags."""
        return bool(self.active_queues) and not self._in_poll and not self._unrecorded and self.qos.can_consume()

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Send the script, or BRPOP where the script has just found nothing."""
        self._question = None
        if self._unrecorded or (self._found_nothing and not self.qos.unwritten):
            super()._brpop_start(timeout)
            return
        queues = self._queue_cycle.consume(len(self.active_queues))
        lists = [self._q_for_pri(queue, step) for step in self.priority_steps for queue in queues]
        keys = [self.global_keyprefix + key for key in (self.unacked_key, self.unacked_index_key, *lists)]
        if self._script is None:
            with self.conn_or_acquire() as client:
                self._script = client.script_load(TAKE)
        self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()
        self._question = list(self.qos.unwritten)[:AT_ONCE]
        room = self.qos.can_consume_max_estimate() or 1
        self.client.connection.send_command(
            "EVALSHA", self._script, len(keys), *keys, self.qos.now(), room, *self._question
        )

    def _brpop_read(self, **options: Any) -> Any:
        """Read the reply, and deliver its messages.

        Raises:
            queue.Empty: the reply holds no message.
        """
        if self._question is None:
            found = super()._brpop_read(**options)
            self._found_nothing = False
            return found
        found = self._answer(**options)
        self._found_nothing = not found
        if not found:
            raise Empty
        self._queue_cycle.rotate(found[-1][0])
        self._deliver_all(found)
        return True

    def _answer(self, **options: Any) -> list[tuple[str, str]]:
        """Return the queues and messages of the script's reply."""
        try:
            answer = self.client.parse_response(self.client.connection, "EVALSHA", **options)
            self.qos.unwritten.difference_update(self._question or ())
        except NoScriptError:  # the server was restarted or its scripts were flushed
            self._script = None
            answer = []
        except self.connection_errors:
            self.client.connection.disconnect()
            raise
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        words = [bytes_to_str(word) for word in answer]
        names = [key.removeprefix(self.global_keyprefix).rsplit(self.sep, 1)[0] for key in words[::2]]
        return list(zip(names, words[1::2], strict=True))

    def _deliver_all(self, found: list[tuple[str, str]]) -> None:
        """Deliver messages; if one raises an error, return the later ones to their queues."""
        rest = deque(found)
        self.qos.recorded = True
        try:
            while rest:
                queue, raw = rest.popleft()
                self.connection._deliver(loads(raw), queue)  # noqa: SLF001 - what kombu's own channel calls
        finally:
            self.qos.recorded = False
            for _, raw in reversed(rest):
                self.qos.restore_by_tag(loads(raw)["properties"]["delivery_tag"])


class Transport(transport.Transport):
    """kombu's transport for Redis with the channel above."""

    Channel = Channel


class SentinelChannel(transport.SentinelChannel, Channel):
    """The same channel for a primary that sentinels name."""


class SentinelTransport(transport.SentinelTransport):
    """kombu's transport for sentinels with the channel above."""

    Channel = SentinelChannel
