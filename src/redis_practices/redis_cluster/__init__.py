"""A Redis Cluster."""
