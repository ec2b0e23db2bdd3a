"""Run a Redis Cluster.

promise                                                      module             features/redis_cluster/
who owns which slot, who belongs to the cluster              topology           routing, operation, audit
a cluster is formed, and known to be ready                   formation          formation
a replica takes over on purpose; whether one could           failover           failover, readiness
slots move while clients are served, and are repaired        slot_migration     scaling
nodes join and leave under load                              scaling            growth
many keys are read, written, walked; hot spots are found     key_distribution   key_distribution, scanning, size
"""
