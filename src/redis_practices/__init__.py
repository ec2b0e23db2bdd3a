"""Use Redis in three ways, and tune it: code to import or to copy.

    celery_worker     Celery's broker: no task lost, none done twice, senders that do not wait for ever
    redis_cluster     a cluster: formation, failover, slot migration, scaling, keys
    pure_cache        a cache in front of an origin: no stampede, no stale fill, no outage
    tuning            what makes each of them fast: the naive way beside the tuned one
    servers           real servers, clusters, sentinels and workers as child processes

Each package lists its promises with the module that keeps them and the feature that proves them.
"""
