"""What a worker has taken and not acknowledged, for one_trip.py: the script that notes it, and its side in Python."""

from __future__ import annotations

from collections import deque
from typing import Any

from kombu.transport import redis, virtual

# KEYS: the notes, their index, then the lists to take from. ARGV: the time in seconds since 1970, how many to take, and
# the tags that were acknowledged. Returns list and message in turns; what is no task comes without a note, and kombu
# complains of it. The first write frees memory, so that a full server runs it to its end.
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


class QoS(redis.QoS):
    """What is not acknowledged."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Begin with nothing; kombu calls it."""
        super().__init__(*args, **options)
        self.noted = False
        """Whether the script has noted the message that is delivered."""
        self.acknowledged: deque[str] = deque()
        """Tags whose notes the next round trip removes; other threads may add to it."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a message, unless that was done when it was taken."""
        (virtual.QoS if self.noted else redis.QoS).append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Remove the note of a message: with the next round trip where one follows, and else at once."""
        virtual.QoS.ack(self, delivery_tag)
        self.acknowledged.append(delivery_tag)
        if not self.channel.is_about_to_ask():
            self.write_acknowledged()

    def take_acknowledged(self) -> list[str]:
        """Return the tags that wait, and forget them."""
        return [self.acknowledged.popleft() for _ in range(len(self.acknowledged))]

    def write_acknowledged(self) -> None:
        """Remove the notes that wait."""
        if tags := self.take_acknowledged():
            with self.pipe_or_acquire() as pipe:
                pipe.zrem(self.unacked_index_key, *tags).hdel(self.unacked_key, *tags).execute()
