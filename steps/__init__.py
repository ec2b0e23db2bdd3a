"""The sentences of the features, one module a practice."""
