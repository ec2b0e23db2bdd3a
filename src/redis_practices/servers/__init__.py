"""Start real servers, clusters, sentinels and Celery workers as child processes that end with this one.

with ProcessGroup() as group:
    cache = start_server(group, CACHE)
    cluster = start_cluster(group, primaries=3, replicas=1)

process_group    Children and a folder that end with this process, however it ends.
server           One server; sentinels; the server program, free ports.
cluster          A cluster, ready in a fifth of a second.
celery           Workers and beat.
locate           The deployment that a script connects to: a URL, a local port, or an embedded one.
"""

from redis_practices.servers.cluster import start_cluster
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import BROKER, CACHE, start_server

__all__ = ["BROKER", "CACHE", "ProcessGroup", "start_cluster", "start_server"]
