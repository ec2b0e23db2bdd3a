"""Redis as a pure cache."""
