"""Bind the sentences about tuning.

module         features/tuning/, those it serves most first
cluster        scaling, cluster, reported, connections
comparisons    memory_and_others, round_trips, trust, latency, connections, reported, scaling
"""
