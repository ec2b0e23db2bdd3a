"""Test cases from public reports, in which the code or the gate once was wrong."""
