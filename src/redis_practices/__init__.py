"""Use Redis in three ways, and tune it: code to import or to copy.

celery_worker    Celery's broker: no task lost, none done twice, senders that fail in time.
redis_cluster    A cluster: formation, failover, slot migration, growth, keys.
pure_cache       A cache in front of an origin: no stampede, no stale fill, no outage.
tuning           What makes each of them fast: the naive way beside the tuned one.
servers          Real servers, clusters, sentinels and workers as child processes.
clients          Clients with timeouts, retries and pools; errors without passwords.
sentinels        A primary that sentinels name: its URL, and what would stop a failover.
server_info      What a server reports about itself: settings, fields, version.
polling          Wait for a condition, with a deadline.
cli              One command line for all scripts.
svg              Pictures of a few kilobytes.

The first four list their promises with the module that keeps each and the features that prove it.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - pip checks it only for the package, not for a checkout
    # The modules below have syntax and names that an older Python does not know.
    sys.exit(f"Python 3.11 or newer is needed; this is {sys.version_info[0]}.{sys.version_info[1]}")
