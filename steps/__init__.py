"""Bind the sentences of the features: one package a practice, and `common` for all.

celery_worker    Sentences of features/celery_worker/ alone.
redis_cluster    Sentences of features/redis_cluster/ alone.
pure_cache       Sentences of features/pure_cache/ alone.
tuning           Sentences of features/tuning/ alone.
gate             Sentences of features/gate/ alone.
common           Every audit.feature and data_path.feature; words, bounds and tables of all sentences.
"""
