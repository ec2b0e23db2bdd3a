"""The sentences about the gate."""
