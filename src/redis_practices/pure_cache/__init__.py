"""Use Redis as a pure cache in front of an origin.

promise                                                  module                    features/pure_cache/
one origin call for concurrent misses (single flight)    cache_aside               cache_aside, absent
no stale value is filled in after a change               cache_aside               invalidation
reads continue while the cache is dead or slow           cache_aside               degradation
a dead server costs a few timeouts, not one a call       circuit_breaker           degradation
no stampede at expiry: ttl jitter, early refresh         expiry                    refresh
a hot value is read from the memory of the process       near_cache                near_cache
the newest version wins; a write is answered at once     write_through             write_through
keys without ttl, too large or misnamed are found        key_audit                 hygiene
a value lives as long as its ttl                         ../../cache_example.py    expiry
Redis itself keeps it: no code here                      -                         audit, data_path, memory, ttl
the same, for big values                                 -                         big_values
"""

from redis_practices.pure_cache.cache_aside import AsyncCacheAside, CacheAside
from redis_practices.pure_cache.near_cache import NearCache

__all__ = ["AsyncCacheAside", "CacheAside", "NearCache"]
