"""Bind the sentences about clusters.

module              features/redis_cluster/, those it serves most first
durability          durability, failover, partition, growth
failover            partition, survival, failover, durability
formation           formation, readiness, operation, size, messages, survival, watching, scanning, failover,
                    routing
key_distribution    key_distribution, scanning, size, operation, growth, failover
messages            messages
routing             replica_reads, functions, routing, scaling, partition
scaling             scaling, growth
watching            watching
"""
