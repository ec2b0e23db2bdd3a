"""Make Redis fast: the naive way beside the tuned one, to copy from.

promise                                                module             features/tuning/
fewer round trips: pipelines, MGET, scripts            round_trips        round_trips
connections that are kept and shared                   connections        connections
a compiled parser; a cache in the client               connections        latency, memory
one packed pipeline a node; keys and reads spread      bulk               cluster
values and names that take less memory, eviction       memory             memory, reported
persistence, threads, replication                      server_settings    reported, scaling
servers that hang, clients that vanish                 failures           connections
work divided between shards                            scaling            scaling
answers timed by load, closed and open loop            load               latency
two ways compared, near or far away                    measuring          reported, round_trips
all comparisons of ``python src/tuning_example.py``    catalogue          reported
"""
