"""Test the code and the suite, beside the specification in `features/`: ``pytest tests/``."""
