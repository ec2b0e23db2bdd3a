"""What makes Redis fast: each module holds a naive and a tuned way to do one thing, side by side, to copy from.

`counters` and `compare` hold the two ways to tell them apart: what the server counted, and interleaved timings.
"""
