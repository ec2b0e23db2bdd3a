"""Make Redis fast: the naive way beside the tuned one, to copy from.

promise                                                module             features/tuning/
fewer round trips: pipelines, MGET, scripts            round_trips        round_trips
connections that are kept and shared                   connections        connections
a compiled parser; a cache in the client               connections        latency, memory
bulk commands; one packed pipeline a node; hot keys    bulk               cluster
smaller values and names; eviction policies            memory             memory, reported
persistence, threads, replication                      server_settings    reported, scaling
paused servers, vanished clients                       failures           connections
work divided between shards                            scaling            scaling
latency by load, closed and open loop                  load               latency
two ways compared, near or over a slow network         measuring          reported, round_trips
all comparisons of ``python src/tuning_example.py``    catalogue          reported
"""
