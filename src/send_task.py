"""Send the task add(4, 8) to a Celery worker through Redis, and print its result.

It uses BROKER_URL, else a broker on this machine, else an embedded broker with a real worker that end with the command.
"""

from __future__ import annotations

import redis_practices  # noqa: F401 - it says in one line that Python is too old # isort: skip

import argparse

from celery import Celery
from celery.exceptions import TimeoutError as NoAnswer
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from redis_practices.celery_worker.sending import check_broker, sender, value_of
from redis_practices.cli import Failure, Parser, run
from redis_practices.clients import TIMEOUT, explained, shown
from redis_practices.servers.locate import deployment
from worker import settings

EXAMPLES = """\
  python src/send_task.py
  python src/send_task.py 20 22 --timeout 10
  BROKER_URL=redis://broker.example:6379/0 python src/send_task.py"""


def call(app: Celery, task: str, *arguments: object, timeout: float = TIMEOUT) -> object:
    """Send `task` with `arguments`, wait at most `timeout` seconds, and return its result.

    The task expires after that time, so it does not run when its sender has given up.

    Raises:
        celery.exceptions.TimeoutError: no result came in time.
        Exception: the task raised it.
    """
    result = app.send_task(task, arguments, expires=timeout)
    backend = result.backend
    try:
        value: object = value_of(result, timeout)
    finally:
        # A result unsubscribes when Python collects it: if the broker is gone by then, that blocks for 5 s.
        result.backend = None
        backend.forget(result.id)
        backend.remove_pending_result(result)
    return value


def number(text: str) -> float:
    """Return a number, an int if it is written as one."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def main() -> None:
    """Run the demonstration with the options of the command line."""
    parser = Parser(__doc__, EXAMPLES)
    parser.add_argument("x", type=number, nargs="?", default=4, metavar="X", help="default: 4")
    parser.add_argument("y", type=number, nargs="?", default=8, metavar="Y", help="default: 8")
    parser.add_timeout()
    options = parser.parse_args()
    with deployment("broker") as url:
        check_broker(url, options.timeout)
        try:
            result = call(
                sender(settings(url, options.timeout)), "worker.add", options.x, options.y, timeout=options.timeout
            )
        except NoAnswer:
            raise Failure(
                f"no worker of {shown(url)} answered within {options.timeout:g} s: start one in src/ with"
                " BROKER_URL set: celery -A worker worker"
            ) from None
        except (RedisError, OperationalError) as error:
            raise Failure(explained(error, shown(url), options.timeout)) from error
    print(f"Task result: {result}")


if __name__ == "__main__":
    run(main)
