"""Print the rule of the least privileged user that Celery needs on its broker.

    python src/broker_user.py app1:                  Its rights, for users.acl or ACL SETUSER.
    python src/broker_user.py app1: 3                The same for a broker's URL that ends with /3.
    redis-cli ACL SETUSER celery on '>secret' $(python src/broker_user.py app1:)

The user reaches only keys and channels with the application's prefix (``KEY_PREFIX`` in ``worker.py``).
"""

from __future__ import annotations

import sys

from redis_practices.celery_worker.access import rules
from redis_practices.cli import UsageError, run


def main() -> None:
    """Print the rules for the prefix, and the number of the database, on the command line."""
    _, *given = sys.argv
    if len(given) not in {1, 2} or not all(number.isdecimal() for number in given[1:]):
        raise UsageError(
            "give the prefix of the application's keys, and the number of the database if it is not 0, like:"
            " python src/broker_user.py app1: 3"
        )
    print(" ".join(rules(given[0], *map(int, given[1:]))))


if __name__ == "__main__":
    run(main)
