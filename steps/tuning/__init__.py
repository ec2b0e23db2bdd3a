"""Compare ways to do the same work.

module         content
comparisons    The two sentences of features/tuning/, and what they count.
ways           The catalogue of ways that their tables name.
"""
