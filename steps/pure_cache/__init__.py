"""Bind the sentences about caches.

module           features/pure_cache/, those it serves most first
cache_aside      cache_aside, invalidation, degradation, absent, refresh
degradation      degradation
expiry           ttl, username, expiry, refresh, absent
memory           memory, hygiene, big_values
near_cache       near_cache
write_through    write_through
"""
