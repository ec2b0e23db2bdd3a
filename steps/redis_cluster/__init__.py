"""Bind the sentences about clusters.

nodes           Nodes as targets, and their faults.
slots           Slots that migrate, scans of all keys, properties of slots.
clients         Writes while nodes are away, a workload; channels, functions and users.
findings        Detectors and numbers.
audit           Findings and measurements that need the answers of all nodes.
"""
