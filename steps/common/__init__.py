"""Bind the sentences that practices share.

vocabulary    durations, bounds, counts and tables; a server of its own; time that passes
audit         features/*/audit.feature: what servers say, without traffic
data_path     features/*/data_path.feature: the way of data to a server and back
"""
