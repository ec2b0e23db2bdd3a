"""Compare ways to do the same work.

module         content
comparisons    the two sentences of features/tuning/, and what they count
ways           the catalogue of ways that their tables name
"""
