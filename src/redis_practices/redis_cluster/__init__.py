"""Run a Redis Cluster.

promise                                                  module                      features/redis_cluster/
who owns which slot, who belongs to the cluster          topology                    routing, operation, audit
a cluster is formed, and known to be ready               formation                   formation, survival
a replica takes over on purpose; whether one could       failover                    failover, readiness
slots move while clients are served, and are repaired    slot_migration              scaling
nodes join, leave and share the slots under load         growth                      growth
many keys are read, written, walked                      key_distribution            key_distribution, scanning, size
hot slots and big keys are found                         key_distribution            operation
a client follows the cluster                             ../clients.py               growth, replica_reads
an operator watches a cluster                            ../../cluster_example.py    watching
the cluster itself does so: no code here                 -                           data_path, functions, messages
the same, for what a failure may cost                    -                           durability, partition
"""
