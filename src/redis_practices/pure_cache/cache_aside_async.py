"""`cache_aside` for asyncio: the same steps, another driver."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError

from redis_practices.pure_cache.cache_aside import RAW, Common
from redis_practices.pure_cache.cache_rules import COMPUTE
from redis_practices.pure_cache.circuit_breaker import Breaker
from redis_practices.pure_cache.compare_and_set import Command


class AsyncCacheAside(Common):
    """The same for asyncio; one object serves one event loop."""

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
            except BaseException as raised:  # noqa: BLE001 - cancelled as well: the steps let go of the key first
                error = raised

    async def invalidate(self, *keys: str) -> None:
        """Forget keys, as `CacheAside.invalidate` does."""
        await self._client.delete(*keys)

    async def _command(self, command: Command) -> Any:
        """Run a command unless the breaker is open."""
        self.check()
        try:
            answer = await self._client.execute_command(*command, **RAW)
        except (RedisError, OSError) as error:
            raise self.failed(error) from error
        self.breaker.succeeded()
        return answer
