"""Run a Redis Cluster.

promise                                               module                      features/redis_cluster/
the owner of each slot, the members of the cluster    topology                    routing, operation, audit
a cluster is formed; one check says it is ready       formation                   formation, survival
planned failover; readiness for an unplanned one      failover                    failover, readiness
resharding under load; repair of open slots           slot_migration              scaling, interrupted_migration
nodes join, leave and share slots under load          growth                      growth
many keys are read, written, scanned                  key_distribution            key_distribution
hot slots, hot keys and big keys are found            key_distribution            operation
a client follows MOVED and ASK                        ../clients.py               growth, routing
a cluster is watched                                  ../../cluster_example.py    scaling
Redis Cluster itself keeps it: no code here           -                           data_path, messages
the same, for the cost of a failure                   -                           durability, partition
"""
