"""The sentences about caches."""
