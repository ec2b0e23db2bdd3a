"""Run a Redis Cluster.

promise                                               module                      features/redis_cluster/
The owner of each slot, the members of the cluster.   topology                    routing, operation, audit, nodes
All nodes are asked side by side, and compared.       every_node                  audit, nodes, formation
The cluster is reached by its users alone.            ../server_info.py           exposure
A rotated login interrupts no client.                 ../credentials.py           credentials
Each node serves each client at all times.            -                           clients
A cluster is formed; one check says it is ready.      formation                   formation, survival
A former id, or a second primary, is found.           formation                   members
Planned failover; readiness for an unplanned one.     failover                    failover, readiness
A stuck replica, or one that copies, is found.        failover                    members
Resharding under load; repair of open slots.          slot_migration              scaling, interrupted_migration
Nodes join, leave and share slots under load.         growth                      growth
Many keys are read, written, scanned.                 key_distribution            key_distribution
Hot slots, hot keys and big keys are found.           key_distribution            operation
A client follows MOVED and ASK.                       ../clients.py               growth, routing
A cluster is watched.                                 ../../cluster_example.py    scaling
Redis Cluster itself keeps it: no code here.          -                           data_path, messages
The same, for the commands of clients.                -                           commands
The same, for the cost of a failure.                  -                           durability, partition
"""
