"""The sentences about clusters."""
