"""Bind the sentences about caches.

module           features/pure_cache/, those it serves most first
cache_aside      cache_aside, invalidation, degradation, absent, refresh.
memory           memory, hygiene, expiry, big_values, ttl.
fronts           near_cache, write_through.
"""
