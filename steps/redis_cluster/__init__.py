"""Bind the sentences about clusters.

nodes           nodes as targets, and their faults
availability    writes while nodes are away, and a workload
slots           slots that migrate, scans of all keys
messages        channels, functions and users
findings        detectors, numbers and properties
"""
