"""Make Redis fast: the naive way beside the tuned one, to copy from.

promise                                                module             features/tuning/
Fewer round trips: pipelines, MGET, scripts.           round_trips        round_trips
Connections that are kept and shared.                  connections        connections
A compiled parser; a cache in the client.              connections        latency, memory
Bulk commands, one pipeline a node; reads spread.      bulk               cluster
Smaller values and names; eviction policies.           memory             memory, reported
Persistence, threads, replication.                     scaling            reported, scaling
Paused servers, vanished clients.                      connections        connections
Work divided between shards.                           scaling            scaling
Latency by load, closed and open loop.                 load               latency
Two ways compared, near or over a slow network.        measuring          reported, round_trips
All comparisons of ``python src/tuning_example.py``.   catalogue          reported
"""
