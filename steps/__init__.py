"""Bind the sentences of the features: one package a practice, and `common` for all.

celery_worker    features/celery_worker/
redis_cluster    features/redis_cluster/
pure_cache       features/pure_cache/
tuning           features/tuning/
gate             features/gate/
common           every audit.feature and data_path.feature; words, bounds and tables of all sentences
"""
