"""The near cache: copies of values in the memory of this process."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis.exceptions import MaxConnectionsError, RedisError

from fixtures.bdd.vocabulary import register
from fixtures.context import Context, Plan
from fixtures.run.keys import Unsupported
from redis_practices.polling import eventually
from redis_practices.pure_cache.near_cache import NearCache
from steps.pure_cache.cache_aside import KINDS

HEARTBEAT, SOON = 2.0, 0.4
"""Seconds of silence after which a near cache asks for the server: as usual, and on an isolated server.

On a busy machine the judge would take its own silence for the server's.
"""

ENOUGH = 20
"""Reads that ask the server, after which no more are made."""

PUSHES = 3
"""The version of the protocol in which a server pushes messages (RESP3)."""


@dataclass
class Near:
    """A near cache under test, with another client of its server."""

    cache: NearCache
    client: Any
    """The client of the near cache."""
    other: Any
    prefix: str

    def read(self, key: str) -> Any:
        """Read through the near cache; None while the server does not answer."""
        with suppress(RedisError):
            return self.cache.get(self.prefix + key)
        return None

    def hold(self, key: str, value: str) -> None:
        """Write a value, and read it until a copy is kept."""

        def kept() -> bool:
            if self.cache.get(self.prefix + key) is None:
                self.other.set(self.prefix + key, value, px=60_000)
                self._hear()
                self.cache.get(self.prefix + key)
            return self.cache.holds(self.prefix + key)

        eventually(kept, within=5, every=0.01, also=(RedisError,))

    def _hear(self) -> None:
        """Wait until the near cache has heard of all writes so far.

        Notices come in the order of the writes.
        """
        last = f"{self.prefix}last"
        self.other.set(last, "old")
        self.cache.get(last)
        self.other.set(last, "new")
        eventually(lambda: self.cache.get(last) == "new", within=5, every=0.001)
        self.other.delete(last)

    def disconnect(self) -> None:
        """Cut all connections to the server but this one."""
        self.other.client_kill_filter(_type="normal", skipme=True)

    def is_ready(self) -> bool:
        """Tell whether it hears of changes, and keeps a copy again."""
        if self.cache.listening:
            self.hold("ready", "again")
        return self.cache.listening

    def asked(self, key: str, times: int) -> int:
        """Return how many of some reads ask the server.

        All connections of its client are taken, so that a read that asks gets none. Reads of further clients do not
        count. Each read must give the same value.
        """
        pool, taken, got, asked = self.client.connection_pool, list[Any](), set[Any](), 0
        pool.max_connections = 2  # one is for notices
        with suppress(MaxConnectionsError):
            while True:
                taken.append(pool.get_connection())
        for _ in range(times):
            try:
                got.add(self.cache.get(self.prefix + key))
            except MaxConnectionsError:
                asked += 1
                if asked == ENOUGH:  # each refusal takes 0.1 s
                    break
        for connection in taken:
            pool.release(connection)
        assert len(got) <= 1, f"the reads gave {got}"
        return asked


def near(context: Context, rules: dict[str, Any]) -> Near:
    """Start a near cache, and wait until it hears of changes."""
    limits = {"socket_timeout": 0.2} if "cache" in context.own else {}
    client, other = context.cache.client(protocol=3, **limits), context.cache.client()
    if int(client.connection_pool.get_protocol() or 3) < PUSHES:
        raise Unsupported("needs RESP3, in which a server pushes messages: the URL says protocol=2")
    other.execute_command("CLIENT TRACKING", "OFF")  # where it is refused, that is the reason of a skip
    heartbeat = SOON if "cache" in context.own else HEARTBEAT
    cache = context.ending.enter_context(NearCache(client, context.key_prefix, heartbeat=heartbeat, **rules))
    eventually(lambda: cache.listening, within=10)
    for connected in (client, other):  # before a clock starts
        connected.get(context.key("user:1"))
    return Near(cache, client, other, context.key_prefix)


KINDS["near"] = near


@register("setting", "active expiry", "whether the server looks for expired keys that no client reads")
def set_active_expiry(plan: Plan, value: str) -> None:
    """Set it with DEBUG SET-ACTIVE-EXPIRE, once the server has started."""
    plan.config["enable-debug-command"] = "local"
    flag = "1" if value == "yes" else "0"
    plan.after.append(lambda _, made: made.client().execute_command("DEBUG", "SET-ACTIVE-EXPIRE", flag))


register("measurement", "copies", "values that a near cache keeps, and drops while it hears nothing", unit="values")(
    lambda _, near: len(near.cache)
)


@register("property", "a copy costs the server no command", "reads of a copy are answered from memory")
def check_free(context: Context, count: int) -> None:
    """Read a copy again and again."""
    asked = context.named["the near cache"].asked("user:1", count)
    assert not asked, f"{asked} of {count} reads asked the server, or more"
