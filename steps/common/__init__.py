"""The sentences that all practices share."""
