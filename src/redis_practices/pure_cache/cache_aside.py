"""Cache-aside as it should be copied: one origin call for any number of misses, no stale fill, no outage.

    cache = CacheAside(redis_client(url, timeout=0.2), ttl=300)
    user = cache.get_or_compute(f"user:{id}", lambda: load_user(id))
    save_user(id, changed); cache.invalidate(f"user:{id}")

Values are what JSON can hold; None means that the origin has nothing. Give the client a short timeout (`redis_client`
has retries and a pool): it is what the first calls lose when the server hangs, until the breaker opens. For asyncio
there is `cache_aside_async`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from redis import Redis
from redis.client import NEVER_DECODE
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redis_practices.pure_cache.cache_flow import Flows
from redis_practices.pure_cache.cache_rules import Ask, Flow, Refused, Rules, Unavailable
from redis_practices.pure_cache.circuit_breaker import Breaker
from redis_practices.pure_cache.compare_and_set import Command

# Of a command that may hold bytes: what another program wrote there need not be text.
RAW: dict[str, Any] = {NEVER_DECODE: True}
DEAD = (RedisConnectionError, RedisTimeoutError, OSError)


class Common:
    """What both drivers share: rules, steps, and a breaker that is told how each command went."""

    def __init__(self, ttl: float, breaker: Breaker | None, rules: Any) -> None:
        """Keep values for `ttl` seconds."""
        self.rules = Rules(ttl, **rules)
        self.flows = Flows(self.rules)
        self.breaker = breaker or Breaker()

    def check(self) -> None:
        """Raise `Unavailable` while the breaker holds calls back."""
        if not self.breaker.allows():
            raise Unavailable("the breaker is open")

    def failed(self, error: Exception) -> Unavailable:
        """Tell the breaker of an error, and return what the steps are to hear."""
        if isinstance(error, DEAD):
            self.breaker.failed()
            return Unavailable(str(error))
        # It answered: that it is full or read-only is no reason to stop reading.
        self.breaker.succeeded()
        return Refused(str(error))


class CacheAside(Common):
    """A cache in front of an origin, for threads; one object serves a whole process."""

    def __init__(self, client: Redis, *, ttl: float, breaker: Breaker | None = None, **rules: Any) -> None:
        """Keep values for `ttl` seconds; `rules` are the other fields of `cache_rules.Rules`."""
        super().__init__(ttl, breaker, rules)
        self._client = client

    def get_or_compute(self, key: str, compute: Callable[[], Any]) -> Any:
        """Return the value of `key`, computed by `compute` on a miss and whenever the cache does not answer.

        Raises whatever `compute` raises, and TypeError or ValueError if JSON cannot hold its value; never an error of
        the cache.
        """
        return self._run(self.flows.get_or_compute(key), compute)

    def invalidate(self, *keys: str) -> None:
        """Forget keys after the origin has changed; what is being computed from the old state is not stored (``DEL``).

        Raises:
            redis.exceptions.RedisError: the cache did not answer. The old value may be read until its ttl is over;
                who cannot bear that repeats the call later.
        """
        self._client.delete(*keys)

    def _run(self, flow: Flow, compute: Callable[[], Any]) -> Any:
        """Do what the steps ask for, until they are done."""
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
            except BaseException as raised:  # noqa: BLE001 - the steps let go of the key, then raise it again
                error = raised

    def _command(self, command: Command) -> Any:
        """Run a command unless the breaker is open."""
        self.check()
        try:
            answer = self._client.execute_command(*command, **RAW)
        except (RedisError, OSError) as error:
            raise self.failed(error) from error
        self.breaker.succeeded()
        return answer
