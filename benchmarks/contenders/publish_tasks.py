"""Publish tasks with a contender, and print the start time and the duration in seconds.

python publish_tasks.py celery_defaults 2000
"""

from __future__ import annotations

import importlib
import inspect
import sys
import time


def main() -> None:
    """Import the contender, let it connect with one task, and measure the rest."""
    contender, number = importlib.import_module(sys.argv[1]), int(sys.argv[2])
    begun = time.time()
    done = contender.publish(number)
    if inspect.isawaitable(done):
        raise TypeError(f"{sys.argv[1]}.publish must not be async")
    print(begun, time.time() - begun)


if __name__ == "__main__":
    main()
