"""The sentences about tuning."""
