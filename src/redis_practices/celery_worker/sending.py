"""Send tasks within a time limit, many at once, and wait for results.

Celery's default is to try for 19 s when Redis is down, and for ever when it is paused. A web request cannot wait that
long: `publish` raises in time, and the request reports an error or puts the task into an `Outbox`.

    PYTHONPATH=src python -m redis_practices.celery_worker.sending worker.add 4 8

`send_many` sends a batch: ``apply_async`` costs 0.5 ms of processor time a task, mostly for options that a batch does
not have. `value_of` waits for a result without missing it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from celery import Celery
from celery.exceptions import TimeoutError as NoAnswerError
from celery.result import AsyncResult
from kombu.exceptions import EncodeError, OperationalError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from redis_practices.celery_worker.queue_age import stamp_message
from redis_practices.celery_worker.transport import NotPrimaryError
from redis_practices.cli import Failure, Parser, run
from redis_practices.clients import TIMEOUT, explained, is_cluster_node, one_line_errors, redis_client, shown
from redis_practices.servers.locate import deployment

POOL_TIMEOUT = 30.0
"""Seconds until a thread that gets no connection from the pool gives up (``kombu.exceptions.LimitExceeded``)."""

BATCH = 100
"""Tasks a round trip. If the broker refuses a batch, it may have taken a part of it."""


def send_many(
    app: Celery, task: str, calls: Iterable[Sequence[Any]], *, queue: str | None = None, store_results: bool = False
) -> list[str]:
    """Send `task` once for each of `calls` (its arguments), and return the ids; see ``app.AsyncResult(id)``.

    The tasks go to `queue` or the default queue; routes and priorities are ignored. Without `store_results` the return
    values are dropped.

    Raises:
        kombu.exceptions.OperationalError: the broker cannot be reached; no task was sent.
        kombu.exceptions.BatchPublishError: the broker refused a batch; earlier batches were sent, this one in part.
    """
    ids = []
    with app.producer_pool.acquire(block=True, timeout=POOL_TIMEOUT) as producer, producer.batch(max_size=BATCH):
        for arguments in calls:
            ids.append(str(uuid4()))
            message = app.amqp.as_task_v2(ids[-1], task, arguments, {}, ignore_result=not store_results)
            stamp_message(message.headers)
            producer.publish(
                message.body,
                exchange="",
                routing_key=queue or app.conf.task_default_queue,
                serializer=app.conf.task_serializer,
                headers=message.headers,
                **message.properties,
            )
    return ids


EXAMPLES = """\
  PYTHONPATH=src python -m redis_practices.celery_worker.sending worker.add 4 8
  PYTHONPATH=src python -m redis_practices.celery_worker.sending worker.add 20.5 21.5 --timeout 2"""


def sender(settings: Mapping[str, Any]) -> Celery:
    """Return a Celery app that only sends. It sends tasks by name, so it needs no worker code.

    `settings` are the worker's, such as ``worker.settings(broker_url, timeout)``.
    """
    app = Celery("sender", set_as_current=False)
    app.conf.update(settings)
    return app


def check_broker(url: str, timeout: float = TIMEOUT) -> None:
    """Return if the server at `url` can carry tasks: it answers, and is not a cluster node.

    Celery retries for a long time before it reports a dead broker, so a command checks first.

    Raises:
        Failure: the server does not answer, refuses the user, or is a cluster node.
    """
    with one_line_errors(url, timeout), redis_client(url, timeout) as broker:
        broker.ping()
        if is_cluster_node(broker):
            raise Failure(f"{shown(url)} is a cluster node, and Celery does not run on a Redis Cluster: use one server")


def publisher(settings: Callable[[str, float], Mapping[str, Any]], broker_url: str, timeout: float = TIMEOUT) -> Celery:
    """Return a Celery app that sends tasks, and gives up on a silent broker after `timeout` seconds.

    `settings` makes the worker's settings from a broker URL and a timeout, as ``worker.settings`` does.
    """
    # Celery first subscribes to the result, and tries that twice with any retry policy.
    once = timeout / 2
    app = sender(settings(broker_url, once))
    app.conf.broker_transport_options["max_retries"] = 0
    app.conf.result_backend_transport_options["retry_policy"] = {"timeout": once, "max_retries": 0}
    return app


def publish(app: Celery, task: str, arguments: Sequence[Any] = (), **options: Any) -> str:
    """Send `task` through an app of `publisher` and return its id; `options` are those of ``apply_async``.

    Raises:
        Failure: the broker did not take the task; the message is one line. After a timeout the broker may have taken
            it: pass an id (``task_id=``) and make the task idempotent.
        TypeError: an argument is not JSON.
    """
    broker_url = app.conf.broker_url
    try:
        return str(app.send_task(task, arguments, retry=False, **options).id)
    except EncodeError as error:
        raise TypeError(f"{task} cannot be sent: {error}") from None
    except (OperationalError, RuntimeError, RedisError) as error:
        timeout = app.conf.broker_transport_options["socket_timeout"]
        raise Failure(explained(_cause(error), shown(broker_url), timeout)) from error


def _cause(error: BaseException) -> Exception:
    """Return redis-py's error behind the errors of Celery and kombu, whose text may fill a page."""
    while not isinstance(error, RedisError) and (behind := error.__cause__ or error.__context__):
        error = behind
    while isinstance(error, RedisConnectionError) and isinstance(error.__cause__, (NotPrimaryError, ResponseError)):
        error = error.__cause__
    return error if isinstance(error, Exception) else RuntimeError(str(error))


def argument(text: str) -> Any:
    """Return a command-line argument that is written as JSON."""
    try:
        return json.loads(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON; write a text as '\"text\"'") from None


def main() -> None:
    """Send the task named on the command line."""
    parser = Parser(__doc__, EXAMPLES)
    parser.add_argument("task", metavar="TASK", help="its name")
    parser.add_argument("arguments", type=argument, nargs="*", metavar="JSON", help="its arguments")
    parser.add_timeout()
    options = parser.parse_args()
    from worker import settings  # noqa: PLC0415 - only the command needs the worker's settings

    with deployment("broker") as url:
        print(publish(publisher(settings, url, options.timeout), options.task, options.arguments))


LOOK_EVERY = 5.0
"""Seconds between two reads of the stored result; each costs two GETs."""


def value_of(result: AsyncResult, within: float) -> Any:
    """Return the value that a task returned; wait `within` seconds at most.

    ``AsyncResult.get`` checks the backend once, then waits for a pub/sub message. A result stored in between is missed:
    about 1 in several thousand on a busy machine (celery 5.6.3, redis-py 8.1; celery#4039). So read it every 5 s too.

    Raises:
        celery.exceptions.TimeoutError: no result arrived in time.
        Exception: the task failed with this exception.
    """
    deadline = time.monotonic() + within
    while not result.ready():
        left = deadline - time.monotonic()
        if left <= 0:
            raise NoAnswerError(f"no result within {within:g} s")
        try:
            return result.get(timeout=min(LOOK_EVERY, left))
        except NoAnswerError:
            continue
    return result.get(timeout=LOOK_EVERY)


if __name__ == "__main__":
    run(main)
