"""Use Redis as nothing but a cache.

promise                                                     module                    features/pure_cache/
one origin call for any number of misses (single flight)    cache_aside               cache_aside, absent
no stale value is filled in after a change                  cache_aside               invalidation
service goes on while the cache is dead or slow             cache_aside               degradation
a dead server costs one timeout, not one a call             circuit_breaker           degradation
values do not expire together, hot ones not at all          expiry                    refresh
a hot value is read from the process' own memory            near_cache                near_cache
the newest version wins; a write is answered at once        write_through             write_through
keys without ttl, too large or misnamed are found           key_audit                 hygiene
a value lives as long as its ttl                            ../../cache_example.py    username, expiry
Redis itself does so: no code here                          -                         audit, data_path, memory, ttl
the same, for big values                                    -                         big_values
"""

from redis_practices.pure_cache.cache_aside import AsyncCacheAside, CacheAside
from redis_practices.pure_cache.near_cache import NearCache

__all__ = ["AsyncCacheAside", "CacheAside", "NearCache"]
