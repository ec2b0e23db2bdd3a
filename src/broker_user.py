"""Print the rule of the least privileged user that Celery needs on its broker.

    python src/broker_user.py app1:                  its rights, for users.acl or ACL SETUSER
    redis-cli ACL SETUSER celery on '>secret' $(python src/broker_user.py app1:)

The user reaches only keys and channels with the application's prefix (``KEY_PREFIX`` in ``worker.py``).
"""

from __future__ import annotations

import sys

from redis_practices.celery_worker.security import rules
from redis_practices.cli import UsageError, run


def main() -> None:
    """Print the rules for the prefix on the command line."""
    if len(sys.argv) != 2:  # noqa: PLR2004 - the command and the prefix
        raise UsageError("give the prefix of the application's keys, like: python src/broker_user.py app1:")
    print(" ".join(rules(sys.argv[1])))


if __name__ == "__main__":
    run(main)
