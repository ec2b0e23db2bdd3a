"""Bind the sentences about clusters.

nodes           Nodes as targets, and their faults.
availability    Writes while nodes are away, and a workload.
slots           Slots that migrate, scans of all keys.
messages        Channels, functions and users.
findings        Detectors, numbers and properties.
audit           Findings and measurements that need the answers of all nodes.
"""
