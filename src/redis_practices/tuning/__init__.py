"""Make Redis fast: the naive way beside the tuned one, to copy from.

    practice                                                     module             features/tuning/
    fewer round trips: pipelines, MGET, scripts                  round_trips        round_trips
    connections that are kept and shared, a compiled parser      connections        connections
    one packed pipeline a node; keys and reads spread            bulk               cluster
    values and names that take less memory, eviction             memory             memory_and_others
    persistence, threads, replication                            server_settings    reported
    servers that hang, clients that vanish                       failures           reported, latency
    work divided between shards                                  scaling            scaling

`measuring` and `load` tell the two ways apart; `catalogue` lists them for ``python src/tuning_example.py``.
"""
