"""Use Redis as a pure cache in front of an origin.

promise                                                  module                    features/pure_cache/
One origin call for concurrent misses (single flight).   cache_aside               cache_aside, absent
No stale value is filled in after a change.              cache_aside               invalidation
Reads continue while the cache is dead or slow.          cache_aside               degradation
A dead server costs a few timeouts, not one a call.      overload                  degradation
No stampede at expiry: ttl jitter, early refresh.        overload                  refresh
A hot value is read from the memory of the process.      near_cache                near_cache
The newest version wins; a write is answered at once.    write_through             write_through
Keys without ttl, too large or misnamed are found.       key_audit                 hygiene
A value lives as long as its ttl.                        ../../cache_example.py    expiry
Redis itself keeps it: no code here.                     -                         audit, data_path, memory, ttl
The cache is reached by its users alone.                 ../server_info.py          exposure
A rotated login interrupts no reader.                    ../credentials.py         credentials
Sentinels replace a primary that dies.                   ../sentinels.py            sentinels
The same, for big values, and for each client.           -                         big_values, clients
The same, for the commands of clients.                   -                         commands
"""

from redis_practices.pure_cache.cache_aside import AsyncCacheAside, CacheAside
from redis_practices.pure_cache.near_cache import NearCache

__all__ = ["AsyncCacheAside", "CacheAside", "NearCache"]
