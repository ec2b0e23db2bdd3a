"""Start real servers, clusters, sentinels and Celery workers as child processes that end with this one.

    with ProcessGroup() as group:
        cache = start_server(group, CACHE)
        cluster = start_cluster(group, primaries=3, replicas=1)

`process_group` ends children however this process ends; `binary` finds the server program and free ports; `server`,
`cluster` and `celery` start what their names say; `locate` finds the deployment that a script connects to.
"""

from redis_practices.servers.cluster import start_cluster
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import BROKER, CACHE, start_server

__all__ = ["BROKER", "CACHE", "ProcessGroup", "start_cluster", "start_server"]
