"""Tests of the code, beside the specification in `features/`: ``pytest tests/``."""
